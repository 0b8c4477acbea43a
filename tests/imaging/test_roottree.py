import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from applianceforge.imaging import roottree
from applianceforge.imaging.roottree import Recipe
from applianceforge.migrate.tree import ProgramTree, prove_it_runs
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import DiskFullError, ProgramFailedError, ProgramMissingError
from applianceforge.system.effects import Effects
from tests.appliance import trees

RECIPE = Recipe("bookworm", Architecture.I386, ("hello",))
MIRRORS = roottree.Mirrors("http://mirror.example/debian", "http://mirror.example/security")


@pytest.mark.parametrize(
    "other",
    [
        replace(RECIPE, suite="bullseye"),
        replace(RECIPE, architecture=Architecture.AMD64),
        replace(RECIPE, packages=("hello", "rrdtool")),
        replace(RECIPE, security=True),
        replace(RECIPE, locales=("de_DE.UTF-8",)),
        replace(RECIPE, packages=("hello", "True")),
    ],
)
def test_another_recipe_has_another_name(other: Recipe) -> None:
    assert other.name != RECIPE.name


def test_security_updates_only_where_the_recipe_names_them() -> None:
    assert len(RECIPE.sources(MIRRORS)) == 1
    (_, security) = replace(RECIPE, security=True).sources(MIRRORS)
    assert security.endswith(" http://mirror.example/security bookworm-security main")


def test_mirrors_are_those_of_this_system() -> None:
    said = (
        "http://else.example/|Other\n"
        "http://mirror.example/security/|Debian-Security\n"
        "http://mirror.example/debian/|Debian\n"
        "http://second.example/debian/|Debian\n"
    )
    assert roottree.mirrors_of(said) == MIRRORS
    with pytest.raises(ProgramFailedError, match="no mirror"):
        roottree.mirrors_of("http://else.example/|Other\n")
    assert "://" in roottree.find_mirrors(Effects()).main


def test_the_network_settings_of_the_host_are_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    environment = roottree.command_of(RECIPE, tmp_path, MIRRORS).environment
    assert ("http_proxy", "http://proxy.example:3128") in environment


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("dpkg-deb: error: ...: No space left on device", DiskFullError, "no space is left"),
        ("E: Failed to fetch http://mirror.example/x", ProgramFailedError, "cannot be fetched"),
        ("  Temporary failure resolving 'mirror.example'", ProgramFailedError, "cannot be fetched"),
        ("E: Unable to locate package nonesuch", ProgramFailedError, "Unable to locate package"),
    ],
)
def test_a_failed_build_says_why(
    said: str, kind: type[Exception], words: str, tmp_path: Path
) -> None:
    error = roottree.explain(RECIPE, tmp_path, 25, ["I: running apt-get update...", said])
    assert isinstance(error, kind)
    assert words in error.message
    assert error.evidence[-1] == said


def test_without_mmdebstrap(
    tmp_path: Path, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(ProgramMissingError, match="mmdebstrap is not installed"):
        roottree.build(RECIPE, tmp_path, effects)
    assert not (tmp_path / RECIPE.name).exists()


@pytest.mark.real
def test_a_tree_is_built_once_and_runs(i386_tree: ProgramTree, effects: Effects) -> None:
    assert trees.tree(trees.LEGACY, effects) == i386_tree
    assert effects.count == 0
    assert i386_tree.postgres_majors == (15,)
    assert i386_tree.architecture("/usr/bin/rrdtool") is Architecture.I386
    postgres = i386_tree.postgres_program(15, "postgres")
    assert prove_it_runs(i386_tree, postgres, effects).startswith("postgres (PostgreSQL) 15")


@pytest.mark.real
def test_a_tree_is_open_to_the_user_who_runs_servers(i386_tree: ProgramTree) -> None:
    assert i386_tree.root.stat().st_mode & 0o005 == 0o005
    postgres = i386_tree.path(i386_tree.postgres_program(15, "postgres"))
    for path in (postgres, *postgres.parents[: len(postgres.relative_to(i386_tree.root).parts)]):
        assert path.stat().st_mode & 0o005 == 0o005, path
    assert not (i386_tree.root / "dev").exists()

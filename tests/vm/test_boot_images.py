"""What the recipes and overlays promise, without a boot; tests/vm/boots.py boots them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from applianceforge.imaging import recipes
from applianceforge.imaging.recipe import ImageRecipe
from applianceforge.model.architecture import Architecture

IMAGES = recipes.RECIPES
RECIPES = {
    name: recipes.read(IMAGES / f"{name}.toml") for name in ("legacy", "migration", "current")
}
SCRIPTS = sorted(
    path
    for path in IMAGES.glob("overlay*/**/*")
    if path.is_file()
    and not path.is_symlink()
    and path.read_bytes().startswith((b"#!/bin/sh", b"#!/bin/busybox sh"))
)
UNITS = {
    path.name: path for path in IMAGES.glob("overlay*/usr/lib/systemd/system/*") if path.is_file()
}


def _short(path: Path) -> str:
    return str(path.relative_to(IMAGES))


@pytest.mark.parametrize("path", SCRIPTS, ids=_short)
def test_scripts_are_sound(path: Path) -> None:
    checker = shutil.which("shellcheck")
    assert checker is not None, "install shellcheck"
    words = [checker, "--shell=sh", "--severity=warning", str(path)]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout
    assert os.access(path, os.X_OK)


def test_there_are_scripts_and_units() -> None:
    assert {"init", "identity", "emergency", "forge-disk-generator", "make-database"} <= {
        path.name for path in SCRIPTS
    }
    assert {"forge-postgresql.service", "forge-statistics.service"} <= set(UNITS)


@pytest.mark.parametrize("path", sorted(UNITS.values()), ids=_short)
def test_a_unit_starts_what_is_there(path: Path) -> None:
    for program in re.findall(
        r"^Exec\w+=[-+!@]*(/usr/lib/(?:applianceforge|gateway)/\S+)", path.read_text(), re.M
    ):
        found = [place for place in IMAGES.glob(f"overlay*{program}") if os.access(place, os.X_OK)]
        assert len(found) == 1, program


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_our_units_are_enabled_where_their_overlay_is(recipe: ImageRecipe) -> None:
    ours = {
        path.name
        for name in recipe.overlays
        for path in (IMAGES / name).glob("usr/lib/systemd/system/*")
        if path.is_file() and "[Install]" in path.read_text()
    }
    enabled = set(recipe.units.enable)
    assert {unit for unit in enabled if unit.startswith("forge-")} <= ours
    # The migration release makes no database: it migrates the one that is there.
    assert ours - enabled == ({"forge-database.service"} if recipe.name == "migration" else set())


def test_one_disk_takes_all_three() -> None:
    assert len({recipe.slot_bytes for recipe in RECIPES.values()}) == 1
    assert len({recipe.data_bytes for recipe in RECIPES.values()}) == 1
    assert len({recipe.users for recipe in RECIPES.values()}) == 1


def test_each_has_its_architecture() -> None:
    assert {name: recipe.architecture for name, recipe in RECIPES.items()} == {
        "legacy": Architecture.I386,
        "migration": Architecture.AMD64,
        "current": Architecture.AMD64,
    }
    assert [tree.architecture for tree in RECIPES["migration"].trees] == [Architecture.I386]
    assert not RECIPES["current"].trees
    # The only Debian kernel for processors without PAE, such as the first Pentium M.
    assert RECIPES["legacy"].packages.kernel == "linux-image-686"


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_a_kernel_that_panics_starts_again(recipe: ImageRecipe) -> None:
    assert "panic=10" in recipe.boot_arguments.split()
    assert "init=" not in recipe.boot_arguments


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_no_secret_of_the_build_stays(recipe: ImageRecipe) -> None:
    assert {"/etc/ssh/ssh_host_*", "/etc/ssl/private/ssl-cert-snakeoil.key"} <= set(recipe.remove)

"""Work in the namespace, on trees that are small enough for every run of the tests."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from applianceforge.imaging import data_image, namespace, plan
from applianceforge.imaging.plan import Owned, Plan, Product
from applianceforge.imaging.recipe import ImageRecipe
from applianceforge.model.errors import ProgramFailedError, RecipeError
from applianceforge.system import programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command
from tests.imaging import builds

MODES = """
[[modes]]
path = "/data/forge"
mode = "0711"
[[modes]]
path = "/data/web/page"
mode = "0640"
owner = "root:web"
"""


def test_a_plan_reads_back() -> None:
    todo = Plan(
        Product.SLOT,
        Path("/w"),
        (Path("/a"), Path("/b")),
        Path("/t"),
        UUID(int=7),
        "label",
        1,
        "x.toml",
        initrd=Path("/i"),
        enable=("a.service",),
        modes=(Owned("/x", 0o640, "root:web"),),
    )
    assert plan.decode(plan.encode(todo)) == todo


def skeleton(directory: Path) -> Path:
    for name in ("forge/.keep", "web/page"):
        path = directory / "skeleton" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return directory


def recipe_with(modes: str) -> ImageRecipe:
    return replace(builds.small(modes), data_overlay="skeleton")


def asked(image: Path, path: str) -> str:
    words = ["/usr/sbin/debugfs", "-R", f"stat {path}", str(image)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@pytest.mark.real
def test_the_data_partition_has_its_owners_and_modes(tmp_path: Path) -> None:
    directory = skeleton(tmp_path)
    stages = builds.stages(tmp_path / "cache")
    made = data_image.make_data(recipe_with(MODES), directory, builds.EPOCH_S, stages)
    image = made / data_image.IMAGE
    assert image.stat().st_size == 32 << 20
    assert "Mode:  0711" in asked(image, "/forge")
    page = asked(image, "/web/page")
    assert "Mode:  0640" in page
    assert "User:     0   Group:   111" in page
    assert sorted(path.name for path in made.iterdir()) == [data_image.IMAGE]


@pytest.mark.real
def test_a_stage_is_made_once_and_again_when_its_inputs_change(tmp_path: Path) -> None:
    directory = skeleton(tmp_path)
    stages = builds.stages(tmp_path / "cache")
    first = data_image.make_data(recipe_with(MODES), directory, builds.EPOCH_S, stages)
    assert data_image.make_data(recipe_with(MODES), directory, builds.EPOCH_S, stages) == first
    assert len(stages.made) == 1
    (directory / "skeleton/web/page").write_text("y")
    assert data_image.make_data(recipe_with(MODES), directory, builds.EPOCH_S, stages) != first
    assert len(stages.made) == 2


@pytest.mark.real
def test_an_error_in_the_namespace_is_raised_as_it_was(tmp_path: Path) -> None:
    directory = skeleton(tmp_path)
    wrong = MODES.replace("/data/web/page", "/data/web/pgae")
    stages = builds.stages(tmp_path / "cache")
    with pytest.raises(RecipeError, match=r"small\.toml: modes\.path names web/pgae") as caught:
        data_image.make_data(recipe_with(wrong), directory, builds.EPOCH_S, stages)
    assert "let an overlay bring it" in caught.value.hint
    assert not list((tmp_path / "cache").glob("data-*"))


def test_an_owner_that_nobody_made(tmp_path: Path) -> None:
    wrong = MODES.replace("root:web", "root:wbe")
    with pytest.raises(RecipeError, match=r"modes\.owner names wbe") as caught:
        data_image.make_data(
            recipe_with(wrong), skeleton(tmp_path), builds.EPOCH_S, builds.stages(tmp_path / "c")
        )
    assert "did you mean web?" in caught.value.hint


@pytest.mark.real
def test_there_is_no_network_in_the_namespace(effects: Effects) -> None:
    command = Command(("/usr/bin/cat", "/proc/net/dev"))
    said = programs.run(namespace.enclosed(command), effects).stdout.decode()
    assert "lo:" in said
    assert len(said.splitlines()) == 3


@pytest.mark.real
def test_what_is_mounted_there_is_not_seen_here(tmp_path: Path, effects: Effects) -> None:
    words = ("/usr/bin/mount", "--types=tmpfs", "tmpfs", str(tmp_path))
    before = Path("/proc/self/mounts").read_text()
    programs.run(namespace.enclosed(Command(words)), effects)
    assert Path("/proc/self/mounts").read_text() == before


@pytest.mark.real
def test_a_plain_user_has_all_owners_and_removes_what_others_own(tmp_path: Path) -> None:
    user = builds.plain_user()
    if user is None:
        pytest.skip("needs root, and a user with subordinate ids to become")
    place = tmp_path / "closed"
    place.mkdir(mode=0o700)
    shutil.chown(place, user.uid, user.gid)
    for parent in place.parents[:-1]:
        parent.chmod(parent.stat().st_mode | 0o011)
    made = place / "made"
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from applianceforge.imaging import namespace\n"
        "from applianceforge.system import programs\n"
        "from applianceforge.system.effects import Effects\n"
        "from applianceforge.system.programs import Command\n"
        "made = Path(sys.argv[1])\n"
        "words = '/usr/bin/install -d -o 5 -g 7 -m 700'.split()\n"
        "words += [str(made), str(made / 'below')]\n"
        "programs.run(namespace.enclosed(Command(tuple(words))), Effects())\n"
        "print(made.stat().st_uid, made.stat().st_gid)\n"
        "namespace.remove_tree(made, Effects())\n"
        "print(made.exists())\n"
    )
    python = "/usr/bin/python3"  # Ours may lie where that user may not look.
    root = Path(namespace.__file__).parent.parent.parent
    said = subprocess.run(
        [python, "-c", script, str(made)],
        user=user.uid,
        group=user.gid,
        extra_groups=[],
        env={"PYTHONPATH": str(root), "HOME": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    owner, gone = said.stdout.splitlines()
    assert "0" not in owner.split()
    assert str(user.uid) not in owner.split()
    assert gone == "False"


def test_a_user_without_ids_is_told_how_to_get_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    monkeypatch.setattr(namespace, "_SUBORDINATES", (tmp_path / "subuid",))
    with pytest.raises(ProgramFailedError, match="gives the user 4242 no ids") as caught:
        namespace.check()
    assert "usermod --add-subuids" in caught.value.hint

"""What is wrong with a recipe, told before the time is spent."""

import stat
from dataclasses import replace

import pytest

from applianceforge.imaging import expected
from applianceforge.imaging.content import Entry, Tree, file_entry, tree_of
from applianceforge.imaging.recipe import ImageRecipe, Mode, Units
from applianceforge.model.errors import RecipeError
from tests.imaging import builds

NAMES = b"\0".join(
    one.encode()
    for one in (
        "d\t",
        "llib\tusr/lib",
        "dusr/lib/systemd/system\t",
        "fusr/lib/systemd/system/ssh.service\t",
        "lusr/lib/systemd/system/sshd.service\tssh.service",
        "fusr/lib/systemd/system/getty@.service\t",
        "fetc/init.d/old\t",
        "detc/ssl\t",
        "letc/ssl/certs\t/usr/share/certs",
        "",
    )
)
UNIT = b"[Unit]\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
PLACE = "usr/lib/systemd/system"


def content(**more: bytes) -> Tree:
    own = {f"{PLACE}/mine.service": UNIT, f"{PLACE}/shy.service": UNIT.split(b"[Install]")[0]}
    return tree_of(file_entry(name, text) for name, text in {**own, **more}.items())


def recipe(**changes: object) -> ImageRecipe:
    return replace(builds.small(), **changes)  # type: ignore[arg-type]


def told_of_content(wanted: ImageRecipe, tree: Tree) -> str:
    with pytest.raises(RecipeError, match=r"small\.toml") as caught:
        expected.check_content("small.toml", wanted, tree)
    return builds.told_by(caught.value)


def told_of_tree(wanted: ImageRecipe) -> str:
    with pytest.raises(RecipeError, match=r"small\.toml") as caught:
        expected.check_tree("small.toml", wanted, content(), NAMES)
    return builds.told_by(caught.value)


def test_a_unit_that_never_starts() -> None:
    said = told_of_content(recipe(units=Units(("shy.service", "mine.service"))), content())
    assert "units.enable has shy.service, which has no [Install] section" in said
    assert f"add one to {PLACE}/shy.service" in said


def test_overlays_that_no_slot_takes() -> None:
    said = told_of_content(recipe(slot_bytes=1 << 20), content(large=bytes(3 << 20)))
    assert "slot.size is 1MiB, but overlays alone have 3MiB" in said


def test_what_the_initial_ram_disk_should_have() -> None:
    wanted = recipe(initrd_paths=("/usr/lib/early", f"/{PLACE}/mine.service", "/usr/lib"))
    said = told_of_content(wanted, content())
    assert "boot.initrd_paths has /usr/lib/early, which no overlay brings" in said


def test_all_that_is_there_is_no_mistake() -> None:
    enabled = (
        "ssh.service",
        "sshd.service",
        "getty@tty1.service",
        "mine.service",
        "old.service",
    )
    wanted = recipe(
        units=Units(enabled),
        modes=(
            Mode("/lib/systemd/system/ssh.service", 0o600),
            Mode("/etc/ssl/certs/whatever", 0o600),
            Mode("/data/forge", 0o700),
            Mode("/usr/lib/i386/etc/x", 0o600),
        ),
        remove=("/etc/ssl", "/etc/nothing*", "/lib/systemd/system/mine.service"),
    )
    expected.check_content("small.toml", wanted, content())
    expected.check_tree("small.toml", wanted, content(), NAMES)


def test_a_unit_that_nobody_brings() -> None:
    said = told_of_tree(recipe(units=Units(("shh.service",))))
    assert "units.enable has shh.service, which no package and no overlay brings" in said
    assert "did you mean ssh.service?" in said


def test_paths_that_are_not_there() -> None:
    wanted = recipe(modes=(Mode("/etc/sll", 0o700),), remove=("/lib/systemd/systme", "/etc/old"))
    said = told_of_tree(wanted)
    assert "modes.path names /etc/sll, which is not there" in said
    assert "remove has /lib/systemd/systme, which matches nothing" in said
    assert "has 3 mistakes" in said


def test_behind_a_link_of_an_overlay_nothing_is_sure() -> None:
    tree = tree_of([*content().entries, Entry("srv", stat.S_IFLNK | 0o777, content=b"usr/lib")])
    wanted = recipe(modes=(Mode("/srv/systemd/system/ssh.service", 0o600),))
    expected.check_tree("small.toml", wanted, tree, NAMES)

"""A disk that gets full while an image is built: told as that, and the next build works."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from applianceforge.imaging import choice, packages, pool, recipes, slot_image, store
from applianceforge.imaging.content import tree_of
from applianceforge.imaging.packages import ROOT
from applianceforge.imaging.slot_image import Inputs
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import DiskFullError, ForgeError
from applianceforge.system.effects import Effects
from tests.appliance import cache
from tests.imaging import builds
from tests.imaging.test_slot_image import a_recipe, a_root, an_initrd


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "disk"
    directory.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "none", str(directory)]
    if subprocess.run(words, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root, to mount a small disk")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def resize(disk: Path, kib: int) -> None:
    words = ["mount", "-o", f"remount,size={kib}k", str(disk)]
    subprocess.run(words, check=True)


def left_on(disk: Path) -> list[str]:
    return [
        str(path.relative_to(disk))
        for path in disk.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    ]


def test_a_stage_that_finds_no_room_leaves_none(small_disk: Path, effects: Effects) -> None:
    def make(directory: Path) -> None:
        (directory / "first").write_bytes(bytes(30_000))
        (directory / "second").write_bytes(bytes(60_000))

    with pytest.raises(DiskFullError) as caught:
        store.obtain(small_disk, "entry-1", make, effects)
    assert str(small_disk) in caught.value.message
    assert left_on(small_disk) == []
    resize(small_disk, 128)
    assert (store.obtain(small_disk, "entry-1", make, effects) / "second").is_file()


@pytest.mark.real
def test_a_slot_that_finds_no_room(tmp_path: Path, small_disk: Path) -> None:
    recipe = a_recipe(tmp_path)
    root, initrd = a_root(tmp_path / "root"), an_initrd(tmp_path / "initrd")
    (tmp_path / "overlay/etc/bulk").write_bytes(bytes(range(256)) * 4000)
    subprocess.run(
        ["tar", "--append", f"--file={root / ROOT}", "-C", str(tmp_path / "overlay"), "./etc/bulk"],
        check=True,
    )
    inputs = Inputs(slot_image.content_of(recipe, tmp_path, builds.EPOCH_S), ())
    failed: dict[int, str] = {}
    for kib in (64, 512, 4 << 10, 6 << 10, 8 << 10, 9 << 10, 10 << 10, 12 << 10, 64 << 10):
        resize(small_disk, kib)
        try:
            slot_image.make_slot(
                recipe,
                root,
                initrd,
                inputs,
                builds.EPOCH_S,
                lambda _: root,
                builds.stages(small_disk / "cache"),
            )
        except ForgeError as error:
            assert isinstance(error, DiskFullError), (kib, builds.told_by(error))
            failed[kib] = error.message
            assert left_on(small_disk) == []
            continue
        break
    assert len(set(failed.values())) > 2, failed
    assert kib < 64 << 10


@pytest.mark.real
def test_packages_that_find_no_room(small_disk: Path, effects: Effects) -> None:
    """apt looks beforehand and says so in words of its own; dpkg is told by the kernel."""
    own = cache.directory()
    recipe = recipes.read(recipes.find("legacy"))
    wanted = choice.wanted_by(recipe, frozenset(Architecture))
    chosen = choice.choose(recipe, wanted, builds.stages(own), refresh=False).image
    with_them = pool.obtain(chosen, own, effects)
    size_kib = sum(one.size_bytes for one in chosen.packages) >> 10
    resize(small_disk, size_kib + (40 << 10))
    there = small_disk / "packages"
    there.mkdir()
    for one in chosen.packages:
        shutil.copy(with_them / one.file, there)
    with pytest.raises(DiskFullError) as caught:
        packages.install(recipe, chosen, tree_of(()), builds.stages(small_disk))
    said = builds.told_by(caught.value)
    assert "no space is left for the packages" in said
    assert f"make room in {small_disk}" in said
    assert not list(small_disk.glob("*root-*/*"))

"""A disk that gets full while an image is built: told as that, and the next build works."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from applianceforge.imaging import slot_image, store
from applianceforge.imaging.packages import ROOT
from applianceforge.imaging.slot_image import Inputs
from applianceforge.model.errors import DiskFullError, ForgeError
from applianceforge.system.effects import Effects
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

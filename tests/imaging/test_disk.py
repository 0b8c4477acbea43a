"""Whole disks: what lies where, that nothing depends on the build machine, and that they grow."""

import hashlib
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from applianceforge.formats import grub as grub_format
from applianceforge.formats import mbr
from applianceforge.imaging import disk, filesystem, filesystem_mend
from applianceforge.imaging.disk import BOOT_BYTES, MIB, DiskPlan
from applianceforge.model.errors import (
    DiskFullError,
    ProgramFailedError,
    RecipeError,
    SettingsError,
)
from applianceforge.slots import layout
from applianceforge.system import sparse
from applianceforge.system.effects import Effect, Effects
from tests.imaging import disks

pytestmark = pytest.mark.real
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[DiskPlan, Path]:
    return disks.write(tmp_path_factory.mktemp("disk"))


def part(raw: Path, number: int) -> bytes:
    record = mbr.decode(sparse.read_at(raw, 0, 512), raw.stat().st_size // 512)
    found = record.partition(number)
    assert found is not None
    return sparse.read_at(raw, found.first_byte, found.size_bytes)


def test_every_part_is_in_its_place(written: tuple[DiskPlan, Path]) -> None:
    plan, raw = written
    content = raw.read_bytes()
    record = mbr.decode(content[:512], len(content) // 512)
    assert record.code == plan.grub.code
    assert record.signature == plan.signature
    assert content[512 : 512 + len(plan.grub.gap)] == plan.grub.gap
    assert [one.first_sector for one in record.partitions] == [2048, 34816, 83968, 133120]
    assert len(content) == MIB + BOOT_BYTES + 2 * disks.SLOT_BYTES + disks.DATA_BYTES
    slot = plan.slot.read_bytes()
    assert part(raw, 2) == slot.ljust(disks.SLOT_BYTES, b"\0")
    assert part(raw, 3) == bytes(disks.SLOT_BYTES)
    assert part(raw, 4) == plan.data.read_bytes()


def test_grub_is_installed_as_its_own_files_say(written: tuple[DiskPlan, Path]) -> None:
    plan, raw = written
    gap = sparse.read_at(raw, 512, 2047 * 512)
    first = sparse.read_at(raw, 0, 512)
    boot_img, core_img = plan.boot_files["boot.img"], plan.boot_files["core.img"]
    assert grub_format.compare(first, gap[: len(plan.grub.gap)], boot_img, core_img) == ()
    assert not any(gap[len(plan.grub.gap) :])


def test_the_image_is_as_sparse_as_its_content(written: tuple[DiskPlan, Path]) -> None:
    _, raw = written
    content = raw.read_bytes()
    blocks = sum(any(content[at : at + 4096]) for at in range(0, len(content), 4096))
    assert raw.stat().st_blocks * 512 <= blocks * 4096 + 64 * 1024


def test_grub_reads_every_boot_file(written: tuple[DiskPlan, Path]) -> None:
    plan, raw = written
    for name, content in plan.boot_files.items():
        done = subprocess.run(
            ["/usr/bin/grub-fstest", raw, "cat", f"(loop0,msdos1)/{name}"],
            capture_output=True,
            check=True,
        )
        assert done.stdout == content, name


def test_what_is_written_while_booting_lies_in_a_row(
    written: tuple[DiskPlan, Path], tmp_path: Path
) -> None:
    _, raw = written
    boot = tmp_path / "boot.img"
    boot.write_bytes(part(raw, 1))
    for name in (*layout.ENVIRONMENT_COPIES, layout.GOOD_MARKER):
        said = subprocess.run(
            ["/usr/sbin/debugfs", "-R", f"stat /{name}", boot], capture_output=True, check=True
        ).stdout.decode()
        # One block, so one sector pair; the size is that of the content.
        assert "Blockcount: 2" in said
        assert "(0):" in said
        assert "Size: 1024" in said


def test_two_disks_from_two_places_are_equal(
    written: tuple[DiskPlan, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first = written
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    old = os.umask(0o077)
    try:
        _, second = disks.write(tmp_path)
    finally:
        os.umask(old)
    digests = [hashlib.sha256(raw.read_bytes()).hexdigest() for raw in (first, second)]
    assert digests[0] == digests[1]
    assert second.stat().st_mode & 0o777 == 0o644


def test_another_name_makes_another_disk() -> None:
    assert disk.signature_of("legacy") != disk.signature_of("current")
    assert disk.uuid_of("legacy", "boot") != disk.uuid_of("legacy", "data")


GROWING = ROOT / "images/overlay-before/usr/lib/applianceforge/initrd/init"


def grow(place: Path, raw: Path, size_bytes: int) -> tuple[bytes, bytes]:
    """Let the initial RAM disk's own shell function grow partition 4 of a copy of a disk.

    Returns:
        The first MiB before and after.
    """
    text = GROWING.read_text()
    functions = text[text.index("grow_data() {") : text.index('[ -z "$data" ] || grow_data')]
    grown = place / "dev/sda"
    grown.parent.mkdir()
    sparse.create(grown, size_bytes, Effects())
    sparse.copy_into(raw, grown, 0, Effects())
    before = sparse.read_at(grown, 0, MIB)
    last = mbr.decode(before[:512]).partitions[3]
    for name, value in (
        ("sda/size", size_bytes // 512),
        ("sda/sda4/start", last.first_sector),
        ("sda/sda4/size", last.sectors),
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(f"{value}\n")
    # No kernel has the file as its disk, so none can read its table again.
    script = f"""set -u
disk={place}/sda data={place}/sda/sda4
say() {{ echo "$*" >&2; exit 1; }}
blockdev() {{ echo "$*" >>{place}/asked; }}
{functions.replace("/dev/", f"{place}/dev/").replace(f"{place}/dev/null", "/dev/null")}
grow_data
"""
    subprocess.run(["/usr/bin/busybox", "sh", "-c", script], check=True, capture_output=True)
    return before, sparse.read_at(grown, 0, MIB)


@pytest.mark.parametrize(
    ("size_bytes", "sectors"),
    [
        (3 << 30, (3 << 30) // 512 - 133120),
        (3 << 40, 0xFFFFFFFF - 133120),
    ],
)
def test_growing_the_last_partition_changes_four_bytes(
    written: tuple[DiskPlan, Path], tmp_path: Path, size_bytes: int, sectors: int
) -> None:
    """The boot loader, the signature and the other partitions stay byte for byte."""
    _, raw = written
    before, after = grow(tmp_path, raw, size_bytes)
    changed = [at for at in range(MIB) if before[at] != after[at]]
    assert changed
    assert set(changed) <= set(range(506, 510))
    record = mbr.decode(before[:512])
    now = mbr.decode(after[:512], size_bytes // 512)
    assert now.partitions[:3] == record.partitions[:3]
    assert now.partitions[3] == replace(record.partitions[3], sectors=sectors)
    assert (tmp_path / "asked").read_text() == f"--rereadpt {tmp_path}/dev/sda\n"


def test_a_disk_without_more_room_is_left_alone(
    written: tuple[DiskPlan, Path], tmp_path: Path
) -> None:
    _, raw = written
    before, after = grow(tmp_path, raw, raw.stat().st_size + MIB - 512)
    assert before == after
    assert not (tmp_path / "asked").exists()


def test_the_grown_disk_is_what_sfdisk_reads_and_resize2fs_fills(
    written: tuple[DiskPlan, Path], tmp_path: Path
) -> None:
    _, raw = written
    _, after = grow(tmp_path, raw, 3 << 30)
    last = mbr.decode(after[:512]).partitions[3]
    said = subprocess.run(
        ["/usr/sbin/sfdisk", "--dump", tmp_path / "dev/sda"], check=True, capture_output=True
    ).stdout.decode()
    assert f"start={last.first_sector:>12}, size={last.sectors:>12}, type=83" in said
    data = tmp_path / "data"
    data.write_bytes(part(raw, 4))
    with open(data, "r+b") as stream:
        stream.truncate(last.size_bytes)
    subprocess.run(["/usr/sbin/resize2fs", data], check=True, capture_output=True)
    filesystem.check(data, Effects())
    assert filesystem_mend.read_superblock(data).size_bytes > last.size_bytes - MIB


def test_a_slot_that_is_too_small_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    plan = disks.plan(tmp_path, slot_bytes=3 * MIB)
    effects: list[Effect] = []
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RecipeError) as caught:
        disk.write(plan, tmp_path / "x.raw", Effects(effects.append))
    assert "slot.size is 3MiB" in caught.value.message
    assert 'size = "64MiB"' in caught.value.hint
    assert effects == []
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("slot_bytes", "data_bytes", "said"),
    [
        (24 * MIB + 512, 16 * MIB, "write slot.size as 25MiB"),
        (0, 16 * MIB, "write slot.size as 1MiB"),
        (24 * MIB, 1000, "write data.size as 1MiB"),
        (1 << 40, 1 << 40, "make them smaller"),
    ],
)
def test_odd_sizes_are_refused(slot_bytes: int, data_bytes: int, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        disk.partitions_of(slot_bytes, data_bytes)
    assert said in caught.value.hint


def test_a_file_with_a_hole_is_refused(tmp_path: Path) -> None:
    """GRUB cannot allocate a block: what it writes must have all of them."""
    plan = disks.plan(tmp_path)
    files = dict(plan.boot_files) | {layout.ENVIRONMENT_COPIES[0]: bytes(1024)}
    with pytest.raises(ProgramFailedError, match="lies in the blocks none"):
        disk.write(replace(plan, boot_files=files), tmp_path / "x.raw", Effects())
    assert not (tmp_path / "x.raw").exists()


def test_boot_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    plan = disks.plan(tmp_path)
    files = dict(plan.boot_files) | {"large": os.urandom(BOOT_BYTES)}
    with pytest.raises(RecipeError, match="does not fit into 16 MiB"):
        disk.write(replace(plan, boot_files=files), tmp_path / "x.raw", Effects())
    assert not list(tmp_path.glob("*.raw*"))
    assert not list(tmp_path.glob(".*"))


def test_a_missing_part_is_refused(tmp_path: Path) -> None:
    plan = disks.plan(tmp_path)
    plan.data.unlink()
    with pytest.raises(SettingsError, match=r"data\.img"):
        disk.write(plan, tmp_path / "x.raw", Effects())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_full_disk_leaves_the_old_image(tmp_path: Path) -> None:
    plan = disks.plan(tmp_path)
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        (small / "x.raw").write_text("the old one")
        with pytest.raises(DiskFullError):
            disk.write(plan, small / "x.raw", Effects())
        assert [path.name for path in small.iterdir()] == ["x.raw"]
        assert (small / "x.raw").read_text() == "the old one"
    finally:
        subprocess.run(["/bin/umount", small], check=True)

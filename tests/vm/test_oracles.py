"""The judgement of disks: a small disk of real file systems, whole and damaged in each way."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from applianceforge.formats import bootenv, mbr
from applianceforge.formats.bootenv import FACTORY, KNOWN_GOOD, Environment, SlotVariables
from applianceforge.formats.mbr import Partition
from applianceforge.model.architecture import Architecture
from applianceforge.slots import layout
from applianceforge.slots.layout import Slot
from tests.vm import oracles, power_cuts
from tests.vm.crash_states import Effort
from tests.vm.oracles import GrubView, System
from tests.vm.write_log import Flags, WriteLog, Written, decode, encode

if shutil.which("mke2fs", path="/usr/sbin:/sbin:/usr/bin") is None:
    pytest.skip("needs e2fsprogs", allow_module_level=True)

MIB = 1 << 20
SLOT_BYTES = 64 * 1024
PARTITIONS = (
    Partition(1, 2048, 4 * 2048, active=True),
    Partition(2, 5 * 2048, 2048),
    Partition(3, 6 * 2048, 2048),
    Partition(4, 7 * 2048, 8 * 2048),
)
OLD, NEW = (random.Random(seed).randbytes(SLOT_BYTES) for seed in (1, 2))
SYSTEMS = {
    Slot.A: [System(Architecture.I386, OLD)],
    Slot.B: [System(Architecture.AMD64, NEW)],
}
BOTH = Environment(2, "b", KNOWN_GOOD, SlotVariables(True, 3, False))


def file_system(kind: str, directory: Path, size_bytes: int, image: Path) -> bytes:
    words = ["-q", "-F", "-t", kind, "-b", "1024", "-d", str(directory), str(image)]
    subprocess.run(["/usr/sbin/mke2fs", *words, str(size_bytes // 1024)], check=True)
    return image.read_bytes()


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a disk with the old system in slot a, and nothing in slot b."""
    place = tmp_path_factory.mktemp("disk")
    (place / "boot").mkdir()
    (place / "data").mkdir()
    for name in layout.ENVIRONMENT_COPIES:
        (place / "boot" / name).write_bytes(bootenv.encode(FACTORY))
    (place / "boot" / layout.GOOD_MARKER).write_bytes(bootenv.encode_marker("a"))
    (place / "data" / "rows").write_bytes(b"row\n" * 1000)
    disk = bytearray(15 * MIB)
    disk[:512] = mbr.encode(mbr.Mbr(bytes(mbr.CODE_BYTES), 0x5EED, PARTITIONS))
    put(disk, 1, file_system("ext2", place / "boot", 4 * MIB, place / "boot.img"))
    put(disk, 2, OLD)
    put(disk, 4, file_system("ext4", place / "data", 8 * MIB, place / "data.img"))
    return bytes(disk)


def put(disk: bytearray, number: int, content: bytes) -> None:
    at = PARTITIONS[number - 1].first_byte
    disk[at : at + len(content)] = content


def places(fresh: bytes) -> list[int]:
    """Return where both copies of the environment lie."""
    factory = bootenv.encode(FACTORY)
    first = fresh.index(factory)
    return [first, fresh.index(factory, first + 1)]


def test_whole_disk_is_right(fresh: bytes) -> None:
    disk = bytearray(fresh)
    assert GrubView(disk, SYSTEMS).problems() == []
    put(disk, 3, NEW)
    at = places(fresh)[1]
    disk[at : at + 1024] = bootenv.encode(BOTH)
    assert GrubView(disk, SYSTEMS).problems() == []
    assert oracles.linux_problems(disk) == []


def test_started_slot_must_be_whole(fresh: bytes) -> None:
    disk = bytearray(fresh)
    view = GrubView(disk, SYSTEMS)
    at = places(fresh)[1]
    disk[at : at + 1024] = bootenv.encode(BOTH)
    view.changed(at, 1024)
    assert view.problems() == ["slot b starts (try), and 128 of its sectors are wrong"]
    # On a processor without long mode slot b is passed over.
    assert GrubView(disk, SYSTEMS, long_mode=False).problems() == []
    put(disk, 3, NEW)
    view.changed(PARTITIONS[2].first_byte, SLOT_BYTES)
    assert view.problems() == []
    disk[PARTITIONS[2].first_byte + SLOT_BYTES - 1] ^= 1
    view.changed(PARTITIONS[2].first_byte + SLOT_BYTES - 1, 1)
    assert view.problems() == ["slot b starts (try), and 1 of its sectors are wrong"]


def test_nothing_starts_without_copies_and_marker(fresh: bytes) -> None:
    disk = bytearray(fresh)
    for at in places(fresh):
        disk[at : at + 1024] = bytes(1024)
    assert GrubView(disk, SYSTEMS).problems() == []
    at = fresh.index(bootenv.encode_marker("a"))
    disk[at : at + 1024] = bytes(1024)
    assert GrubView(disk, SYSTEMS).problems() == ["nothing starts: copies-lost"]
    problems = oracles.linux_problems(disk)
    assert problems == ["no copy of the boot environment is complete after the repair"]
    start = PARTITIONS[0].first_byte
    disk[start : start + MIB] = bytes(MIB)
    assert GrubView(disk, SYSTEMS).problems() == ["nothing starts: copies-lost"]


def test_repair_that_fails_is_told(fresh: bytes, tmp_path: Path) -> None:
    image = tmp_path / "data"
    part = PARTITIONS[3]
    oracles.extract(bytearray(fresh), part.first_byte, part.size_bytes, image)
    assert image.read_bytes() == fresh[part.first_byte :][: part.size_bytes]
    assert oracles.fsck_problems(image) == []
    with image.open("r+b") as stream:
        stream.write(bytes(MIB * 7))
    assert any("ended with status" in problem for problem in oracles.fsck_problems(image))


def installed(fresh: bytes) -> tuple[bytes, WriteLog]:
    """Return the record of an installation: shut, written, flushed, activated, marked good."""
    first, second = places(fresh)
    flush = Written(0, flags=Flags.FLUSH)

    def environment(at: int, generation: int, primary: str, b: SlotVariables) -> list[Written]:
        content = bootenv.encode(Environment(generation, primary, KNOWN_GOOD, b))
        return [Written(at // 512, content), flush]

    slot = PARTITIONS[2].first_sector
    chunks = range(0, SLOT_BYTES, 8192)
    record = encode(
        [
            *environment(second, 2, "a", bootenv.NOT_BOOTABLE),
            *(Written(slot + at // 512, NEW[at : at + 8192]) for at in chunks),
            flush,
            *environment(first, 3, "b", SlotVariables(True, 3, False)),
            *environment(second, 4, "b", KNOWN_GOOD),
        ]
    )
    return record, decode(record, len(fresh))


def test_installation_survives_every_cut_and_planted_bugs_do_not(fresh: bytes) -> None:
    record, log = installed(fresh)
    effort = Effort(subsets=10, torn=10)
    judged = power_cuts.judge(bytearray(fresh), record, log, SYSTEMS, effort)
    assert judged.problems == ()
    assert judged.states > 35
    found = oracles.partitions_of(bytearray(fresh))
    for planted in (
        power_cuts.without_flushes(log),
        power_cuts.activated_first(log, found[1], found[3]),
    ):
        bad = power_cuts.judge(bytearray(fresh), record, planted, SYSTEMS, effort)
        assert bad.problems
        assert all("slot b starts" in problem for _, problem in bad.problems)

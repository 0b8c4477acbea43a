"""Look into a disk image: what lies where, what each slot holds, and which one would boot.

Nothing is mounted and nothing is written. What is no raw image is unpacked into a temporary file
first. An image from elsewhere may hold anything: no kind is guessed by other programs, and none
that names a further file is opened.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from applianceforge.formats import bootenv, grub, mbr, vhd
from applianceforge.formats.bootenv import Environment
from applianceforge.formats.ext import Superblock
from applianceforge.formats.ext_files import Reader
from applianceforge.formats.mbr import SECTOR_BYTES, Partition
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import SlotError
from applianceforge.slots import description, layout, selector, states
from applianceforge.slots.description import Description
from applianceforge.slots.layout import Slot
from applianceforge.slots.selector import Choice
from applianceforge.slots.states import State
from applianceforge.system import programs, sparse
from applianceforge.system.effects import Effects
from applianceforge.system.files import named_errors, open_seekable
from applianceforge.system.programs import Command

_QEMU_IMG = "/usr/bin/qemu-img"
_MAGICS = ((b"QFI\xfb", "qcow2"), (b"KDMV", "vmdk"))
_TAR_AT, _TAR_MAGIC = 257, b"ustar"
_LARGEST_FILE_BYTES = 1 << 20
_ROLES = {
    layout.BOOT_PARTITION: "boot",
    Slot.A.partition: "slot a",
    Slot.B.partition: "slot b",
    layout.DATA_PARTITION: "data",
}


@dataclass(frozen=True)
class PartitionFacts:
    """What is known of one partition.

    Attributes:
        place: Where it lies.
        role: What it is for, such as "slot a".
        file_system: What its file system says of itself; None if there is none.
        holds: What the slot in it says of itself; None if it is no slot, or an empty one.
        state: What the boot environment says of the slot; None if it is no slot.
        problem: Why its content cannot be read; "" if it can, or is empty.
    """

    place: Partition
    role: str
    file_system: Superblock | None
    holds: Description | None
    state: State | None
    problem: str


@dataclass(frozen=True)
class DiskFacts:
    """What is known of a disk image.

    Attributes:
        path: The file.
        kind: "raw", "qcow2", "vmdk" or "vhd".
        file_bytes: What the file takes on this disk.
        size_bytes: The size of the disk in it.
        signature: In its MBR.
        loader: How its boot loader differs from GRUB's files on the boot partition.
        partitions: In the order of their numbers.
        copies: Both copies of the boot environment, as GRUB reads them; None is not complete.
        counts: The index of the copy that counts; None if none does.
        with_long_mode: What GRUB would do on a 64-bit processor.
        without: What it would do on a 32-bit processor.
    """

    path: Path
    kind: str
    file_bytes: int
    size_bytes: int
    signature: int
    loader: tuple[str, ...]
    partitions: tuple[PartitionFacts, ...]
    copies: tuple[Environment | None, ...]
    counts: int | None
    with_long_mode: Choice
    without: Choice


def look(path: Path, effects: Effects) -> DiskFacts:
    """Look into a disk image.

    Args:
        path: A raw image, qcow2, vmdk or vhd.
        effects: Told of programs that are started.

    Raises:
        SlotError: It is no image of a disk, or a damaged one.
        SettingsError: It is not there.
        ProgramMissingError: It is not raw, and qemu-img is not installed.
        ProgramFailedError: It cannot be unpacked.
    """
    path = path.absolute()
    with named_errors(path, "read"):
        # Nothing that waits for somebody, such as a pipe.
        os.close(open_seekable(path))
        file_bytes = path.stat().st_blocks * SECTOR_BYTES
    kind = _kind(path)
    with _raw(path, kind, effects) as (raw, size_bytes):
        return _look(path, kind, file_bytes, raw, size_bytes)


def _kind(path: Path) -> str:
    head = sparse.read_at(path, 0, SECTOR_BYTES)
    for magic, kind in _MAGICS:
        if head.startswith(magic):
            return kind
    if head[_TAR_AT : _TAR_AT + len(_TAR_MAGIC)] == _TAR_MAGIC:
        raise SlotError(
            f"{path} is an archive, not a disk",
            hint=f"unpack it (tar -xf {path.name}), then name the .vmdk that was in it",
        )
    tail = sparse.read_at(path, max(0, path.stat().st_size - vhd.FOOTER_BYTES), vhd.FOOTER_BYTES)
    return "vhd" if tail.startswith(b"conectix") else "raw"


@contextmanager
def _raw(path: Path, kind: str, effects: Effects) -> Iterator[tuple[Path, int]]:
    """Yield a file with the disk's bytes from its beginning, and the disk's size."""
    if kind == "raw":
        yield path, path.stat().st_size
        return
    if kind == "vhd":
        at = path.stat().st_size - vhd.FOOTER_BYTES
        footer = vhd.decode(sparse.read_at(path, at, vhd.FOOTER_BYTES), str(path))
        if footer.kind == vhd.FIXED:
            if footer.size_bytes != at:
                raise SlotError(
                    f"{path} says that it holds {footer.size_bytes} bytes, and there are {at}",
                    hint="it was cut short: copy or build it again",
                )
            yield path, at
            return
    format_name = "vpc" if kind == "vhd" else kind
    about = json.loads(
        programs.run(
            Command((_QEMU_IMG, "info", "--output=json", "-f", format_name, str(path))), effects
        ).stdout
    )
    if "backing-filename" in about or "data-file" in str(about.get("format-specific", "")):
        raise SlotError(
            f"{path} is only a part of a disk: it needs another file",
            hint="name an image that is whole",
        )
    with tempfile.TemporaryDirectory(prefix="show-") as name:
        raw = Path(name, "disk.raw")
        words = (_QEMU_IMG, "convert", "-f", format_name, "-O", "raw", str(path), str(raw))
        programs.run(Command(words), effects)
        yield raw, raw.stat().st_size


def _look(path: Path, kind: str, file_bytes: int, raw: Path, size_bytes: int) -> DiskFacts:
    first = sparse.read_at(raw, 0, SECTOR_BYTES)
    record = mbr.decode(first, size_bytes // SECTOR_BYTES, str(path))
    found = []
    boot: Reader | None = None
    for place in record.partitions:
        reader, problem = _reader(raw, place, path)
        if place.number == layout.BOOT_PARTITION:
            boot = reader
        found.append((place, reader, problem))
    env1, env2 = (_file(boot, name) for name in layout.ENVIRONMENT_COPIES)
    marker = _file(boot, layout.GOOD_MARKER)
    copies = (bootenv.complete(env1), bootenv.complete(env2))
    counts = bootenv.newest((env1, env2))
    environment = None if counts is None else copies[counts]
    partitions = tuple(_facts(*one, environment) for one in found)
    holds = {one.place.number: one.holds for one in partitions}
    archs: dict[Slot, Architecture | None] = {}
    for slot in Slot:
        known = holds.get(slot.partition)
        archs[slot] = known.architecture if known else None
    return DiskFacts(
        path,
        kind,
        file_bytes,
        size_bytes,
        record.signature,
        _loader(raw, first, boot),
        partitions,
        copies,
        counts,
        selector.choose(env1, env2, marker, archs, True),
        selector.choose(env1, env2, marker, archs, False),
    )


def _reader(raw: Path, place: Partition, path: Path) -> tuple[Reader | None, str]:
    def read(at: int, size: int) -> bytes:
        size = min(size, place.size_bytes - at)
        return sparse.read_at(raw, place.first_byte + at, size) if size > 0 else b""

    if not any(read(0, 4096)):
        return None, ""
    try:
        return Reader(read, f"partition {place.number} of {path.name}"), ""
    except SlotError as error:
        return None, error.message


def _file(reader: Reader | None, name: str) -> bytes:
    if reader is None:
        return b""
    try:
        return reader.file(name, _LARGEST_FILE_BYTES)
    except SlotError:
        return b""


def _facts(
    place: Partition, reader: Reader | None, problem: str, environment: Environment | None
) -> PartitionFacts:
    role = _ROLES[place.number]
    slot = next((one for one in Slot if one.partition == place.number), None)
    holds, state = None, None
    if slot is not None:
        state = None if environment is None else states.state_of(environment, slot)
        if reader is not None:
            try:
                content = reader.file(layout.DESCRIPTION, _LARGEST_FILE_BYTES)
                holds = description.decode(content, layout.DESCRIPTION)
            except SlotError as error:
                problem = error.message
    system = None if reader is None else reader.superblock
    return PartitionFacts(place, role, system, holds, state, problem)


def _loader(raw: Path, first: bytes, boot: Reader | None) -> tuple[str, ...]:
    boot_img, core_img = (_file(boot, name) for name in ("boot.img", "core.img"))
    if not boot_img or not core_img:
        return ("the boot partition has no boot.img and core.img to compare it with",)
    at = grub.core_sector(first)
    core = sparse.read_at(raw, at * SECTOR_BYTES, grub.LARGEST_CORE_BYTES) if at else b""
    size = -(-len(core_img) // SECTOR_BYTES) * SECTOR_BYTES
    return grub.compare(first, core[:size], boot_img, core_img)

"""Write a whole disk as a raw image: boot loader, partition table, and what is in each partition.

    sector 0         GRUB's boot code, signature, partition table
    sector 1         GRUB's core image, up to the first partition
    sector 2048      1 boot    ext2, 16 MiB, active
    then, each at a whole MiB, with nothing between them
                     2 slot a  the slot image, and zeros
                     3 slot b  zeros
                     4 data    the data image

The last partition ends where the disk ends, so that growing it is a change of one number. A disk is
whole MiB, as Azure asks for. Blocks of zeros are holes of the image file.
"""

import hashlib
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid5

from applianceforge.formats import grub, mbr
from applianceforge.formats.mbr import SECTOR_BYTES, Mbr, Partition
from applianceforge.imaging import filesystem
from applianceforge.imaging.filesystem import Kind
from applianceforge.model.errors import ProgramFailedError, RecipeError
from applianceforge.slots import layout
from applianceforge.slots.layout import Slot
from applianceforge.system import files, programs, sparse
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command

MIB = 1 << 20
BOOT_BYTES = 16 * MIB
FIRST_SECTOR = 2048

_DEBUGFS = "/usr/sbin/debugfs"
# All identifiers on our disks follow from this and a name.
_NAMESPACE = UUID("6f3b3f0c-3a52-5d0e-9a0c-0d0e8a1f7c11")
_LARGEST_BYTES = 2 << 40


@dataclass(frozen=True)
class DiskPlan:
    """What a disk is made of.

    Attributes:
        name: What messages call it, and what its boot file system's UUID follows from.
        signature: In the MBR; the kernel finds partitions by it.
        grub: GRUB as it lies on the disk.
        boot_files: The boot partition's files by name, all in its root directory.
        slot: The image for slot a.
        slot_bytes: The size of each slot.
        data: The image for the data partition, which gets its size.
        epoch_s: The time of all that is on the boot partition.
    """

    name: str
    signature: int
    grub: grub.Placed
    boot_files: Mapping[str, bytes]
    slot: Path
    slot_bytes: int
    data: Path
    epoch_s: int


def signature_of(name: str) -> int:
    """Return the disk signature for a name; never 0, which some systems replace."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") or 1


def uuid_of(name: str, what: str) -> UUID:
    """Return the UUID of a part of a disk, such as "data"."""
    return uuid5(_NAMESPACE, f"{name}/{what}")


def partitions_of(slot_bytes: int, data_bytes: int) -> tuple[Partition, ...]:
    """Return the partitions of a disk.

    Args:
        slot_bytes: The size of each slot.
        data_bytes: The size of the data partition.

    Raises:
        RecipeError: A size is no whole number of MiB, or the disk is larger than an MBR reaches.
    """
    sizes = (
        ("the boot partition", BOOT_BYTES),
        ("slot.size", slot_bytes),
        ("slot.size", slot_bytes),
        ("data.size", data_bytes),
    )
    for key, size in sizes:
        if size <= 0 or size % MIB:
            raise RecipeError(
                f"{key} is {size} bytes, which is no whole number of MiB",
                hint=f"write {key} as {max(1, math.ceil(size / MIB))}MiB",
            )
    if FIRST_SECTOR * SECTOR_BYTES + sum(size for _, size in sizes) > _LARGEST_BYTES:
        raise RecipeError(
            "slot.size and data.size make a disk that is larger than the 2 TiB of an MBR",
            hint="make them smaller; the data partition grows at first boot anyway",
        )
    found, first = [], FIRST_SECTOR
    for number, (_, size) in enumerate(sizes, 1):
        sectors = size // SECTOR_BYTES
        found.append(Partition(number, first, sectors, active=number == layout.BOOT_PARTITION))
        first += sectors
    return tuple(found)


def require_room(name: str, slot: Path, slot_bytes: int) -> None:
    """Refuse a slot image that is larger than the slot, before anything is written.

    Args:
        name: The recipe's.
        slot: The slot image.
        slot_bytes: The size of each slot.

    Raises:
        RecipeError: It does not fit.
    """
    with files.named_errors(slot, "read"):
        needed = slot.stat().st_size
    if needed > slot_bytes:
        enough = math.ceil(needed * 1.1 / (64 * MIB)) * 64
        raise RecipeError(
            f"{name}: slot.size is {slot_bytes // MIB}MiB, but the system needs"
            f" {math.ceil(needed / MIB)}MiB",
            hint=f'write size = "{enough}MiB" in [slot], or take packages or files out',
        )


def write(plan: DiskPlan, raw: Path, effects: Effects) -> Mbr:
    """Write a disk image; it appears under its name when it is whole.

    Returns:
        Its boot record.

    Raises:
        RecipeError: The system does not fit into a slot, or a size is none that a disk can have.
        DiskFullError: The image does not fit on the build machine.
        SettingsError: A part is not there.
        ProgramFailedError: The boot partition cannot be made.
    """
    require_room(plan.name, plan.slot, plan.slot_bytes)
    with files.named_errors(plan.data, "read"):
        data_bytes = plan.data.stat().st_size
    partitions = partitions_of(plan.slot_bytes, data_bytes)
    if (len(plan.grub.gap) + SECTOR_BYTES) > partitions[0].first_byte:
        raise RecipeError(
            f"GRUB's core image has {len(plan.grub.gap)} bytes, more than lie before partition 1",
            hint="take modules out of it",
        )
    record = Mbr(plan.grub.code, plan.signature, partitions)
    by_number = {one.number: one.first_byte for one in partitions}
    staging = raw.with_name(f".{raw.name}.new")
    try:
        with tempfile.TemporaryDirectory(prefix=".disk-", dir=raw.parent) as name:
            boot = Path(name, "boot.img")
            make_boot(plan, boot, effects)
            sparse.create(staging, partitions[-1].end_sector * SECTOR_BYTES, effects, mode=0o644)
            sparse.write_at(staging, 0, mbr.encode(record), effects)
            sparse.write_at(staging, SECTOR_BYTES, plan.grub.gap, effects)
            for image, number in (
                (boot, layout.BOOT_PARTITION),
                (plan.slot, Slot.A.partition),
                (plan.data, layout.DATA_PARTITION),
            ):
                sparse.copy_into(image, staging, by_number[number], effects)
        files.sync_file(staging, effects)
        files.rename(staging, raw, effects)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise
    return record


def make_boot(plan: DiskPlan, image: Path, effects: Effects) -> None:
    """Make the file system of the boot partition, and see that no write to it can need a block.

    Raises:
        RecipeError: The files do not fit.
        ProgramFailedError: A file that is written while booting has a hole or is in pieces.
    """
    with tempfile.TemporaryDirectory(prefix=".boot-", dir=image.parent) as name:
        source = Path(name)
        source.chmod(0o755)
        for file, content in plan.boot_files.items():
            with files.named_errors(source / file, "write"):
                (source / file).write_bytes(content)
                (source / file).chmod(0o644)
        filesystem.make(
            Kind.BOOT,
            source,
            image,
            BOOT_BYTES,
            uuid_of(plan.name, "boot"),
            "boot",
            plan.epoch_s,
            effects,
        )
    for file in (*layout.ENVIRONMENT_COPIES, layout.GOOD_MARKER):
        if file in plan.boot_files:
            _require_in_a_row(image, file, len(plan.boot_files[file]), effects)


def _require_in_a_row(image: Path, file: str, size_bytes: int, effects: Effects) -> None:
    """See that a file has all its blocks, one after the other."""
    command = Command((_DEBUGFS, "-R", f"blocks /{file}", str(image)))
    said = programs.run(command, effects).stdout.decode(errors="replace")
    blocks = [int(word) for word in said.split() if word.isdecimal()]
    wanted = -(-size_bytes // Kind.BOOT.block_bytes)
    if not blocks or blocks != list(range(blocks[0], blocks[0] + wanted)):
        raise ProgramFailedError(
            f"the file {file} of the boot partition lies in the blocks {said.strip() or 'none'}",
            hint=f"it must lie in {wanted} blocks in a row: keep each block of it from being all"
            " zeros",
        )

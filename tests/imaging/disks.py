"""A small disk with two slots, as tests of several modules need it."""

from pathlib import Path

from applianceforge.imaging import disk, filesystem, grub
from applianceforge.imaging.disk import MIB, DiskPlan
from applianceforge.imaging.filesystem import Kind
from applianceforge.system.effects import Effects

EPOCH_S = 1_700_000_000
NAME = "small"
SLOT_BYTES = 24 * MIB
DATA_BYTES = 16 * MIB


def plan(place: Path, *, slot_bytes: int = SLOT_BYTES) -> DiskPlan:
    """Make the parts of a disk in a directory."""
    effects = Effects()
    tree = place / "tree"
    (tree / "boot").mkdir(parents=True)
    (tree / "boot/vmlinuz").write_bytes(b"kernel " * 200_000)
    for path, mode in ((tree, 0o755), (tree / "boot", 0o755), (tree / "boot/vmlinuz", 0o644)):
        path.chmod(mode)
    slot, data = place / "slot.img", place / "data.img"
    filesystem.make(
        Kind.SLOT, tree, slot, None, disk.uuid_of(NAME, "slot"), "slot", EPOCH_S, effects
    )
    filesystem.make(
        Kind.DATA, None, data, DATA_BYTES, disk.uuid_of(NAME, "data"), "data", EPOCH_S, effects
    )
    core = grub.core_image(effects)
    signature = disk.signature_of(NAME)
    return DiskPlan(
        NAME,
        signature,
        grub.install(core),
        grub.boot_files(signature, core),
        slot,
        slot_bytes,
        data,
        EPOCH_S,
    )


def write(place: Path) -> tuple[DiskPlan, Path]:
    """Write a disk into a directory; return what it was made of, and its image."""
    made = plan(place)
    raw = place / f"{NAME}.raw"
    disk.write(made, raw, Effects())
    return made, raw

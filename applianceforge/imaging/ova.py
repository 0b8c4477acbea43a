"""Pack a virtual machine into one file: descriptor, manifest and disk in a tar archive.

The order is that of the specification, so that a reader can work while it receives. No time, user
or mode of the build machine is in it.

Source: DMTF DSP0243 1.1.1, 5.1 (package structure, manifest) and 5.3 (distribution as one file).
"""

import hashlib
import io
import tarfile
from pathlib import Path

from applianceforge.imaging import ovf
from applianceforge.imaging.ovf import Disk, Machine
from applianceforge.model.errors import SettingsError
from applianceforge.system.effects import EffectKind, Effects
from applianceforge.system.files import named_errors

# What a tar archive of the kind that the specification names (ustar) can say.
_LARGEST_BYTES = 8 << 30


def write(
    machine: Machine,
    vmdk: Path,
    disk_bytes: int,
    target: Path,
    epoch_s: int,
    effects: Effects,
) -> None:
    """Write an .ova file.

    Args:
        machine: What it describes.
        vmdk: The stream-optimized disk; its name is kept.
        disk_bytes: The size of the disk in it.
        target: The file.
        epoch_s: The time of all that is in it.
        effects: Told of the write.

    Raises:
        SettingsError: The disk's file is larger than such an archive holds.
        DiskFullError: It does not fit.
    """
    with named_errors(vmdk, "read"):
        file_bytes = vmdk.stat().st_size
    if file_bytes >= _LARGEST_BYTES:
        raise SettingsError(
            f"{vmdk.name} has {file_bytes / 2**30:.1f} GiB, more than an .ova file holds",
            hint="ship the vmdk itself",
        )
    described = ovf.descriptor(machine, Disk(vmdk.name, file_bytes, disk_bytes))
    name = vmdk.with_suffix(".ovf").name
    with named_errors(vmdk, "read"), open(vmdk, "rb") as stream:
        disk_digest = hashlib.file_digest(stream, "sha256").hexdigest()
    manifest = (
        f"SHA256({name})= {hashlib.sha256(described).hexdigest()}\n"
        f"SHA256({vmdk.name})= {disk_digest}\n"
    ).encode()
    with (
        named_errors(target, "write"),
        tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive,
        open(vmdk, "rb") as stream,
    ):
        for entry, content in ((name, described), (vmdk.with_suffix(".mf").name, manifest)):
            archive.addfile(_entry(entry, len(content), epoch_s), io.BytesIO(content))
        archive.addfile(_entry(vmdk.name, file_bytes, epoch_s), stream)
    effects.happened(EffectKind.WRITE, f"file {target}")


def _entry(name: str, size_bytes: int, epoch_s: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size_bytes
    entry.mtime = epoch_s
    entry.mode = 0o644
    return entry

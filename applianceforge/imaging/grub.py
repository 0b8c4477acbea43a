"""Make GRUB's part of a disk: its code, its configuration, and the first boot environment.

The core image has every module in it, so that it starts without reading one: what is on the boot
partition besides the environment is grub.cfg alone, and copies of what was written, to compare.

Source: GRUB 2.06, grub-mkimage(1); formats/grub.py for what is written where.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import applianceforge
from applianceforge.formats import bootenv, grub
from applianceforge.formats.bootenv import FACTORY
from applianceforge.model.errors import ProgramMissingError
from applianceforge.slots import layout
from applianceforge.slots.layout import Slot
from applianceforge.system.effects import Effects
from applianceforge.system.files import named_errors
from applianceforge.system.programs import Command, run

_PROGRAM = Path("/usr/bin/grub-mkimage")
_FILES = Path("/usr/lib/grub/i386-pc")
TEMPLATE = Path(applianceforge.__file__ or "").parent.parent / "images/grub/grub.cfg.in"
_SIGNATURE = b"@SIGNATURE@"
# The boot partition of the disk that the BIOS started from, whatever its number.
_PREFIX = f"(,msdos{layout.BOOT_PARTITION})"
MODULES = (
    *("biosdisk", "part_msdos", "ext2"),
    *("normal", "test", "regexp", "echo", "true", "sleep"),
    *("loadenv", "cpuid", "serial", "terminal", "linux", "boot", "gzio"),
)
# What a person needs who meets a prompt, as grub.cfg cannot be read.
_FOR_PEOPLE = ("ls", "cat", "configfile", "halt", "reboot")


@dataclass(frozen=True)
class CoreImage:
    """GRUB's two files.

    Attributes:
        boot_img: 512 bytes for sector 0.
        core_img: The rest, for the gap before the first partition.
    """

    boot_img: bytes
    core_img: bytes


def core_image(effects: Effects) -> CoreImage:
    """Make GRUB for a BIOS; the same GRUB gives the same bytes.

    Raises:
        ProgramMissingError: GRUB's programs or files are not installed.
        ProgramFailedError: grub-mkimage failed.
    """
    if not (_FILES / "boot.img").is_file():
        raise ProgramMissingError(
            f"GRUB's files for a BIOS are not in {_FILES}",
            hint="install Debian's grub-pc-bin and grub-common",
        )
    with tempfile.TemporaryDirectory(prefix="grub-") as name:
        core = Path(name, "core.img")
        run(
            Command(
                (
                    *(str(_PROGRAM), "--format", "i386-pc", "--directory", str(_FILES)),
                    *("--prefix", _PREFIX, "--output", str(core)),
                    *(*MODULES, *_FOR_PEOPLE),
                ),
            ),
            effects,
        )
        with named_errors(_FILES, "read"):
            return CoreImage((_FILES / "boot.img").read_bytes(), core.read_bytes())


def install(image: CoreImage) -> grub.Placed:
    """Return what goes into sector 0 and into the sectors from 1 on."""
    return grub.place(image.boot_img, image.core_img)


def configuration(signature: int, template: Path = TEMPLATE) -> bytes:
    """Return grub.cfg for a disk.

    Args:
        signature: The disk's signature in its MBR, which names its partitions to the kernel.
        template: The file that it is made of.
    """
    with named_errors(template, "read"):
        text = template.read_bytes()
    return text.replace(_SIGNATURE, f"{signature:08x}".encode())


def boot_files(signature: int, image: CoreImage, template: Path = TEMPLATE) -> Mapping[str, bytes]:
    """Return the files in the root directory of a new boot partition, by name.

    Slot a is primary and known as good, slot b is not bootable.

    Args:
        signature: The disk's signature in its MBR.
        image: What GRUB is installed from.
        template: What grub.cfg is made of.
    """
    older, newer = layout.ENVIRONMENT_COPIES
    return {
        layout.GRUB_CONFIGURATION: configuration(signature, template),
        older: bootenv.encode(FACTORY),
        newer: bootenv.encode(FACTORY._replace(generation=FACTORY.generation + 1)),
        layout.GOOD_MARKER: bootenv.encode_marker(Slot.A.value),
        "boot.img": image.boot_img,
        "core.img": image.core_img,
    }

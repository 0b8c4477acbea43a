"""Gather what an update must know of its appliance; nothing is changed, and any user may.

What only root can see is left out, and said in `unseen`.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from applianceforge.cpuid import facts as cpuid
from applianceforge.cpuid import probe
from applianceforge.cpuid.verdict import Verdict, decide
from applianceforge.formats.bootenv import Environment
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import BootDiskError, ForgeError
from applianceforge.preflight import gather as preflight_gather
from applianceforge.preflight.facts import Facts
from applianceforge.release.update import settings_files
from applianceforge.release.update.places import UpdatePlaces
from applianceforge.release.update.settings import UpdateSettings
from applianceforge.slots import disk, floor, layout, writing
from applianceforge.slots.description import Description
from applianceforge.slots.disk import BootDisk
from applianceforge.slots.environment import Loader
from applianceforge.slots.places import BootPlaces, Release, read_epoch, read_release
from applianceforge.system import files
from applianceforge.system.effects import Effects

_ROOT = Path("/")
# Of a time in seconds, more than enough.
_MOST_DIGITS = 12
# The signed metadata, what was agreed to, status and history, each old and new at once.
_ROOM_BYTES = 256 << 10


@dataclass(frozen=True)
class Box:
    """An appliance, as its update sees it.

    Attributes:
        release: What runs.
        appliance: What releases of it are called; "" if the image does not say.
        built_s: When it was built, seconds since 1970; 0 if the image does not say.
        disk: Its slots.
        environment: Of the boot loader.
        held: What the slot that does not run says of itself; None if nothing whole is in it, or
            if only root may look.
        settings: Of the update.
        machine_id: Tells it from others, for shares of the fleet.
        floor: The oldest version that may be installed; "" for any.
        epoch: The architecture whose data is the truth; None if no file says so.
        gate: "open", or why services are shut; "" if the gate has not run.
        verdict: On the processor.
        now_s: The time, seconds since 1970.
        unseen: What only root could have seen.
        slot_bytes: The size of the slot that does not run; None if nobody knows.
        unkept: Why nothing can be noted of an update; None if it can, or if we are not root.
    """

    release: Release
    appliance: str
    built_s: float
    disk: BootDisk
    environment: Environment
    held: Description | None
    settings: UpdateSettings
    machine_id: str
    floor: str
    epoch: Architecture | None
    gate: str
    verdict: Verdict
    now_s: float
    unseen: tuple[str, ...] = ()
    slot_bytes: int | None = None
    unkept: ForgeError | None = None

    @property
    def local_time(self) -> datetime:
        """Return the time on the appliance's wall."""
        return datetime.fromtimestamp(self.now_s)


def gather(
    root: Path,
    effects: Effects,
    now_s: float,
    processor: cpuid.Facts | None = None,
) -> Box:
    """Return what is known of an appliance.

    Args:
        root: Its root directory; another than "/" has its slots in files, for tests.
        effects: Of what is opened; nothing is written.
        now_s: The time.
        processor: What was found out about the processor; by default it is asked.

    Raises:
        BootDiskError: This machine is no appliance.
        BootEnvironmentError: Nothing says what starts it.
        SettingsError: A file of it is damaged.
        AccessDeniedError: What everybody may read cannot be read.
    """
    places, own = BootPlaces(root), UpdatePlaces(root)
    if not places.release.exists():
        raise BootDiskError(
            "this machine is no appliance of ours: it has no /etc/applianceforge/release.env",
            hint="run it on an appliance with two slots; `applianceforge check` looks at any"
            " machine",
        )
    release = read_release(places)
    fields = _variables(places.release)
    found = boot_disk(root)
    privileged = os.geteuid() == 0
    unseen = []
    if not privileged:
        unseen.append(f"what slot {found.booted.other.value} holds")
    return Box(
        release=release,
        appliance=fields.get("APPLIANCE", ""),
        built_s=_number(fields.get("BUILT_S", "")),
        disk=found,
        environment=Loader(found.loader, effects).read(),
        held=_held(found, effects) if privileged else None,
        settings=settings_files.read(own),
        machine_id=_text(own.machine_id),
        floor=_floor(places),
        epoch=read_epoch(places),
        gate=_text(places.gate),
        verdict=decide(processor or probe.gather()),
        now_s=now_s,
        unseen=tuple(unseen),
        slot_bytes=disk.size_bytes(found.device(found.booted.other)),
    )


def unkept(places: UpdatePlaces) -> ForgeError | None:
    """Return why nothing can be noted of an update; None if it can.

    Raises:
        ForgeError: Its file system cannot be looked at.
    """
    nearest = places.directory
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    with files.named_errors(nearest, "look at the file system of"):
        status = os.statvfs(nearest)
    number = 0
    if status.f_flag & os.ST_RDONLY:
        number = errno.EROFS
    elif status.f_bfree * status.f_frsize < _ROOM_BYTES or (status.f_files and not status.f_ffree):
        number = errno.ENOSPC
    if not number:
        return None
    return files.describe(OSError(number, os.strerror(number)), places.directory, "write in")


def facts(root: Path, processor: cpuid.Facts | None = None) -> Facts:
    """Return what the check before an update looks at."""
    return preflight_gather.gather(root, processor or probe.gather())


def boot_disk(root: Path) -> BootDisk:
    """Return the disk that the appliance runs from.

    Another root than "/" has its slots in the files dev/slot-a and dev/slot-b, and the kernel's
    command line in proc/cmdline.

    Raises:
        BootDiskError: It does not run from a slot.
    """
    if root == _ROOT:
        return disk.find()
    booted = disk.booted_by(_text(root / "proc/cmdline"))
    if booted is None:
        raise BootDiskError(
            f"the kernel was not started from a slot: its command line has no"
            f" {layout.SLOT_ARGUMENT}=",
            hint="this is for an appliance that started from its own disk",
        )
    return BootDisk(
        booted,
        root / layout.BOOT_MOUNT_POINT.lstrip("/"),
        slot_a=root / "dev/slot-a",
        slot_b=root / "dev/slot-b",
        data=None,
    )


def _held(found: BootDisk, effects: Effects) -> Description | None:
    try:
        return writing.describe(found.device(found.booted.other), effects)
    except ForgeError:
        return None


def _number(text: str) -> float:
    return float(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else 0.0


def _variables(path: Path) -> dict[str, str]:
    text = _text(path)
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _floor(places: BootPlaces) -> str:
    found = floor.read(places)
    return "" if found is None else found.version


def _text(path: Path) -> str:
    try:
        return (files.read_plain(path, follow=True) or b"").decode(errors="replace").strip()
    except ForgeError:
        return ""

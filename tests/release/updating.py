"""An appliance in a directory, with real slots, that takes releases from a real repository."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from applianceforge.cli import update_alone
from applianceforge.cli.update import Request, _update
from applianceforge.cli.update_session import Session, opened
from applianceforge.cpuid import facts as cpuid
from applianceforge.cpuid import probe
from applianceforge.formats.bootenv import KNOWN_GOOD, NOT_BOOTABLE, Environment
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import SlotError
from applianceforge.preflight.requirements import Release
from applianceforge.release.fetch.limits import Limits
from applianceforge.release.graph import Offer
from applianceforge.release.publish.adding import Addition
from applianceforge.release.publish.repository import Outcome
from applianceforge.release.update import intent
from applianceforge.release.update.applying import Update
from applianceforge.release.update.intent import Consent, Intent
from applianceforge.release.update.places import UpdatePlaces
from applianceforge.release.update.proposal import Proposal
from applianceforge.slots import description, selector, writing
from applianceforge.slots.description import Description
from applianceforge.slots.layout import ENVIRONMENT_COPIES, GOOD_MARKER, Slot
from applianceforge.slots.selector import Choice
from applianceforge.system.effects import Effects
from applianceforge.system.progress import NoProgress
from tests.migrate.appliances import Appliance, appliance
from tests.migrate.boxes import Said
from tests.migrate.boxes import applianceforge as command
from tests.release.vendor import APPLIANCE, Vendor
from tests.slots.slot_images import slot_image

# Nobody waits here for a server to come back.
IMPATIENT = Limits(outage_s=0.1, first_outage_s=0.1, first_pause_s=0.05)
I386, AMD64 = Architecture.I386, Architecture.AMD64
A_YEAR_AGO_S = 365 * 86400
# Room behind the file system, as a partition has.
_ROOM_BYTES = 1 << 20
_SYSTEMCTL = """#!/bin/sh
echo "$*" >>{root}/restarted
"""


def content(version: str, size: int = 1 << 20) -> bytes:
    """Return what stands for a kernel: two thirds are the same in each release."""
    common = random.Random(0).randbytes(size * 2 // 3)
    return common + random.Random(version).randbytes(size - len(common))


@dataclass(frozen=True)
class Maker:
    """A vendor, whose releases hold something."""

    vendor: Vendor

    def slot(self, version: str, architecture: Architecture) -> Path:
        """Return the slot of a release, made once."""
        place = self.vendor.place / f"{version}-{architecture.value}"
        if not (place / "slot").exists():
            said = description.encode(Description(architecture, APPLIANCE, version))
            slot_image(place, architecture, content(version), said=said)
        return place / "slot"

    def add(self, version: str, architecture: Architecture, **offered: Any) -> Outcome:
        """Add a release; `requires` is what it asks of a machine."""
        requires: Mapping[str, Any] = offered.pop("requires", {})
        release = Release(architecture, APPLIANCE, version, **requires)
        addition = Addition(self.slot(version, architecture), Offer(release, **offered))
        return self.vendor.repository().add(addition, NoProgress())

    @property
    def public(self) -> Path:
        """Return what is served."""
        return self.vendor.layout.public


def usual_releases(place: Path) -> Maker:
    """Publish 1.0.0 for i386, the crossing 2.0.0, and 3.0.0."""
    vendor = Vendor(place)
    vendor.create()
    maker = Maker(vendor)
    maker.add("1.0.0", I386)
    maker.add("2.0.0", AMD64, crossing=True, barrier=True, title="takes the data along")
    maker.add("3.0.0", AMD64, title="where every box ends")
    vendor.publish()
    return maker


@dataclass(frozen=True)
class UpdatedBox:
    """A box that follows a repository.

    Attributes:
        appliance: Its root directory, and its boot environment.
        maker: Who makes its releases.
    """

    appliance: Appliance
    maker: Maker
    processor: cpuid.Facts = field(default_factory=probe.gather)

    @property
    def root(self) -> Path:
        """Return its root directory."""
        return self.appliance.root

    @property
    def places(self) -> UpdatePlaces:
        """Return its paths."""
        return UpdatePlaces(self.root)

    @property
    def status(self) -> dict[str, Any]:
        """Return what update.json says."""
        found: dict[str, Any] = json.loads(self.places.status.read_text())
        return found

    @property
    def events(self) -> list[str]:
        """Return the events of the history."""
        return [line["event"] for line in self.appliance.history]

    @property
    def restarts(self) -> int:
        """Return how often it was told to restart."""
        path = self.root / "restarted"
        return len(path.read_text().splitlines()) if path.exists() else 0

    @property
    def agreed(self) -> Intent | None:
        """Return what was agreed to."""
        return intent.read(self.places.intent)

    def device(self, slot: Slot) -> Path:
        """Return the partition of a slot."""
        return self.root / f"dev/slot-{slot.value}"

    def put(self, slot: Slot, version: str, architecture: Architecture) -> None:
        """Let a slot hold a release."""
        image = self.maker.slot(version, architecture).read_bytes()
        self.device(slot).parent.mkdir(exist_ok=True)
        self.device(slot).write_bytes(image + bytes(_ROOM_BYTES))

    def held(self, slot: Slot) -> Description | None:
        """Return what a slot says of itself; None if it holds nothing whole."""
        try:
            return writing.describe(self.device(slot), Effects())
        except SlotError:
            return None

    def holds(self, slot: Slot, version: str, architecture: Architecture) -> bool:
        """Return whether a slot is a release, byte for byte."""
        image = self.maker.slot(version, architecture).read_bytes()
        return self.device(slot).read_bytes()[: len(image)] == image

    def runs(self, slot: Slot, version: str, architecture: Architecture) -> None:
        """Let this release run from this slot, with its services open."""
        self.appliance.write(
            "etc/applianceforge/release.env",
            f"NAME={APPLIANCE}\nVERSION={version}\nARCHITECTURE={architecture.value}\n"
            f"APPLIANCE={APPLIANCE}\nBUILT_S={int(time.time()) - A_YEAR_AGO_S}\n",
        )
        self.appliance.write("proc/cmdline", f"ro forge.slot={slot.value} quiet\n")
        self.appliance.write("run/forge/gate", "open\n")
        self.appliance.write("data/forge/epoch", f"{architecture.value}\n")

    def choose(self, *, long_mode: bool = True) -> Choice:
        """Return what GRUB would start."""
        directory = self.root / "boot/loader"
        first, second = ((directory / name).read_bytes() for name in ENVIRONMENT_COPIES)
        marker = (directory / GOOD_MARKER).read_bytes()
        archs = {
            slot: found.architecture if found else None
            for slot in Slot
            for found in (self.held(slot),)
        }
        return selector.choose(first, second, marker, archs, long_mode)

    def start(self) -> Slot:
        """Start the machine: GRUB chooses, the release runs and is marked good."""
        chosen = self.choose()
        directory = self.root / "boot/loader"
        for name, data in zip(ENVIRONMENT_COPIES, chosen.copies, strict=True):
            (directory / name).write_bytes(data)
        assert chosen.slot is not None
        described = self.held(chosen.slot)
        assert described is not None
        self.runs(chosen.slot, described.version, described.architecture)
        self.appliance.settling().marks.mark_good()
        return chosen.slot

    def settings(self, **keys: object) -> None:
        """Let the administrator's settings be these."""
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        self.appliance.write("data/config/update.toml", "\n".join(["schema = 1", *lines, ""]))

    def update(self, *options: str | Path, as_user: int | None = None) -> Said:
        """Run the real command."""
        return command("update", "--root", self.root, *options, as_user=as_user)

    def person(self, **asked: Any) -> int:
        """Do what the command does, with the processor that this box has; returns its status."""
        usual = Request(True, "", "", yes=True, reboot=False, as_json=False)
        return int(self.session(lambda session: _update(session, replace(usual, **asked))))

    def session(
        self,
        work: Callable[[Session], Any],
        effects: Effects | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Any:
        """Do something with an opened session, as the command does."""
        with opened(
            self.root,
            NoProgress(),
            effects=effects,
            clock=clock,
            processor=self.processor,
            limits=IMPATIENT,
        ) as session:
            return work(session)

    def copied_to(self, root: Path) -> UpdatedBox:
        """Return the same box in another place."""
        shutil.copytree(self.root, root)
        made = replace(self, appliance=Appliance(root))
        made.appliance.write("bin/systemctl", _SYSTEMCTL.format(root=root))
        return made

    def install(self, effects: Effects | None = None) -> Proposal:
        """Look, and install the first hop, as a person who agrees."""

        def work(session: Session) -> Proposal:
            with session.source() as source:
                found = session.look(source)
                Update(session.around, source).carry_out(found, Consent.PERSON, reboot=False)
                return found

        found = self.session(work, effects)
        assert isinstance(found, Proposal)
        return found

    def resume(self, effects: Effects | None = None) -> int:
        """Do what the unit at boot does."""
        return int(self.session(update_alone.resume, effects))

    def unattended(self, clock: Callable[[], float] = time.time) -> int:
        """Do what the timer does."""
        return int(self.session(update_alone.unattended, clock=clock))


def updated_box(
    root: Path, maker: Maker, processor: cpuid.Facts | None = None, repository: str = ""
) -> UpdatedBox:
    """Make a box that runs 1.0.0 of 32 bits from slot a.

    Args:
        repository: A URL; by default the repository's directory.
    """
    made = appliance(root)
    made.set_environment(Environment(4, "a", KNOWN_GOOD, NOT_BOOTABLE))
    made.write("bin/systemctl", _SYSTEMCTL.format(root=root))
    (root / "etc/applianceforge/migrate.toml").unlink()
    (root / "data/forge").chmod(0o711)
    made.write("data/config/machine-id", "0123456789abcdef0123456789abcdef\n")
    trusted = (maker.vendor.layout.metadata / "1.root.json").read_text()
    made.write("etc/applianceforge/root.json", trusted)
    box = UpdatedBox(made, maker, processor or probe.gather())
    box.put(Slot.A, "1.0.0", I386)
    box.device(Slot.B).write_bytes(bytes(box.device(Slot.A).stat().st_size))
    box.runs(Slot.A, "1.0.0", I386)
    made.write(
        "etc/applianceforge/update.toml",
        f"schema = 1\nrepository = {json.dumps(repository or str(maker.public))}\n",
    )
    return box


def crossed_box(root: Path, maker: Maker, repository: str = "") -> UpdatedBox:
    """Make a box that has crossed: 2.0.0 runs from slot b, and slot a holds the way back."""
    box = updated_box(root, maker, repository=repository)
    box.put(Slot.B, "2.0.0", AMD64)
    box.appliance.set_environment(Environment(9, "b", KNOWN_GOOD, KNOWN_GOOD))
    box.runs(Slot.B, "2.0.0", AMD64)
    return box

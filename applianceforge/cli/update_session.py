"""What every way to start an update begins with: the lock, the facts, the repository."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click

from applianceforge.cli import update_words
from applianceforge.cpuid import facts as cpuid
from applianceforge.cpuid import probe
from applianceforge.migrate import boot_overview, journal, settings
from applianceforge.migrate.workspace import Workspace
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import AccessDeniedError, ForgeError, SettingsError
from applianceforge.preflight.checks_resources import DataSizes
from applianceforge.release.fetch.limits import Limits
from applianceforge.release.fetch.opening import open_source
from applianceforge.release.fetch.source import Source
from applianceforge.release.manifest import Manifest
from applianceforge.release.update import applying as update
from applianceforge.release.update import gathering, proposal
from applianceforge.release.update.applying import Surroundings
from applianceforge.release.update.gathering import Box
from applianceforge.release.update.lock import only_update
from applianceforge.release.update.places import UpdatePlaces
from applianceforge.release.update.proposal import Proposal
from applianceforge.release.update.trust import Trust
from applianceforge.slots.places import BootPlaces
from applianceforge.system import files, programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command
from applianceforge.system.progress import ProgressSink

_SYSTEMCTL = "/usr/bin/systemctl"


@dataclass(frozen=True)
class Session:
    """An appliance whose update is looked at, or carried out.

    Attributes:
        root: Its root directory.
        around: The world around an update.
        box: What is known of it.
        metadata: Where the signed metadata is kept.
        processor: What was found out about the processor.
        privileged: Whether we are root, and hold the lock.
        limits: How long a server may take; None is as usual.
    """

    root: Path
    around: Surroundings
    box: Box
    metadata: Path
    processor: cpuid.Facts
    privileged: bool
    limits: Limits | None = None

    @contextmanager
    def source(self, origin: str = "") -> Iterator[Source]:
        """Open the repository that the settings name, or another.

        Args:
            origin: A URL or a directory, in place of the settings'.

        Raises:
            SettingsError: Nobody named one, or it is no address.
        """
        settings = self.box.settings
        named = origin or settings.repository
        if not named:
            raise SettingsError(
                "no repository is named: nobody said where releases come from",
                hint='put `repository = "https://..."` into /data/config/update.toml, or name a'
                " directory: --from /media/usb",
            )
        with open_source(
            named, settings.proxy, effects=self.around.effects, limits=self.limits
        ) as source:
            yield source

    def look(self, source: Source, wanted: str = "", kept: Manifest | None = None) -> Proposal:
        """Return what an update would do.

        Args:
            source: The repository.
            wanted: A version; "" for the newest.
            kept: The manifest of the bundle whose installation goes on.

        Raises:
            ForgeError: The repository cannot be reached, or is not to be trusted.
        """
        trusted = self.around.update_places.trusted_root
        if not trusted.exists():
            raise SettingsError(
                f"{trusted} is not there, so no repository can be trusted",
                hint="the vendor's image brings it: build the image with the repository's overlay",
            )
        with files.named_errors(trusted, "read"):
            anchor = trusted.read_bytes()
        effects = self.around.effects
        trust = Trust(
            self.metadata,
            anchor,
            source,
            self.around.clock,
            effects,
            appliance=self.box.appliance,
            built_s=self.box.built_s,
            must_keep=self.box.unkept is None,
        )
        return proposal.look(
            self.box,
            trust,
            gathering.facts(self.root, self.processor),
            wanted=wanted,
            way_back_until_s=self._way_back_until_s(),
            sizes=self._sizes(),
            kept=kept,
        )

    def _way_back_until_s(self) -> float | None:
        try:
            kept = boot_overview.way_back(self.around.places)
            if kept is None:
                return math.inf if self._lost_way_back() else None
        except AccessDeniedError:
            if self.privileged:
                raise
            return None
        return kept.until_s(self.box.settings.retention_days)

    def _lost_way_back(self) -> bool:
        """Tell whether a way back was kept of which nothing says any more how long."""
        places = self.around.places
        if self.box.settings.retention_days == 0 or self.box.epoch is Architecture.I386:
            return False
        if not places.settings.exists():
            return False
        with files.named_errors(places.settings, "read the settings"):
            found = settings.decode(places.settings.read_text(), str(places.settings))
        work = self.root / str(found.work.directory).lstrip("/")
        entries = journal.read(Workspace(work, "run").journal)
        return all(one.event is not journal.Event.CLEANED for one in entries)

    def _sizes(self) -> DataSizes | None:
        """Return how much there is to migrate, if there is and we may look."""
        if not self.privileged or self.box.release.architecture is not Architecture.I386:
            return None
        data = self.root / "data/i386"
        rrd = data / "rrd"
        return DataSizes(
            cluster_bytes=files.used_bytes(data / "postgresql"), rrd_bytes=files.used_bytes(rrd)
        )

    def restart(self) -> None:
        """Restart the machine; another root than ours may bring a stand-in.

        Raises:
            ProgramFailedError: It does not want to.
        """
        own = self.root / "bin/systemctl"
        program = _SYSTEMCTL if self.root == Path("/") else str(own)
        programs.run(Command((program, "--no-block", "reboot")), self.around.effects)


def require_root() -> None:
    """Refuse whoever may not install.

    Raises:
        AccessDeniedError: We are not root.
    """
    if os.geteuid() != 0:
        raise AccessDeniedError(
            "only root may install a release",
            hint="run the same command with sudo, or as root; `applianceforge update --check` looks"
            " for releases as any user",
        )


@contextmanager
def opened(
    root: Path,
    sink: ProgressSink,
    *,
    effects: Effects | None = None,
    clock: Callable[[], float] = time.time,
    processor: cpuid.Facts | None = None,
    limits: Limits | None = None,
) -> Iterator[Session]:
    """Begin: root holds the lock of the appliance, anybody else works with a copy of their own.

    Where nothing can be written, root may still look; `readiness.check_settled` refuses more.

    Args:
        root: The appliance's root directory.
        sink: Shown the progress.
        effects: Told of each effect.
        clock: Seconds since 1970.
        processor: What is known of the processor; by default it is asked.
        limits: How long a server may take; None is as usual.

    Raises:
        AlreadyRunningError: Another update works.
        BootDiskError: This machine is no appliance.
        ForgeError: A fact cannot be gathered.
    """
    effects = effects or Effects()
    places = UpdatePlaces(root)
    around = Surroundings(BootPlaces(root), places, effects, sink, clock)
    processor = processor or probe.gather()
    if os.geteuid() == 0:
        # Before anything is made on a machine that is no appliance.
        gathering.boot_disk(root)
        unkept = gathering.unkept(places)
        if unkept is None:
            update.prepare(places, effects)
        with only_update(places.lock, needed=unkept is None):
            found = gathering.gather(root, effects, around.clock(), processor)
            box = replace(found, unkept=unkept)
            yield Session(root, around, box, places.metadata, processor, True, limits)
        _tell_lost(unkept or around.status.lost)
        return
    box = gathering.gather(root, effects, around.clock(), processor)
    with tempfile.TemporaryDirectory(prefix="applianceforge-update-") as directory:
        yield Session(root, around, box, Path(directory), processor, False, limits)


def _tell_lost(why: ForgeError | None) -> None:
    """Say that what was found cannot be read up later, beside what is printed for programs."""
    if why is not None:
        told = [f"What was found is not kept: {why.message}.", f"  What to do: {why.hint}."]
        click.echo(update_words.wrapped(told), err=True)

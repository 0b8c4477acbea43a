"""Install a release into the slot that does not run, and let it start next.

In this order, so that a cut at any instant leaves the running system to start, or the whole new
one, and so that what was begun goes on without asking again:

1. The intent is noted: what was agreed to, by whom; then manifest and index are kept.
2. The slot is written and proved (`installation`). Nothing starts it meanwhile.
3. The slot is activated: one write of one sector.
4. The history is told, once.

`resuming` looks at the intent at the next boot, or when the update is started again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from applianceforge.model.error_document import name_of
from applianceforge.model.errors import (
    ForgeError,
    InhibitedError,
    NetworkError,
    ReadBackError,
    SettingsError,
    SlotError,
    WrongBundleError,
    exit_status_of,
)
from applianceforge.release import index
from applianceforge.release.fetch.source import Source
from applianceforge.release.graph import Offer
from applianceforge.release.manifest import Manifest
from applianceforge.release.update import bundle_cache, installation, intent
from applianceforge.release.update.gathering import Box
from applianceforge.release.update.installation import Installed
from applianceforge.release.update.intent import Consent, Intent, Phase
from applianceforge.release.update.places import UpdatePlaces
from applianceforge.release.update.proposal import Proposal
from applianceforge.release.update.status import Named, Result, Story, UpdateState, UpdateStatus
from applianceforge.slots import history
from applianceforge.slots.environment import Loader
from applianceforge.slots.history import Happening, History, Past
from applianceforge.slots.places import BootPlaces
from applianceforge.slots.writing import SlotWriter
from applianceforge.system import files
from applianceforge.system.effects import Effects
from applianceforge.system.progress import Both, ProgressEvent, ProgressSink, StepStarted

# The step of `installation` before which it is known how much is to be fetched.
_FETCH = "slot.fetch"
# What trying again does not mend.
_FINAL = (SlotError, ReadBackError, WrongBundleError, InhibitedError)
_PRIVATE = 0o700
_FOR_OTHERS = 0o077
_UPDATES = (
    Happening.UPDATE_REFUSED.value,
    Happening.UPDATE_INSTALLED.value,
    Happening.UPDATE_FAILED.value,
    Happening.UPDATED.value,
)


@dataclass(frozen=True)
class Surroundings:
    """The world around an update.

    Attributes:
        places: The appliance's own.
        update_places: The update's.
        effects: Told of each effect.
        sink: Shows progress.
        clock: Seconds since 1970.
        status: Tells everybody.
    """

    places: BootPlaces
    update_places: UpdatePlaces
    effects: Effects
    sink: ProgressSink
    clock: Callable[[], float]
    status: UpdateStatus = field(init=False)

    def __post_init__(self) -> None:
        """Make the status."""
        status = UpdateStatus(self.update_places.status, self.effects, self.clock)
        object.__setattr__(self, "status", status)

    def history(self, box: Box) -> History:
        """Return where the history is written to."""
        return History(self.places, box.release, box.disk.booted, self.effects, self.clock)

    def tell_once(self, box: Box, event: Happening, reason: str, **detail: Any) -> None:
        """Add a line to the history, unless the last line about updates says the same."""
        told = [one for one in self._told() if one.event in _UPDATES]
        last = told[-1] if told else None
        same = (event.value, reason, str(detail.get("to", "")))
        if last is None or (last.event, last.reason, last.target) != same:
            self.history(box).add(event, reason=reason, **detail)

    def tell_since(self, box: Box, event: Happening, since_s: float, **detail: Any) -> None:
        """Add a line to the history, unless it tells that of what was agreed to then."""
        if not any((one.event, one.since_s) == (event.value, since_s) for one in self._told()):
            self.history(box).add(event, since=since_s, **detail)

    def _told(self) -> tuple[Past, ...]:
        """Return the history; none where no file is: that is no reason to stop an update."""
        try:
            return history.read(self.places)
        except SettingsError:
            return ()


def origin_of(box: Box) -> str:
    """Return what runs as the history names it."""
    return f"{box.release.version} ({box.release.architecture.value})"


def story_of(proposal: Proposal, by: Consent) -> Story:
    """Return what the status says an update is about."""
    hop, goal = proposal.hop, proposal.plan.goal
    release = proposal.box.release
    return Story(
        Named(release.version, release.architecture),
        None if hop is None else _named(hop),
        None if goal is None else _named(goal),
        by.value,
    )


def _named(offer: Offer) -> Named:
    return Named(offer.version, offer.architecture)


@dataclass
class _Noting:
    """A progress sink that notes in the intent how much is to be fetched yet."""

    path: Path
    agreed: Intent
    effects: Effects

    def emit(self, event: ProgressEvent) -> None:
        if not isinstance(event, StepStarted) or event.key != _FETCH:
            return
        after = self.agreed.lacking(event.total_bytes)
        if after != self.agreed:
            self.agreed = after
            intent.write(self.path, after, self.effects)


@dataclass(frozen=True)
class Update:
    """The installation of one release, from what was agreed to until it starts next."""

    around: Surroundings
    source: Source

    def carry_out(
        self,
        proposal: Proposal,
        by: Consent,
        *,
        reboot: bool,
        repository: str = "",
        agreed: Intent | None = None,
    ) -> Installed | None:
        """Install the first hop of a proposal.

        Args:
            proposal: With a hop, and nothing that inhibits it.
            by: Who agreed.
            reboot: Whether the machine is to be restarted, which is the caller's to do.
            repository: What was named in place of the settings' one, or "".
            agreed: What was agreed to before, if this continues it.

        Returns:
            What was fetched; None if the slot was installed before.

        Raises:
            ForgeError: It cannot be installed; each reason has a name. The running system is as it
                was.
        """
        hop, manifest = proposal.hop, proposal.manifest
        if hop is None or manifest is None:
            raise ValueError("there is nothing to install")
        agreed = agreed or Intent(
            version=hop.version,
            architecture=hop.architecture,
            origin=origin_of(proposal.box),
            manifest=bundle_cache.digest(manifest),
            since_s=self.around.clock(),
            by=by,
            reboot=reboot,
            phase=Phase.INSTALLING,
            generation=proposal.box.environment.generation,
            repository=repository,
        )
        if agreed.phase is not Phase.INSTALLED:
            agreed = replace(agreed, phase=Phase.INSTALLING)
        agreed = agreed.tried()
        story = story_of(proposal, by)
        self.around.status.begin(story)
        try:
            return self._install(proposal.box, manifest, agreed)
        except KeyboardInterrupt as stop:
            # Its subclasses are signals of the system that shuts down: nobody said no.
            self._stopped(story, withdrawn=type(stop) is KeyboardInterrupt)
            raise
        except ForgeError as error:
            self._failed(proposal.box, story, agreed, error)
            raise

    def _install(self, box: Box, manifest: Manifest, agreed: Intent) -> Installed | None:
        places, effects = self.around.update_places, self.around.effects
        intent.write(places.intent, agreed, effects)
        loader = Loader(box.disk.loader, effects)
        installed = None
        if agreed.phase is Phase.INSTALLING:
            bundle_cache.keep_manifest(places, manifest, effects)
            content = bundle_cache.index_of(places, manifest, self.source, effects)
            listed = index.decode(content, manifest.index.path)
            noting = _Noting(places.intent, agreed, effects)
            sink = Both(Both(self.around.sink, self.around.status), noting)
            installed = installation.install(
                box.disk, loader, manifest, listed, self.source, effects, sink
            )
            agreed = replace(noting.agreed, phase=Phase.INSTALLED, attempts=0)
            intent.write(places.intent, agreed, effects)
        SlotWriter(box.disk, loader, effects, self.around.sink).activate(box.verdict)
        tell_activated(self.around, box, agreed, installed)
        return installed

    def _stopped(self, story: Story, *, withdrawn: bool) -> None:
        self.around.status.tell(UpdateState.STOPPED, story)
        with contextlib.suppress(ForgeError):
            agreed = intent.read(self.around.update_places.intent)
            if withdrawn and agreed is not None and agreed.phase is Phase.INSTALLING:
                stopped = replace(agreed, phase=Phase.STOPPED)
                intent.write(self.around.update_places.intent, stopped, self.around.effects)

    def _failed(self, box: Box, story: Story, agreed: Intent, error: ForgeError) -> None:
        """Tell it, once, and let be tried again what trying again may mend."""
        places = self.around.update_places
        with contextlib.suppress(ForgeError):
            self.around.tell_once(
                box,
                Happening.UPDATE_FAILED,
                name_of(error),
                message=error.message,
                hint=error.hint,
                status=exit_status_of(error),
                **{"from": agreed.origin, "to": agreed.target, "by": agreed.by.value},
            )
        result = Result(exit_status_of(error), name_of(error), error.message, error.hint)
        self.around.status.tell(UpdateState.FAILED, story, result)
        with contextlib.suppress(ForgeError):
            kept = intent.read(places.intent)
            if isinstance(error, _FINAL):
                intent.remove(places.intent, self.around.effects)
            elif isinstance(error, NetworkError) and kept is not None:
                # That the network was away says nothing against the next attempt.
                fewer = replace(kept, attempts=max(0, kept.attempts - 1))
                intent.write(places.intent, fewer, self.around.effects)


def tell_activated(
    around: Surroundings, box: Box, agreed: Intent, installed: Installed | None = None
) -> None:
    """Note that the release starts next, wherever a cut may have come; again does no harm.

    Args:
        around: Where it is told.
        box: The appliance.
        agreed: What was agreed to.
        installed: What was fetched, if that is known.

    Raises:
        ForgeError: The intent cannot be written.
    """
    figures: dict[str, int] = {}
    if installed is not None:
        figures = {
            "fetched_bytes": installed.fetched_bytes,
            "copied_bytes": installed.copied_bytes,
            "kept_bytes": installed.kept_bytes,
        }
    around.tell_since(
        box,
        Happening.UPDATE_INSTALLED,
        agreed.since_s,
        **{"from": agreed.origin, "to": agreed.target, "by": agreed.by.value},
        **figures,
    )
    story = Story(
        Named(box.release.version, box.release.architecture),
        Named(agreed.version, agreed.architecture),
        by=agreed.by.value,
    )
    around.status.tell(UpdateState.ACTIVATED, story)
    bundle_cache.forget(around.update_places, around.effects)
    # Last: until then all this is done again.
    activated = replace(agreed, phase=Phase.ACTIVATED)
    if activated != agreed:
        intent.write(around.update_places.intent, activated, around.effects)


def prepare(places: UpdatePlaces, effects: Effects) -> None:
    """Make the directory of the update, which only root may read."""
    files.make_directory(places.directory, effects)
    with files.named_errors(places.directory, "shut"):
        # Of whoever restored /data from a backup, for example.
        if places.directory.stat().st_mode & _FOR_OTHERS:
            places.directory.chmod(_PRIVATE)

"""Gather where an appliance stands: its slots, its data, its last failure, what is going on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from applianceforge.formats import bootenv
from applianceforge.formats.bootenv import Environment, SlotVariables
from applianceforge.migrate import boot_record, boot_services, boot_status, journal, settings
from applianceforge.migrate.boot_settle import OPEN
from applianceforge.migrate.boot_slots import booted_slot, loader
from applianceforge.migrate.boot_status import BootState
from applianceforge.migrate.workspace import Workspace
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import BootDiskError, ForgeError
from applianceforge.slots import history, reasons
from applianceforge.slots.history import Happening, Past
from applianceforge.slots.layout import Slot
from applianceforge.slots.places import BootPlaces, Release, read_epoch, read_release
from applianceforge.system import files
from applianceforge.system.effects import Effects

_DAY_S = 86400.0
_UNKNOWN_GATE = "gate-unknown"
_MIGRATING = "migrating"
_WENT_BACK = "went-back"


@dataclass(frozen=True)
class SlotView:
    """What the boot environment says of one slot."""

    slot: Slot
    booted: bool
    primary: bool
    bootable: bool
    tries: int
    good: bool


@dataclass(frozen=True)
class Failure:
    """Why the other slot, or the last migration, was given up.

    Attributes:
        time_s: When, in seconds since 1970; 0 if only the boot environment knows of it.
        message: What exactly went wrong, if the history knows.
        evidence: What showed it, which only root may read, for it may name data.
    """

    slot: Slot | None
    word: str
    time_s: float
    sentence: str
    remedy: str
    message: str
    hint: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Overview:
    """Where an appliance stands.

    Attributes:
        epoch: The architecture whose data is the truth; None if that is not known.
        slots: Both, or none where the boot environment cannot be read.
        shut: The word for why the services are shut; empty if they are open.
        down: Of open services those that are not up, with their states.
        failure: The last one that is still of interest.
        migration: What status.json says, while a migration is under way.
        way_back_until_s: Until when the way back is kept; None if there is none.
        went_back: When a person went back to 32 bits last, if the box still is where that led.
    """

    release: Release
    booted: Slot | None
    epoch: Architecture | None
    slots: tuple[SlotView, ...]
    shut: str
    failure: Failure | None
    migration: Mapping[str, Any] | None
    way_back_until_s: float | None
    down: Mapping[str, str]
    went_back: Past | None = None


def gather(
    places: BootPlaces, show: tuple[str, ...] = (), retention_days: float | None = None
) -> Overview:
    """Look at everything; any user may, and what only root sees is left out.

    Args:
        places: Of the appliance.
        show: Asks systemd for the states of units; () is not to ask, for it does not run there.
        retention_days: How long the update keeps the way back; None is as the migration has it.

    Raises:
        BootDiskError: This machine is no appliance.
        ForgeError: A file that everybody may read cannot be read.
    """
    if not places.release.exists():
        raise BootDiskError(
            "this machine is no appliance of ours: it has no /etc/applianceforge/release.env",
            hint="`applianceforge check` looks at any machine; `applianceforge migrate status -c"
            " FILE` tells of a migration that was started by hand",
        )
    release = read_release(places)
    booted = _booted(places)
    migration = _migration(places)
    environment = _environment(places)
    shut = _shut(places, migration)
    slots = _slots(environment, booted)
    kept = _way_back_of(places, slots)
    return Overview(
        release=release,
        booted=booted,
        epoch=_epoch(places),
        slots=slots,
        shut=shut,
        failure=_failure(places, environment, booted),
        migration=migration,
        way_back_until_s=None if kept is None else kept.until_s(retention_days),
        down={} if shut or not show else _down(places, show),
        went_back=_went_back(places, environment, booted),
    )


def _down(places: BootPlaces, show: tuple[str, ...]) -> Mapping[str, str]:
    try:
        return boot_services.not_up(boot_services.listed(places), Effects(), show)
    except ForgeError:
        return {}


def _booted(places: BootPlaces) -> Slot | None:
    try:
        return booted_slot(places)
    except ForgeError:
        return None


def _environment(places: BootPlaces) -> Environment | None:
    try:
        return loader(places, Effects()).read()
    except ForgeError:
        return None


def _slots(environment: Environment | None, booted: Slot | None) -> tuple[SlotView, ...]:
    if environment is None:
        return ()

    def view(slot: Slot, found: SlotVariables) -> SlotView:
        primary = environment.primary == slot.value
        return SlotView(slot, slot is booted, primary, found.boot, found.tries, found.good)

    return (view(Slot.A, environment.a), view(Slot.B, environment.b))


def _epoch(places: BootPlaces) -> Architecture | None:
    try:
        return read_epoch(places)
    except ForgeError:
        return None  # The gate says so, and with what remedy.


def _shut(places: BootPlaces, migration: Mapping[str, Any] | None) -> str:
    try:
        word = places.gate.read_text(errors="replace").strip()
    except OSError:
        # The gate waits for the migration.
        return _UNKNOWN_GATE if migration is None else _MIGRATING
    return "" if word == OPEN else word


def _failure(
    places: BootPlaces, environment: Environment | None, booted: Slot | None
) -> Failure | None:
    """Return why the other slot does not run, with what the history knows of that."""
    text = environment.reason if environment is not None else bootenv.NO_REASON
    slot, word = reasons.split("" if text == bootenv.NO_REASON else text)
    if word in ("", _WENT_BACK) or slot is booted:
        return None
    reason = reasons.explain(word)
    failure = Failure(slot, word, 0.0, reason.sentence, reason.remedy, "", "")
    for past in _past(places):
        if past.reason == word and past.event in _FAILED:
            failure = replace(
                failure,
                time_s=past.time_s,
                message="" if past.message == reason.sentence else past.message,
                hint="" if past.hint == reason.remedy else past.hint,
            )
    return replace(failure, evidence=_evidence(places, word))


def _went_back(
    places: BootPlaces, environment: Environment | None, booted: Slot | None
) -> Past | None:
    """Return what the history says of it, of a box whose other slot was left so."""
    slot, word = reasons.split("" if environment is None else environment.reason)
    if word != _WENT_BACK or slot is booted:
        return None
    told = [past for past in _past(places) if past.event == Happening.WENT_BACK.value]
    return told[-1] if told else None


def _evidence(places: BootPlaces, word: str) -> tuple[str, ...]:
    try:
        line = boot_record.last_end(boot_record.read(places.record))
    except ForgeError:
        return ()
    return line.evidence if line is not None and line.reason == word else ()


_FAILED = (Happening.MIGRATION_ENDED.value, Happening.GIVEN_UP.value)


def _past(places: BootPlaces) -> tuple[Past, ...]:
    try:
        return history.read(places)
    except ForgeError:
        return ()


def _migration(places: BootPlaces) -> Mapping[str, Any] | None:
    found = boot_status.read(places.status)
    under_way = (BootState.MIGRATING.value, BootState.AGAIN.value, BootState.STOPPED.value)
    return found if found is not None and found.get("state") in under_way else None


@dataclass(frozen=True)
class WayBack:
    """What a box that has crossed keeps of its 32-bit side.

    Attributes:
        published_s: When the migrated data was published, seconds since 1970.
        retention_days: For how long the old data is kept from then on, by the migration's settings.
    """

    published_s: float
    retention_days: float

    def until_s(self, retention_days: float | None = None) -> float:
        """Return until when it is kept; `retention_days` takes the place of the migration's."""
        days = self.retention_days if retention_days is None else retention_days
        return self.published_s + days * _DAY_S


def way_back(places: BootPlaces) -> WayBack | None:
    """Return what is kept of the old data of a box that has crossed; None if nothing is.

    Raises:
        ForgeError: The migration's settings or its journal cannot be read, so nobody can tell.
    """
    if _epoch(places) is not Architecture.AMD64 or not places.settings.exists():
        return None
    with files.named_errors(places.settings, "read the settings"):
        found = settings.decode(places.settings.read_text(), str(places.settings))
    work = places.root / str(found.work.directory).lstrip("/")
    entries = journal.read(Workspace(work, "run").journal)
    events = {entry.event: entry.time_s for entry in entries}
    if journal.Event.PUBLISHED not in events or journal.Event.CLEANED in events:
        return None
    return WayBack(events[journal.Event.PUBLISHED], found.work.retention_days)


def _way_back_of(places: BootPlaces, slots: tuple[SlotView, ...]) -> WayBack | None:
    """Return the same, as far as we may look; none once the other slot holds nothing good."""
    if not any(one.good for one in slots if not one.booted):
        return None
    try:
        return way_back(places)
    except ForgeError:
        return None


def document(found: Overview, update: Mapping[str, Any] | None = None) -> str:
    """Return the same for a program; `status.schema.json` beside this module is the schema.

    Args:
        found: Where the appliance stands.
        update: What is known of its update.
    """
    shut = reasons.explain(found.shut) if found.shut else None
    fields = {
        "schema": 1,
        "release": {
            "name": found.release.name,
            "version": found.release.version,
            "architecture": found.release.architecture.value,
        },
        "booted": found.booted.value if found.booted else None,
        "epoch": found.epoch.value if found.epoch else None,
        "slots": {
            one.slot.value: {
                "booted": one.booted,
                "primary": one.primary,
                "bootable": one.bootable,
                "tries": one.tries,
                "good": one.good,
            }
            for one in found.slots
        },
        "services": {
            "open": not found.shut,
            "reason": found.shut or None,
            "sentence": shut.sentence if shut else None,
            "remedy": shut.remedy if shut else None,
            "down": dict(found.down),
        },
        "failure": None if found.failure is None else _failure_fields(found.failure),
        "migration": found.migration,
        "update": update,
        "way_back_until": found.way_back_until_s,
    }
    return json.dumps(fields, ensure_ascii=False, indent=1)


def _failure_fields(failure: Failure) -> Mapping[str, Any]:
    return {
        "slot": failure.slot.value if failure.slot else None,
        "reason": failure.word,
        "time": failure.time_s or None,
        "sentence": failure.sentence,
        "remedy": failure.remedy,
        "message": failure.message or None,
        "hint": failure.hint or None,
        "evidence": list(failure.evidence),
    }

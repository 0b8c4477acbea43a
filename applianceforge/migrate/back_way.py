"""Say whether there is a way back to 32 bits, and if not, exactly why.

It exists from the crossing until the second hop takes the 32-bit release's slot or `migrate clean`
removes its data. Nothing is changed here.
"""

from dataclasses import dataclass
from pathlib import Path

from applianceforge.migrate import inventory, journal, outcome, settings
from applianceforge.migrate.boot_slots import Marks, loader
from applianceforge.migrate.inventory import ClusterInventory
from applianceforge.migrate.journal import Entry, Event, date
from applianceforge.migrate.postgres.control import read_control
from applianceforge.migrate.rrd.scan import scan
from applianceforge.migrate.settings import Settings
from applianceforge.migrate.workspace import Workspace
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import ForgeError, JournalError, NoWayBackError, SlotError
from applianceforge.slots import history, reasons, states
from applianceforge.slots.description import Description
from applianceforge.slots.history import Happening
from applianceforge.slots.layout import Slot
from applianceforge.slots.places import BootPlaces, Release, read_epoch, read_release
from applianceforge.slots.states import State
from applianceforge.slots.writing import describe
from applianceforge.system import files
from applianceforge.system.effects import Effects

_DAY_S = 86400.0
_STAYS = "the 64-bit release stays; `applianceforge migrate export` still makes a portable archive"


@dataclass(frozen=True)
class Way:
    """The way back.

    Attributes:
        slot: Holds the 32-bit release.
        description: Of that release.
        published_s: When the new data was published, seconds since 1970.
        until_s: Until when the old data is kept.
        settings: Of the migration.
        proved: What the cluster held when it was proved; None if there is none.
    """

    slot: Slot
    description: Description
    published_s: float
    until_s: float
    settings: Settings
    proved: ClusterInventory | None

    @property
    def release(self) -> str:
        """Return the name and version of the 32-bit release."""
        return f"{self.description.name} {self.description.version}"


def look(places: BootPlaces, marks: Marks, device: Path, effects: Effects) -> Way:
    """Return the way back.

    Args:
        places: Of the appliance.
        marks: The slot that runs.
        device: The partition of the other slot.
        effects: Told of what is opened.

    Raises:
        NoWayBackError: There is none, and why.
        ForgeError: Something that would tell cannot be read.
    """
    release = read_release(places)
    _check_crossed(places, marks, release)
    described = _check_slot(places, marks, device, release, effects)
    with files.named_errors(places.settings, "read the settings"):
        text = places.settings.read_text(errors="replace")
    found = settings.decode(text, str(places.settings))
    work = Workspace(found.work.directory, "run")
    published = _check_journal(journal.read(work.journal))
    _check_old_data(found, work)
    return Way(
        slot=marks.booted.other,
        description=described,
        published_s=published.time_s,
        until_s=published.time_s + found.work.retention_days * _DAY_S,
        settings=found,
        proved=_proved(found, work),
    )


def _check_crossed(places: BootPlaces, marks: Marks, release: Release) -> None:
    if release.architecture is not Architecture.AMD64:
        raise NoWayBackError(
            f"{release.name} {release.version} is the 32-bit release: there is nothing to go back"
            " to",
            hint="`applianceforge status` says where this box stands",
        )
    if read_epoch(places) is not Architecture.AMD64:
        raise NoWayBackError(
            "the data of this box is still 32-bit: it has not crossed",
            hint="`applianceforge migrate abort` ends a migration that is under way",
        )
    if not marks.is_good():
        raise NoWayBackError(
            "this release is not marked good yet",
            hint="wait until it is: `applianceforge status`. If it cannot be marked good the 32-bit"
            " release starts by itself",
        )


def _check_slot(
    places: BootPlaces, marks: Marks, device: Path, release: Release, effects: Effects
) -> Description:
    """Return what the 32-bit release says of itself."""
    other = marks.booted.other
    environment = loader(places, effects).read()
    if states.state_of(environment, other) is not State.GOOD:
        about, word = reasons.split(environment.reason)
        why = f": {reasons.explain(word).sentence}" if about is other else ""
        raise NoWayBackError(
            f"slot {other.value}, where the 32-bit release was, is not marked good{why}; another"
            " release is being written into it, or it was given up",
            hint=_STAYS,
        )
    try:
        described = describe(device, effects)
    except SlotError as error:
        raise NoWayBackError(
            f"slot {other.value} holds no whole system any more", hint=_STAYS
        ) from error
    if described.architecture is not Architecture.I386:
        raise NoWayBackError(_second_hop(places, marks, release, described), hint=_STAYS)
    return described


def _second_hop(places: BootPlaces, marks: Marks, release: Release, described: Description) -> str:
    """Return why neither slot holds a 32-bit release."""
    try:
        past = history.read(places)
    except ForgeError:
        past = ()
    crossings = [one for one in past if one.event == Happening.CROSSED.value]
    if not crossings:
        return "neither slot holds a 32-bit release"
    crossed = crossings[-1]
    taken = Slot(crossed.slot).other
    ran = [
        one
        for one in past
        if one.event == Happening.SETTLED.value
        and one.slot == taken.value
        and one.time_s >= crossed.time_s
    ]
    if taken is marks.booted:
        name = f"{release.name} {release.version}"
    else:
        name = f"{described.name} {described.version}"
    when = f" on {date(ran[-1].time_s)}" if ran else ""
    return (
        f"the second hop, {name}, was installed{when} into slot {taken.value}, where the 32-bit"
        " release was"
    )


def _check_journal(entries: tuple[Entry, ...]) -> Entry:
    """Return the line by which the new data was published."""
    first = {entry.event: entry for entry in reversed(entries)}
    if Event.PUBLISHED not in first:
        raise NoWayBackError(
            "no journal says that a migration was finished here: this box began with 64 bits, or"
            " its journal was removed",
            hint=_STAYS,
        )
    if Event.CLEANED in first:
        raise NoWayBackError(
            "the old 32-bit data was removed by `applianceforge migrate clean` on"
            f" {date(first[Event.CLEANED].time_s)}",
            hint=_STAYS,
        )
    return first[Event.PUBLISHED]


def _check_old_data(found: Settings, work: Workspace) -> None:
    """Make sure that the old data is there; a `clean` that was cut leaves a part of it."""
    source = found.source
    with files.named_errors(work.outcome, "read the result of the migration"):
        content = work.outcome.read_bytes()
    then = outcome.decode(content).source
    if source.postgres is not None:
        try:
            control = read_control(source.postgres.data)
        except ForgeError as error:
            raise NoWayBackError(
                f"the old 32-bit data is gone or damaged: {error.message}", hint=_STAYS
            ) from error
        if control.architecture is not Architecture.I386:
            raise NoWayBackError(f"{source.postgres.data} is no 32-bit data any more", hint=_STAYS)
    if source.rrd is not None and then.rrds:
        directory = source.rrd.directory
        there = len(scan(directory, source.rrd.patterns).files) if directory.is_dir() else 0
        if there < then.rrds:
            raise NoWayBackError(
                f"of {then.rrds} old RRDs in {directory} only {there} are left", hint=_STAYS
            )


def _proved(found: Settings, work: Workspace) -> ClusterInventory | None:
    if found.source.postgres is None:
        return None
    path = work.inventories / "target.json"
    with files.named_errors(path, "read what was proved"):
        content = path.read_bytes()
    try:
        return inventory.decode(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JournalError(
            f"{path} is damaged, so nobody can say what came in since the crossing",
            hint="keep the 64-bit release, and send the vendor the directory",
        ) from error

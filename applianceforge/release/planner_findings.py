"""What the planner says when the way goes no further: the texts, and what to do.

Every finding has a remedy. The status of all but the processor's own is that of `NoWayError`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from difflib import get_close_matches
from enum import Enum

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import NoWayError
from applianceforge.model.report import Finding, Remedy, Severity
from applianceforge.preflight.requirements import Last32Bit
from applianceforge.release import ordering
from applianceforge.release.graph import Offer
from applianceforge.release.graph_file import LATEST_S

SETTINGS = "/data/config/update.toml"
_MOST_NAMED = 8


class Reason(Enum):
    """What is in the way of a release, in the order in which it is told."""

    PROCESSOR = "processor"
    BARRIER_WITHDRAWN = "release.barrier-withdrawn"
    NO_CROSSING = "release.no-crossing"
    MINIMUM = "release.minimum-version"
    BELOW_FLOOR = "release.below-floor"
    NOT_YET = "release.not-yet"
    SHARE = "release.share"
    BY_REQUEST = "release.by-request"


_TELL_VENDOR = Remedy(
    "Tell your vendor: it takes another release, or a change of what is published. Until then stay"
    " on the release that runs, nothing was changed here"
)
_SEE = "applianceforge update --check"
_LATER = Remedy("Nothing need be done: the next update sees whether it has changed", _SEE)
_ANY = Remedy("Install what can be reached", "applianceforge update", "applianceforge status")
_SLOTS = Remedy(
    "An earlier release may still be in the other slot: see what it holds, and whether there is a"
    " way back to it",
    "applianceforge status",
)


def stop(reason: Reason, offer: Offer, behind: tuple[str, ...], floor: str) -> Finding:
    """Return what is in the way of one release or more.

    Args:
        reason: Anything but the processor.
        offer: The release that has to be mended or waited for.
        behind: The names of all that cannot be had for that reason.
        floor: The host's.
    """
    if reason is Reason.BARRIER_WITHDRAWN:
        found = _barrier_withdrawn(offer)
    elif reason is Reason.NO_CROSSING:
        found = _no_crossing(offer)
    elif reason is Reason.MINIMUM:
        found = _minimum(offer)
    elif reason is Reason.BELOW_FLOOR:
        found = below_floor(offer.version, floor)
    elif reason is Reason.NOT_YET:
        found = _not_yet(offer)
    elif reason is Reason.SHARE:
        found = _share(offer)
    else:
        found = _by_request(offer)
    return found._replace(evidence=(f"out of reach for this: {_listed(behind)}",))


def dead_end(last: Last32Bit | None, installed: str, reached: str) -> Finding:
    """Return where the way of a processor without long mode ends.

    Args:
        last: What the vendor says of it.
        installed: The version that runs.
        reached: The newest version that a way leads to.
    """
    runs = f"it runs {installed}" if installed == reached else f"the update leads to {reached}"
    if last is None:
        return _found(
            "release.last-32-bit",
            "The way of this machine ends at a 32-bit release",
            f"Newer releases are for 64-bit processors, and the vendor does not say how long 32-bit"
            f" ones are maintained. This machine has the newest that it can have: {runs}.",
            Remedy("Ask your vendor how long that release is maintained"),
            _move(reached),
            severity=Severity.INFO,
        )
    compared = ordering.compare(reached, last.version)
    if compared == 0 and installed == reached:
        title = f"This machine already runs the last release for it, {last.version}"
        where = "There will be no newer one for a processor without 64-bit mode."
    elif compared == 0:
        title = f"The last release for this machine is {last.version}"
        where = "The update leads there, and no further without 64-bit mode."
    elif compared < 0:
        title = f"The last release for this machine is {last.version}, and is not within reach yet"
        where = f"As it is now, {runs}."
    else:
        title = f"The last release for this machine is said to be {last.version}"
        where = f"There is a newer one all the same: {runs}."
    until = (
        f"The vendor supports it until {last.supported_until}."
        if last.supported_until
        else "The vendor does not say how long it is supported."
    )
    advice = (Remedy(last.advice),) if last.advice else ()
    return _found(
        "release.last-32-bit",
        title,
        f"{where} {until}",
        *advice,
        _move(last.version),
        severity=Severity.INFO,
    )


def unknown(wanted: str, versions: Iterable[str]) -> Finding:
    """Return that there is no such release."""
    known = sorted(set(versions), key=ordering.key)
    near = get_close_matches(wanted[: ordering.LONGEST], known, 1)
    meant = [Remedy(f"Did you mean {one}?", f"applianceforge update --to {one}") for one in near]
    newest = f" The newest is {known[-1]}." if known else ""
    return _found(
        "release.unknown",
        f"There is no release {_short(wanted)}",
        f"None of the {len(known)} versions that are published is that one.{newest}",
        *meant,
        Remedy("See what can be had", _SEE),
    )


def other_channel(offer: Offer, channel: str) -> Finding:
    """Return that a release is in other channels than the host's."""
    channels = ", ".join(offer.channels)
    return _found(
        "release.other-channel",
        f"Release {offer.version} is not in the channel {_short(channel)}",
        f"This machine follows the channel {_short(channel)}; that release is in {channels}.",
        Remedy(
            f'To follow another channel, write channel = "{offer.channels[0]}" into {SETTINGS}'
            if offer.channels
            else "Ask your vendor which channel it will be in",
            verify=_SEE,
        ),
        _ANY,
    )


def withdrawn(offer: Offer) -> Finding:
    """Return that a release was withdrawn, and why."""
    return _found(
        "release.withdrawn",
        f"Release {offer.version} was withdrawn",
        f"The vendor says: {offer.withdrawn}",
        _ANY,
    )


def older(wanted: str, installed: str) -> Finding:
    """Return that a release is older than the one that runs."""
    return _found(
        "release.older",
        f"Release {_short(wanted)} is older than the one that runs",
        f"This machine runs {installed}. An update never leads to an older release: data may have"
        " been changed into a form that the older one does not know.",
        _SLOTS,
    )


def below_floor(wanted: str, floor: str) -> Finding:
    """Return that a release is below the host's floor."""
    return _found(
        Reason.BELOW_FLOOR.value,
        f"Release {_short(wanted)} is below the floor of this machine, {floor}",
        f"The data here was migrated for release {floor}. What is older would not know it.",
        Remedy(f"Start the slot that holds {floor} or a newer one", "applianceforge status"),
        Remedy(f"Install {floor} or a newer one", "applianceforge update"),
    )


def back_to_32(wanted: str) -> Finding:
    """Return that a release is for 32 bits, and the system a 64-bit one."""
    return _found(
        "release.back-to-32-bit",
        f"Release {_short(wanted)} is a 32-bit one",
        "No update leads from 64 bits to 32 bits, and every way to that release goes over into 64"
        " bits before, or starts there.",
        Remedy("Choose a 64-bit release", _SEE),
        _SLOTS,
    )


def not_reachable(wanted: str, installed: str) -> Finding:
    """Return that there is a release, and no way to it."""
    return _found(
        "release.not-reachable",
        f"No way leads from {installed} to release {_short(wanted)}",
        "The release is there, but neither in one hop nor in several can it be installed over the"
        " one that runs. The other findings say what is in the way.",
        _ANY,
    )


def _barrier_withdrawn(offer: Offer) -> Finding:
    return _found(
        Reason.BARRIER_WITHDRAWN.value,
        f"Release {_name(offer)} has to be installed on the way, and was withdrawn",
        "Newer releases need what it does, so it is not left out, and no release that can be"
        f" installed takes its place. The vendor says why it was withdrawn: {offer.withdrawn}",
        Remedy("Wait for a release that takes its place", _SEE),
        _TELL_VENDOR,
    )


def _no_crossing(offer: Offer) -> Finding:
    return _found(
        Reason.NO_CROSSING.value,
        f"Release {offer.version} is a 64-bit one, and nothing leads over there from 32 bits",
        "A 32-bit system goes over by a release that is made to take its data along. None of those"
        " that are published for this channel can be installed from here.",
        Remedy(
            "Or move the data by hand to a new 64-bit appliance",
            "applianceforge migrate export",
        ),
        _TELL_VENDOR,
    )


def _minimum(offer: Offer) -> Finding:
    least = offer.release.minimum_version
    return _found(
        Reason.MINIMUM.value,
        f"Release {_name(offer)} can be installed over {least} or newer only",
        "What this machine runs, or could get, is older than that, and no release in between leads"
        " there.",
        _TELL_VENDOR,
    )


def _not_yet(offer: Offer) -> Finding:
    begin = datetime.fromtimestamp(min(max(offer.since_s, 0), LATEST_S), UTC)
    return _found(
        Reason.NOT_YET.value,
        f"Release {_name(offer)} is not offered yet",
        f"It will be from {begin:%Y-%m-%d %H:%M} UTC on, by the clock of this machine.",
        _LATER,
        _ask_for(offer),
        severity=Severity.INFO,
    )


def _share(offer: Offer) -> Finding:
    return _found(
        Reason.SHARE.value,
        f"Release {_name(offer)} is not for all machines yet",
        f"It is installed on {offer.share_percent} % of them first, and this one is not among"
        " those. The vendor raises the share when it has proved itself.",
        _LATER,
        _ask_for(offer),
        severity=Severity.INFO,
    )


def _by_request(offer: Offer) -> Finding:
    return _found(
        Reason.BY_REQUEST.value,
        f"Release {_name(offer)} is there for those who ask for it",
        "It is never installed unless somebody asks for it by its version.",
        _ask_for(offer),
        severity=Severity.INFO,
    )


def _ask_for(offer: Offer) -> Remedy:
    return Remedy("Ask for it by name", f"applianceforge update --to {offer.version}")


def _move(version: str) -> Remedy:
    return Remedy(
        f"Stay on {version} while it is supported. Then replace the machine, or move the system to"
        " a virtual machine on a 64-bit host, and take the data along",
        "applianceforge migrate export",
    )


def _name(offer: Offer) -> str:
    # Mostly the version says it all.
    return offer.version if offer.architecture is Architecture.AMD64 else f"{offer.version} i386"


def _short(text: str) -> str:
    return text if len(text) <= ordering.LONGEST else text[: ordering.LONGEST] + "..."


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _MOST_NAMED
    if more <= 0:
        return ", ".join(names)
    # The newest are what people look for.
    return f"{more} more, " + ", ".join(names[more:])


def _found(
    key: str,
    title: str,
    summary: str,
    *remedies: Remedy,
    severity: Severity = Severity.INHIBITOR,
) -> Finding:
    status = NoWayError.exit_status
    return Finding(key, severity, title, summary, remedies=remedies, exit_status=status)

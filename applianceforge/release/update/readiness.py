"""Whether an update may begin now: what stands against it before any server is asked. Pure.

And what is known of the slot that does not run: it may hold the release already, or have been given
up with it.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import NoWayError, RetentionError, SlotError
from applianceforge.model.report import Finding, Severity
from applianceforge.preflight.amounts import amount
from applianceforge.preflight.checks_resources import LARGER_SLOTS, RESOURCES
from applianceforge.release.graph import Offer
from applianceforge.release.manifest import Manifest
from applianceforge.release.update.gathering import Box
from applianceforge.slots import reasons, states
from applianceforge.slots.reasons import Reason
from applianceforge.slots.states import State

OPEN = "open"
_LOST = "is kept: what says until when, the migration's journal or the epoch, is damaged or gone"


def check_settled(box: Box) -> None:
    """Refuse an update while what runs is not proved, or does not serve.

    Raises:
        NoWayError: A migration is under way, or the services are shut.
        SlotError: The running slot was not marked good yet.
        DiskFullError: There is no room to note what is done.
        AccessDeniedError: That may not be written.
    """
    if box.unkept is not None:
        raise box.unkept
    own = box.release.architecture
    if box.epoch is not None and box.epoch is not own and own is Architecture.AMD64:
        raise NoWayError(
            "the data of this appliance is being migrated to 64 bits, or its migration has not been"
            " proved yet",
            hint="wait until that is done, and watch it: applianceforge status",
        )
    if box.gate != OPEN:
        reason = reasons.explain(box.gate or "gate-unknown")
        raise NoWayError(
            f"the services of this appliance are shut: {reason.sentence}", hint=reason.remedy
        )
    if states.state_of(box.environment, box.disk.booted) is not State.GOOD:
        raise SlotError(
            f"slot {box.disk.booted.value}, which runs, was not marked good yet, so nothing that"
            " works would be left while the other one is written",
            hint="wait until its services are up, `applianceforge status` tells; if they never are,"
            " the other slot comes back by itself",
        )


def given_up(box: Box, offer: Offer) -> Reason | None:
    """Return why this release was given up before; None if it was not."""
    about, word = reasons.split(box.environment.reason)
    if about is not box.disk.booted.other or not _holds(box, offer):
        return None
    return reasons.explain(word)


def starts_next(box: Box, offer: Offer) -> bool:
    """Tell whether this release is in the other slot already, and starts at the next boot."""
    other = box.disk.booted.other
    return (
        box.environment.primary == other.value
        and states.state_of(box.environment, other) is not State.NOT_BOOTABLE
        and _holds(box, offer)
    )


def overwrites_way_back(box: Box) -> bool:
    """Tell whether what would be overwritten is the way back to 32 bits."""
    other = box.disk.booted.other
    if box.release.architecture is not Architecture.AMD64:
        return False
    if states.state_of(box.environment, other) is State.NOT_BOOTABLE:
        return False
    # Not root, who alone can look: it may well be.
    return box.held is None or box.held.architecture is Architecture.I386


def check_retention(box: Box, offer: Offer, until_s: float | None) -> None:
    """Refuse to overwrite the way back to 32 bits before its time.

    Args:
        until_s: Until when it is kept, seconds since 1970; None if there is none, and `math.inf`
            if nobody knows any more.

    Raises:
        RetentionError: It is too early.
    """
    if until_s is None or box.now_s >= until_s or not overwrites_way_back(box):
        return
    known = until_s < math.inf
    until = f"is kept until {date(until_s)}" if known else _LOST
    wait = "wait until then; or, " if known else ""
    raise RetentionError(
        f"release {offer.version} would overwrite the 32-bit system in slot"
        f" {box.disk.booted.other.value}, which is the way back and {until}",
        hint=f"{wait}if you never want to go back, put `retention_days = 0` into"
        " /data/config/update.toml and run the same command again",
    )


def too_small(box: Box, manifest: Manifest) -> Finding | None:
    """Return what is wrong where a release is larger than the slot that it is to be written into.

    What the vendor says that a release requires is compared before; this is what it really has.
    """
    room_bytes, needed_bytes = box.slot_bytes, manifest.slot_bytes
    if room_bytes is None or needed_bytes <= room_bytes:
        return None
    slot = box.disk.booted.other
    return Finding(
        "resources.slot",
        Severity.INHIBITOR,
        f"Slot {slot.value} is too small for the release",
        f"{manifest.release.subject} has {amount(needed_bytes)}, and slot {slot.value} only"
        f" {amount(room_bytes)}. Nothing was fetched of it, and nothing changed.",
        evidence=(
            f"{box.disk.device(slot)}: {room_bytes} bytes",
            f"needed: {needed_bytes} bytes",
        ),
        remedies=LARGER_SLOTS,
        exit_status=RESOURCES,
    )


def date(time_s: float) -> str:
    """Return a time as people read it."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _holds(box: Box, offer: Offer) -> bool:
    held = box.held
    return held is not None and (held.version, held.architecture) == (
        offer.version,
        offer.architecture,
    )

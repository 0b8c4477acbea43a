"""What became of what was agreed to: looked at whenever an update begins, and at each boot.

the release runs, and is good        it is told, and the intent removed
the release runs                     its boot is not over: nothing yet
its slot was given up meanwhile      it is told with the reason, and the intent removed
it starts next                       the machine is to be restarted
a person stopped it                  only a person goes on
it is half installed                 it goes on, unless it came no further so often in a row
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from applianceforge.release.update import bundle_cache, intent
from applianceforge.release.update.applying import Surroundings, tell_activated
from applianceforge.release.update.gathering import Box
from applianceforge.release.update.intent import Consent, Intent, Phase
from applianceforge.release.update.proposal import Proposal
from applianceforge.release.update.recording import judged
from applianceforge.release.update.status import Named, Result, Story, UpdateState
from applianceforge.slots import reasons, states
from applianceforge.slots.history import Happening
from applianceforge.slots.states import State

_WORN_OUT = "worn-out"
_UNDONE = "undone"
_AUTOMATIC_OFF = "automatic-off"


class Next(Enum):
    """What is to be done about what was agreed to."""

    NOTHING = "nothing"
    GO_ON = "go on"
    RESTART = "restart"


@dataclass(frozen=True)
class Found:
    """What was agreed to, if it still counts, and what is to be done."""

    agreed: Intent | None
    next: Next
    story: str = ""


def look(around: Surroundings, box: Box) -> Found:
    """Conclude what is over, and say what is to be done about the rest.

    Only for root, who holds the lock.

    Raises:
        ForgeError: The intent cannot be read or removed.
    """
    agreed = intent.read(around.update_places.intent)
    if agreed is None:
        return Found(None, Next.NOTHING)
    if box.unkept is not None:
        # Nothing can be concluded; who wants to go on is told why.
        return Found(agreed, Next.GO_ON)
    other = box.disk.booted.other
    if (box.release.version, box.release.architecture) == (agreed.version, agreed.architecture):
        return _runs(around, box, agreed)
    about, word = reasons.split(box.environment.reason)
    if about is other and box.environment.generation > agreed.generation:
        reason = reasons.explain(word)
        return _over(
            around,
            box,
            agreed,
            UpdateState.FELL_BACK,
            Result(0, word, f"it was installed and given up: {reason.sentence}", reason.remedy),
        )
    startable = states.state_of(box.environment, other) is not State.NOT_BOOTABLE
    if startable and box.environment.primary == other.value and _is_installed(box, agreed):
        if agreed.phase is not Phase.ACTIVATED:
            tell_activated(around, box, agreed)
        return Found(agreed, Next.RESTART)
    if agreed.phase is Phase.ACTIVATED:
        return _over(
            around,
            box,
            agreed,
            UpdateState.FAILED,
            Result(
                0,
                _UNDONE,
                "it was installed, and another system was chosen to start since",
                "run `applianceforge update` again when you want it",
            ),
        )
    if agreed.phase is Phase.STOPPED:
        return Found(agreed, Next.NOTHING)
    if why := agreed.worn_out(box.now_s):
        return _over(
            around,
            box,
            agreed,
            UpdateState.FAILED,
            Result(
                0,
                _WORN_OUT,
                f"its installation is given up: {why}",
                "see `applianceforge history` for what went wrong; mend that, and run"
                " `applianceforge update` again",
            ),
        )
    if agreed.by is Consent.TIMER and not box.settings.automatic:
        return _over(
            around,
            box,
            agreed,
            UpdateState.STOPPED,
            Result(
                0,
                _AUTOMATIC_OFF,
                "it was begun by the timer, and automatic updates were switched off since",
                "run `applianceforge update` when you want it",
            ),
        )
    return Found(agreed, Next.GO_ON)


def changed(agreed: Intent, found: Proposal) -> Result | None:
    """Return why what was agreed to is not what is offered now; None if it is."""
    state, result = judged(found)
    # That it was given up before, a person knew who agreed to it all the same.
    knew = agreed.by is Consent.PERSON and found.given_up is not None and found.waits is None
    if state is UpdateState.REFUSED or (state is UpdateState.WAITING and not knew):
        return result
    hop, manifest = found.hop, found.manifest
    if hop is None or (hop.version, hop.architecture) != (agreed.version, agreed.architecture):
        return Result(
            0,
            "withdrawn",
            "it is not what would be installed next any more",
            "run `applianceforge update` to see what is offered now",
        )
    if manifest is None or bundle_cache.digest(manifest) != agreed.manifest:
        return Result(
            0,
            "changed",
            "the vendor has changed it since it was agreed to",
            "run `applianceforge update` again",
        )
    return None


def abandon(around: Surroundings, box: Box, agreed: Intent, why: Result) -> Found:
    """Give up what was agreed to, and tell why.

    Raises:
        ForgeError: The intent cannot be removed.
    """
    return _over(around, box, agreed, UpdateState.FAILED, why)


def _runs(around: Surroundings, box: Box, agreed: Intent) -> Found:
    if states.state_of(box.environment, box.disk.booted) is not State.GOOD:
        return Found(agreed, Next.NOTHING)
    around.tell_since(
        box,
        Happening.UPDATED,
        agreed.since_s,
        **{"from": agreed.origin, "to": agreed.target, "by": agreed.by.value},
    )
    around.status.tell(UpdateState.DONE, _story(box, agreed))
    _forget(around)
    return Found(None, Next.NOTHING, f"updated from {agreed.origin} to {agreed.target}")


def _over(
    around: Surroundings, box: Box, agreed: Intent, state: UpdateState, result: Result
) -> Found:
    around.tell_since(
        box,
        Happening.UPDATE_FAILED,
        agreed.since_s,
        reason=result.key,
        message=result.message,
        hint=result.hint,
        **{"from": agreed.origin, "to": agreed.target, "by": agreed.by.value},
    )
    around.status.tell(state, _story(box, agreed), result)
    _forget(around)
    return Found(None, Next.NOTHING, f"{agreed.target}: {result.message}")


def _forget(around: Surroundings) -> None:
    bundle_cache.forget(around.update_places, around.effects)
    intent.remove(around.update_places.intent, around.effects)


def _story(box: Box, agreed: Intent) -> Story:
    return Story(
        Named(box.release.version, box.release.architecture),
        Named(agreed.version, agreed.architecture),
        by=agreed.by.value,
    )


def _is_installed(box: Box, agreed: Intent) -> bool:
    held = box.held
    return held is not None and (held.version, held.architecture) == (
        agreed.version,
        agreed.architecture,
    )

"""Keep what an update found, for `status` and the history: once, however often the timer looks."""

from __future__ import annotations

from applianceforge.model.error_document import name_of
from applianceforge.model.errors import ForgeError, NetworkError, exit_status_of
from applianceforge.model.report import Report
from applianceforge.release.update.applying import Surroundings, origin_of, story_of
from applianceforge.release.update.gathering import Box
from applianceforge.release.update.intent import Consent
from applianceforge.release.update.proposal import Proposal, first_reason
from applianceforge.release.update.status import Named, Result, Story, UpdateState
from applianceforge.slots.history import Happening

_GIVEN_UP = "given-up"
_RETENTION = "retention"


def record(around: Surroundings, proposal: Proposal, by: Consent) -> None:
    """Tell what was found; a refusal goes into the history, if it is not the last one told."""
    state, result = judged(proposal)
    story = story_of(proposal, by)
    around.status.tell(state, story, result)
    if state is not UpdateState.REFUSED:
        return
    target = proposal.hop or proposal.plan.goal
    around.tell_once(
        proposal.box,
        Happening.UPDATE_REFUSED,
        result.key,
        message=result.message,
        hint=result.hint,
        status=result.status,
        by=by.value,
        **{
            "from": origin_of(proposal.box),
            "to": f"{target.version} ({target.architecture.value})" if target else "",
        },
    )


def judged(proposal: Proposal) -> tuple[UpdateState, Result]:
    """Return where a proposal leaves the appliance, and why."""
    if proposal.refused:
        return UpdateState.REFUSED, _refusal(proposal.report)
    if proposal.hop is None:
        return UpdateState.UP_TO_DATE, Result()
    if proposal.starts_next:
        return UpdateState.ACTIVATED, Result()
    if proposal.given_up is not None:
        reason = proposal.given_up
        message = f"release {proposal.hop.version} was given up: {reason.sentence}"
        return UpdateState.WAITING, Result(0, _GIVEN_UP, message, reason.remedy)
    if proposal.waits is not None:
        waits = proposal.waits
        return UpdateState.WAITING, Result(0, _RETENTION, waits.message, waits.hint)
    return UpdateState.AVAILABLE, Result()


def _refusal(report: Report) -> Result:
    """Return what is told of a report in a line: the least mendable, and the likeliest remedy."""
    found = first_reason(report)
    hint = ""
    if found.remedies:
        text, command, _ = found.remedies[0]
        hint = f"{text}: {command}" if command else text
    message = f"{found.title}: {found.summary}" if found.summary else found.title
    return Result(report.exit_status, found.key, message.rstrip("."), hint.rstrip("."))


def record_error(around: Surroundings, box: Box, error: ForgeError, by: Consent) -> None:
    """Tell why nothing could be found out; a network that is away is not for the history."""
    result = Result(exit_status_of(error), name_of(error), error.message, error.hint)
    story = Story(Named(box.release.version, box.release.architecture), by=by.value)
    around.status.tell(UpdateState.FAILED, story, result)
    if isinstance(error, NetworkError):
        return
    around.tell_once(
        box,
        Happening.UPDATE_FAILED,
        result.key,
        message=error.message,
        hint=error.hint,
        status=result.status,
        by=by.value,
        to="",
        **{"from": origin_of(box)},
    )

"""All of it in short: a box crosses by an update over HTTP, and is refused where it cannot.

`inv story` tells the whole of it; `inv test.vm` cuts its power.
"""

from __future__ import annotations

import pytest

from tests.conftest import shown
from tests.release.server import Entry
from tests.vm import crossing, story
from tests.vm.story import Ended, Refusal

_REFUSAL = Refusal("coreduo", 22, "cannot run 64-bit", "replace")
_SAID = "This processor cannot run\n64-bit programs. What to do: replace it"


@pytest.mark.real
def test_one_crossing_and_what_is_refused(pytestconfig: pytest.Config) -> None:
    with shown(pytestconfig):
        story.short(crossing.say)


def _ended(status: int = 22, said: str = _SAID, *entries: tuple[str, int]) -> Ended:
    sent = entries or (("metadata/timestamp.json", 500),)
    return Ended(status, said, [Entry("GET", path, "", 200, size) for path, size in sent])


def test_of_progress_only_the_ends_are_told() -> None:
    said = (
        "2.0.0 is offered\n  [1/2] Look ...\n  [1/2] Look: 47%, 2.1 MB/s\n  [1/2] Look: done in 2 s"
    )
    assert _ended(0, said).condensed == "2.0.0 is offered\n  [1/2] Look: done in 2 s"


def test_a_refusal_is_a_refusal() -> None:
    story.check_refused(_ended(), _REFUSAL)


@pytest.mark.parametrize(
    "ended",
    [
        _ended(0),
        _ended(22, "It cannot run 64-bit programs."),
        _ended(22, "Replace it"),
        _ended(22, _SAID, ("metadata/timestamp.json", 500), ("bundles/00.index", 500)),
        _ended(22, _SAID, ("metadata/timestamp.json", 65537)),
        Ended(22, _SAID, []),
    ],
    ids=["status", "no remedy", "no reason", "index", "too much", "never asked"],
)
def test_what_is_no_such_refusal(ended: Ended) -> None:
    with pytest.raises(AssertionError):
        story.check_refused(ended, _REFUSAL)

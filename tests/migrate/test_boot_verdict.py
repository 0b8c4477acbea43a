"""What the end of a migration at boot means, for every class of errors."""

import pytest

from applianceforge.migrate import boot_verdict
from applianceforge.migrate.boot_verdict import AGAIN, BACK, Verdict, counted, verdict_on
from applianceforge.model import errors
from applianceforge.model.errors import ForgeError, InhibitedError
from applianceforge.slots import reasons


def classes() -> list[type[ForgeError]]:
    found = [one for one in vars(errors).values() if isinstance(one, type)]
    return [one for one in found if issubclass(one, ForgeError) and one is not ForgeError]


def test_every_class_has_a_verdict_and_no_other_has() -> None:
    assert set(boot_verdict._VERDICTS) == set(classes())


@pytest.mark.parametrize("kind", [one for one in classes() if one is not InhibitedError])
def test_every_verdict_has_a_status_and_a_word_that_is_explained(kind: type[ForgeError]) -> None:
    verdict = verdict_on(kind("it is so"))
    assert verdict.status in (AGAIN, BACK)
    assert verdict.reason in reasons.REASONS


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.DiskFullError, AGAIN),
        (errors.ServerFailedError, AGAIN),
        (errors.AlreadyRunningError, AGAIN),
        (errors.AccessDeniedError, AGAIN),
        (errors.DamagedClusterError, BACK),
        (errors.ForeignClusterError, BACK),
        (errors.ExtensionMissingError, BACK),
        (errors.LocaleMissingError, BACK),
        (errors.RrdError, BACK),
        (errors.NotProvedError, BACK),
        (errors.SettingsError, BACK),
        (errors.JournalError, BACK),
    ],
)
def test_what_may_mend_itself_is_tried_again_and_what_cannot_is_not(
    kind: type[ForgeError], status: int
) -> None:
    assert verdict_on(kind("it is so")).status == status


@pytest.mark.parametrize(
    ("status", "word"),
    [(20, "processor"), (21, "processor"), (22, "processor"), (23, "no-space"), (24, "inhibited")],
)
def test_what_a_check_forbids_goes_back_and_says_which(status: int, word: str) -> None:
    assert verdict_on(InhibitedError("no", status=status)) == Verdict(BACK, word)
    assert word in reasons.REASONS


def test_the_second_failure_is_the_last() -> None:
    once = verdict_on(errors.DiskFullError("full"))
    assert counted(once, 1) == once
    assert counted(once, 2) == Verdict(BACK, "disk-full")
    back = verdict_on(errors.NotProvedError("differ"))
    assert counted(back, 1) == back


@pytest.mark.parametrize(
    "word", [boot_verdict.ABORTED, boot_verdict.INTERRUPTED, boot_verdict.UNRECORDED]
)
def test_words_beside_the_table_are_explained(word: str) -> None:
    assert word in reasons.REASONS

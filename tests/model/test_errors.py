"""Every error has an exit status of its own, and the documents say the same."""

import re
from pathlib import Path

from applianceforge.model import errors
from applianceforge.model.errors import ForgeError, InhibitedError, exit_status_of
from applianceforge.model.report import Finding, Report, Severity

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "exit-statuses.md"


def classes() -> list[type[ForgeError]]:
    found = [one for one in vars(errors).values() if isinstance(one, type)]
    return [one for one in found if issubclass(one, ForgeError) and one is not ForgeError]


def test_statuses_are_never_reused() -> None:
    statuses = [one.exit_status for one in classes()]
    assert len(set(statuses)) == len(statuses)


def test_the_docstring_draws_every_class_with_its_status() -> None:
    drawn = dict(re.findall(r"\+- (\w+) +(\d+)", errors.__doc__ or ""))
    assert drawn.pop("InhibitedError") == "10"
    wanted = {one.__name__: str(one.exit_status) for one in classes() if one is not InhibitedError}
    assert drawn == wanted


def test_the_document_lists_every_status_with_the_docstring_s_words() -> None:
    listed = dict(re.findall(r"^\| (\d+) \| (.*) \|$", DOCUMENT.read_text(), re.M))
    for status, words in re.findall(r"Error +(\d+)   ([^\n]+)", errors.__doc__ or ""):
        assert listed[status] == words


def test_an_inhibited_error_ends_with_its_report_s_status() -> None:
    assert exit_status_of(InhibitedError("no", status=23)) == 23
    assert exit_status_of(errors.DiskFullError("full")) == 48


def test_the_least_mendable_finding_decides() -> None:
    def report(*statuses: int) -> Report:
        return Report(
            tuple(Finding(str(s), Severity.INHIBITOR, "", "", exit_status=s) for s in statuses)
        )

    assert report().exit_status == 0
    assert report(30, 23, 24).exit_status == 24
    assert report(20, 22, 21).exit_status == 22
    assert report(49, 50).exit_status == 49
    assert report(49, 23).exit_status == 23
    warning = Report((Finding("w", Severity.WARNING, "", ""),))
    assert warning.exit_status == 10
    assert (warning + report(24)).exit_status == 24

"""Findings of a check, and the report that they make."""

from __future__ import annotations

from enum import Enum
from typing import Iterable, NamedTuple


class Severity(Enum):
    """How much a finding weighs, from the lightest."""

    INFO = "info"
    WARNING = "warning"
    INHIBITOR = "inhibitor"


class Remedy(NamedTuple):
    """One way to mend a finding: what to do, and how to see that it helped."""

    text: str
    command: str = ""
    verify: str = ""


class Finding(NamedTuple):
    """One thing that a check found.

    Attributes:
        key: Never changes, so that tools can rely on it: `subject.thing`.
        exit_status: The status that the command ends with when this finding inhibits.
    """

    key: str
    severity: Severity
    title: str
    summary: str
    evidence: tuple[str, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    exit_status: int = 24


# Of several inhibitors the least mendable decides (interfaces of the pre-update check).
_LEAST_MENDABLE_FIRST = (22, 21, 20, 24, 23, 30)


_WEIGHTS = {Severity.INHIBITOR: 0, Severity.WARNING: 1, Severity.INFO: 2}


def hardest_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings in the order in which they are told.

    Inhibitors before warnings before information; of inhibitors the least mendable first. What
    weighs the same keeps its order.
    """
    return tuple(sorted(findings, key=_weight))


def _weight(finding: Finding) -> tuple[int, int]:
    hardness = len(_LEAST_MENDABLE_FIRST)
    if finding.severity is Severity.INHIBITOR and finding.exit_status in _LEAST_MENDABLE_FIRST:
        hardness = _LEAST_MENDABLE_FIRST.index(finding.exit_status)
    return _WEIGHTS[finding.severity], hardness


class Report:
    """All findings of a check, in the order in which they were found."""

    __slots__ = ("findings",)
    findings: tuple[Finding, ...]

    def __init__(self, findings: Iterable[Finding] = ()) -> None:
        object.__setattr__(self, "findings", tuple(findings))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a report does not change")

    def __add__(self, other: Report) -> Report:
        return Report(self.findings + other.findings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Report) and self.findings == other.findings

    def __hash__(self) -> int:
        return hash(self.findings)

    def __repr__(self) -> str:
        return f"Report({self.findings!r})"

    @property
    def inhibitors(self) -> tuple[Finding, ...]:
        """Return the findings that forbid to go on."""
        return tuple(f for f in self.findings if f.severity is Severity.INHIBITOR)

    @property
    def exit_status(self) -> int:
        """Return 0, 10 for warnings only, or the status of the least mendable inhibitor."""
        statuses = {f.exit_status for f in self.inhibitors}
        for status in _LEAST_MENDABLE_FIRST:
            if status in statuses:
                return status
        if statuses:
            return min(statuses)
        return 10 if any(f.severity is Severity.WARNING for f in self.findings) else 0

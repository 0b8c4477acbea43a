"""Findings of a check, and the report that they make."""

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """How much a finding weighs, from the lightest."""

    INFO = "info"
    WARNING = "warning"
    INHIBITOR = "inhibitor"


@dataclass(frozen=True)
class Remedy:
    """One way to mend a finding: what to do, and how to see that it helped."""

    text: str
    command: str = ""
    verify: str = ""


@dataclass(frozen=True)
class Finding:
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


@dataclass(frozen=True)
class Report:
    """All findings of a check, in the order in which they were found."""

    findings: tuple[Finding, ...] = ()

    def __add__(self, other: "Report") -> "Report":
        return Report(self.findings + other.findings)

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

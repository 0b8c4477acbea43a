"""Decide what the end of a migration at boot means: try again, or go back to the other slot.

    0   proved, or nothing to do: the services start behind shut ports
    75  may succeed next time: the same slot boots again and goes on
    76  cannot succeed: the slot is marked bad with a word of `slots.reasons`; the other slot boots

One table over the classes of errors. A second end in 75 without progress in the journal counts as
76, as does a second crash, and so do 25 boots in a row that had no end at all; both counts start
again after progress.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from applianceforge.model import errors
from applianceforge.model.errors import ForgeError, InhibitedError

PROVED = 0
AGAIN = 75
BACK = 76

MOST_ATTEMPTS = 2
MOST_SILENT_BOOTS = 25

ABORTED = "aborted"
INTERRUPTED = "interrupted"
UNRECORDED = "data-unwritable"
CRASHED = "fault"


@dataclass(frozen=True)
class Verdict:
    """How an attempt ended.

    Attributes:
        status: 0, 75 or 76.
        reason: A word of `slots.reasons`; empty if it is proved.
    """

    status: int
    reason: str = ""


# Each class of errors, whether or not a migration raises it: nothing is decided by accident.
_VERDICTS: Mapping[type[ForgeError], Verdict] = MappingProxyType(
    {
        errors.UsageError: Verdict(BACK, "settings"),
        errors.SettingsError: Verdict(BACK, "settings"),
        errors.ProgramMissingError: Verdict(BACK, "program-missing"),
        errors.ProgramFailedError: Verdict(AGAIN, "program-failed"),
        errors.ServerFailedError: Verdict(AGAIN, "server-failed"),
        errors.ServerRunningError: Verdict(AGAIN, "server-running"),
        errors.ForeignClusterError: Verdict(BACK, "foreign-cluster"),
        errors.DamagedClusterError: Verdict(BACK, "damaged-cluster"),
        errors.LoginRefusedError: Verdict(BACK, "login-refused"),
        # What fills the disk may be something that a boot clears away.
        errors.DiskFullError: Verdict(AGAIN, "disk-full"),
        errors.ExtensionMissingError: Verdict(BACK, "extension-missing"),
        errors.LocaleMissingError: Verdict(BACK, "locale-missing"),
        errors.RrdError: Verdict(BACK, "rrd-unreadable"),
        # A file system that an error made read-only is checked and writable after a boot.
        errors.AccessDeniedError: Verdict(AGAIN, "access-denied"),
        errors.AlreadyRunningError: Verdict(AGAIN, "already-running"),
        errors.ArchiveError: Verdict(AGAIN, "archive-damaged"),
        errors.ClockError: Verdict(AGAIN, "clock"),
        errors.NotProvedError: Verdict(BACK, "not-proved"),
        errors.JournalError: Verdict(BACK, "journal"),
        errors.RetentionError: Verdict(BACK, "fault"),
        errors.UnexplainedError: Verdict(BACK, "fault"),
        errors.RecipeError: Verdict(BACK, "fault"),
        errors.LockedError: Verdict(BACK, "fault"),
        errors.BootDiskError: Verdict(BACK, "boot-disk"),
        errors.BootEnvironmentError: Verdict(AGAIN, "boot-environment"),
        errors.SlotError: Verdict(BACK, "boot-environment"),
        errors.ReadBackError: Verdict(AGAIN, "boot-environment"),
        errors.InhibitedError: Verdict(BACK, "inhibited"),
        # Of updates, releases and the way back: none of them is a migration's.
        errors.NetworkError: Verdict(BACK, "fault"),
        errors.ExpiredError: Verdict(BACK, "fault"),
        errors.SignatureError: Verdict(BACK, "fault"),
        errors.RollbackError: Verdict(BACK, "fault"),
        errors.WrongBundleError: Verdict(BACK, "fault"),
        errors.PayloadError: Verdict(BACK, "fault"),
        errors.WrongClockError: Verdict(BACK, "fault"),
        errors.NoWayError: Verdict(BACK, "fault"),
        errors.RepositoryError: Verdict(BACK, "fault"),
        errors.SigningKeyError: Verdict(BACK, "fault"),
        errors.ServerAnswerError: Verdict(BACK, "fault"),
        errors.NotConfirmedError: Verdict(BACK, "fault"),
        errors.NoWayBackError: Verdict(BACK, "fault"),
    }
)

# A check's verdict on the whole is more than that it forbids: see docs/exit-statuses.md.
_INHIBITED = MappingProxyType({20: "processor", 21: "processor", 22: "processor", 23: "no-space"})


def verdict_on(error: ForgeError) -> Verdict:
    """Return what an error means by itself, without the counts."""
    if isinstance(error, InhibitedError):
        return Verdict(BACK, _INHIBITED.get(error.status, "inhibited"))
    return _VERDICTS[type(error)]


def counted(verdict: Verdict, failures: int) -> Verdict:
    """Return the verdict with the attempts counted.

    Args:
        verdict: What the error means by itself.
        failures: Attempts that ended in 75 without progress since, this one among them.
    """
    if verdict.status == AGAIN and failures >= MOST_ATTEMPTS:
        return Verdict(BACK, verdict.reason)
    return verdict

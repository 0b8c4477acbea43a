"""The errors that a person meets, each with an exit status of its own.

    ForgeError                      (abstract)
    +- UsageError               2   the command line is wrong
    +- SettingsError           40   the settings file, or a path, is wrong
    +- ProgramMissingError     41   a program, or its tree, is not there or cannot run
    +- ProgramFailedError      42   a program ended with a failure that has no name here
    +- ServerFailedError       43   a PostgreSQL server does not start or went away
    +- ServerRunningError      44   a server already runs on that data directory
    +- ForeignClusterError     45   a data directory of another architecture or major version
    +- DamagedClusterError     46   a data directory that is damaged
    +- LoginRefusedError       47   wrong password, or a role that does not exist
    +- DiskFullError           48   no space is left, or too little is there
    +- ExtensionMissingError   49   the target lacks an extension
    +- LocaleMissingError      50   the target lacks an encoding or a collation
    +- RrdError                51   an RRD that cannot be read, or must not be converted
    +- AccessDeniedError       52   permission denied
    +- AlreadyRunningError     53   another run holds the lock
    +- ArchiveError            54   an archive that was changed, cut short or is not one
    +- ClockError              55   the clock went back
    +- NotProvedError          56   source and target differ
    +- JournalError            57   a journal that cannot be continued
    +- RetentionError          58   too early to remove the old data
    +- UnexplainedError        59   a line of a log that nothing is known about
    +- RecipeError             60   an image's recipe is wrong
    +- LockedError             61   what a lock file names cannot be had, or is not asked for
    +- BootDiskError           62   this machine does not run from a disk with two slots
    +- BootEnvironmentError    63   the boot environment cannot be read, or not be written
    +- SlotError               64   an image that is none or does not fit, or a slot that is in use
    +- ReadBackError           65   what is read back is not what was written
    +- NetworkError            69   the server cannot be reached, or went away
    +- ExpiredError            70   a repository's metadata is out of date
    +- SignatureError          71   a signature does not verify, or metadata was changed
    +- RollbackError           72   something older than what was seen before was offered
    +- WrongBundleError        73   a bundle for another appliance or architecture
    +- PayloadError            74   a bundle that was cut short or changed
    +- WrongClockError         77   the clock is wrong: before the system was built, or far ahead
    +- NoWayError              78   no release that can be installed, and why
    +- RepositoryError         79   a repository on the build machine is wrong
    +- SigningKeyError         80   a signing key is missing, or too few of them
    +- ServerAnswerError       81   the server's answer is wrong: not found, or sent elsewhere
    +- NotConfirmedError       82   a person's yes is needed
    +- NoWayBackError          83   there is no way back to 32 bits any more
    +- InhibitedError       10-30   a check forbids it; the least mendable finding decides

A status is never reused. 0 is success, 1 a bug (with its traceback), 130 and 143 an interruption
by Ctrl-C and by SIGTERM; 20 to 24 and 30 are the verdicts of the pre-update check, 75 and 76 those
of the boot unit.
"""

from __future__ import annotations

from typing import ClassVar


class ForgeError(Exception):
    """Say what is wrong with which object, and what to do about it.

    Args:
        message: What is wrong, one or two sentences, without a full stop at the end.
        hint: What to do, as an imperative.
        evidence: Lines of a log or the like that show it.
    """

    exit_status: ClassVar[int]

    def __init__(self, message: str, *, hint: str = "", evidence: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.evidence = evidence


class UsageError(ForgeError):
    """The command line is wrong."""

    exit_status = 2


class SettingsError(ForgeError):
    """The settings file is wrong."""

    exit_status = 40


class ProgramMissingError(ForgeError):
    """A program, or the tree it lives in, is not there or cannot run here."""

    exit_status = 41


class ProgramFailedError(ForgeError):
    """A program ended with a failure."""

    exit_status = 42


class ServerFailedError(ForgeError):
    """A PostgreSQL server does not start, or went away."""

    exit_status = 43


class ServerRunningError(ForgeError):
    """A server already runs on the data directory."""

    exit_status = 44


class ForeignClusterError(ForgeError):
    """The data directory is of another architecture or major version."""

    exit_status = 45


class DamagedClusterError(ForgeError):
    """The data directory is damaged."""

    exit_status = 46


class LoginRefusedError(ForgeError):
    """The server refuses the password, or has no such role."""

    exit_status = 47


class DiskFullError(ForgeError):
    """No space is left, or less than is needed."""

    exit_status = 48


class ExtensionMissingError(ForgeError):
    """The target's program tree lacks an extension."""

    exit_status = 49


class LocaleMissingError(ForgeError):
    """The target's program tree lacks an encoding or a collation."""

    exit_status = 50


class RrdError(ForgeError):
    """An RRD that cannot be read, or must not be converted as it is."""

    exit_status = 51


class AccessDeniedError(ForgeError):
    """Permission denied."""

    exit_status = 52


class AlreadyRunningError(ForgeError):
    """Another run holds the lock."""

    exit_status = 53


class ArchiveError(ForgeError):
    """The archive was changed, was cut short, or is none."""

    exit_status = 54


class ClockError(ForgeError):
    """The clock went back."""

    exit_status = 55


class NotProvedError(ForgeError):
    """Source and target differ, or could not be compared."""

    exit_status = 56


class JournalError(ForgeError):
    """The journal cannot be continued."""

    exit_status = 57


class RetentionError(ForgeError):
    """It is too early to remove the old data."""

    exit_status = 58


class UnexplainedError(ForgeError):
    """Nothing is known about a line of a log."""

    exit_status = 59


class RecipeError(ForgeError):
    """The recipe of an image is wrong."""

    exit_status = 60


class LockedError(ForgeError):
    """What a lock file names cannot be had, or is not what the recipe asks for."""

    exit_status = 61


class BootDiskError(ForgeError):
    """This machine does not run from a disk with two slots, or not from the one it should."""

    exit_status = 62


class BootEnvironmentError(ForgeError):
    """The boot environment cannot be read, or cannot be written."""

    exit_status = 63


class SlotError(ForgeError):
    """An image is no slot image or does not fit, or the slot is in use."""

    exit_status = 64


class ReadBackError(ForgeError):
    """What is read back from a disk is not what was written."""

    exit_status = 65


class NetworkError(ForgeError):
    """The server cannot be reached, or went away."""

    exit_status = 69


class ExpiredError(ForgeError):
    """The metadata of a repository is out of date."""

    exit_status = 70


class SignatureError(ForgeError):
    """A signature does not verify, or metadata was changed."""

    exit_status = 71


class RollbackError(ForgeError):
    """Something older than what was seen before was offered."""

    exit_status = 72


class WrongBundleError(ForgeError):
    """A bundle is for another appliance or architecture, or not what the release says."""

    exit_status = 73


class PayloadError(ForgeError):
    """A bundle was cut short or changed."""

    exit_status = 74


class WrongClockError(ForgeError):
    """The clock is wrong: it stands before the system was built, or far ahead."""

    exit_status = 77


class NoWayError(ForgeError):
    """There is no release that can be installed."""

    exit_status = 78


class RepositoryError(ForgeError):
    """A repository on the build machine is wrong, or is asked for what it does not have."""

    exit_status = 79


class SigningKeyError(ForgeError):
    """A signing key is missing or does not fit, or there are too few of them."""

    exit_status = 80


class ServerAnswerError(ForgeError):
    """The server's answer is wrong: what is asked for is not there, or it sends elsewhere."""

    exit_status = 81


class NotConfirmedError(ForgeError):
    """It needs a person's yes, and nobody gave it."""

    exit_status = 82


class NoWayBackError(ForgeError):
    """There is no way back to 32 bits any more."""

    exit_status = 83


class InhibitedError(ForgeError):
    """A check forbids it.

    The exit status is that of the least mendable finding, given by the caller.
    """

    exit_status = 30

    def __init__(
        self, message: str, *, status: int, hint: str = "", evidence: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint, evidence=evidence)
        self.status = status


def exit_status_of(error: ForgeError) -> int:
    """Return the exit status that the command ends with for this error."""
    return error.status if isinstance(error, InhibitedError) else error.exit_status

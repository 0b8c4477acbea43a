"""Say what the end of a server's log means. Pure: lines in, an error out."""

from collections.abc import Sequence
from pathlib import Path

from applianceforge.model.errors import (
    AccessDeniedError,
    DamagedClusterError,
    DiskFullError,
    ForeignClusterError,
    ForgeError,
    ServerFailedError,
)

_LOG_LINES = 15


def why_it_failed(side: str, data: Path, log: Path, lines: Sequence[str]) -> ForgeError:
    """Return the error for a server that does not start.

    Args:
        side: "source" or "target".
        data: Its data directory.
        log: Its log file, for the hint.
        lines: What it wrote since it was started.
    """
    evidence = tuple(lines[-_LOG_LINES:])
    text = "\n".join(lines)
    fatal = next((line for line in lines if "FATAL" in line or "PANIC" in line), "")
    said = fatal.partition("FATAL:")[2].strip() or fatal or (lines[-1] if lines else "nothing")
    what = f"the {side} server does not start on {data}: {said}"
    if "incorrect checksum in control file" in text:
        return ForeignClusterError(
            what,
            hint="this looks like damage and mostly is not: a server of another architecture reads"
            " the control file at other offsets. Look with `applianceforge cluster info"
            f" {data}` and name the program tree of its own architecture. Never run"
            " pg_resetwal: it would overwrite a sound control file with guesses and lose data",
            evidence=evidence,
        )
    if "incompatible with server" in text:
        return ForeignClusterError(
            what,
            hint="name the program tree of the architecture and major version that wrote it;"
            f" `applianceforge cluster info {data}` says which",
            evidence=evidence,
        )
    if "No space left on device" in text:
        return DiskFullError(
            what, hint="make room on that file system, then run again", evidence=evidence
        )
    if "ermission denied" in text or "invalid permissions" in text or "wrong ownership" in text:
        return AccessDeniedError(
            what,
            hint="the data directory must belong to the server's user with mode 0700 or 0750, and"
            " every directory above it must let that user pass",
            evidence=evidence,
        )
    if any(
        one in text
        for one in (
            "could not locate a valid checkpoint",
            "PANIC",
            "invalid page",
            "could not open",
            "is not a valid data directory",
        )
    ):
        return DamagedClusterError(
            what,
            hint="restore the data directory from its backup, or repair it with its own server"
            " first; nothing was changed. Do not run pg_resetwal before you have a copy: it throws"
            " away what the log still holds",
            evidence=evidence,
        )
    return ServerFailedError(what, hint=f"the whole log is {log}", evidence=evidence)

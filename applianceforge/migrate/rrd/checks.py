"""Check RRDs before they are converted: headers that make no sense, and updates not yet written."""

from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from applianceforge.formats.rrd.encode import native_bytes
from applianceforge.formats.rrd.values import odd_times
from applianceforge.migrate.rrd.reading import opened
from applianceforge.migrate.rrd.scan import Scan, finding, named
from applianceforge.migrate.rrd.workers import JOBS, chunks, in_workers
from applianceforge.model.errors import ForgeError
from applianceforge.model.report import Finding, Remedy, Severity
from applianceforge.system import files
from applianceforge.system.progress import Counter

_JOURNALS = "rrd.journal*"
_LONGEST_LINE_BYTES = 64 << 10


@dataclass(frozen=True)
class Inspection:
    """What the headers of a scan's RRDs say.

    Attributes:
        findings: Files that cannot be converted, and times to look at.
        native_bytes: The size of all converted files; a hard link counts once.
    """

    findings: tuple[Finding, ...]
    native_bytes: int


@dataclass(frozen=True)
class _Task:
    root: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class _Seen:
    paths: tuple[str, ...]
    native_bytes: int
    damaged: tuple[str, ...]
    odd: tuple[str, ...]


def inspect(scan: Scan, *, counter: Counter | None = None, jobs: int = JOBS) -> Inspection:
    """Read the header of every RRD of a scan; rows are not read.

    A file that somebody is writing just now may look damaged: stop the writers first.

    Args:
        scan: Where the RRDs are.
        counter: Advanced by one row per file.
        jobs: How many processes.
    """
    firsts = [group[0] for group in scan.hard_links()]
    tasks = [
        _Task(str(scan.root), tuple(file.path for file in piece))
        for piece in chunks(firsts, lambda _file: 1)
    ]
    total_bytes = 0
    damaged: list[str] = []
    odd: list[str] = []
    with closing(in_workers(_inspect_some, tasks, jobs=jobs)) as results:
        for seen in results:
            total_bytes += seen.native_bytes
            damaged += seen.damaged
            odd += seen.odd
            if counter is not None:
                counter.advance(add_rows=len(seen.paths), item=seen.paths[-1])
    return Inspection(tuple(_header_findings(sorted(damaged), sorted(odd))), total_bytes)


def _inspect_some(task: _Task) -> _Seen:
    """Read some headers; runs in a worker."""
    total_bytes = 0
    damaged = []
    odd: list[str] = []
    for path in task.paths:
        try:
            with opened(f"{task.root}/{path}") as rrd:
                total_bytes += native_bytes(rrd.header)
                odd += (f"{named(path)}: {text}" for text in odd_times(rrd.header))
        except ForgeError as error:
            damaged.append(error.message.removeprefix(f"{named(task.root)}/"))
    return _Seen(task.paths, total_bytes, tuple(damaged), tuple(odd))


def _header_findings(damaged: Sequence[str], odd: Sequence[str]) -> Iterable[Finding]:
    if damaged:
        yield finding(
            "rrd.damaged",
            Severity.INHIBITOR,
            "Files that are no usable RRD",
            "They are named like RRDs but cannot be converted.",
            damaged,
            Remedy("restore them from a backup", verify="rrdtool info FILE"),
            Remedy("move them out of the RRD directories, or narrow the patterns"),
        )
    if odd:
        yield finding(
            "rrd.clock",
            Severity.WARNING,
            "RRDs that were last updated at an odd time",
            "They are converted as they are; RRDtool takes no update older than the last one.",
            odd,
            Remedy("look at the clock of this system", "date", "rrdtool last FILE"),
        )


def check_journal(directory: Path) -> tuple[Finding, ...]:
    """Find updates that rrdcached has accepted and not yet written to an RRD.

    Its journal has a line for each update that it took (`update FILE VALUES`) and one when it
    wrote or forgot those of a file (`wrote FILE`, `forget FILE`); what remains is pending. A line
    that we do not know counts as pending. While rrdcached runs, its last lines may be in its memory
    only: nothing found is the last word once it has stopped.

    Source: JOURNAL_BASE, journal_write, journal_new_file and list_of_commands of rrd_daemon.c,
    github.com/oetiker/rrdtool-1.x (the stored text of commit 00093930).

    Args:
        directory: rrdcached's option -j; one that is not there holds nothing.

    Raises:
        AccessDeniedError: It may not be read.
        SettingsError: It cannot be read for another reason.
    """
    pending: Tally[str] = Tally()
    with files.named_errors(directory, "read the journal"):
        for path in sorted(directory.glob(_JOURNALS)):
            with open(path, "rb") as stream:
                while line := stream.readline(_LONGEST_LINE_BYTES):
                    _replay(line.decode("utf-8", "surrogateescape"), pending)
    if not pending:
        return ()
    return (
        finding(
            "rrd.journal",
            Severity.INHIBITOR,
            "rrdcached holds updates that are not in the RRDs",
            f"{pending.total()} updates of {len(pending)} files are in the journal {directory}"
            " only and would be lost.",
            sorted(pending),
            Remedy(
                "write one file's updates",
                "rrdtool flushcached --daemon ADDRESS FILE",
            ),
            Remedy(
                "stop rrdcached with its option -F, which writes everything first",
                "systemctl stop rrdcached",
                f"ls -l {directory}",
            ),
        ),
    )


def _replay(line: str, pending: Tally[str]) -> None:
    words = line.rstrip("\n").split(" ")
    command, name = words[0].lower(), words[1] if len(words) > 1 else "(a line of the journal)"
    if command in ("wrote", "forget"):
        pending.pop(name, None)
    elif command not in ("flush", ""):
        pending[name] += 1

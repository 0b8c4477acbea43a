"""Find the RRDs below a directory, and what stands in the way of converting them."""

import fnmatch
import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from applianceforge.model.errors import RrdError
from applianceforge.model.report import Finding, Remedy, Severity
from applianceforge.system import files

PATTERNS = ("*.rrd",)
_SHOWN_NAMES = 100


@dataclass(frozen=True, slots=True)
class RrdFile:
    """A file that matches the patterns.

    Attributes:
        path: Relative to the scanned directory.
        inode: The file's number on its device; the same for hard links.
        names: How many hard links the file has, here and elsewhere.
    """

    path: str
    size_bytes: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    device: int
    inode: int
    names: int


@dataclass(frozen=True, slots=True)
class RrdDirectory:
    """A directory; `path` is relative to the scanned one, which is itself the empty path."""

    path: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class RrdLink:
    """A symbolic link within the scanned directory.

    Attributes:
        path: Relative to the scanned directory.
        target: What the link is to say on the other side: relative to the link's directory.
    """

    path: str
    target: str


@dataclass(frozen=True)
class Scan:
    """What is below a directory, each sorted by path."""

    root: Path
    files: tuple[RrdFile, ...]
    directories: tuple[RrdDirectory, ...]
    links: tuple[RrdLink, ...]
    findings: tuple[Finding, ...]

    @property
    def size_bytes(self) -> int:
        """Return the size of all files; a hard link counts once."""
        return sum({(file.device, file.inode): file.size_bytes for file in self.files}.values())

    def hard_links(self) -> tuple[tuple[RrdFile, ...], ...]:
        """Return the files by inode, each group sorted; most have one member."""
        groups: dict[tuple[int, int], list[RrdFile]] = defaultdict(list)
        for file in self.files:
            groups[file.device, file.inode].append(file)
        return tuple(tuple(group) for group in groups.values())


def named(path: str) -> str:
    """Return a path as a message shows it: quoted where it has unprintable characters."""
    return path if path.isprintable() else ascii(path)


def finding(
    key: str,
    severity: Severity,
    title: str,
    summary: str,
    names: Sequence[str],
    *remedies: Remedy,
) -> Finding:
    """Return a finding whose evidence are paths, each by name."""
    shown = tuple(named(name) for name in names[:_SHOWN_NAMES])
    more = len(names) - len(shown)
    evidence = (*shown, f"and {more} more") if more else shown
    return Finding(
        key, severity, title, summary, evidence, remedies, exit_status=RrdError.exit_status
    )


@dataclass
class _Walk:
    """What a walk has met so far."""

    files: list[RrdFile] = field(default_factory=list)
    directories: list[RrdDirectory] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def scan(root: Path, patterns: Sequence[str] = PATTERNS) -> Scan:
    """Look at everything below a directory; nothing is opened but directories.

    A pattern is matched with a file's name and with its path below `root`. A symbolic link is
    never followed: one that leads to a converted file or directory within is made again, one that
    leads elsewhere is an inhibitor, because its RRDs would be left behind.

    Args:
        root: The directory.
        patterns: As `fnmatch` understands them, such as "*.rrd".

    Raises:
        SettingsError: There is no such directory.
        AccessDeniedError: It may not be read.
    """
    wanted = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))
    with files.named_errors(root, "read the directory"):
        base = root.resolve(strict=True)
        os.scandir(base).close()
    walk = _Walk()
    pending = [""]
    while pending:
        pending += _read_directory(base, pending.pop(), wanted, walk)
    walk.files.sort(key=lambda file: file.path)
    walk.directories.sort(key=lambda directory: directory.path)
    links, link_findings = _judge_links(base, sorted(walk.links), walk)
    findings = (*link_findings, *_findings(walk))
    return Scan(base, tuple(walk.files), tuple(walk.directories), links, findings)


def _read_directory(base: Path, below: str, wanted: re.Pattern[str], walk: _Walk) -> list[str]:
    """Take down one directory and return the directories in it."""
    here = os.path.join(base, below)  # noqa: PTH118 - a hundred thousand of them
    try:
        status = os.stat(here, follow_symlinks=False)  # noqa: PTH116
        with os.scandir(here) as entries:
            found = list(entries)
    except FileNotFoundError:
        return []
    except OSError:
        walk.unreadable.append(below)
        return []
    if not stat.S_ISDIR(status.st_mode):
        return []
    walk.directories.append(
        RrdDirectory(
            below, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns
        )
    )
    directories = []
    for entry in found:
        path = f"{below}/{entry.name}" if below else entry.name
        if entry.is_dir(follow_symlinks=False):
            directories.append(path)
        elif entry.is_symlink():
            if wanted.match(entry.name) or wanted.match(path) or _leads_to_directory(entry):
                walk.links.append(path)
        elif wanted.match(entry.name) or wanted.match(path):
            _take_file(entry, path, walk)
    return directories


def _leads_to_directory(entry: os.DirEntry[str]) -> bool:
    """Return whether a link leads to a directory, or to where we may not look."""
    try:
        return entry.is_dir()
    except PermissionError:
        return True
    except OSError:
        return False


def _exists(path: Path) -> bool:
    """Return whether something is there; where we may not look, something is."""
    try:
        return path.exists()
    except PermissionError:
        return True


def _take_file(entry: os.DirEntry[str], path: str, walk: _Walk) -> None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    except OSError:
        # The directory may be listed and not entered.
        walk.unreadable.append(path)
        return
    if not stat.S_ISREG(status.st_mode):
        walk.special.append(path)
    elif not os.access(entry.path, os.R_OK, effective_ids=True):
        walk.unreadable.append(path)
    else:
        walk.files.append(
            RrdFile(
                path,
                status.st_size,
                stat.S_IMODE(status.st_mode),
                status.st_uid,
                status.st_gid,
                status.st_mtime_ns,
                status.st_dev,
                status.st_ino,
                status.st_nlink,
            )
        )


def _judge_links(
    base: Path, links: Sequence[str], walk: _Walk
) -> tuple[tuple[RrdLink, ...], list[Finding]]:
    """Sort symbolic links into those that are made again and those that a finding names."""
    kept_paths = {file.path for file in walk.files}
    kept_paths |= {directory.path for directory in walk.directories}
    kept: list[RrdLink] = []
    outside: list[str] = []
    nowhere: list[str] = []
    unconverted: list[str] = []
    for path in links:
        link = base / path
        real = Path(os.path.realpath(link))
        if not _exists(real):
            nowhere.append(path)
        elif not real.is_relative_to(base):
            outside.append(f"{path} -> {real}")
        elif _relative(real, base) not in kept_paths:
            unconverted.append(f"{path} -> {_relative(real, base)}")
        else:
            kept.append(RrdLink(path, os.path.relpath(real, link.parent)))
    return tuple(kept), [*_link_findings(outside, unconverted, nowhere)]


def _relative(path: Path, base: Path) -> str:
    relative = path.relative_to(base).as_posix()
    return "" if relative == "." else relative


def _link_findings(
    outside: Sequence[str], unconverted: Sequence[str], nowhere: Sequence[str]
) -> Iterable[Finding]:
    if outside:
        yield finding(
            "rrd.link-outside",
            Severity.INHIBITOR,
            "Symbolic links lead out of the RRD directory",
            "What they lead to would stay behind in its 32-bit form.",
            outside,
            Remedy("name the directory they lead to in the settings too, and remove the links"),
            Remedy("replace each link with the file itself", "cp --remove-destination FILE LINK"),
        )
    if unconverted:
        yield finding(
            "rrd.link-unconverted",
            Severity.INHIBITOR,
            "Symbolic links lead to files that the patterns do not match",
            "What they lead to would not be there after the migration.",
            unconverted,
            Remedy("add a pattern for those files to the settings, or remove the links"),
        )
    if nowhere:
        yield finding(
            "rrd.link-dangling",
            Severity.WARNING,
            "Symbolic links lead nowhere",
            "They are left out.",
            nowhere,
            Remedy("remove them, or put back what they led to"),
        )


def _findings(walk: _Walk) -> Iterable[Finding]:
    if walk.special:
        yield finding(
            "rrd.special",
            Severity.INHIBITOR,
            "Named like an RRD, but no file",
            "These are pipes, sockets or devices and cannot be converted.",
            sorted(walk.special),
            Remedy("remove them, or narrow the patterns in the settings"),
        )
    if walk.unreadable:
        yield finding(
            "rrd.unreadable",
            Severity.INHIBITOR,
            "May not be read",
            "Files or directories that this user may not read would be left behind.",
            sorted(walk.unreadable),
            Remedy("run as root, or make them readable"),
        )
    groups: dict[tuple[int, int], list[RrdFile]] = defaultdict(list)
    for file in walk.files:
        if file.names > 1:
            groups[file.device, file.inode].append(file)
    outside = [group[0].path for group in groups.values() if len(group) < group[0].names]
    if outside:
        yield finding(
            "rrd.hard-link-outside",
            Severity.WARNING,
            "Files have further names outside of the RRD directory",
            "The converted file will be another file than the one of that name.",
            outside,
            Remedy("find the other names and decide which are needed", "find / -samefile FILE"),
        )
    if not walk.files:
        yield finding(
            "rrd.none",
            Severity.WARNING,
            "No RRD was found",
            "No file below this directory matches the patterns.",
            (),
            Remedy("check the RRD directories and patterns in the settings"),
        )

"""RRDs in a portable archive: the original bytes, and XML for everyone else, compressed.

    rrd/PATH.rrd.zst      the file as it was, so that nothing at all is lost
    rrd/PATH.xml.zst      what `rrdtool restore` reads, with 17 digits

where a file `PATH.rrd` loses its ending first. Which of both is there, and owner, mode and times,
is in a record per file that the archive's manifest keeps.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import zstandard

from applianceforge.formats.rrd.decode import decode
from applianceforge.formats.rrd.encode import encode_header
from applianceforge.formats.rrd.values import Rrd
from applianceforge.formats.rrd.xml_read import decode_xml
from applianceforge.formats.rrd.xml_write import chunks as xml_chunks
from applianceforge.migrate.rrd.members import (
    FOLDER,
    MemberKind,
    RrdMember,
    bytes_name,
    check_members,
    members_of,
    xml_name,
)
from applianceforge.migrate.rrd.reading import until_unchanged
from applianceforge.migrate.rrd.scan import Scan, named
from applianceforge.migrate.rrd.workers import JOBS, chunks, in_workers
from applianceforge.model.errors import ArchiveError, RrdError, SettingsError
from applianceforge.system import files
from applianceforge.system.effects import Effects
from applianceforge.system.progress import Counter

_LEVEL = 3
_WINDOW_BYTES = 128 << 20
_READ_BYTES = 1 << 20
_SHOWN = 100
# A row of one value is 8 bytes in a file and about 120 in our XML; fields are less.
_XML_FACTOR = 64
_XML_BASE_BYTES = 64 << 10


@dataclass(frozen=True)
class _Task:
    source: str
    target: str
    members: tuple[RrdMember, ...]


@dataclass(frozen=True)
class _Done:
    members: tuple[RrdMember, ...]
    refused: tuple[str, ...]


def write_archive(
    scan: Scan,
    archive: Path,
    effects: Effects,
    *,
    counter: Counter | None = None,
    jobs: int = JOBS,
    with_bytes: bool = True,
) -> tuple[RrdMember, ...]:
    """Write every RRD of a scan into an archive, and flush it once.

    Args:
        scan: What to archive.
        archive: The archive's directory, which exists and has no `rrd` yet.
        effects: Told of the flush.
        counter: Advanced by the bytes of the originals, and by one row per file.
        jobs: How many processes.
        with_bytes: Put the original bytes into it, besides the XML.

    Returns:
        The record of each directory, file and link, for the manifest.

    Raises:
        RrdError: Files are no RRD, are damaged or never stand still.
        AccessDeniedError: A file may not be read, or the archive not be written.
        DiskFullError: No room is left.
        SettingsError: The archive has RRDs already.
    """
    members = tuple(members_of(scan, with_bytes=with_bytes))
    names = [bytes_name(member.path) for member in members if member.kind is MemberKind.FILE]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise RrdError(
            f"two files would have the name {named(twice[0])} in the archive",
            hint="rename one of them, or narrow the patterns in the settings",
        )
    with files.named_errors(archive / FOLDER, "write"):
        archive.joinpath(FOLDER).mkdir(mode=0o700)
        for directory in scan.directories:
            if directory.path:
                archive.joinpath(FOLDER, directory.path).mkdir(mode=0o700)
    refused = _work(_archive_some, _tasks(scan.root, archive, members), counter, jobs)
    if refused:
        raise RrdError(
            f"{len(refused)} RRDs cannot be archived: {refused[0]}",
            hint="restore these files from a backup, or move them out of the RRD directories",
            evidence=tuple(refused[:_SHOWN]),
        )
    files.sync_tree(archive, effects)
    return members


def _tasks(source: Path, target: Path, members: Sequence[RrdMember]) -> list[_Task]:
    found = [member for member in members if member.kind is MemberKind.FILE]
    return [
        _Task(str(source), str(target), piece)
        for piece in chunks(found, lambda member: 8 * member.size_bytes)
    ]


def _work(
    work: Callable[[_Task], _Done], tasks: Sequence[_Task], counter: Counter | None, jobs: int
) -> list[str]:
    """Do all tasks, count, and return what was refused."""
    refused: list[str] = []
    with closing(in_workers(work, tasks, jobs=jobs)) as results:
        for done in results:
            refused += done.refused
            if counter is not None:
                counter.advance(
                    add_bytes=sum(member.size_bytes for member in done.members),
                    add_rows=len(done.members),
                    item=done.members[-1].path,
                )
    return sorted(refused)


def _archive_some(task: _Task) -> _Done:
    """Archive some files; runs in a worker."""
    refused = []
    for member in task.members:
        path = f"{task.source}/{member.path}"
        try:
            content = until_unchanged(path, lambda rrd: rrd.content())
            if len(content) != member.size_bytes:
                raise RrdError(f"{named(path)} has another size than when it was listed")
            rrd = decode(content)
        except RrdError as error:
            refused.append(error.message)
            continue
        if member.has_bytes:
            _compress(Path(task.target, bytes_name(member.path)), iter((content,)))
        _compress(Path(task.target, xml_name(member.path)), xml_chunks(rrd))
    return _Done(task.members, tuple(refused))


def _compress(target: Path, pieces: Iterator[bytes]) -> None:
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    with (
        files.named_errors(target, "write"),
        open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream,
        compressor.stream_writer(stream) as writer,
    ):
        for piece in pieces:
            writer.write(piece)


def restore_archive(
    archive: Path,
    members: Sequence[RrdMember],
    target: Path,
    effects: Effects,
    *,
    counter: Counter | None = None,
    jobs: int = JOBS,
) -> int:
    """Make native RRDs of an archive, in a staging directory, and flush it once.

    The original bytes are taken where they are there, the XML otherwise.

    Args:
        archive: The archive's directory; whether it was changed is for the manifest to say.
        members: The records that `write_archive` returned.
        target: Does not exist yet, or is an empty directory.
        effects: Told of the flush.
        counter: Advanced by the bytes of the originals, and by one row per file.
        jobs: How many processes.

    Returns:
        How many files there are now, hard links among them.

    Raises:
        ArchiveError: A member is missing, damaged, larger than its record says, or would be
            written elsewhere.
        DiskFullError: No room is left.
        SettingsError: The target is not empty.
    """
    check_members(members)
    kinds = {kind: [member for member in members if member.kind is kind] for kind in MemberKind}
    with files.named_errors(target, "write"):
        target.mkdir(mode=0o700, exist_ok=True)
        if any(target.iterdir()):
            raise SettingsError(
                f"the directory {target} is not empty",
                hint="remove it, or name another one; nothing is overwritten",
            )
        for member in members:
            below = target / member.path
            folder = below if member.kind is MemberKind.DIRECTORY else below.parent
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    refused = _work(_restore_some, _tasks(archive, target, members), counter, jobs)
    if refused:
        raise ArchiveError(
            f"{len(refused)} RRDs of the archive cannot be restored: {refused[0]}",
            hint="the archive was changed or cut short; take another copy of it",
            evidence=tuple(refused[:_SHOWN]),
        )
    with files.named_errors(target, "link in"):
        for member in kinds[MemberKind.HARD_LINK]:
            os.link(target / member.target, target / member.path)
        for member in kinds[MemberKind.SYMBOLIC_LINK]:
            target.joinpath(member.path).symlink_to(member.target)
    for member in sorted(kinds[MemberKind.DIRECTORY], key=lambda found: found.path, reverse=True):
        _keep_status(target / member.path, member)
    files.sync_tree(target, effects)
    return len(kinds[MemberKind.FILE]) + len(kinds[MemberKind.HARD_LINK])


def _restore_some(task: _Task) -> _Done:
    """Restore some files; runs in a worker."""
    refused = []
    for member in task.members:
        try:
            rrd = read_member(Path(task.source), member)
        except (ArchiveError, RrdError) as error:
            refused.append(f"{named(member.path)}: {error.message}")
            continue
        target = Path(task.target, member.path)
        with files.named_errors(target, "write"):
            handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(handle, "wb") as stream:
                stream.write(encode_header(rrd.header))
                stream.write(rrd.data)
        _keep_status(target, member)
    return _Done(task.members, tuple(refused))


def _keep_status(path: Path, member: RrdMember) -> None:
    with files.named_errors(path, "write"):
        files.change_owner(path, member.uid, member.gid)
        path.chmod(member.mode & 0o777)
        os.utime(path, ns=(member.mtime_ns, member.mtime_ns))


def read_member(archive: Path, member: RrdMember) -> Rrd:
    """Read one RRD of an archive: from its bytes where they are there, else from its XML.

    Raises:
        ArchiveError: It is missing, damaged, or larger than its record says.
        RrdError: It is no RRD.
    """
    if member.has_bytes and archive.joinpath(bytes_name(member.path)).exists():
        path = archive / bytes_name(member.path)
        content = _read(path, member.size_bytes)
        if len(content) != member.size_bytes:
            raise ArchiveError(
                f"{path} holds {len(content)} bytes, and {member.size_bytes} are recorded"
            )
        return decode(content)
    if member.has_xml:
        with _open_member(archive / xml_name(member.path)) as stream:
            most_bytes = _most_xml_bytes(member)
            pieces = _decompressed(stream, archive / xml_name(member.path), most_bytes)
            return decode_xml(pieces, most_bytes=most_bytes)
    raise ArchiveError("neither the original bytes nor the XML are in the archive")


def read_xml(archive: Path, member: RrdMember) -> bytes:
    """Return the XML of one RRD of an archive.

    Raises:
        ArchiveError: It is missing, damaged, or larger than it may be.
    """
    return _read(archive / xml_name(member.path), _most_xml_bytes(member))


def _most_xml_bytes(member: RrdMember) -> int:
    return _XML_BASE_BYTES + _XML_FACTOR * member.size_bytes


def _read(path: Path, most_bytes: int) -> bytes:
    with _open_member(path) as stream:
        return b"".join(_decompressed(stream, path, most_bytes))


@contextmanager
def _open_member(path: Path) -> Iterator[BinaryIO]:
    try:
        with (
            files.named_errors(path, "read"),
            open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream,
        ):
            yield stream
    except SettingsError as error:
        raise ArchiveError(error.message) from error


def _decompressed(stream: BinaryIO, path: Path, most_bytes: int) -> Iterator[bytes]:
    """Yield what a file holds, never more than `most_bytes`, whatever it claims."""
    reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES).stream_reader(stream)
    left_bytes = most_bytes
    try:
        while piece := reader.read(min(_READ_BYTES, left_bytes + 1)):
            left_bytes -= len(piece)
            if left_bytes < 0:
                raise ArchiveError(f"{path} holds more than the {most_bytes} bytes it may")
            yield piece
    except zstandard.ZstdError as error:
        raise ArchiveError(f"{path} is damaged: {error}") from error

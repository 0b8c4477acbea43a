"""Prove that RRDs made from an archive hold what the archive holds."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from applianceforge.formats.rrd.compare import ValueDifference, differences
from applianceforge.formats.rrd.decode import decode
from applianceforge.formats.rrd.layout import NATIVE
from applianceforge.formats.rrd.values import Rrd
from applianceforge.formats.rrd.xml_write import chunks as xml_chunks
from applianceforge.migrate.rrd.archive import read_member, read_xml
from applianceforge.migrate.rrd.members import MemberKind, RrdMember
from applianceforge.migrate.rrd.reading import until_unchanged
from applianceforge.migrate.rrd.scan import Scan, scan
from applianceforge.migrate.rrd.verify import LIMIT, FileDifference
from applianceforge.migrate.rrd.workers import JOBS, chunks, in_workers
from applianceforge.model.errors import ForgeError
from applianceforge.system.progress import Counter


@dataclass(frozen=True)
class _Task:
    archive: str
    target: str
    members: tuple[RrdMember, ...]


@dataclass(frozen=True)
class _Done:
    members: tuple[RrdMember, ...]
    found: tuple[FileDifference, ...]


def verify_restored(
    archive: Path,
    members: Sequence[RrdMember],
    target: Path,
    *,
    counter: Counter | None = None,
    jobs: int = JOBS,
) -> tuple[FileDifference, ...]:
    """Compare native RRDs with the archive that they were made from.

    Where the archive has the original bytes, every field and every double is compared as bits;
    where it has the XML alone, the XML of the file must be that XML, byte for byte.

    Args:
        archive: The archive's directory; whether it was changed is for the manifest to say.
        members: The archive's records.
        target: The directory of the native RRDs.
        counter: Advanced by the bytes of the originals, and by one row per file.
        jobs: How many processes.

    Returns:
        What differs, sorted by file; nothing if all is equal.
    """
    found = list(_shape(members, scan(target, ("*",))))
    files = [member for member in members if member.kind is MemberKind.FILE]
    tasks = [
        _Task(str(archive), str(target), piece)
        for piece in chunks(files, lambda member: 8 * member.size_bytes)
    ]
    with closing(in_workers(_verify_some, tasks, jobs=jobs)) as results:
        for done in results:
            found += done.found
            if counter is not None:
                counter.advance(
                    add_bytes=sum(member.size_bytes for member in done.members),
                    add_rows=len(done.members),
                    item=done.members[-1].path,
                )
    return tuple(sorted(found, key=lambda one: one.file)[:LIMIT])


def _shape(members: Sequence[RrdMember], there: Scan) -> Iterator[FileDifference]:
    """Yield the names that one side has and the other has not, and links that lead elsewhere."""
    names = {one.path for one in members}
    present = {
        *(one.path for one in there.files),
        *(one.path for one in there.directories),
        *(one.path for one in there.links),
    }
    for path in sorted(names ^ present):
        here = ("there", "not there") if path in names else ("not there", "there")
        yield FileDifference(path, ValueDifference("name", *here))
    leads = {one.path: one.target for one in there.links}
    for member in members:
        if member.kind is MemberKind.SYMBOLIC_LINK and member.path in leads:
            now = leads[member.path]
            if now != member.target:
                yield FileDifference(member.path, ValueDifference("link", member.target, now))


def _verify_some(task: _Task) -> _Done:
    """Compare some files; runs in a worker."""
    found: list[FileDifference] = []
    for member in task.members:
        try:
            content = until_unchanged(f"{task.target}/{member.path}", lambda rrd: rrd.content())
            found += [
                FileDifference(member.path, one)
                for one in islice(_differences(Path(task.archive), member, decode(content)), LIMIT)
            ]
        except ForgeError as error:
            difference = ValueDifference("file", "as in the archive", error.message)
            found.append(FileDifference(member.path, difference))
    return _Done(task.members, tuple(found))


def _differences(archive: Path, member: RrdMember, mine: Rrd) -> Iterator[ValueDifference]:
    if mine.header.layout != NATIVE:
        yield ValueDifference("layout", NATIVE.name, mine.header.layout.name)
    if member.has_bytes:
        yield from differences(read_member(archive, member), mine)
    elif b"".join(xml_chunks(mine)) != read_xml(archive, member):
        # The file was made from this XML: where it says something else, say what.
        yield from differences(read_member(archive, member), mine)
        yield ValueDifference("XML", "as in the archive", "another text")

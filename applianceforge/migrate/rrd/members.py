"""The records of an archive's RRDs, which its manifest keeps."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import PurePosixPath
from typing import Any

from applianceforge.migrate.rrd.scan import RrdFile, Scan
from applianceforge.model.errors import ArchiveError

FOLDER = "rrd"
_ENDING = ".rrd"
_SHOWN = 100


class MemberKind(Enum):
    """What a member of the archive is."""

    FILE = "file"
    HARD_LINK = "hard-link"
    SYMBOLIC_LINK = "symbolic-link"
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True)
class RrdMember:
    """One RRD, link or directory of an archive.

    Attributes:
        path: Relative to the RRD directory, which is itself the empty path.
        size_bytes: The size of the original file; 0 for all else.
        has_bytes: The archive holds the original bytes.
        has_xml: The archive holds the XML.
        kind: What it is.
        target: The member of which a hard link is another name, or what a symbolic link says.
    """

    path: str
    size_bytes: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    has_bytes: bool
    has_xml: bool
    kind: MemberKind = MemberKind.FILE
    target: str = ""


def bytes_name(path: str) -> str:
    """Return where the original bytes of a file are, relative to the archive."""
    return f"{FOLDER}/{path.removesuffix(_ENDING)}.rrd.zst"


def xml_name(path: str) -> str:
    """Return where the XML of a file is, relative to the archive."""
    return f"{FOLDER}/{path.removesuffix(_ENDING)}.xml.zst"


def members_of(scan: Scan, *, with_bytes: bool = True) -> Iterator[RrdMember]:
    """Yield a record of each directory, file, hard link and symbolic link of a scan.

    Args:
        with_bytes: The archive will hold the original bytes, besides the XML.
    """
    for found in scan.directories:
        yield RrdMember(
            found.path,
            0,
            found.mode,
            found.uid,
            found.gid,
            found.mtime_ns,
            False,
            False,
            MemberKind.DIRECTORY,
        )
    for first, *others in scan.hard_links():
        yield replace(_member(first, MemberKind.FILE, ""), has_bytes=with_bytes)
        for other in others:
            yield _member(other, MemberKind.HARD_LINK, first.path)
    for link in scan.links:
        yield RrdMember(
            link.path, 0, 0o777, 0, 0, 0, False, False, MemberKind.SYMBOLIC_LINK, link.target
        )


def _member(file: RrdFile, kind: MemberKind, target: str) -> RrdMember:
    there = kind is MemberKind.FILE
    size_bytes = file.size_bytes if there else 0
    return RrdMember(
        file.path,
        size_bytes,
        file.mode,
        file.uid,
        file.gid,
        file.mtime_ns,
        there,
        there,
        kind,
        target,
    )


def to_json(members: Sequence[RrdMember]) -> list[dict[str, Any]]:
    """Return the records as JSON values."""
    return [asdict(member) | {"kind": member.kind.value} for member in members]


def from_json(records: Sequence[Mapping[str, Any]]) -> tuple[RrdMember, ...]:
    """Return the records that `to_json` turned into JSON values.

    Raises:
        ArchiveError: They are not such values.
    """
    try:
        return tuple(
            RrdMember(**{**record, "kind": MemberKind(record["kind"])}) for record in records
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArchiveError(
            f"the archive's list of RRDs is not usable: {error}",
            hint="the archive was changed, or is none of ours",
        ) from error


def check_members(members: Sequence[RrdMember]) -> None:
    """Refuse records that would write outside of the target, or one member over another.

    Raises:
        ArchiveError: There are such records; they are in the evidence.
    """
    wrong = []
    seen: set[str] = set()
    known = {member.path for member in members if member.kind is MemberKind.FILE}
    for member in members:
        parts = PurePosixPath(member.path).parts
        canonical = "/".join(parts) == member.path and ".." not in parts
        nameless = not member.path and member.kind is not MemberKind.DIRECTORY
        if not canonical or nameless or "\0" in member.path or member.path.startswith("/"):
            wrong.append(f"the path {member.path!r} leads elsewhere")
        if member.path in seen:
            wrong.append(f"the path {member.path!r} is there twice")
        seen.add(member.path)
        if member.kind is MemberKind.HARD_LINK and member.target not in known:
            wrong.append(f"{member.path!r} is another name of {member.target!r}, which is no file")
        elif member.kind is MemberKind.SYMBOLIC_LINK and _escapes(member):
            wrong.append(f"the link {member.path!r} leads out to {member.target!r}")
    if wrong:
        raise ArchiveError(
            f"the archive's list of RRDs is not usable: {wrong[0]}",
            hint="the archive was changed, or is none of ours",
            evidence=tuple(wrong[:_SHOWN]),
        )


def _escapes(link: RrdMember) -> bool:
    """Return whether a symbolic link leads out of the RRD directory."""
    target = os.path.normpath(f"{PurePosixPath(link.path).parent}/{link.target}")
    return link.target.startswith("/") or not link.target or target.split("/")[0] == ".."

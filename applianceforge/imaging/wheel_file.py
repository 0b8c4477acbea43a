"""Decode a wheel: the files of a pure Python package, as its authors published them.

Only what lies beside other modules is taken. What would go elsewhere, run when Python starts, or
was compiled for one machine, is refused: an image would depend on more than it says.

Source: Binary Distribution Format (PEP 427), Core Metadata 2.1.
"""

import io
import stat
import zipfile
import zlib
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import PurePosixPath
from typing import NamedTuple

LARGEST_BYTES = 64 << 20
_COMPILED = (".so", ".pyd", ".dylib", ".dll")
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
)


class Member(NamedTuple):
    """A file of a wheel: where it goes beside other modules, and what is in it."""

    path: str
    content: bytes


class Content(NamedTuple):
    """What is in a wheel; the members are whole only if there are no problems.

    Attributes:
        members: The files, sorted by their paths.
        problems: What is wrong with them, each as the end of a sentence about the wheel.
    """

    members: tuple[Member, ...]
    problems: tuple[str, ...]


def decode(data: bytes, name: str, version: str) -> Content:
    """Return what is in a wheel.

    Args:
        data: The file.
        name: Of the package that it must be of.
        version: The version that it must be of.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            problems = list(_wrong_places(infos))
            if sum(info.file_size for info in infos) > LARGEST_BYTES:
                problems.append(f"has more than {LARGEST_BYTES >> 20} MiB of files")
            if problems:
                return Content((), tuple(problems))
            members = tuple(
                Member(info.filename, archive.read(info))
                for info in sorted(infos, key=lambda info: info.filename)
            )
    except _UNREADABLE as error:
        return Content((), (f"is no wheel: {error}",))
    return Content(members, tuple(_wrong_names(members, name, version)))


def _wrong_places(infos: list[zipfile.ZipInfo]) -> Iterator[str]:
    paths = [info.filename for info in infos]
    for path in sorted({path for path in paths if paths.count(path) > 1}):
        yield f"has {path!r} twice"
    directories = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    for info in infos:
        path = info.filename
        words = path.split("/")
        if {"", ".", ".."} & set(words) or "\\" in path or not path.isprintable():
            yield f"has {path!r}, which leads out of its place"
        elif stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            yield f"has {path!r}, which is no plain file"
        elif path in directories:
            yield f"has {path!r}, which is a directory of it too"
        elif words[0].endswith(".data"):
            yield f"has {path!r}, which goes elsewhere than beside other modules"
        elif path.endswith(_COMPILED):
            yield f"has {path!r}, which was compiled for one kind of machine"
        elif len(words) == 1 and path.endswith(".pth"):
            yield f"has {path!r}, which runs whenever Python starts"


def _wrong_names(members: tuple[Member, ...], name: str, version: str) -> Iterator[str]:
    about = f"{name.replace('-', '_')}-{version}.dist-info"
    files = dict(members)
    kinds = (("WHEEL", "Root-Is-Purelib", "true"), ("METADATA", "Version", version))
    for file, key, wanted in (*kinds, ("METADATA", "Name", name)):
        path = f"{about}/{file}"
        if path not in files:
            yield f"has no {path}"
        elif _plain(_fields(files[path])[key]) != wanted:
            yield f"says {key}: {_fields(files[path])[key]} in {path}, not {wanted}"


def _fields(content: bytes) -> Message:
    return Parser().parsestr(content.decode(errors="replace"), headersonly=True)


def _plain(value: object) -> str:
    """Return a name as the package index compares it; versions and flags stay as they are."""
    return str(value).strip().lower().replace("_", "-").replace("--", "-")

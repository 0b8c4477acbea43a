"""Read files of a machine without changing it, without waiting, and without failing.

What is missing is empty. What may not be read is remembered, so that the report can say what a more
privileged user would have seen. Nothing on a network file system is touched: its server may be
gone, and then nobody returns from it.
"""

from __future__ import annotations

import os
import stat
from typing import Iterable

from applianceforge.preflight.facts import Unseen

# No file that is read here has more; configuration of a megabyte is not configuration.
_MOST_BYTES = 1 << 18
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# A chain of links that is longer is a loop.
_MOST_LINKS = 20


class Tree:
    """The files below a root directory, by their absolute paths inside of it.

    Attributes:
        network: Mount points of network file systems, which are never touched.
    """

    def __init__(self, root: str = "/") -> None:
        self.root = root.rstrip("/")
        self.network: tuple[str, ...] = ()
        self._unseen: dict[str, Unseen] = {}

    @property
    def live(self) -> bool:
        """Return whether this is the running system and not a directory that looks like one."""
        return self.root == ""

    @property
    def unseen(self) -> tuple[Unseen, ...]:
        """Return what could not be looked at, each thing once."""
        return tuple(self._unseen.values())

    def path(self, name: str) -> str:
        """Return where a file of the tree really lies."""
        return self.root + name

    def miss(self, what: str, why: str, who: str = "") -> None:
        """Remember what could not be looked at, and which user could."""
        self._unseen.setdefault(what, Unseen(what, why, who))

    def remote(self, name: str) -> bool:
        """Return whether a path lies on a network file system."""
        return any(name == one or name.startswith(one.rstrip("/") + "/") for one in self.network)

    def read(
        self,
        name: str,
        what: str = "",
        *,
        size: int = _MOST_BYTES,
        at: int = 0,
        alone: bool = False,
    ) -> bytes:
        """Return a part of a file or of a disk; b"" if there is none or it may not be read.

        Args:
            what: What is missed if it may not be read; "" if nobody needs to know.
            alone: Whether a disk must not be in use (be mounted, or part of a volume).
        """
        if self.remote(name):
            return b""
        try:
            handle = os.open(self.path(name), _FLAGS | (os.O_EXCL if alone else 0))
        except (OSError, ValueError) as error:  # a name may hold what no name can
            if what and isinstance(error, PermissionError):
                self.miss(what, f"{name} may not be read", "root")
            return b""
        try:
            mode = os.fstat(handle).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
                return b""
            return _pread(handle, size, at)
        except (OSError, OverflowError):  # the place may come from a damaged disk
            return b""
        finally:
            os.close(handle)

    def text(self, name: str, what: str = "") -> str:
        """Return a file's text, whatever its encoding; "" if there is none."""
        return self.read(name, what).decode("utf-8", "replace")

    def line(self, name: str) -> str:
        """Return a file's text without the space around it, as for one value of /sys."""
        return self.text(name).strip()

    def number(self, name: str) -> int | None:
        """Return the decimal number that is all of a file; None if it is not one."""
        text = self.line(name)
        return int(text) if text.isdecimal() and text.isascii() and len(text) < 20 else None

    def names(self, name: str, what: str = "") -> tuple[str, ...]:
        """Return the sorted names in a directory; () if there is none or it may not be read."""
        if self.remote(name):
            return ()
        try:
            return tuple(sorted(os.listdir(self.path(name))))
        except (OSError, ValueError) as error:
            if what and isinstance(error, PermissionError):
                self.miss(what, f"{name} may not be read", "root")
            return ()

    def exists(self, name: str) -> bool:
        """Return whether something of that name can be seen."""
        try:
            return not self.remote(name) and os.access(self.path(name), os.F_OK)
        except ValueError:
            return False

    def link(self, name: str) -> str:
        """Return where a symbolic link points to, as it is written; "" if it is none."""
        if self.remote(name):
            return ""
        try:
            return os.readlink(self.path(name))  # noqa: PTH115 - the tree's paths are not ours
        except (OSError, ValueError):
            return ""

    def resolved(self, name: str) -> str:
        """Return a path without links, "." and "..", or "" where it leads to a network.

        Each part is looked at only after it is known that no network lies below the way to it.
        """
        parts = [part for part in reversed(name.split("/")) if part]
        way = ""
        links = 0
        while parts:
            part = parts.pop()
            if part == ".":
                continue
            if part == "..":
                way = way.rpartition("/")[0]
                continue
            if self.remote(f"{way}/{part}"):
                return ""
            target = self.link(f"{way}/{part}")
            if target and links < _MOST_LINKS:
                links += 1
                way = "" if target.startswith("/") else way
                parts += [one for one in reversed(target.split("/")) if one]
            else:
                way = f"{way}/{part}"
        return way or "/"


def _pread(handle: int, size: int, at: int) -> bytes:
    """Read until the end or until it is enough: /proc and /sys give less than asked for."""
    found = b""
    while len(found) < size:
        part = os.pread(handle, size - len(found), at + len(found))
        if not part:
            break
        found += part
    return found


def settings(text: str, names: Iterable[str]) -> dict[str, str]:
    """Return settings of a text of lines `NAME = VALUE` or `NAME VALUE`; the last one counts.

    Comments begin with # or ;. Names are compared in lower case, quotes around a value fall off.
    """
    wanted = frozenset(names)
    found: dict[str, str] = {}
    for line in text.splitlines():
        words = line.strip()
        if not words or words[0] in "#;":
            continue
        head = words.partition("=")
        if not head[1] or " " in head[0].strip():
            head = words.partition(" ")
        name = head[0].strip().lower()
        if name in wanted:
            found[name] = _value(head[2].strip())
    return found


def _value(text: str) -> str:
    if text[:1] in ("'", '"'):
        return text[1:].partition(text[0])[0]
    return text.partition(" #")[0].partition("\t#")[0].strip()

"""Write archives that a Linux kernel unpacks as its first root file system.

    magic 070701, then 13 numbers of 8 hexadecimal digits:
    inode, mode, uid, gid, links, time, size, device (2), special device (2), length of name, 0
    name with NUL, padded to 4; content, padded to 4

Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import gzip
import stat
from dataclasses import dataclass, field

_END = "TRAILER!!!"


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)


@dataclass
class Archive:
    """Files to be, by their path without a leading slash; directories come by themselves."""

    entries: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    def add_directory(self, path: str) -> None:
        """Add a directory, and those above it."""
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            self.entries.setdefault("/".join(parts[:count]), (stat.S_IFDIR | 0o755, b""))

    def add(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Add a file."""
        if "/" in path:
            self.add_directory(path.rpartition("/")[0])
        self.entries[path] = (stat.S_IFREG | mode, content)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        if "/" in path:
            self.add_directory(path.rpartition("/")[0])
        self.entries[path] = (stat.S_IFLNK | 0o777, target.encode())

    def encode(self) -> bytes:
        """Return the archive, compressed quickly."""
        parts = []
        for inode, (path, (mode, content)) in enumerate([*self.entries.items(), (_END, (0, b""))]):
            name = path.encode() + b"\0"
            numbers = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
            head = b"070701" + b"".join(b"%08x" % number for number in numbers)
            parts.append(_padded(head + name) + _padded(content))
        return gzip.compress(b"".join(parts), compresslevel=3, mtime=0)

"""Keep what was trusted last, so that nothing older is trusted again after a power cut.

    root_history/N.root.json   roots that came after the shipped one
    timestamp.json, snapshot.json, targets.json

python-tuf writes without flushing, so it works on a copy, and what it accepted is written here
durably, whether the refresh went well or not. What is damaged here counts as not being there: each
file is verified anew before it is believed, and fetched again if it cannot be.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from applianceforge.model.errors import SettingsError
from applianceforge.release import metadata_limits
from applianceforge.system import files
from applianceforge.system.effects import Effects

_ROOTS = "root_history"
_ROOT_NAME = re.compile(r"([1-9][0-9]{0,8})\.root\.json")
# In the order in which they are trusted.
_OTHERS = ("timestamp.json", "snapshot.json", "targets.json")
_MOST_KEPT_ROOTS = 1000


class TrustCache:
    """The metadata that was trusted last.

    Args:
        directory: Where it is kept; made when there is something to keep.
        effects: Told of each write.
    """

    def __init__(self, directory: Path, effects: Effects) -> None:
        self._directory, self._effects = directory, effects
        self._before: dict[str, bytes] = {}

    @property
    def writable(self) -> bool:
        """Return whether we may keep anything; who may not, may still look."""
        nearest = self._directory
        while not nearest.is_dir() and nearest != nearest.parent:
            nearest = nearest.parent
        return os.access(nearest, os.W_OK | os.X_OK)

    def copy_to(self, scratch: Path) -> None:
        """Lay out a copy to work on; what cannot be read is left out."""
        (scratch / _ROOTS).mkdir()
        self._before = {}
        for name in (*self._root_names(), *_OTHERS):
            content = _content(self._directory / name)
            if content is not None:
                self._before[name] = content
                (scratch / name).write_bytes(content)

    def _root_names(self) -> list[str]:
        with suppress(OSError):
            names = [one for one in os.listdir(self._directory / _ROOTS) if _ROOT_NAME.match(one)]
            return [f"{_ROOTS}/{name}" for name in _in_order(names)[:_MOST_KEPT_ROOTS]]
        return []

    def keep(self, scratch: Path, shipped_root: bytes) -> None:
        """Keep what is new in the copy.

        Raises:
            DiskFullError: No space is left; what was kept before is still there.
            AccessDeniedError: The directory may not be written.
        """
        changed = [
            (name, content)
            for name, content in _all(scratch)
            if content not in (self._before.get(name), shipped_root)
        ]
        if not changed or not self.writable:
            return
        if not self._directory.is_dir():
            files.remove_tree(self._directory, self._effects)
        files.make_directory(self._directory, self._effects)
        with files.held(self._directory):
            for name, content in changed:
                self._keep(name, content)

    def _keep(self, name: str, content: bytes) -> None:
        path = self._directory / name
        # Another process may have been here meanwhile; what it trusts is as good as ours, and
        # might be newer.
        if _content(path) != self._before.get(name):
            return
        for other in (path.parent, path):
            wrong = other.is_dir() if other == path else not other.is_dir()
            if other.is_symlink() or (other.exists() and wrong):
                files.remove_tree(other, self._effects)
        files.make_directory(path.parent, self._effects)
        files.write_file(path, content, self._effects)
        self._before[name] = content


def _in_order(names: list[str]) -> list[str]:
    return sorted((name for name in names if _ROOT_NAME.fullmatch(name)), key=_number)


def _number(name: str) -> int:
    return int(name.partition(".")[0])


def _all(scratch: Path) -> Iterator[tuple[str, bytes]]:
    for name in _in_order(os.listdir(scratch / _ROOTS)):
        yield f"{_ROOTS}/{name}", (scratch / _ROOTS / name).read_bytes()
    for name in _OTHERS:
        if (scratch / name).exists():
            yield name, (scratch / name).read_bytes()


def _content(path: Path) -> bytes | None:
    """Return a file's content; None if it is not there, damaged, or no file of ours."""
    largest = max(metadata_limits.BY_ROLE.values())
    try:
        with open(files.open_plain(path), "rb") as stream:
            content = stream.read(largest + 1)
    except (OSError, SettingsError):
        return None
    return content if 0 < len(content) <= largest else None

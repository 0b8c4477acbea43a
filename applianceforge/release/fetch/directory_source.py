"""The files of a repository in a directory, such as that of a USB stick.

What lies there was made by others: a link that leads out would let them choose which of our files
is read, and a pipe or device would make us wait.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from applianceforge.model.errors import (
    AccessDeniedError,
    NetworkError,
    PayloadError,
    ServerAnswerError,
    SettingsError,
)
from applianceforge.release.fetch.answers import Asked
from applianceforge.release.fetch.source import CHUNK_BYTES, MissingFileError, checked_path

_GONE = (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTCONN, errno.EREMOTEIO)


class DirectorySource:
    """Read the files of a directory and of nothing outside it.

    Args:
        directory: The repository's root.

    Raises:
        SettingsError: It is no directory, or cannot be read.
    """

    def __init__(self, directory: Path) -> None:
        self._received = 0
        try:
            self._directory = directory.resolve(strict=True)
            if not self._directory.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        except (OSError, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "its links go in a circle"
            raise SettingsError(
                f"the repository {directory} cannot be read: {reason}",
                hint="name the directory that has metadata/ and targets/ in it; mount the USB"
                " stick first",
            ) from None

    @property
    def name(self) -> str:
        """Return what messages call it."""
        return str(self._directory)

    @property
    def received_bytes(self) -> int:
        """Return how many bytes were read so far."""
        return self._received

    def close(self) -> None:
        """Do nothing: no file is kept open."""

    def fetch(
        self, path: str, largest_bytes: int, at_bytes: int = 0, size_bytes: int | None = None
    ) -> Iterator[bytes]:
        """Return a file, or a part of it, as `Source.fetch` says."""
        return self._chunks(Asked(checked_path(path), largest_bytes, at_bytes, size_bytes))

    def _chunks(self, asked: Asked) -> Iterator[bytes]:
        handle = self._open(asked.path)
        try:
            left = self._size(handle, asked)
            at = asked.at_bytes
            while left > 0:
                chunk = self._read(handle, min(CHUNK_BYTES, left), at, asked)
                if not chunk:
                    raise asked.too_little(self.name, at - asked.at_bytes)
                at, left = at + len(chunk), left - len(chunk)
                self._received += len(chunk)
                yield chunk
        finally:
            os.close(handle)

    def _size(self, handle: int, asked: Asked) -> int:
        """Return how much there is to read, before any of it is."""
        there = os.fstat(handle).st_size - asked.at_bytes
        if there < (asked.size_bytes or 0) or there < 0:
            raise asked.too_little(self.name, max(there, -asked.at_bytes))
        wanted = there if asked.size_bytes is None else asked.size_bytes
        if wanted > asked.largest_bytes:
            raise asked.too_much(self.name)
        return wanted

    def _open(self, path: str) -> int:
        try:
            # Links are followed within the directory only. Who can write there while we read, can
            # show us nothing but files of theirs: the last step follows no link.
            real = (self._directory / path).resolve(strict=True)
            if not real.is_relative_to(self._directory):
                raise ServerAnswerError(
                    f"{self.name}/{path} is a link that leads out of the repository",
                    hint="copy the repository once more, with the files that links stand for",
                )
            # A device may act when it is opened.
            if not stat.S_ISREG(real.lstat().st_mode):
                raise self._no_file(path)
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
            handle = os.open(real, flags)
        except RuntimeError:
            raise self._no_file(path) from None
        except OSError as error:
            raise self._failed(path, error) from None
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise self._no_file(path)
        return handle

    def _read(self, handle: int, size: int, at: int, asked: Asked) -> bytes:
        try:
            return os.pread(handle, size, at)
        except OSError as error:
            raise self._failed(asked.path, error) from None

    def _no_file(self, path: str) -> ServerAnswerError:
        return ServerAnswerError(
            f"{self.name}/{path} is no plain file", hint="copy the repository once more"
        )

    def _failed(
        self, path: str, error: OSError
    ) -> NetworkError | ServerAnswerError | AccessDeniedError | PayloadError:
        where = f"{self.name}/{path}"
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            if not self._directory.is_dir():
                return self._went_away("it is not there any more")
            return MissingFileError(
                f"{where} is not there",
                hint="name the directory that has metadata/ and targets/ in it, or copy the"
                " repository once more",
            )
        if error.errno in (errno.EACCES, errno.EPERM):
            return AccessDeniedError(
                f"{where} may not be read", hint="run as root, or as the user who may read it"
            )
        if error.errno in _GONE:
            return self._went_away(error.strerror or "")
        return ServerAnswerError(
            f"{where} cannot be read: {error.strerror}", hint="copy the repository once more"
        )

    def _went_away(self, reason: str) -> NetworkError:
        return NetworkError(
            f"the repository {self.name} went away: {reason}",
            hint="put the USB stick in again, mount it and run the same command again; if it stays"
            " so, use another stick",
        )

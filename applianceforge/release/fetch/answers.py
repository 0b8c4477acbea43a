"""Judge the head of an HTTP answer against what was asked for: pure rules.

Source: RFC 9110, sections 8.6 (Content-Length), 8.4 (Content-Encoding), 14.4 (Content-Range),
15.3.7 (206 Partial Content).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from applianceforge.model.errors import PayloadError, ServerAnswerError

_LENGTH = re.compile(r"[0-9]{1,18}")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_HINT = "try again later; if it stays so, tell who runs the server, or a proxy on the way"


@dataclass(frozen=True)
class Asked:
    """What somebody wants; see `Source.fetch`."""

    path: str
    largest_bytes: int
    at_bytes: int
    size_bytes: int | None

    def range_header(self, done: int) -> dict[str, str]:
        """Return the header that asks for what is missing; none for a whole file."""
        first = self.at_bytes + done
        if self.size_bytes is None:
            return {"Range": f"bytes={first}-"} if first else {}
        return {"Range": f"bytes={first}-{self.at_bytes + self.size_bytes - 1}"}

    def too_much(self, name: str) -> PayloadError:
        """Return the error that more comes than may."""
        return PayloadError(
            f"{name} sends more than {self.largest_bytes} bytes for {self.path}",
            hint="try again later; if it stays so, tell your vendor: the file was changed, or the"
            " repository was made wrongly",
        )

    def too_little(self, name: str, done: int) -> PayloadError:
        """Return the error that the file ends too early."""
        return PayloadError(
            f"{self.path} at {name} ends after {self.at_bytes + done} bytes, too early",
            hint="try again later; if it stays so, tell your vendor: the file was cut short",
        )


@dataclass(frozen=True)
class Expected:
    """What the body of an answer must be.

    Attributes:
        skip_bytes: To be passed over.
        size_bytes: What is wanted of the rest; None is all of it, of unknown size.
        exact: The body ends with it.
        total_bytes: The size of the file, if the answer says so.
    """

    skip_bytes: int
    size_bytes: int | None
    exact: bool
    total_bytes: int | None


def expected(
    asked: Asked,
    done: int,
    total: int | None,
    status: int,
    headers: Mapping[str, str],
    name: str,
) -> Expected:
    """Return what the body must be, judged by the head.

    Args:
        asked: What somebody wants.
        done: How much of that is there.
        total: The size of the file as it was told before; None if it was not.
        status: 200 or 206.
        headers: The head of the answer; names in any case.
        name: What messages call the server.

    Raises:
        ServerAnswerError: The head contradicts the question, or itself.
        PayloadError: The file is too large or too small for what is wanted.
    """
    if headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise _wrong(asked, name, "in a packed form that was not asked for")
    length = _length(asked, headers, name)
    first = asked.at_bytes + done
    ranged = first > 0 or asked.size_bytes is not None
    size: int | None
    if status == 206:
        if not ranged:
            raise _wrong(asked, name, "as a part, although all of it was asked for")
        size, whole = _range(asked, first, headers, name)
        if length is not None and length != size:
            raise _wrong(asked, name, "with a length that is not that of the part")
        skip, exact = 0, length is not None
    else:
        size, whole, skip = length, length, first
        if size is not None:
            size -= skip
        exact = size is not None
    if total is not None and whole is not None and whole != total:
        raise _wrong(asked, name, "with another size than a moment ago")
    if size is not None and size < 0:
        raise asked.too_little(name, done)
    if asked.size_bytes is not None:
        wanted = asked.size_bytes - done
        if size is not None and size < wanted:
            raise asked.too_little(name, done + size)
        exact = exact and size == wanted
        size = wanted
    if size is not None and done + size > asked.largest_bytes:
        raise asked.too_much(name)
    return Expected(skip, size, exact, whole if whole is not None else total)


def _wrong(asked: Asked, name: str, how: str) -> ServerAnswerError:
    return ServerAnswerError(f"{name} sends {asked.path} {how}", hint=_HINT)


def _length(asked: Asked, headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get("Content-Length")
    # A body in chunks has a length of its own, which goes first (RFC 9112, section 6.3).
    if text is None or "chunked" in headers.get("Transfer-Encoding", "").lower():
        return None
    if not _LENGTH.fullmatch(text.strip()):
        raise _wrong(asked, name, "with a length that is no number")
    return int(text)


def _range(
    asked: Asked, first: int, headers: Mapping[str, str], name: str
) -> tuple[int, int | None]:
    """Return the size of a part, and that of the file."""
    match = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if match is None:
        raise _wrong(asked, name, "as a part without saying which")
    begin, end = int(match[1]), int(match[2])
    whole = None if match[3] == "*" else int(match[3])
    beyond = asked.size_bytes is not None and end >= asked.at_bytes + asked.size_bytes
    if begin != first or end < begin or beyond or (whole is not None and end >= whole):
        raise _wrong(asked, name, "as another part than was asked for")
    if asked.size_bytes is None and whole is not None and end != whole - 1:
        raise _wrong(asked, name, "as another part than was asked for")
    return end - begin + 1, whole

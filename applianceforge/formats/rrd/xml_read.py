"""Read RRDtool's XML: ours with its 17 digits, and that of `rrdtool dump` with its 10 or 11.

The parser is expat. A document that declares anything in a DTD of its own is refused, so entities
cannot grow; nothing outside is ever fetched. No element is as deep as six, no text as long as
1024 characters, and the document no larger than the caller allows; rows are kept as doubles while
they are read.

Source: rrd_restore.c of github.com/oetiker/rrdtool-1.x (the stored text of commit 018c8853,
RRDtool 1.3.5) for the schema of versions 0002 and later; see `xml_fields`.
"""

import array
import math
import re
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from xml.parsers import expat

from applianceforge.formats.rrd import rpn
from applianceforge.formats.rrd.decode import decode_header
from applianceforge.formats.rrd.encode import encode_header, native_bytes
from applianceforge.formats.rrd.values import (
    HISTORY_BYTES,
    MAX_WINDOW,
    WINDOW,
    Archive,
    Consolidation,
    Definition,
    Header,
    PdpPrep,
    Rrd,
    Source,
    SourceType,
    State,
    counter,
)
from applianceforge.formats.rrd.xml_fields import (
    NAN_BITS,
    OURS,
    PAIR,
    PDP_FIELDS,
    SOURCE_FIELDS,
    Field,
    cdp_fields,
    params_fields,
)
from applianceforge.model.errors import RrdError

_MOST_TEXT = 1024
_COUNTER = re.compile(r"[0-9]{1,20}")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_DOUBLE = re.compile(r"[+-]?([0-9]+\.?[0-9]*([eE][+-]?[0-9]{1,4})?|inf(inity)?|nan)", re.IGNORECASE)
_U64 = struct.Struct("<Q")
_NAN = struct.unpack("<d", _U64.pack(NAN_BITS))[0]

# The elements that hold others, by their path; a leaf is what is in one of these and not here.
_CONTAINERS = {
    "": ("rrd",),
    "rrd": ("version", "step", "lastupdate", "ds", "rra"),
    "rrd/ds": (
        "name type minimal_heartbeat min max cdef last_ds value unknown_sec".split()  # noqa: SIM905
    ),
    "rrd/rra": ("cf", "pdp_per_row", "params", "cdp_prep", "database"),
    "rrd/rra/params": tuple({field.tag for cf in Consolidation for field in params_fields(cf, 5)}),
    "rrd/rra/cdp_prep": ("ds",),
    "rrd/rra/cdp_prep/ds": tuple(
        {field.tag for cf in Consolidation for field in cdp_fields(cf)} | {"history"}
    ),
    "rrd/rra/database": ("row",),
    "rrd/rra/database/row": ("v",),
}
_PATHS = {
    parent: {
        tag: path if (path := f"{parent}/{tag}".lstrip("/")) in _CONTAINERS else "" for tag in tags
    }
    for parent, tags in _CONTAINERS.items()
}
_ROW = "rrd/rra/database/row"


def decode_xml(pieces: Iterable[bytes], *, most_bytes: int) -> Rrd:
    """Decode an XML document into the RRD that it describes.

    Args:
        pieces: The document, cut anywhere.
        most_bytes: A longer document is refused.

    Returns:
        The RRD; of a document that does not say where its RRAs' rows begin (any but ours), the
        oldest row is the first, which is what `rrdtool restore` might have chosen.

    Raises:
        RrdError: It is no such document, it does not describe a usable RRD, or it is too long.
    """
    reader = _Reader()
    # Given an encoding, expat does not look up the one that the document names.
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.CommentHandler = reader.comment
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.EntityDeclHandler = reader.entity
    parser.SkippedEntityHandler = reader.entity
    left_bytes = most_bytes
    try:
        for piece in pieces:
            left_bytes -= len(piece)
            if left_bytes < 0:
                raise _UnusableError(f"it is longer than {most_bytes} bytes")
            parser.Parse(piece, False)
        parser.Parse(b"", True)
        return reader.result()
    except expat.ExpatError as error:
        problem = f"it is no XML document: {error}"
    except _UnusableError as error:
        problem = f"line {parser.CurrentLineNumber}: {error}"
    raise RrdError(
        f"this is no usable XML of an RRD: {problem}",
        hint="make it again with `rrdtool dump` or `applianceforge rrd dump`",
        evidence=(problem,),
    )


class _UnusableError(Exception):
    """What is wrong with the document at the line that the parser has reached."""


@dataclass
class _Part:
    """The texts of one container's leaves, and what our comment in it says."""

    texts: dict[str, str] = field(default_factory=dict)
    ours: dict[tuple[str, int | None], int] = field(default_factory=dict)

    def text(self, tag: str, pattern: re.Pattern[str] | None = None) -> str:
        text = self.texts.get(tag)
        if text is None:
            raise _UnusableError(f"the element {tag} is missing")
        if pattern is not None and not pattern.fullmatch(text):
            raise _UnusableError(f"the element {tag} holds {text[:40]!r}")
        return text

    def number(self, tag: str) -> int:
        value = int(self.text(tag, _COUNTER))
        if value >= 2**64:
            raise _UnusableError(f"the element {tag} holds {value}, which is beyond 64 bits")
        return value

    def univals(self, name: str, fields: Sequence[Field]) -> bytes:
        """Return ten univals from these elements, and from our comment where there is none."""
        words = [self.ours.get((name, index), 0) for index in range(10)]
        for tag, index, is_counter in fields:
            if is_counter:
                words[index] = self.number(tag)
            else:
                words[index] = _bits(self.text(tag, _DOUBLE))
        return struct.pack("<10Q", *words)


def _bits(text: str) -> int:
    value = float(text)
    return NAN_BITS if math.isnan(value) else int(_U64.unpack(struct.pack("<d", value))[0])


@dataclass
class _Rra:
    """One RRA as far as it was read."""

    archive: Archive
    cdps: list[bytes]
    current_row: int


class _Reader:
    """Build an RRD from the parser's events."""

    def __init__(self) -> None:
        self.path = ""
        self.leaf = ""
        self.characters: list[str] = []
        self.head = _Part()
        self.part = self.head
        self.sources: list[_Part] = []
        self.rra = self.params = _Part()
        self.cdps: list[_Part] = []
        self.rras: list[_Rra] = []
        self.rows = array.array("d")
        self.values: list[float] = []
        self.data: list[array.array[float]] = []

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        path = _PATHS[self.path].get(tag)
        if path is None or self.leaf:
            where = self.leaf or self.path or "the document"
            raise _UnusableError(f"the element {tag[:40]!r} does not belong into {where}")
        if not path:
            self.leaf = tag
            self.characters = []
            return
        self.path = path
        if path == _ROW:
            self.values = []
        elif path == "rrd/ds":
            if self.rras:
                raise _UnusableError("a DS stands behind an RRA")
            self.part = _Part()
            self.sources.append(self.part)
        elif path == "rrd/rra":
            self.part = self.rra = self.params = _Part()
            self.cdps, self.rows = [], array.array("d")
        elif path == "rrd/rra/params":
            self.part = self.params = _Part()
        elif path == "rrd/rra/cdp_prep/ds":
            if len(self.cdps) == len(self.sources):
                raise _UnusableError("an RRA has more cdp_prep than there are DSs")
            self.part = _Part()
            self.cdps.append(self.part)

    def text(self, text: str) -> None:
        if self.leaf:
            if len(text) + sum(map(len, self.characters)) > _MOST_TEXT:
                raise _UnusableError(
                    f"the element {self.leaf} holds more than {_MOST_TEXT} characters"
                )
            self.characters.append(text)
        elif not text.isspace():
            raise _UnusableError(f"the text {text[:40]!r} stands between elements")

    def end(self, tag: str) -> None:
        if self.leaf:
            text = "".join(self.characters).strip()
            self.leaf = ""
            if self.path == _ROW:
                if not _DOUBLE.fullmatch(text) or len(self.values) == len(self.sources):
                    raise _UnusableError(f"a row holds {text[:40]!r}")
                value = float(text)
                self.values.append(_NAN if math.isnan(value) else value)
            elif tag in self.part.texts:
                raise _UnusableError(f"the element {tag} stands twice in {self.path}")
            else:
                self.part.texts[tag] = text
            return
        if self.path == _ROW:
            if len(self.values) != len(self.sources):
                raise _UnusableError(
                    f"a row has {len(self.values)} values of {len(self.sources)} DSs"
                )
            self.rows.extend(self.values)
        elif self.path == "rrd/rra":
            self._finish_rra()
            self.part = self.head
        elif self.path == "rrd/ds":
            self._require("name", "type", "last_ds", "value", "unknown_sec")
            self.part = self.head
        elif self.path.startswith("rrd/rra/"):
            if self.path == "rrd/rra/cdp_prep/ds":
                self._require("primary_value", "secondary_value")
            self.part = self.rra
        self.path = self.path.rpartition("/")[0]

    def _require(self, *tags: str) -> None:
        """Refuse a part without these elements at once: empty ones cost memory for nothing."""
        for tag in tags:
            self.part.text(tag)

    def comment(self, text: str) -> None:
        words = text.split()
        if self.leaf or not words or words[0] != OURS:
            return
        for word in words[1:]:
            pair = PAIR.fullmatch(word)
            if pair is None:
                raise _UnusableError(f"our comment says {word[:40]!r}")
            index = None if pair[2] is None else int(pair[2])
            value = int(pair[3], 0)
            if pair[1] == "history_rest":
                # Its leading zeros count, so that its length is kept.
                self.part.texts["history_rest"] = pair[3][2:]
            elif not 0 <= value < 2**64:
                raise _UnusableError(f"our comment says {word[:40]!r}")
            else:
                self.part.ours[pair[1], index] = value

    def doctype(
        self, name: str, _system: str | None, _public: str | None, has_subset: bool
    ) -> None:
        if has_subset or name != "rrd":
            raise _UnusableError("it declares a document type of its own")

    def entity(self, *_declaration: object) -> None:
        raise _UnusableError("it has entities")

    def _finish_rra(self) -> None:
        rra, count = self.rra, len(self.sources)
        try:
            cf = Consolidation(rra.text("cf"))
        except ValueError:
            raise _UnusableError(f"the CF {rra.texts['cf'][:40]!r} is unknown") from None
        self.params.ours |= rra.ours
        params = self.params.univals("params", params_fields(cf, self._version()))
        if len(self.cdps) != count:
            raise _UnusableError(f"an RRA has {len(self.cdps)} cdp_prep of {count} DSs")
        rows = len(self.rows) // max(count, 1)
        current = rra.ours.get(("cur_row", None), max(rows - 1, 0))
        archive = Archive(cf, rows, rra.number("pdp_per_row"), params)
        self.rras.append(_Rra(archive, [_cdp(part, archive) for part in self.cdps], current))
        self.data.append(_turned(self.rows, (current + 1) * count))
        self.rows = array.array("d")

    def _version(self) -> int:
        return int(self.head.text("version", re.compile("000[1-5]")))

    def result(self) -> Rrd:
        """Return the RRD, checked as if it came from a native file."""
        head = self.head
        names = [part.text("name") for part in self.sources]
        definition = Definition(
            head.ours.get(("version", None), self._version()),
            head.number("step"),
            tuple(_source(part, names) for part in self.sources),
            tuple(rra.archive for rra in self.rras),
            struct.pack("<10Q", *(head.ours.get(("reserved", n), 0) for n in range(10))),
        )
        last_up = int(head.text("lastupdate", _INTEGER))
        if not -(2**63) <= last_up < 2**63:
            raise _UnusableError(f"the element lastupdate holds {last_up}")
        state = State(
            last_up,
            head.ours.get(("last_up_usec", None), 0),
            tuple(
                PdpPrep(part.text("last_ds"), part.univals("scratch", PDP_FIELDS))
                for part in self.sources
            ),
            tuple(cdp for rra in self.rras for cdp in rra.cdps),
            tuple(rra.current_row for rra in self.rras),
        )
        header = Header(definition, state)
        try:
            header, _ = decode_header(encode_header(header), native_bytes(header))
        except RrdError as error:
            raise _UnusableError("; ".join(error.evidence) or error.message) from error
        except struct.error as error:
            raise _UnusableError(f"a number does not fit its field: {error}") from error
        content = bytearray()
        for rows in self.data:
            if sys.byteorder == "big":
                rows.byteswap()
            content += rows.tobytes()
        return Rrd(header, memoryview(content).toreadonly())


def _turned(rows: "array.array[float]", newest_end: int) -> "array.array[float]":
    """Return rows in the order of the file, in which the newest one is not the last."""
    split = len(rows) - newest_end
    return rows if split <= 0 else rows[split:] + rows[:split]


def _source(part: _Part, names: Sequence[str]) -> Source:
    name = part.text("name")
    try:
        kind = SourceType(part.text("type"))
    except ValueError:
        raise _UnusableError(f"the type of DS {name[:40]!r} is unknown") from None
    if kind is not SourceType.COMPUTE:
        return Source(name, kind, part.univals("params", SOURCE_FIELDS))
    try:
        return Source(name, kind, rpn.from_text(part.text("cdef"), names))
    except ValueError as error:
        raise _UnusableError(str(error)) from error


def _cdp(part: _Part, archive: Archive) -> bytes:
    univals = part.univals("scratch", cdp_fields(archive.cf))
    if archive.cf is not Consolidation.FAILURES:
        return univals
    window = counter(archive.params, WINDOW)
    digits = part.text("history", re.compile("[0-9]*"))
    if window > MAX_WINDOW or len(digits) != window:
        raise _UnusableError(f"a history has {len(digits)} digits, and the window is {window}")
    rest = part.texts.get("history_rest", "00" * (HISTORY_BYTES - window))
    if len(rest) != 2 * (HISTORY_BYTES - window):
        raise _UnusableError("our comment says a history_rest of another length")
    history = bytes(digit != "0" for digit in digits) + bytes.fromhex(rest)
    return history + univals[HISTORY_BYTES:]

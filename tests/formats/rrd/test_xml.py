"""The XML: value-exact, readable by rrdtool, and safe to read from anybody."""

import dataclasses
import math
import re
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from applianceforge.formats.rrd.compare import differences
from applianceforge.formats.rrd.decode import decode
from applianceforge.formats.rrd.encode import encode
from applianceforge.formats.rrd.values import Rrd, double
from applianceforge.formats.rrd.xml_fields import NAN_BITS
from applianceforge.formats.rrd.xml_read import decode_xml
from applianceforge.formats.rrd.xml_write import chunks
from applianceforge.model.errors import RrdError
from tests.formats.rrd.build import AMD64, I386, Raw, Spec, build
from tests.formats.rrd.strategies import specs
from tests.formats.rrd.test_decode import FULL, SAMPLES

DATA = Path(__file__).parent.parent.parent / "data" / "rrd"
PLENTY = 1 << 24
SHOWN_IN_COMMENTS = re.compile(r"<!-- applianceforge:[^>]*-->")


def to_xml(rrd: Rrd) -> bytes:
    return b"".join(chunks(rrd))


def read(document: bytes | str) -> Rrd:
    content = document.encode() if isinstance(document, str) else document
    return decode_xml([content], most_bytes=PLENTY)


def same_nan(rrd: Rrd) -> bytes:
    """Return the native file with every NaN that stands where a double may be made the same."""

    def normal(word: int) -> int:
        exponent = word >> 52 & 0x7FF
        return NAN_BITS if exponent == 0x7FF and word & (2**52 - 1) else word

    content = encode(rrd)
    words = struct.unpack(f"<{len(content) // 8}Q", content)
    return struct.pack(f"<{len(words)}Q", *map(normal, words))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_samples_come_back_bit_for_bit(path: Path) -> None:
    rrd = decode(path.read_bytes())
    assert list(differences(rrd, read(to_xml(rrd)))) == []


@given(specs())
@settings(max_examples=60, deadline=None)
def test_any_rrd_comes_back_but_for_the_bits_of_nan(spec: Spec) -> None:
    rrd = decode(build(spec, I386))
    assert same_nan(read(to_xml(rrd))) == same_nan(rrd)


@given(specs(versions=(3,)), st.integers(1, 40))
@settings(max_examples=20, deadline=None)
def test_pieces_may_be_cut_anywhere(spec: Spec, size: int) -> None:
    document = to_xml(decode(build(spec, I386)))
    pieces = (document[at : at + size] for at in range(0, len(document), size))
    assert encode(decode_xml(pieces, most_bytes=PLENTY)) == encode(read(document))


def test_without_our_comments_the_oldest_row_is_the_first() -> None:
    rrd = decode(build(FULL, I386))
    plain = SHOWN_IN_COMMENTS.sub("", to_xml(rrd).decode())
    again = read(plain)
    assert again.header.state.current_rows == tuple(
        rra.rows - 1 for rra in again.header.definition.archives
    )
    width = 8 * len(FULL.ds)
    oldest = (rrd.header.state.current_rows[2] + 1) * width
    mine, theirs = bytes(rrd.rows(2)), bytes(again.rows(2))
    assert theirs == mine[oldest:] + mine[:oldest]


def test_rrdtools_own_dump_is_read() -> None:
    rrd = decode((DATA / "i386/h.rrd").read_bytes())
    again = read((DATA / "i386/h.xml").read_bytes())
    mine, theirs = rrd.header, again.header
    assert [source.name for source in theirs.definition.sources] == ["in", "g"]
    assert [(rra.cf, rra.rows, rra.pdp_per_row) for rra in theirs.definition.archives] == [
        (rra.cf, rra.rows, rra.pdp_per_row) for rra in mine.definition.archives
    ]
    for left, right in zip(mine.state.cdp_prep, theirs.state.cdp_prep, strict=True):
        for index in (2, 3, 4, 5, 8, 9):
            assert math.isclose(double(left, index), double(right, index), rel_tol=1e-9)


def test_version_4_has_a_smoothing_window_and_older_ones_keep_it_in_a_comment() -> None:
    assert b"<smoothing_window>5.0" in to_xml(decode(build(FULL, AMD64)))
    older = decode(build(dataclasses.replace(FULL, version=3), AMD64))
    document = to_xml(older)
    assert b"<smoothing_window>" not in document
    assert same_nan(read(document)) == same_nan(older)


def test_odd_values_survive() -> None:
    bits = [0x3FB999999999999A, 1, 0x7FEFFFFFFFFFFFFF, 1 << 63, 0x7FF0000000000000, 0xFFF << 52]
    values = (*bits, NAN_BITS, 0, 0)
    for start in range(0, 9, 3):
        rrd = decode(build(Spec(values=values[start : start + 3]), AMD64))
        assert read(to_xml(rrd)).data == rrd.data


def test_reserved_and_unused_fields_survive() -> None:
    spec = dataclasses.replace(FULL, reserved=(Raw(5),) * 10, version=2, usec=0)
    rrd = decode(build(spec, I386))
    assert same_nan(read(to_xml(rrd))) == same_nan(rrd)


def test_times_beyond_the_calendar_are_written() -> None:
    for last_up in (-(2**40), -1, 0, 2**62):
        rrd = decode(build(Spec(last_up=last_up), AMD64))
        assert same_nan(read(to_xml(rrd))) == same_nan(rrd)


# What is refused

GOOD = to_xml(decode(build(FULL, AMD64))).decode()


def without(text: str, pattern: str, by: str = "") -> str:
    changed, count = re.subn(pattern, by, text, count=1, flags=re.DOTALL)
    assert count == 1, pattern
    return changed


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE rrd [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + "]><rrd><version>&j;</version></rrd>"
)
REFUSED = {
    "empty": ("", "no XML"),
    "no-xml": ("RRD\0", "no XML"),
    "cut": (GOOD[:2000], "no XML"),
    "behind": (GOOD + "<rrd/>", "no XML"),
    "bomb": (BOMB, "document type of its own"),
    "external": (
        '<!DOCTYPE rrd [<!ENTITY x SYSTEM "file:///etc/passwd">]><rrd>&x;</rrd>',
        "document type of its own",
    ),
    "entity": (GOOD.replace("<name> sum <", "<name> &passwd; <"), "entities"),
    "other-root": ("<html></html>", "does not belong"),
    "unknown-element": (without(GOOD, "<rrd>", "<rrd><evil/>"), "does not belong"),
    "nested-leaf": (GOOD.replace("<step>300", "<step><step>300</step>"), "does not belong"),
    "long-text": (GOOD.replace("<step>300", "<step>" + "3" * 2000), "more than 1024"),
    "stray-text": (without(GOOD, "<rrd>", "<rrd>hello"), "between elements"),
    "no-version": (without(GOOD, "<version>.*?</version>"), "version is missing"),
    "version-9": (GOOD.replace("<version>0004", "<version>0009"), "version holds"),
    "twice": (without(GOOD, "<step>", "<step>1</step><step>"), "twice"),
    "no-heartbeat": (without(GOOD, "<minimal_heartbeat>.*?</minimal_heartbeat>"), "missing"),
    "heartbeat": (GOOD.replace("_heartbeat>600<", "_heartbeat>-600<"), "holds '-600'"),
    "heartbeat-large": (GOOD.replace("_heartbeat>600<", f"_heartbeat>{2**64}<"), "64 bits"),
    "step-0": (GOOD.replace("<step>300", "<step>0"), "seconds a step"),
    "underscore": (without(GOOD, r"<row><v>[^<]*<", "<row><v>1_0<"), "row holds"),
    "hexadecimal": (without(GOOD, r"<row><v>[^<]*<", "<row><v>0x1p3<"), "row holds"),
    "few-values": (without(GOOD, r"<row><v>[^<]*</v>", "<row>"), "2 values of 3"),
    "many-values": (without(GOOD, r"<row><v>", "<row><v>1</v><v>"), "row holds"),
    "no-rows": (without(GOOD, "<database>.*?</database>", "<database></database>"), "no rows"),
    "cdp-missing": (
        without(GOOD, "<cdp_prep>.*?</cdp_prep>", "<cdp_prep></cdp_prep>"),
        "0 cdp_prep of 3",
    ),
    "cf": (GOOD.replace("<cf>AVERAGE", "<cf>MEDIAN"), "'MEDIAN' is unknown"),
    "type": (GOOD.replace("<type> COUNTER", "<type> TACHO"), "is unknown"),
    "cdef": (without(GOOD, "<cdef>.*?</cdef>", "<cdef>in,nothing,+</cdef>"), "'nothing'"),
    "cdef-long": (
        without(GOOD, "<cdef>.*?</cdef>", f"<cdef>{','.join(['in'] * 20)}</cdef>"),
        "more than 19 nodes",
    ),
    "history": (without(GOOD, "<history>[01]*", "<history>01"), "history has 2 digits"),
    "window": (GOOD.replace("<window_len>9", "<window_len>29"), "window is 29"),
    "cur-row": (GOOD.replace("cur_row=4", "cur_row=5"), "current row is 5"),
    "comment": (GOOD.replace("cur_row=4", "cur_row=__import__"), "our comment"),
    "name": (GOOD.replace("<name> sum <", f"<name> {'n' * 20} <"), "longer than 19"),
    "ds-behind": (without(GOOD, "</rra>", "</rra><ds></ds>"), "behind an RRA"),
    "empty-ds": (without(GOOD, "<ds>", "<ds></ds><ds>"), "name is missing"),
    "depends": (
        GOOD.replace("<dependent_rra_idx>2<", "<dependent_rra_idx>99<"),
        "depends on RRA 99",
    ),
    "lastupdate": (GOOD.replace("<lastupdate>17", "<lastupdate>99999999999917"), "lastupdate"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_malformed_xml_is_refused_and_named(name: str) -> None:
    document, wanted = REFUSED[name]
    with pytest.raises(RrdError) as raised:
        read(document)
    assert wanted in raised.value.message
    assert raised.value.hint


def test_a_long_document_is_refused_at_its_limit() -> None:
    def endless() -> "list[bytes]":
        taken.append(1)
        return [b" " * 1000]

    taken: list[int] = []
    with pytest.raises(RrdError, match="longer than 5000"):
        decode_xml((piece for _ in range(10**9) for piece in endless()), most_bytes=5000)
    assert len(taken) == 6


@pytest.mark.parametrize(
    "filler",
    [
        "<row>" + "<v>0</v>" * 3 + "</row>",
        "<!-- applianceforge: params.7=0x1 -->",
        "<!-- x -->",
    ],
)
def test_memory_is_bounded_by_the_documents_size(filler: str) -> None:
    count = 1_000_000 // len(filler)
    document = without(GOOD, "<database>", "<database>" + filler * count).encode()
    tracemalloc.start()
    try:
        read(document)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(document)


@given(st.text(max_size=300))
@settings(max_examples=60, deadline=None)
def test_random_text_only_raises_rrd_error(text: str) -> None:
    for document in (text, f"<rrd>{text}</rrd>"):
        with pytest.raises(RrdError):
            read(document.encode("utf-8", "surrogatepass"))


@given(st.integers(0, len(GOOD) - 1), st.sampled_from(["", "<", ">", "&", "x", "9", "</rra>"]))
@settings(max_examples=100, deadline=None)
def test_mutated_documents_decode_or_raise_rrd_error(at: int, text: str) -> None:
    try:
        read(GOOD[:at] + text + GOOD[at + 1 :])
    except RrdError:
        return

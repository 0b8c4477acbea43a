"""Decoding and encoding: golden files, every layout, what is malformed, and properties."""

import dataclasses
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from applianceforge.formats.rrd.compare import differences
from applianceforge.formats.rrd.decode import HEAD_BYTES, decode, decode_header, header_bytes
from applianceforge.formats.rrd.encode import encode, encode_header, native_bytes
from applianceforge.formats.rrd.layout import I386 as I386_LAYOUT
from applianceforge.formats.rrd.layout import NATIVE
from applianceforge.formats.rrd.values import (
    Consolidation,
    SourceType,
    counter,
    double,
    odd_times,
)
from applianceforge.model.errors import RrdError
from tests.formats.rrd.build import AMD64, I386, MACHINES, Cnt, Ds, Raw, Rra, Spec, build, dbl
from tests.formats.rrd.strategies import specs

DATA = Path(__file__).parent.parent.parent / "data" / "rrd"
SAMPLES = sorted(DATA.glob("*/*.rrd"))


def problems_of(content: bytes) -> tuple[str, ...]:
    with pytest.raises(RrdError) as raised:
        decode(content)
    assert raised.value.hint
    return raised.value.evidence


# Golden files


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_samples_keep_every_bit(path: Path) -> None:
    content = path.read_bytes()
    rrd = decode(content)
    native = encode(rrd)
    assert list(differences(rrd, decode(native))) == []
    assert native.endswith(rrd.data)
    assert content.endswith(rrd.data)
    assert len(native) == native_bytes(rrd.header)
    assert encode(decode(native)) == native


def test_native_sample_encodes_to_itself() -> None:
    content = (DATA / "amd64/t.rrd").read_bytes()
    rrd = decode(content)
    assert rrd.header.layout == NATIVE
    assert encode(rrd) == content


def test_both_architectures_headers_agree_but_for_where_the_rows_begin() -> None:
    mine = decode((DATA / "i386/t.rrd").read_bytes()).header
    theirs = decode((DATA / "amd64/t.rrd").read_bytes()).header
    assert mine.layout == I386_LAYOUT
    assert mine.definition == theirs.definition
    # The values differ in their last digit: i386 computes with the x87.
    assert [pdp.last_ds for pdp in mine.state.pdp_prep] == [
        pdp.last_ds for pdp in theirs.state.pdp_prep
    ]


def test_sample_holds_what_rrdtool_says() -> None:
    header = decode((DATA / "i386/h.rrd").read_bytes()).header
    definition, state = header.definition, header.state
    assert (definition.version, definition.step_s, state.last_up_s) == (3, 300, 1700270018)
    assert [(ds.name, ds.type) for ds in definition.sources] == [
        ("in", SourceType.COUNTER),
        ("g", SourceType.GAUGE),
    ]
    assert counter(definition.sources[0].params, 0) == 600
    assert state.pdp_prep[0].last_ds == "440750182030"
    assert f"{double(state.pdp_prep[0].scratch, 1):.10e}" == "3.2468575862e+07"
    assert [rra.cf.value for rra in definition.archives] == [
        *("AVERAGE", "MAX", "HWPREDICT", "SEASONAL", "DEVSEASONAL", "DEVPREDICT", "FAILURES")
    ]
    assert state.current_rows == (207, 73, 222, 44, 83, 122, 286)
    failures = definition.archives[6]
    assert [counter(failures.params, index) for index in (3, 4, 5)] == [4, 9, 7]
    assert [counter(state.cdp_prep[2 * 3 + ds], 6) for ds in (0, 1)] == [4, 1]


# Layouts

FULL = Spec(
    version=4,
    ds=(
        Ds("in", "COUNTER", (Cnt(600), dbl(0.0), Raw(0x7FF8DEADBEEF0001)), (), "123456789012"),
        Ds("out", "GAUGE", (Cnt(2**32 - 1), dbl(-1e300), dbl(float("inf")))),
        Ds("sum", "COMPUTE", (), ((1, 0), (1, 1), (8, 0), (0, -7), (11, 0), (32, 0))),
    ),
    rra=(
        Rra("AVERAGE", 5, 12, (dbl(0.5),), ((dbl(1.25), Cnt(3)),) * 3, cur_row=4),
        Rra(
            "HWPREDICT",
            4,
            1,
            (Raw(0), dbl(0.1), dbl(0.0035), Cnt(2)),
            ((Raw(1), Cnt(5), *(Raw(7),) * 4, Cnt(2), Cnt(3)),) * 3,
        ),
        Rra("SEASONAL", 4, 1, (Raw(0), dbl(0.1), dbl(0.05), Cnt(1), Cnt(3)), cur_row=2),
        Rra("DEVSEASONAL", 4, 1, (Raw(0), dbl(0.1), dbl(0.05), Cnt(1), Cnt(3))),
        Rra("DEVPREDICT", 4, 1, (Raw(0), Raw(0), Raw(0), Cnt(3))),
        Rra(
            "FAILURES",
            4,
            1,
            (Raw(0), dbl(2.0), dbl(2.0), Cnt(3), Cnt(9), Cnt(7)),
            history=b"\0\1\1\0\0\0\0\0\1",
        ),
        Rra("MHWPREDICT", 4, 1, (Raw(0), dbl(0.1), dbl(0.0035), Cnt(2))),
    ),
    usec=999_999,
)


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", MACHINES)
def test_every_layout_becomes_the_native_one(name: str, version: int) -> None:
    spec = dataclasses.replace(FULL, version=version, usec=FULL.usec if version >= 3 else 0)
    foreign, native = build(spec, MACHINES[name]), build(spec, AMD64)
    rrd = decode(foreign)
    assert encode(rrd) == native
    assert list(differences(rrd, decode(native))) == []
    layout, machine = rrd.header.layout, MACHINES[name]
    assert (layout.order, layout.long_bytes) == (machine.order, machine.long)
    assert (layout.align_bytes, layout.time_bytes) == (machine.double_align, machine.time)


def test_header_needs_only_the_header() -> None:
    content = (DATA / "i386/h.rrd").read_bytes()
    need = header_bytes(content[:HEAD_BYTES], len(content))
    header, rows_at = decode_header(content[:need], len(content))
    assert header == decode(content).header
    assert content[rows_at:] == decode(content).data


def test_negative_and_late_times_are_remarked() -> None:
    def remarks(last_up: int, machine: str) -> tuple[str, ...]:
        return odd_times(decode(build(Spec(last_up=last_up), MACHINES[machine])).header)

    assert remarks(1_700_000_000, "i386") == ()
    (text,) = remarks(-2147483640, "i386")
    assert "-2147483640" in text
    assert "2147483656" in text
    assert "2038" in remarks(2**31, "i386-time64")[0]
    assert "2038" in remarks(2**33, "amd64")[0]
    assert decode(encode(decode(build(Spec(last_up=-5), I386)))).header.state.last_up_s == -5


# What is refused


def edited(offset: int, value: bytes, content: bytes | None = None) -> bytes:
    content = build(Spec(), AMD64) if content is None else content
    return content[:offset] + value + content[offset + len(value) :]


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


# amd64: stat_head at 0, ds_def at 128, rra_def at 248, live_head at 368, pdp_prep at 384,
# cdp_prep at 496, rra_ptr at 576, rows at 584.
MALFORMED = {
    "empty": (b"", "empty"),
    "short": (b"RRD\0", "ends after 4 bytes"),
    "text": (b"hello, this is no RRD", "does not begin with RRD"),
    "sqlite": (b"SQLite format 3\0" + bytes(4096), "SQLite"),
    "xml": (b'<?xml version="1.0"?><rrd/>', "XML"),
    "gzip": (b"\x1f\x8b" + bytes(500), "gzip"),
    "zeros": (bytes(4096), "does not begin with RRD"),
    "version": (edited(4, b"0006\0"), "version"),
    "version-text": (edited(4, b"3.14\0"), "version"),
    "version-end": (edited(4, b"00031"), "version"),
    "cookie": (edited(16, u64(0)), "float cookie"),
    "no-ds": (edited(24, u64(0)), "no DSs"),
    "no-rra": (edited(32, u64(0)), "no RRAs"),
    "no-step": (edited(40, u64(0)), "seconds a step"),
    "many-ds": (edited(24, u64(2**60)), "need a header of"),
    "many-rra": (edited(32, u64(2**63)), "need a header of"),
    "counts-overflow": (edited(24, u64(2**63) + u64(2**63)), "need a header of"),
    "many-rows": (edited(248 + 24, u64(2**61)), "its header says"),
    "no-rows": (edited(248 + 24, u64(0)), "no rows"),
    "no-pdp": (edited(248 + 32, u64(0)), "0 primary"),
    "ds-name": (edited(128, b"x" * 20), "name of DS 0 does not end"),
    "ds-name-empty": (edited(128, bytes(20)), "name of DS 0"),
    "ds-name-odd": (edited(128, b"a\nb"), "not printable"),
    "ds-type": (edited(148, b"GAUGY\0"), "unknown type 'GAUGY'"),
    "ds-type-end": (edited(148, b"G" * 20), "type of DS 0 does not end"),
    "cf": (edited(248, b"MEDIAN\0\0"), "unknown CF 'MEDIAN'"),
    "cf-end": (edited(248, b"A" * 20), "CF of RRA 0 does not end"),
    "usec": (edited(376, struct.pack("<q", -1)), "-1 microseconds"),
    "last-ds": (edited(384, b"9" * 30), "last reading of DS 0 does not end"),
    "cur-row": (edited(576, u64(3)), "current row is 3"),
    "truncated": (build(Spec(), AMD64)[:-1], "its header says"),
    "truncated-header": (build(Spec(), AMD64)[:300], "need a header of"),
    "oversize": (build(Spec(), AMD64) + b"\0", "1 bytes stand behind"),
    "i386-oversize": (build(Spec(), I386) + bytes(8), "8 bytes stand behind"),
    "twins": (build(Spec(ds=(Ds("a"), Ds("a"))), AMD64), "two DSs have the name a"),
    "dependent": (
        build(Spec(rra=(Rra("DEVPREDICT", par=(Raw(0),) * 3 + (Cnt(1),)),)), AMD64),
        "depends on RRA 1 of 1",
    ),
    "window": (
        build(Spec(rra=(Rra("FAILURES", par=(Raw(0),) * 3 + (Cnt(0), Cnt(29))),)), AMD64),
        "window of 29",
    ),
    "rpn-operator": (
        build(Spec(ds=(Ds("a"), Ds("c", "COMPUTE", nodes=((70, 0), (32, 0))))), AMD64),
        "unknown operator 70",
    ),
    "rpn-variable": (
        build(Spec(ds=(Ds("a"), Ds("c", "COMPUTE", nodes=((1, 2), (32, 0))))), AMD64),
        "DS number 2 of 2",
    ),
    "rpn-endless": (
        build(Spec(ds=(Ds("a"), Ds("c", "COMPUTE", nodes=((1, 0),) * 20))), AMD64),
        "does not end within 20 nodes",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_is_refused_and_named(name: str) -> None:
    content, wanted = MALFORMED[name]
    assert wanted in "; ".join(problems_of(content))


def test_all_problems_are_named_at_once() -> None:
    content = edited(148, b"GAUGY\0", edited(248, b"MEDIAN\0\0", edited(576, u64(9))))
    said = "; ".join(problems_of(content))
    for wanted in ("GAUGY", "MEDIAN"):
        assert wanted in said


def test_encode_refuses_what_does_not_belong_together() -> None:
    rrd = decode(build(Spec(), AMD64))
    state = dataclasses.replace(rrd.header.state, current_rows=())
    with pytest.raises(RrdError):
        encode_header(dataclasses.replace(rrd.header, state=state))
    with pytest.raises(RrdError):
        encode(dataclasses.replace(rrd, data=rrd.data[:-8]))


# Properties


@given(specs(), st.sampled_from(sorted(MACHINES)))
@settings(max_examples=60, deadline=None)
def test_any_rrd_of_any_machine_becomes_the_native_one(spec: Spec, name: str) -> None:
    rrd = decode(build(spec, MACHINES[name]))
    assert encode(rrd) == build(spec, AMD64)


@given(st.binary(max_size=400))
@example(b"RRD\x000003\0\0\0\0" + struct.pack("<d", 8.642135e130) + b"\xff" * 100)
@settings(max_examples=100, deadline=None)
def test_random_bytes_only_raise_rrd_error(content: bytes) -> None:
    for candidate in (content, b"RRD\x000003\0" + content):
        try:
            decode(candidate)
        except RrdError:
            continue


@given(
    st.sampled_from(sorted(MACHINES)),
    st.lists(st.tuples(st.integers(0, 1500), st.binary(min_size=1, max_size=8)), max_size=4),
    st.one_of(st.none(), st.integers(0, 1500)),
)
@settings(max_examples=150, deadline=None)
def test_mutated_rrds_decode_or_raise_rrd_error(
    name: str, edits: list[tuple[int, bytes]], cut: int | None
) -> None:
    content = build(FULL, MACHINES[name])
    for offset, value in edits:
        content = edited(offset, value, content)
    try:
        rrd = decode(content[:cut])
    except RrdError:
        return
    assert encode(decode(encode(rrd))) == encode(rrd)


def hostile() -> dict[str, bytes]:
    head = build(Spec(), AMD64)[:128]
    size = 2 << 20
    return {
        "rows": build(Spec(rra=(Rra(rows=size // 8),)), AMD64),
        "rras": build(Spec(rra=tuple(Rra(rows=1) for _ in range(size // 400))), AMD64),
        "sources": build(Spec(ds=tuple(Ds(f"d{n}") for n in range(size // 350))), AMD64),
        "nonsense": edited(32, u64((size - 200) // 210), head) + b"\x01" * (size - 128),
        "counts": edited(24, u64(2**40), head) + bytes(size),
    }


@pytest.mark.parametrize("name", ["rows", "rras", "sources", "nonsense", "counts"])
def test_memory_is_bounded_by_the_files_size(name: str) -> None:
    content = hostile()[name]
    tracemalloc.start()
    try:
        try:
            decode(content)
        except RrdError:
            assert name in ("nonsense", "counts")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(content)


def test_names_of_everything_are_rrdtools() -> None:
    assert {cf.value for cf in Consolidation} >= {"AVERAGE", "MIN", "MAX", "LAST", "MHWPREDICT"}
    assert len(Consolidation) == 10
    assert len(SourceType) == 7

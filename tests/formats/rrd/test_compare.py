"""One changed field or double is found and named."""

import dataclasses
import struct

import pytest

from applianceforge.formats.rrd.compare import differences
from applianceforge.formats.rrd.decode import decode
from applianceforge.formats.rrd.encode import encode
from applianceforge.formats.rrd.values import Rrd
from tests.formats.rrd.build import AMD64, I386, Cnt, Ds, Rra, Spec, build, dbl

SPEC = Spec(
    ds=(Ds("in"), Ds("out", "COUNTER")),
    rra=(Rra(rows=4), Rra("MAX", 3, 12), Rra("LAST", 2, 24)),
)


def changed(spec: Spec) -> list[str]:
    return [str(d) for d in differences(decode(build(SPEC, I386)), decode(build(spec, AMD64)))]


def replaced_ds(**values: object) -> Spec:
    return dataclasses.replace(
        SPEC,
        ds=(SPEC.ds[0], dataclasses.replace(SPEC.ds[1], **values)),  # type: ignore[arg-type]
    )


def replaced_rra(**values: object) -> Spec:
    rra = dataclasses.replace(SPEC.rra[1], **values)  # type: ignore[arg-type]
    return dataclasses.replace(SPEC, rra=(SPEC.rra[0], rra, SPEC.rra[2]))


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        (dataclasses.replace(SPEC, version=4), "stat_head.version: source 3, target 4"),
        (dataclasses.replace(SPEC, step=60), "stat_head.step_s: source 300, target 60"),
        (dataclasses.replace(SPEC, reserved=(dbl(1.0),)), "stat_head.par[0]: source 0 (0"),
        (dataclasses.replace(SPEC, last_up=5), "live_head.last_up_s: source 1700000000, target 5"),
        (dataclasses.replace(SPEC, usec=5), "live_head.last_up_us: source 0, target 5"),
        (replaced_ds(name="aus"), "DS out, ds_def.name: source out, target aus"),
        (replaced_ds(type="DERIVE"), "DS out, ds_def.type: source COUNTER, target DERIVE"),
        (replaced_ds(par=(Cnt(601), dbl(0.0), dbl(float("nan")))), "DS out, ds_def.par[0]"),
        (replaced_ds(last_ds="7"), "DS out, pdp_prep.last_ds: source U, target 7"),
        (replaced_ds(scratch=(Cnt(17), dbl(1.6))), "DS out, pdp_prep.scratch[1]: source 1.5 ("),
        (replaced_rra(cf="MIN"), "RRA 1, rra_def.cf: source MAX, target MIN"),
        (replaced_rra(pdp=13), "RRA 1, rra_def.pdp_per_row: source 12, target 13"),
        (replaced_rra(par=(dbl(0.25),)), "RRA 1, rra_def.par[0]: source 0.5 ("),
        (replaced_rra(cdp=((), (dbl(9.0),))), "RRA 1, DS out, cdp_prep.scratch[0]: source 0 (0"),
        (replaced_rra(cur_row=2), "RRA 1, rra_ptr.cur_row: source 0, target 2"),
    ],
)
def test_one_changed_field_is_named(spec: Spec, wanted: str) -> None:
    (said,) = changed(spec)
    assert said.startswith(wanted)


def test_another_number_of_rows_or_sources_is_named() -> None:
    assert any("rra_def.rows: source 3, target 5" in line for line in changed(replaced_rra(rows=5)))
    said = changed(dataclasses.replace(SPEC, ds=SPEC.ds[:1], rra=SPEC.rra[:2]))
    assert "stat_head.ds_cnt: source 2, target 1" in said
    assert "stat_head.rra_cnt: source 3, target 2" in said


@pytest.mark.parametrize("number", range(SPEC.value_count))
def test_every_single_changed_double_is_named(number: int) -> None:
    rrd = decode(build(SPEC, AMD64))
    data = bytearray(rrd.data)
    data[8 * number] ^= 1
    (found,) = differences(rrd, Rrd(rrd.header, memoryview(bytes(data))))
    rows = [(rra, row) for rra, count in enumerate((4, 3, 2)) for row in range(count)]
    assert (found.rra, found.row) == rows[number // 2]
    assert found.ds == ("in", "out")[number % 2]
    assert found.what == "value"
    assert found.source != found.target


def test_nan_payload_and_negative_zero_differ() -> None:
    bits = [0x7FF8000000000000, 0xFFF8000000000000, 0, 1 << 63]
    spec = dataclasses.replace(SPEC, ds=SPEC.ds[:1], rra=(Rra(rows=4),), values=tuple(bits))
    rrd = decode(build(spec, AMD64))
    other = Rrd(rrd.header, memoryview(struct.pack("<4Q", bits[1], bits[0], bits[3], bits[2])))
    assert len(list(differences(rrd, other))) == 4
    assert encode(rrd) != encode(other)

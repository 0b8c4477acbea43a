"""The prediction of space: pure arithmetic that must never fall where more is to be moved."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from applianceforge.migrate import space
from applianceforge.migrate.space import DatabaseSpace

sizes = st.integers(0, 1 << 40)
databases = st.lists(st.builds(DatabaseSpace, sizes, sizes, sizes), max_size=6).map(tuple)
counts = st.integers(0, 100_000)


@given(databases, sizes, counts)
def test_the_peak_is_no_less_than_what_remains(
    found: tuple[DatabaseSpace, ...], rrd_bytes: int, rrds: int
) -> None:
    peak, remains = space.run_peak_bytes(found, rrd_bytes, rrds)
    assert peak >= remains >= rrd_bytes


@given(databases, sizes, counts)
def test_all_dumps_are_there_before_anything_is_loaded(
    found: tuple[DatabaseSpace, ...], rrd_bytes: int, rrds: int
) -> None:
    peak, _ = space.run_peak_bytes(found, rrd_bytes, rrds)
    assert peak >= sum(one.dump_bytes for one in found)
    assert peak >= sum(one.loaded_bytes for one in found)


@given(databases, sizes, counts, st.data())
def test_more_data_never_needs_less(
    found: tuple[DatabaseSpace, ...], rrd_bytes: int, rrds: int, data: st.DataObject
) -> None:
    before = space.run_peak_bytes(found, rrd_bytes, rrds)
    archive = space.archive_bytes(found, rrd_bytes)
    more_bytes = data.draw(sizes)
    if found:
        place = data.draw(st.integers(0, len(found) - 1))
        name = data.draw(st.sampled_from(["size_bytes", "text_bytes", "large_object_bytes"]))
        larger = replace(found[place], **{name: getattr(found[place], name) + more_bytes})
        grown = (*found[:place], larger, *found[place + 1 :])
        assert space.run_peak_bytes(grown, rrd_bytes, rrds) >= before
        assert space.archive_bytes(grown, rrd_bytes) >= archive
    assert space.run_peak_bytes(found, rrd_bytes + more_bytes, rrds) >= before
    assert space.run_peak_bytes(found, rrd_bytes, rrds + 1) >= before
    assert space.archive_bytes(found, rrd_bytes + more_bytes) >= archive
    another = DatabaseSpace(more_bytes, more_bytes, more_bytes)
    assert space.run_peak_bytes((*found, another), rrd_bytes, rrds) >= before


def test_rrds_alone_need_no_cluster() -> None:
    peak, remains = space.run_peak_bytes((), 1000, 1)
    assert remains == 1000 + space.RRD_FILE_BYTES
    assert peak == remains + space.JOURNAL_BYTES


def test_an_empty_database_still_takes_room() -> None:
    assert DatabaseSpace(0, 0, 0).loaded_bytes == space.DATABASE_BYTES
    peak, _ = space.run_peak_bytes((DatabaseSpace(0, 0, 0),), 0, 0)
    assert peak > space.CLUSTER_BYTES + space.WAL_BYTES

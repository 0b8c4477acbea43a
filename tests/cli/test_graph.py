"""One RRD before and after, drawn by two real rrdtools."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, nan
from pathlib import Path

import pytest

from applianceforge.cli.graph import (
    RRDTOOL,
    View,
    arguments,
    draw,
    draw_both,
    draw_one,
    most_worth_seeing,
    pixels,
    view_of,
)
from applianceforge.formats.rrd.decode import decode
from applianceforge.formats.rrd.values import (
    ZEROS,
    Archive,
    Consolidation,
    Definition,
    Header,
    PdpPrep,
    Rrd,
    Source,
    SourceType,
    State,
)
from applianceforge.migrate.rrd.convert import convert_tree
from applianceforge.migrate.rrd.scan import scan
from applianceforge.migrate.tree import ProgramTree
from applianceforge.model.errors import ProgramFailedError, RrdError
from applianceforge.system import programs
from applianceforge.system.effects import Effects
from tests.appliance.legacy import LegacyAppliance

BEGIN_S = 1_700_000_100
# Escaped or not, each must reach rrdtool as it is.
NASTY = ("a:b.rrd", r"back\slash.rrd", r"both\:of=them %s 'q' \"d\".rrd", "größe °C.rrd", "-x.rrd")


@dataclass(frozen=True)
class Both:
    """A directory of 32-bit RRDs and that of the converted ones, with the programs for each."""

    old_tree: ProgramTree
    old: Path
    new_tree: ProgramTree
    new: Path

    def view(self, name: str) -> View:
        view = view_of(decode((self.old / name).read_bytes()))
        assert view is not None
        return view


@pytest.fixture(scope="module")
def both(
    i386_tree: ProgramTree, native_tree: ProgramTree, tmp_path_factory: pytest.TempPathFactory
) -> Both:
    """Have the i386 rrdtool write some RRDs, and convert them."""
    root = tmp_path_factory.mktemp("graph")
    old, new = root / "old", root / "new"
    (old / "deep").mkdir(parents=True)

    def rrdtool(*words: str) -> None:
        programs.run(i386_tree.command(RRDTOOL, *words), Effects())

    def make(name: str, sources: Sequence[str], updates: int) -> None:
        path = str(old / name)
        dss = [f"DS:{source}:GAUGE:120:U:U" for source in sources]
        archives = ["RRA:AVERAGE:0.5:1:400", "RRA:MAX:0.5:5:100"]
        rrdtool("create", path, "--start", str(BEGIN_S), "--step", "60", *dss, *archives)
        values = [
            f"{BEGIN_S + 60 * n}:" + ":".join(str(n * 7919 % 101 / 3) for _ in sources)
            for n in range(1, updates)
        ]
        for at in range(0, len(values), 100):
            rrdtool("update", path, *values[at : at + 100])

    make("deep/load.rrd", ("user", "system"), 600)
    make("never.rrd", ("never",), 0)
    make("text.rrd", ("illiilli", "mwwmmwwm"), 60)
    for name in NASTY:
        (old / name).write_bytes((old / "text.rrd").read_bytes())
    (old / "foreign.rrd").write_bytes((old / "text.rrd").read_bytes())
    convert_tree(scan(old), new, Effects())
    (old / "foreign.rrd").write_bytes(b"no RRD")
    return Both(i386_tree, old, native_tree, new)


@pytest.mark.real
def test_chosen_rrd_looks_the_same_before_and_after(both: Both, effects: Effects) -> None:
    graph = draw_one(both.old_tree, both.old, both.new_tree, both.new, effects)
    assert graph is not None
    assert graph.title == "deep/load.rrd"
    assert graph.view.sources == ("user", "system")
    assert graph.identical
    header, _ = pixels(graph.before_png)
    width, height = struct.unpack_from(">2I", header)
    assert width > 840
    assert height > 300


@pytest.mark.real
def test_each_picture_is_drawn_by_its_own_architecture(both: Both, effects: Effects) -> None:
    view = both.view("text.rrd")
    for tree, directory in ((both.old_tree, both.new), (both.new_tree, both.old)):
        with pytest.raises(ProgramFailedError, match="architecture"):
            draw(tree, directory / "text.rrd", view, effects)


@pytest.mark.real
def test_pictures_of_other_values_are_not_identical(both: Both, effects: Effects) -> None:
    view = both.view("text.rrd")
    graph = draw_both(
        both.old_tree,
        both.old / "text.rrd",
        both.new_tree,
        both.new / "text.rrd",
        view,
        "text",
        effects,
    )
    assert graph.identical
    other = draw(
        both.new_tree, both.new / "text.rrd", replace(view, end_s=view.end_s - 60), effects
    )
    assert pixels(other) != pixels(graph.before_png)


@pytest.mark.real
def test_text_is_drawn_with_the_fonts_of_each_tree(both: Both, effects: Effects) -> None:
    """Without fonts every letter is the same box; both sources have the same values."""
    view = both.view("text.rrd")
    for tree, directory in ((both.old_tree, both.old), (both.new_tree, both.new)):
        narrow, wide = (
            pixels(draw(tree, directory / "text.rrd", replace(view, sources=(name,)), effects))
            for name in view.sources
        )
        assert narrow[0] == wide[0]
        assert narrow[1] != wide[1]


@pytest.mark.real
@pytest.mark.parametrize("name", NASTY)
def test_file_names_reach_rrdtool_as_they_are(both: Both, effects: Effects, name: str) -> None:
    view = both.view("text.rrd")
    expected = pixels(draw(both.old_tree, both.old / "text.rrd", view, effects))
    for tree, directory in ((both.old_tree, both.old), (both.new_tree, both.new)):
        assert pixels(draw(tree, directory / name, view, effects)) == expected


@pytest.mark.real
def test_no_picture_is_no_error(both: Both, effects: Effects, tmp_path: Path) -> None:
    nowhere = ProgramTree(tmp_path)
    assert draw_one(nowhere, both.old, both.new_tree, both.new, effects) is None
    assert draw_one(both.old_tree, tmp_path / "no", both.new_tree, both.new, effects) is None
    assert most_worth_seeing(both.old, tmp_path) is None
    assert most_worth_seeing(both.old, both.new, ("never.rrd", "foreign.rrd")) is None


def rrd_of(
    rows: Sequence[tuple[float, ...]],
    *,
    names: Sequence[str] = ("a",),
    cf: Consolidation = Consolidation.AVERAGE,
    newest: int | None = None,
) -> Rrd:
    """Make an RRD of one RRA with a step of 60 s, its rows in the order of the file."""
    count = len(rows)
    definition = Definition(
        version=3,
        step_s=60,
        sources=tuple(Source(name, SourceType.GAUGE, ZEROS) for name in names),
        archives=(Archive(cf, count, 5, ZEROS),),
    )
    state = State(
        last_up_s=BEGIN_S,
        last_up_us=0,
        pdp_prep=tuple(PdpPrep("U", ZEROS) for _ in names),
        cdp_prep=(ZEROS * len(names),),
        current_rows=(count - 1 if newest is None else newest,),
    )
    content = b"".join(struct.pack(f"<{len(names)}d", *row) for row in rows)
    return Rrd(Header(definition, state), memoryview(content))


def test_view_ends_near_the_last_update_and_has_whole_rows() -> None:
    view = view_of(rrd_of([(float(n),) for n in range(50)]))
    assert view is not None
    assert view.row_s == 300
    assert view.end_s <= BEGIN_S
    assert BEGIN_S - view.end_s < 2 * 300
    assert (view.end_s - view.start_s) // 300 == 42
    assert (view.end_s - view.start_s) % 300 == 0
    assert view.values == 42


def test_rows_are_a_ring() -> None:
    """The values are at the end of the file and at its beginning: the newest forty rows."""
    rows = [(float(n),) if n < 20 or n >= 80 else (nan,) for n in range(100)]
    view = view_of(rrd_of(rows, newest=19))
    assert view is not None
    assert view.values == 35
    assert (view.end_s - view.start_s) // 300 == 35
    older = view_of(rrd_of(rows, newest=59))
    assert older is not None
    assert (older.end_s - older.start_s) // 300 == 70


@pytest.mark.parametrize(
    "rows",
    [
        [(nan,)] * 50,
        [(5.0,)] * 50,
        [(nan,)] * 49 + [(1.0,)],
        [(1.0 + n % 2,) for n in range(49)] + [(1e300,)],
        [(1.0 + n % 2,) for n in range(49)] + [(inf,)],
        [(1.0,)] * 10 + [(inf,)] * 40,
    ],
    ids=["unknown", "constant", "one value", "one far above", "infinity", "infinities"],
)
def test_nothing_worth_seeing(rows: list[tuple[float, ...]]) -> None:
    assert view_of(rrd_of(rows)) is None


def test_scale_has_room_and_shows_zero_unless_that_is_far_below() -> None:
    near = view_of(rrd_of([(float(n % 20),) for n in range(50)]))
    assert near is not None
    assert near.lowest == 0
    assert 19 < near.highest < 21
    far = view_of(rrd_of([(1000.0 + n % 20,) for n in range(50)]))
    assert far is not None
    assert 998 < far.lowest < 1000
    below = view_of(rrd_of([(float((-1) ** n * 5),) for n in range(50)]))
    assert below is not None
    assert -6 < below.lowest < -5


def test_only_averages_and_plain_names_and_three_sources_are_drawn() -> None:
    rows = [(float(n),) * 5 for n in range(50)]
    assert view_of(rrd_of([row[:1] for row in rows], cf=Consolidation.MAX)) is None
    view = view_of(rrd_of(rows, names=("x:y=z", "a", "b", "c", "d")))
    assert view is not None
    assert view.sources == ("a", "b", "c")
    words = arguments(view, Path("/x/a:b.rrd"))
    assert "DEF:v2=/x/a\\:b.rrd:c:AVERAGE" in words
    assert not any("x:y" in word for word in words)


@pytest.mark.parametrize("png", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\0\0"])
def test_no_picture_is_refused(png: bytes) -> None:
    with pytest.raises(RrdError, match="no picture"):
        pixels(png)


@pytest.mark.real
def test_a_view_of_every_rrd_of_an_appliance(legacy_small: LegacyAppliance) -> None:
    """One has known values only where they are too old to be shown."""
    files = [legacy_small.rrd / one.path for one in scan(legacy_small.rrd).files]
    views = [view_of(decode(path.read_bytes())) for path in files]
    assert len(views) == len(files) > 20
    assert any(view is not None for view in views)

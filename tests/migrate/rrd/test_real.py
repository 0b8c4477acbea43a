"""The judge is rrdtool: what the 32-bit program wrote, the 64-bit one must take for its own."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pytest
import rrdtool

from applianceforge.formats.rrd.compare import differences
from applianceforge.formats.rrd.decode import decode
from applianceforge.formats.rrd.encode import encode
from applianceforge.formats.rrd.xml_read import decode_xml
from applianceforge.formats.rrd.xml_write import chunks
from applianceforge.migrate.rrd.convert import convert_file, convert_tree
from applianceforge.migrate.rrd.scan import scan
from applianceforge.migrate.rrd.verify import compare_pair, verify_trees
from applianceforge.migrate.tree import ProgramTree
from applianceforge.system import programs
from applianceforge.system.effects import Effects
from tests.formats.rrd.build import I386, Ds, Rra, Spec, build, dbl

pytestmark = pytest.mark.real

BEGIN_S = 1_700_000_100
STEP_S = 300
ROWS = 40
FILLED = 150
MORE = 60
TOLERANCE = 1e-9
"""i386 prints ten significant digits, and computes with the x87's 64 bits of mantissa."""

EVERY_TYPE = (
    *("g:GAUGE:600:U:U", "bounded:GAUGE:600:0:100", "c:COUNTER:600:0:U", "d:DERIVE:600:U:U"),
    *("a:ABSOLUTE:600:0:U", "inf:GAUGE:600:-inf:inf", "sum:COMPUTE:g,2,*,c,ADDNAN"),
)
EVERY_CF = tuple(
    f"{cf}:0.5:{step}:{ROWS}" for cf in ("AVERAGE", "MIN", "MAX", "LAST") for step in (1, 7)
)


@dataclass(frozen=True)
class Made:
    """What a test's RRD is made of, and the version that RRDtool gives it."""

    version: int
    sources: tuple[str, ...]
    archives: tuple[str, ...]


MADE = {
    "every-type": Made(3, EVERY_TYPE, EVERY_CF),
    "fractions": Made(5, ("dc:DCOUNTER:600:U:U", "dd:DDERIVE:600:U:U"), EVERY_CF),
    "holt-winters": Made(
        3,
        ("g:GAUGE:600:U:U", "c:COUNTER:600:U:U"),
        (
            *("AVERAGE:0.5:1:90", "HWPREDICT:90:0.1:0.0035:12:3", "SEASONAL:12:0.1:2"),
            *("DEVSEASONAL:12:0.1:2", "DEVPREDICT:90:4", "FAILURES:90:3:5:4"),
        ),
    ),
    "multiplicative": Made(
        4,
        ("g:GAUGE:600:U:U",),
        (
            *("AVERAGE:0.5:1:90", "MHWPREDICT:90:0.1:0.0035:12:3"),
            "SEASONAL:12:0.1:2:smoothing-window=0.1",
            "DEVSEASONAL:12:0.1:2:smoothing-window=0.05",
            *("DEVPREDICT:90:4", "FAILURES:90:3:5:4"),
        ),
    ),
    "implied": Made(3, ("g:GAUGE:600:U:U",), ("HWPREDICT:90:0.1:0.0035:12",)),
    "unknown": Made(3, ("never:GAUGE:600:U:U",), ("AVERAGE:0.5:1:5", "MAX:0.5:1:1")),
}


class Rrdtool:
    """The rrdtool of a tree."""

    def __init__(self, tree: ProgramTree) -> None:
        self.tree = tree
        self.effects = Effects()

    def __call__(self, *arguments: str | Path) -> str:
        command = self.tree.command("/usr/bin/rrdtool", *map(str, arguments))
        return programs.run(command, self.effects, timeout_s=60).stdout.decode()

    def feed(self, path: Path, lines: Iterable[str]) -> None:
        commands = path.with_suffix(".commands")
        commands.write_text("".join(f"update {path} {line}\n" for line in lines))
        command = self.tree.command("/usr/bin/rrdtool", "-")
        said = programs.run(command, self.effects, stdin=commands, timeout_s=60).stdout.decode()
        assert "ERROR" not in said


@pytest.fixture(scope="session")
def old(i386_tree: ProgramTree) -> Rrdtool:
    return Rrdtool(i386_tree)


@pytest.fixture(scope="session")
def new(native_tree: ProgramTree) -> Rrdtool:
    return Rrdtool(native_tree)


def value(kind: str, number: int) -> str:
    """Return the reading of a data source at a step; some are unknown, some wrap around."""
    if number % 23 == 5:
        return "U"
    wave = math.sin(number / 3) * 50 + (400 if 100 < number < 110 else 0) + 60
    match kind:
        case "COUNTER":
            return str((2**32 - 9000 + 137 * number) % 2**32)
        case "DERIVE":
            return str(int(wave * 1000))
        case "DCOUNTER" | "DDERIVE":
            return repr(number * 13.25 + 1 / (number + 1))
        case "ABSOLUTE":
            return str(number * 17)
        case _:
            return repr(wave)


def readings(made: Made, numbers: range) -> list[str]:
    kinds = [source.split(":")[1] for source in made.sources]
    return [
        f"{BEGIN_S + number * STEP_S + number % 7}:"
        + ":".join(value(kind, number) for kind in kinds if kind != "COMPUTE")
        for number in numbers
        if number % 31 != 3  # Now and then none comes at all.
    ]


@pytest.fixture(scope="session")
def originals(old: Rrdtool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory with one RRD of each kind, as the 32-bit rrdtool wrote it."""
    directory = tmp_path_factory.mktemp("i386")
    for name, made in MADE.items():
        path = directory / f"{name}.rrd"
        old(
            *("create", path, "--start", str(BEGIN_S), "--step", str(STEP_S)),
            *(f"DS:{source}" for source in made.sources),
            *(f"RRA:{archive}" for archive in made.archives),
        )
        if name != "unknown":
            old.feed(path, readings(made, range(1, FILLED)))
    return directory


@pytest.fixture
def converted(originals: Path, tmp_path: Path) -> Path:
    convert_tree(scan(originals), tmp_path / "new", Effects())
    assert verify_trees(originals, tmp_path / "new") == ()
    return tmp_path / "new"


WORD = re.compile(r"<!--.*?-->|<[^>]*>|[^<\s]+", re.DOTALL)


def words(dump: str) -> list[str]:
    """Return elements and texts of a dump, without comments, the DTD and the XML declaration."""
    return [word for word in WORD.findall(dump) if not word.startswith(("<!", "<?"))]


RESTORED = 1e-15


def assert_alike(left: Sequence[str], right: Sequence[str], tolerance: float = TOLERANCE) -> None:
    """Compare words; those that are numbers within the digits of i386."""
    for number, (mine, theirs) in enumerate(zip_longest(left, right)):
        if mine == theirs:
            continue
        where = f"{' '.join(left[max(0, number - 6) : number])} [{mine} | {theirs}]"
        try:
            same = math.isclose(float(mine), float(theirs), rel_tol=tolerance, abs_tol=1e-300)
        except (TypeError, ValueError):
            same = False
        assert same, where


INFO = re.compile(r"^(\S+) = (.*)$", re.MULTILINE)
OWN = {"filename", "header_size"}


def info(text: str) -> list[str]:
    return [word for key, said in INFO.findall(text) if key not in OWN for word in (key, said)]


@pytest.mark.parametrize("name", MADE)
def test_dump_and_info_agree(
    name: str, originals: Path, converted: Path, old: Rrdtool, new: Rrdtool
) -> None:
    source, target = originals / f"{name}.rrd", converted / f"{name}.rrd"
    assert decode(source.read_bytes()).header.definition.version == MADE[name].version
    before = old("dump", source)
    assert len(words(before)) > 50
    assert_alike(words(before), words(new("dump", target)))
    assert_alike(info(old("info", source)), info(new("info", target)))
    if name == "unknown":
        return
    assert_alike(old("lastupdate", source).split(), new("lastupdate", target).split())
    for cf in ("AVERAGE",) if name != "implied" else ():
        arguments = (cf, "--start", str(BEGIN_S), "--end", str(BEGIN_S + FILLED * STEP_S))
        fetched = old("fetch", source, *arguments).split()
        assert_alike(fetched, new("fetch", target, *arguments).split())
        assert any(re.match(r"\d\.\d+e", word) for word in fetched)


@pytest.mark.parametrize("name", [name for name in MADE if name != "unknown"])
def test_further_updates_on_both_sides_stay_equal(
    name: str, originals: Path, converted: Path, tmp_path: Path, old: Rrdtool, new: Rrdtool
) -> None:
    source, target = tmp_path / "source.rrd", converted / f"{name}.rrd"
    source.write_bytes(originals.joinpath(f"{name}.rrd").read_bytes())
    before = words(old("dump", source))
    lines = readings(MADE[name], range(FILLED, FILLED + MORE))
    old.feed(source, lines)
    new.feed(target, lines)
    after = words(old("dump", source))
    assert after != before
    assert_alike(after, words(new("dump", target)))
    assert_alike(info(old("info", source)), info(new("info", target)))


@pytest.mark.parametrize("name", MADE)
def test_the_library_takes_it(name: str, converted: Path) -> None:
    path = converted / f"{name}.rrd"
    said = rrdtool.info(str(path))
    assert said["rrd_version"] == f"{MADE[name].version:04}"
    assert said["header_size"] == path.stat().st_size - decode(path.read_bytes()).data.nbytes
    assert rrdtool.last(str(path)) == decode(path.read_bytes()).header.state.last_up_s


def test_a_graph_is_drawn(converted: Path, tmp_path: Path, new: Rrdtool) -> None:
    picture = tmp_path / "graph.png"
    path = converted / "every-type.rrd"
    new(
        *("graph", picture, "--start", str(BEGIN_S), "--end", str(BEGIN_S + FILLED * STEP_S)),
        *(f"DEF:v={path}:sum:AVERAGE", "LINE1:v#000000"),
    )
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", MADE)
def test_the_64_bit_original_converts_to_itself(name: str, new: Rrdtool, tmp_path: Path) -> None:
    made, path = MADE[name], tmp_path / "a.rrd"
    new(
        *("create", path, "--start", str(BEGIN_S), "--step", str(STEP_S)),
        *(f"DS:{source}" for source in made.sources),
        *(f"RRA:{archive}" for archive in made.archives),
    )
    if name != "unknown":
        new.feed(path, readings(made, range(1, FILLED)))
    convert_file(path, tmp_path / "b.rrd")
    assert tmp_path.joinpath("b.rrd").read_bytes() == path.read_bytes()


def bare(document: bytes) -> list[str]:
    return words(document.decode())


@pytest.mark.parametrize("name", MADE)
def test_restore_makes_the_same_values_of_our_xml(
    name: str, originals: Path, new: Rrdtool, tmp_path: Path
) -> None:
    rrd = decode(originals.joinpath(f"{name}.rrd").read_bytes())
    document = b"".join(chunks(rrd))
    tmp_path.joinpath("a.xml").write_bytes(document)
    new("restore", tmp_path / "a.xml", tmp_path / "a.rrd")
    restored = decode(tmp_path.joinpath("a.rrd").read_bytes())
    # RRDtool reads decimals with code of its own, which errs in the 16th digit; ours does not.
    assert_alike(bare(document), bare(b"".join(chunks(restored))), RESTORED)


@pytest.mark.parametrize("name", MADE)
def test_xml_keeps_every_bit(name: str, originals: Path) -> None:
    rrd = decode(originals.joinpath(f"{name}.rrd").read_bytes())
    again = decode_xml(chunks(rrd), most_bytes=1 << 24)
    assert list(differences(rrd, again)) == []


@pytest.mark.parametrize("name", MADE)
def test_rrdtools_own_xml_is_read(name: str, originals: Path, old: Rrdtool, tmp_path: Path) -> None:
    source = originals / f"{name}.rrd"
    dumped = old("dump", source)
    rrd = decode_xml([dumped.encode()], most_bytes=1 << 24)
    assert_alike(words(dumped), bare(b"".join(chunks(rrd))))
    tmp_path.joinpath("a.rrd").write_bytes(encode(rrd))
    assert rrdtool.last(str(tmp_path / "a.rrd")) == rrd.header.state.last_up_s


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_every_version_is_opened_and_updated(version: int, new: Rrdtool, tmp_path: Path) -> None:
    made = Spec(
        version,
        ds=(Ds("g"),),
        rra=(Rra(rows=5, cur_row=2, cdp=((dbl(float("nan")),),)),),
        last_up=BEGIN_S,
    )
    tmp_path.joinpath("a.rrd").write_bytes(build(made, I386))
    path = tmp_path / "b.rrd"
    convert_file(tmp_path / "a.rrd", path)
    assert compare_pair(tmp_path / "a.rrd", path) == ()
    assert f'rrd_version = "{version:04}"' in new("info", path)
    new("update", path, f"{BEGIN_S + 300}:42", f"{BEGIN_S + 600}:42")
    rrd = decode(path.read_bytes())
    assert rrd.header.state.last_up_s == BEGIN_S + 600
    assert rrd.header.state.pdp_prep[0].last_ds == "42"
    assert b"4.2000000000000000e+01" in b"".join(chunks(rrd))


def test_the_converted_file_is_not_what_the_old_program_opens(
    originals: Path, converted: Path, old: Rrdtool
) -> None:
    with pytest.raises(Exception, match="another architecture"):
        old("info", converted / "every-type.rrd")
    with pytest.raises(rrdtool.OperationalError, match="another architecture"):
        rrdtool.info(str(originals / "every-type.rrd"))

"""Draw one RRD before and after its migration, each file by the rrdtool of its own architecture."""

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import median

from applianceforge.cli.summary import visible
from applianceforge.formats.rrd.decode import decode
from applianceforge.formats.rrd.values import Archive, Consolidation, Rrd
from applianceforge.migrate.rrd.reading import OpenRrd, until_unchanged
from applianceforge.migrate.rrd.scan import PATTERNS, scan
from applianceforge.migrate.tree import ProgramTree
from applianceforge.model.errors import ForgeError, RrdError
from applianceforge.system import programs
from applianceforge.system.effects import Effects

RRDTOOL = "/usr/bin/rrdtool"
_WIDTH = 420
_HEIGHT = 150
# Twice the pixels, for screens that have them and for paper.
_ZOOM = 2
_TIMEOUT_S = 60.0
_MOST_SOURCES = 3
# Divisors of the width, so that each row has the same number of pixels. More than one row in two
# pixels would be a thicket of lines.
_ROWS = (210, 140, 105, 84, 70, 60, 42, 35, 30, 20)
# What falls on the edge between two pixels, the x87 and the SSE2 round to different ones. Rows,
# full hours and round values do, unless the picture begins by this part of a pixel earlier, and the
# scale ends at no round value either.
_OFF_THE_EDGE = 15 / 64
_ABOVE = 0.0717
_BELOW = 0.0517
# Enough to find one worth looking at among a hundred thousand.
_MOST_FILES = 40
_MOST_BYTES = 16 << 20
# A source with one reading far above all others is a flat line.
_FLAT = 100.0
# What rrdtool create allows in a name (DS_NAM_FMT); anything else would need quoting in a DEF.
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,19}")
# Blue, orange and green of Okabe and Ito: told apart by people who are colour-blind.
_COLOURS = ("#0072b2", "#d55e00", "#009e73")
_SURROUNDINGS = (
    ("BACK", "#ffffff"),
    ("CANVAS", "#ffffff"),
    ("FONT", "#334155"),
    ("AXIS", "#94a3b8"),
    ("ARROW", "#94a3b8"),
    ("FRAME", "#ffffff"),
    ("GRID", "#e2e8f0"),
    ("MGRID", "#cbd5e1"),
)
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class View:
    """Which part of an RRD is drawn: the newest rows of one AVERAGE RRA that have values.

    Attributes:
        start_s: Seconds since 1970, as `end_s`.
        row_s: How long one row of the RRA is.
        lowest: Where the scale begins.
        highest: Where it ends.
        sources: Names of the DSs.
        values: How many values there are to see.
    """

    start_s: int
    end_s: int
    row_s: int
    lowest: float
    highest: float
    sources: tuple[str, ...]
    values: int


@dataclass(frozen=True)
class Graph:
    """One RRD before and after.

    Attributes:
        title: The file's name below the RRD directory; may hold anything that a name may.
        before_png: The original, drawn by the source's rrdtool.
        after_png: The converted file, drawn by the target's rrdtool.
        identical: Whether the pictures agree in every pixel.
        view: What is drawn.
    """

    title: str
    before_png: bytes
    after_png: bytes
    identical: bool
    view: View


def view_of(rrd: Rrd) -> View | None:
    """Return the part that is most worth seeing, or None where there is nothing to see."""
    found = [
        view
        for number, archive in enumerate(rrd.header.definition.archives)
        if archive.cf is Consolidation.AVERAGE
        and (view := _view_of_archive(rrd, number, archive)) is not None
    ]
    return max(found, key=lambda view: view.values, default=None)


def _view_of_archive(rrd: Rrd, number: int, archive: Archive) -> View | None:
    definition, state = rrd.header.definition, rrd.header.state
    columns = list(zip(*_newest(rrd, number, archive), strict=True))
    shown = [
        (source.name, column)
        for source, column in zip(definition.sources, columns, strict=True)
        if _NAME.fullmatch(source.name) and _worth_seeing(column)
    ][:_MOST_SOURCES]
    if not shown:
        return None
    row_s = definition.step_s * archive.pdp_per_row
    ages = [age for _, column in shown for age, value in enumerate(column) if value == value]
    rows = next((count for count in _ROWS if count <= max(ages) + 1), _ROWS[-1])
    earlier_s = max(1, int(rows * row_s / _WIDTH * _OFF_THE_EDGE))
    end_s = state.last_up_s - state.last_up_s % row_s - earlier_s
    seen = [value for _, column in shown for value in column[:rows] if value == value]
    if not seen:
        return None
    least, most = min(seen), max(seen)
    return View(
        start_s=end_s - rows * row_s,
        end_s=end_s,
        row_s=row_s,
        # Zero belongs to the picture unless the values are far above it.
        lowest=0.0 if 0 <= least <= most / 2 else least - _BELOW * (most - least),
        highest=most + _ABOVE * (most - least),
        sources=tuple(name for name, _ in shown),
        values=len(seen),
    )


def _newest(rrd: Rrd, number: int, archive: Archive) -> Iterator[tuple[float, ...]]:
    """Yield rows of an RRA from the newest backwards, as many as can be told apart."""
    row = struct.Struct(f"<{len(rrd.header.definition.sources)}d")
    rows = rrd.rows(number)
    newest = rrd.header.state.current_rows[number]
    for age in range(min(archive.rows, _ROWS[0])):
        yield row.unpack_from(rows, (newest - age) % archive.rows * row.size)


def _worth_seeing(column: Sequence[float]) -> bool:
    """Tell whether a source's values, NaN where unknown, make a line that goes up and down."""
    known = [value for value in column if value == value]
    if len(known) < 2 or min(known) == max(known):
        return False
    sizes = [abs(value) for value in known]
    return isfinite(max(sizes)) and max(sizes) <= _FLAT * median(sizes)


def arguments(view: View, file: Path) -> tuple[str, ...]:
    """Return what rrdtool must be told to draw a view of a file as PNG on standard output.

    Source: rrdgraph(1), rrdgraph_data(1) and rrdgraph_graph(1) of RRDtool 1.7.2. Of a file name
    in a DEF only the colon is escaped; a backslash before anything else stands for itself.
    """
    path = str(file).replace(":", "\\:")
    words = ["graph", "-", "--imgformat", "PNG", "--border", "0", "--slope-mode"]
    words += ["--start", str(view.start_s), "--end", str(view.end_s), "--step", str(view.row_s)]
    words += [
        "--width",
        str(_WIDTH),
        "--height",
        str(_HEIGHT),
        "--zoom",
        str(_ZOOM),
        "--font",
        "DEFAULT:9:",
    ]
    words += ["--lower-limit", f"{view.lowest:.6g}", "--upper-limit", f"{view.highest:.6g}"]
    words += ["--rigid"]
    for what, colour in _SURROUNDINGS:
        words += ["--color", what + colour]
    longest = max(len(name) for name in view.sources)
    for number, (name, colour) in enumerate(zip(view.sources, _COLOURS, strict=False)):
        value = f"v{number}"
        words.append(f"DEF:{value}={path}:{name}:AVERAGE")
        words += [
            f"VDEF:{value}{what}={value},{what}" for what in ("MINIMUM", "AVERAGE", "MAXIMUM")
        ]
        if number == 0:
            words.append(f"AREA:{value}{colour}26")
        words.append(f"LINE1.25:{value}{colour}:{name:{longest}}")
        words.append(f"GPRINT:{value}MINIMUM:min %7.2lf%s")
        words.append(f"GPRINT:{value}AVERAGE:average %7.2lf%s")
        words.append(f"GPRINT:{value}MAXIMUM:max %7.2lf%s\\l")
    return tuple(words)


def draw(tree: ProgramTree, file: Path, view: View, effects: Effects) -> bytes:
    """Return a PNG of an RRD, drawn by a tree's rrdtool; the file must be of its architecture.

    Raises:
        ProgramFailedError: rrdtool refuses the file.
        ProgramMissingError: The tree has no rrdtool, or it cannot run here.
    """
    command = tree.command(RRDTOOL, *arguments(view, file))
    return programs.run(command, effects, timeout_s=_TIMEOUT_S).stdout


def draw_both(
    source_tree: ProgramTree,
    source: Path,
    target_tree: ProgramTree,
    target: Path,
    view: View,
    title: str,
    effects: Effects,
) -> Graph:
    """Draw the same view of an original and of its converted file.

    Raises:
        ProgramFailedError: rrdtool refuses one of the files.
        ProgramMissingError: A tree has no rrdtool, or it cannot run here.
    """
    before = draw(source_tree, source, view, effects)
    after = draw(target_tree, target, view, effects)
    return Graph(title, before, after, pixels(before) == pixels(after), view)


def draw_one(
    source_tree: ProgramTree,
    source_directory: Path,
    target_tree: ProgramTree,
    target_directory: Path,
    effects: Effects,
    *,
    patterns: Sequence[str] = PATTERNS,
) -> Graph | None:
    """Choose an RRD that has data, and draw it before and after.

    Returns:
        None where there is no such RRD or no rrdtool: a picture is no proof, and the lack of one
        must not spoil a migration that is finished.
    """
    with suppress(ForgeError):
        found = most_worth_seeing(source_directory, target_directory, patterns)
        if found is not None:
            path, view = found
            return draw_both(
                source_tree,
                source_directory / path,
                target_tree,
                target_directory / path,
                view,
                path,
                effects,
            )
    return None


def most_worth_seeing(
    source: Path, target: Path, patterns: Sequence[str] = PATTERNS
) -> tuple[str, View] | None:
    """Return the file below both directories with the most to see, of a sample, and its view.

    Raises:
        SettingsError: The source directory is not there.
        AccessDeniedError: It may not be read.
    """
    found = scan(source, patterns).files
    best: tuple[str, View] | None = None
    for file in found[:: max(1, -(-len(found) // _MOST_FILES))]:
        if file.size_bytes > _MOST_BYTES or not (target / file.path).is_file():
            continue
        with suppress(RrdError):
            content = until_unchanged(str(source / file.path), OpenRrd.content)
            view = view_of(decode(content))
            if view is not None and (best is None or view.values > best[1].values):
                best = (file.path, view)
    return best


def pixels(png: bytes) -> tuple[bytes, bytes]:
    """Return a PNG's header and its pixels as they are before compression.

    Equal results mean equal pixels, also where two releases of zlib compress them differently.

    Source: W3C PNG, second edition, 5.3 (chunk layout) and 10.1 (compression).

    Raises:
        RrdError: It is no PNG, or is cut short.
    """
    header, packed, at = b"", [], len(_PNG_SIGNATURE)
    while png.startswith(_PNG_SIGNATURE) and at + 8 <= len(png):
        size_bytes, kind = struct.unpack_from(">I4s", png, at)
        chunk = png[at + 8 : at + 8 + size_bytes]
        if kind == b"IHDR":
            header = chunk
        elif kind == b"IDAT":
            packed.append(chunk)
        at += size_bytes + 12
    try:
        return header, zlib.decompress(b"".join(packed))
    except zlib.error as error:
        raise RrdError(f"rrdtool drew no picture: {visible(str(error))}") from error

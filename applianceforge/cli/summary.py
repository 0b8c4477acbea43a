"""Say in words and in a table what an operation's outcome was."""

from collections.abc import Callable
from dataclasses import dataclass

from rich import box
from rich.bar import Bar
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.filesize import decimal
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from applianceforge.migrate.compare import RELATIVE_TOLERANCE
from applianceforge.migrate.outcome import Outcome, SideOutcome

_TOLERANCE = f"{RELATIVE_TOLERANCE:g}".replace("e-0", "e-")
WHY_TOLD = (
    "What a server computes is not part of its data: the new server computed it anew from rows that"
    " were proved equal. A 32-bit PostgreSQL calculates floating-point numbers on the x87 unit with"
    " 64 binary digits between two steps, a 64-bit one on SSE2 with 53, so last digits differ;"
    f" up to {_TOLERANCE} of a column's magnitude that counts as equal. What differs by"
    " more is told: a materialized view that had not been refreshed for a while on the old side is"
    " refreshed on the new one."
)
_NOTHING = "-"
# From this width on there is room for what came out of each step, and for its share of the time.
_WIDE_COLUMNS = 120
_SHARE_COLUMNS = 16
# Below this one even the rate leaves no room for what the step is.
_NARROW_COLUMNS = 60


@dataclass(frozen=True)
class Verdict:
    """What an outcome amounts to; claims what was proved and nothing else.

    Attributes:
        proved: Everything that was there was proved to be there still.
    """

    proved: bool
    headline: str
    sentence: str


@dataclass(frozen=True)
class Fact:
    """One figure before and after; `after` is empty where the operation has no target."""

    label: str
    before: str
    after: str


@dataclass(frozen=True)
class Proof:
    """One kind of thing that was proved equal: how many, what, and in which way."""

    count: int
    what: str
    how: str


# Singular, plural, and how they were compared.
_PROOFS = {
    "databases": ("database", "databases", "name and encoding"),
    "tables": ("table", "tables", "number of rows and SHA-256 of all rows"),
    "rows": ("row", "rows", "every value, as the server's binary COPY writes it"),
    "as_text": (
        "column as text",
        "columns as text",
        "of these the text, as their binary form has numbers of its own in each cluster",
    ),
    "sequences": ("sequence", "sequences", "where it stands"),
    "large_objects": ("large object", "large objects", "content, size, owner and grants"),
    "schema_objects": ("object of the schema", "objects of the schema", "definition and grants"),
    "globals": (
        "role, grant or setting",
        "roles, grants and settings",
        "definition, for the whole cluster",
    ),
    "recomputed": (
        "computed column",
        "computed columns",
        f"computed anew on the new side; equal within {_TOLERANCE}, or told",
    ),
    "rrds": ("RRD", "RRDs", "definition, state and every value, bit for bit"),
}


def visible(text: str) -> str:
    """Return text with everything unprintable as an escape: it may come from a hostile name."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def duration(seconds: float) -> str:
    """Return a time as people say it: 0.3 s, 42.0 s, 3 min 05 s, 2 h 03 min."""
    tenths = round(max(0.0, seconds), 1)
    if tenths < 60:
        return f"{tenths:.1f} s"
    whole = round(tenths)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def size(size_bytes: int) -> str:
    """Return a size in decimal units: 12.3 MB."""
    return "0 B" if size_bytes <= 0 else decimal(size_bytes).replace("bytes", "B")


def rate(done_bytes: float, elapsed_s: float) -> str:
    """Return bytes per second, or nothing where there were none."""
    return f"{size(int(done_bytes / elapsed_s))}/s" if done_bytes > 0 and elapsed_s > 0 else ""


def counted(number: int, singular: str, plural: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {singular if number == 1 else plural}"


def proofs(outcome: Outcome) -> tuple[Proof, ...]:
    """Return what was proved, the usual kinds first; a kind of which there was none is left out."""
    known = [key for key in _PROOFS if key in outcome.proofs]
    others = sorted(outcome.proofs.keys() - _PROOFS.keys())
    found = []
    for key in (*known, *others):
        number = outcome.proofs[key]
        singular, plural, how = _PROOFS.get(key, (key.replace("_", " "),) * 2 + ("",))
        if number:
            found.append(Proof(number, singular if number == 1 else plural, how))
    return tuple(found)


def verdict(outcome: Outcome) -> Verdict:
    """Return what may be said of the whole outcome."""
    if outcome.operation == "export":
        return Verdict(
            False,
            "The export is complete.",
            f"The archive holds {_and(_contents(outcome.source))}. It is proved when it is"
            " imported: the import compares all that it made with what the archive says.",
        )
    compared: list[str] = []
    left: list[str] = []
    if outcome.source.postgres_major or outcome.target.postgres_major:
        (compared if "tables" in outcome.proofs else left).append("the databases")
    if outcome.source.rrds or outcome.target.rrds:
        (compared if "rrds" in outcome.proofs else left).append("the RRDs")
    if not compared:
        return Verdict(False, "Nothing was proved.", "No databases and no RRDs were compared.")
    sentence = f"{_and(_equal(outcome))} were compared and are equal."
    if outcome.told:
        number = counted(len(outcome.told), "expected difference", "expected differences")
        sentence += f" {number} in what the server computes: told below."
    if left:
        return Verdict(
            False,
            f"Of {_and(compared)} nothing was lost.",
            f"{sentence} Not compared: {_and(left)}.",
        )
    return Verdict(True, "Nothing was lost.", sentence)


def _equal(outcome: Outcome) -> list[str]:
    number = outcome.proofs
    parts = []
    if "tables" in number:
        parts.append(
            f"{counted(number.get('rows', 0), 'row', 'rows')} in"
            f" {counted(number['tables'], 'table', 'tables')} of"
            f" {counted(number.get('databases', 0), 'database', 'databases')}"
        )
    if "rrds" in number:
        parts.append(counted(number["rrds"], "RRD", "RRDs"))
    return parts


def _contents(side: SideOutcome) -> list[str]:
    parts = []
    if side.postgres_major:
        parts.append(
            f"{counted(side.rows, 'row', 'rows')} in {counted(side.tables, 'table', 'tables')} of"
            f" {counted(side.databases, 'database', 'databases')}"
        )
    if side.rrds or not parts:
        parts.append(counted(side.rrds, "RRD", "RRDs"))
    return parts


def _and(parts: list[str]) -> str:
    return " and ".join(parts)


def facts(outcome: Outcome) -> tuple[Fact, ...]:
    """Return the figures of both sides; what neither side has is left out."""
    sides = (outcome.source, outcome.target)
    found: list[Fact] = []

    def take(label: str, shown: Callable[[SideOutcome], str]) -> None:
        before, after = map(shown, sides)
        if outcome.operation == "export":
            after = ""
        if before != _NOTHING or after not in ("", _NOTHING):
            found.append(Fact(label, before, after))

    def number(value: int) -> str:
        return f"{value:,}" if value else _NOTHING

    def bytes_(value: int) -> str:
        return size(value) if value else _NOTHING

    take("PostgreSQL", _server)
    take("data directory", lambda side: bytes_(side.postgres_bytes))
    take("databases", lambda side: number(side.databases))
    take("tables", lambda side: number(side.tables))
    take("rows", lambda side: number(side.rows))
    take("RRDs", lambda side: number(side.rrds))
    take("size of the RRDs", lambda side: bytes_(side.rrd_bytes))
    return tuple(found)


def _server(side: SideOutcome) -> str:
    if not side.postgres_major:
        return _NOTHING
    return f"{side.postgres_major}, {side.width}-bit" if side.width else str(side.postgres_major)


def space(outcome: Outcome) -> str:
    """Return how the space that was used compares with the prediction; empty if not known."""
    if not outcome.peak_bytes:
        return ""
    used = f"at its peak {size(outcome.peak_bytes)} were used"
    if not outcome.predicted_peak_bytes:
        return f"{used}; nothing was predicted"
    share = outcome.peak_bytes / outcome.predicted_peak_bytes
    return f"{used}, {share:.0%} of the {size(outcome.predicted_peak_bytes)} predicted"


def totals(outcome: Outcome) -> str:
    """Return how long all steps took, and the rate with respect to the source's data."""
    moved = outcome.source.postgres_bytes + outcome.source.rrd_bytes
    took = f"{duration(outcome.elapsed_s)} in all"
    overall = rate(moved, outcome.elapsed_s)
    return f"{took}: {size(moved)} at {overall}, from the first step to the last" if moved else took


def interruptions(outcome: Outcome) -> str:
    """Return how often the operation was cut; empty if never."""
    if not outcome.interruptions:
        return ""
    times = counted(outcome.interruptions, "time", "times")
    return f"it was stopped or cut {times}, and went on where it had been"


def report(outcome: Outcome) -> RenderableType:
    """Return all that is to be shown of an outcome, for a console of any width."""
    said = verdict(outcome)
    parts: list[RenderableType] = [
        Text(),
        Text(said.headline, style="bold green" if said.proved else "bold yellow"),
        Text(said.sentence),
        Text(),
        _facts_table(outcome),
        Text(),
        _Steps(outcome),
    ]
    if proofs(outcome):
        parts += [Text(), Text("Proved equal", style="bold"), _proofs_table(outcome)]
    for heading, lines, style in (
        ("Told: differences that are expected", [*outcome.told], "bold"),
        ("Why", [WHY_TOLD] if outcome.told else [], "bold"),
        ("Warnings", [*outcome.warnings], "bold yellow"),
        ("Time and space", [totals(outcome), space(outcome), interruptions(outcome)], "bold"),
    ):
        shown = [_indented(line) for line in lines if line]
        if shown:
            parts += [Text(), Text(heading, style=style), *shown]
    return Group(*parts)


def show(outcome: Outcome, console: Console | None = None) -> None:
    """Print an outcome; by default to standard output."""
    (console or Console()).print(report(outcome), highlight=False, markup=False)


def _indented(line: str) -> Padding:
    return Padding(Text(visible(line)), (0, 0, 0, 2), expand=False)


def _proofs_table(outcome: Outcome) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", style="dim")
    for one in proofs(outcome):
        table.add_row(f"{one.count:,}", Text(visible(one.what)), one.how)
    return Padding(table, (0, 0, 0, 2), expand=False)


def _facts_table(outcome: Outcome) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    table.add_column("")
    table.add_column(f"before, {outcome.source.label}", justify="right")
    two_sides = outcome.operation != "export"
    if two_sides:
        table.add_column(f"now, {outcome.target.label}", justify="right")
    for fact in facts(outcome):
        table.add_row(fact.label, fact.before, *((fact.after,) if two_sides else ()))
    return table


@dataclass(frozen=True)
class _Steps:
    """The table of steps, with as many columns as there is room for."""

    outcome: Outcome

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= _WIDE_COLUMNS
        narrow = options.max_width < _NARROW_COLUMNS
        drawn = wide and options.is_terminal and not options.ascii_only
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, show_footer=True)
        table.add_column("step", "all steps", overflow="fold")
        all_time = duration(self.outcome.elapsed_s)
        table.add_column("time", all_time, justify="right", no_wrap=True)
        if drawn:
            table.add_column("", width=_SHARE_COLUMNS)
        table.add_column("bytes", justify="right", no_wrap=True)
        if not narrow:
            table.add_column("rate", justify="right", no_wrap=True)
        if wide:
            table.add_column("result", overflow="fold")
        longest = max((step.elapsed_s for step in self.outcome.steps), default=0.0)
        for step in self.outcome.steps:
            bar = Bar(longest or 1.0, 0, step.elapsed_s, width=_SHARE_COLUMNS, color="green")
            table.add_row(
                Text(visible(step.title)),
                duration(step.elapsed_s),
                *((bar,) if drawn else ()),
                size(step.done_bytes) if step.done_bytes else "",
                *(() if narrow else (rate(step.done_bytes, step.elapsed_s),)),
                *((Text(visible(step.detail)),) if wide else ()),
            )
        yield table

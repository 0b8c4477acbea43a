"""Draw what is known of a disk image: a bar, a table, and what would boot."""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from applianceforge.formats.bootenv import NO_REASON
from applianceforge.imaging.show import DiskFacts, PartitionFacts
from applianceforge.preflight.amounts import amount
from applianceforge.slots import reasons
from applianceforge.slots.selector import Choice, Way

_COLOURS = {"boot": "yellow", "slot a": "green", "slot b": "cyan", "data": "blue"}
_NARROWEST = 6
_WIDEST = 100
# Full, free, and what stands between partitions; the second set for terminals with ASCII only.
_MARKS, _PLAIN_MARKS = ("█", "░", "│"), ("#", ".", "|")
_WAYS = {
    Way.GOOD: "which is good",
    Way.TRY: "and takes one of its tries",
    Way.LAST_RESORT: "as the last resort: nothing better is left",
    Way.MARKER: "by the marker file: no copy of the boot environment is complete",
}


def picture(facts: DiskFacts) -> RenderableType:
    """Return what rich prints for a disk image."""
    return Group(_head(facts), "", Bar(facts), "", _table(facts), "", _boot(facts))


def _head(facts: DiskFacts) -> Text:
    text = Text()
    text.append(facts.path.name, style="bold")
    text.append(
        f"  {facts.kind}, a disk of {amount(facts.size_bytes)} in {amount(facts.file_bytes)};"
        f" signature {facts.signature:08x}"
    )
    if facts.loader:
        for problem in facts.loader:
            text.append(f"\nboot loader: {problem}", style="red")
    else:
        text.append("\nboot loader: GRUB, as on the boot partition")
    return text


@dataclass(frozen=True)
class Bar:
    """The disk as one line: a piece for each partition, as filled as its file system is."""

    facts: DiskFacts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it as wide as there is room."""
        full, free, edge = _PLAIN_MARKS if options.ascii_only else _MARKS
        parts = self.facts.partitions
        room = min(options.max_width, _WIDEST) - len(parts) - 1
        widths = widths_of([one.place.size_bytes for one in parts], room)
        below = Text(" ")
        yield Segment(edge)
        for one, width in zip(parts, widths, strict=True):
            used = _filled(one, width)
            style = Style.parse(_COLOURS[one.role])
            yield Segment(full * used, style)
            yield Segment(free * (width - used), style)
            yield Segment(edge)
            below.append(one.role[:width].ljust(width + 1), style=style)
        yield Segment.line()
        below.rstrip()
        yield below


def widths_of(sizes_bytes: list[int], room: int) -> list[int]:
    """Share a line among partitions by their sizes, so that the smallest can still be seen."""
    if not sizes_bytes:
        return []
    least = max(1, min(_NARROWEST, room // len(sizes_bytes)))
    left = max(0, room - least * len(sizes_bytes))
    total = sum(sizes_bytes)
    return [least + left * size // total for size in sizes_bytes]


def _filled(one: PartitionFacts, width: int) -> int:
    if one.file_system is None:
        return 0
    return min(width, -(-width * one.file_system.used_bytes // one.place.size_bytes))


def _table(facts: DiskFacts) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "for"):
        table.add_column(name)
    for name in ("begins", "size", "used"):
        table.add_column(name, justify="right")
    for name in ("file system", "holds"):
        table.add_column(name)
    for one in facts.partitions:
        system = one.file_system
        table.add_row(
            str(one.place.number),
            Text(one.role, style=_COLOURS[one.role]),
            amount(one.place.first_byte),
            amount(one.place.size_bytes),
            amount(system.used_bytes) if system else "-",
            f"{system.kind} {system.label}".strip() if system else "-",
            _holds(one),
        )
    return table


def _holds(one: PartitionFacts) -> Text:
    text = Text()
    if one.holds is not None:
        text.append(f"{one.holds.name} {one.holds.version} {one.holds.architecture.value}")
    elif not one.problem and one.file_system is None:
        text.append("nothing")
    if one.state is not None:
        text.append(f"{', ' if text else ''}{one.state.value}")
    if one.problem:
        text.append(f"{'; ' if text else ''}{one.problem}", style="red")
    if one.file_system is not None and not one.file_system.journal_is_empty:
        text.append(f"{'; ' if text else ''}its journal is to be replayed", style="yellow")
    return text


def _boot(facts: DiskFacts) -> Text:
    lines = []
    for number, copy in enumerate(facts.copies):
        if copy is None:
            said = "not complete"
        else:
            said = f"generation {copy.generation}, primary slot {copy.primary}"
            if copy.reason != NO_REASON:
                slot, word = reasons.split(copy.reason)
                about = f"slot {slot.value}: " if slot else ""
                said += f"; {about}{reasons.explain(word).sentence}"
        counts = ", which counts" if number == facts.counts else ""
        lines.append(f"boot environment {number + 1}: {said}{counts}")
    lines.append(f"on a 64-bit processor, GRUB {_chooses(facts.with_long_mode)}")
    lines.append(f"on a 32-bit processor, GRUB {_chooses(facts.without)}")
    return Text("\n".join(lines))


def _chooses(choice: Choice) -> str:
    if choice.slot is None:
        return "says that nothing can be started, and halts"
    return f"starts slot {choice.slot.value}, {_WAYS[choice.way]}"

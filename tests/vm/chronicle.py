"""What a story tells while it runs, its table at the end, and the picture of its course.

A story is a row of parts, each with its time and with what the server sent meanwhile. Lines in
between say what the box itself says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from html import escape

Tell = Callable[[str], None]

# A colour for each kind of part: waiting for a boot, fetching, the box at work, a refusal.
COLOURS = {
    "boot": "#8a94a6",
    "update": "#2f6fdb",
    "migrate": "#c2761b",
    "serve": "#2e9e5b",
    "refuse": "#c0392b",
}
_WIDTH, _LEFT, _RIGHT, _ROW, _TOP, _BAR = 1000, 340, 210, 30, 64, 18


@dataclass(frozen=True)
class Part:
    """A part of a story that is over.

    Attributes:
        kind: One of COLOURS.
        title: What happened.
        began_s: After the beginning of the story.
        elapsed_s: How long it took.
        sent_bytes: What the server sent in it.
        note: What came of it.
    """

    kind: str
    title: str
    began_s: float
    elapsed_s: float
    sent_bytes: int
    note: str = ""


class Chronicle:
    """Tells a story as it goes on.

    Args:
        tell: Takes one line after the other.
        sent: Returns how many bytes the server has sent so far.
        clock: In seconds.
    """

    def __init__(
        self,
        tell: Tell,
        sent: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._sent = sent
        self._clock = clock
        self._began_s = clock()
        self._note = ""
        self.parts: list[Part] = []

    @property
    def elapsed_s(self) -> float:
        """Return how long the story has been going on."""
        return self._clock() - self._began_s

    def say(self, text: str) -> None:
        """Tell a line, with the time."""
        for number, line in enumerate(text.splitlines() or [""]):
            stamp = minutes(self.elapsed_s) if number == 0 else ""
            self._tell(f"{stamp:>7}  {line}".rstrip())

    def quote(self, text: str) -> None:
        """Tell what the box itself says."""
        for line in text.strip().splitlines():
            self._tell(f"{'':>7}  | {line}".rstrip())

    def note(self, text: str) -> None:
        """Say what came of the part that runs; it ends up in the table."""
        self._note = text

    @contextmanager
    def part(self, kind: str, title: str) -> Iterator[None]:
        """Tell that a part begins, and at its end what it took."""
        began_s, before = self.elapsed_s, self._sent()
        self.say(f"{title} ...")
        self._note = ""
        yield
        found = Part(kind, title, began_s, self.elapsed_s - began_s, self._sent() - before)
        found = replace(found, note=self._note)
        self.parts.append(found)
        sent = f", {amount(found.sent_bytes)} from the server" if found.sent_bytes else ""
        note = f": {found.note}" if found.note else ""
        self.say(f"  {minutes(found.elapsed_s)}{sent}{note}")

    def table(self) -> str:
        """Return the table of all parts."""
        return table(self.parts)

    def picture(self, title: str) -> str:
        """Return the course of the story as SVG."""
        return picture(self.parts, title)


def minutes(seconds: float) -> str:
    """Return a duration as minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02}"


def amount(size_bytes: int) -> str:
    """Return a number of bytes for people."""
    if size_bytes < 100_000:
        return f"{size_bytes:,} bytes"
    return f"{size_bytes / 1e6:.1f} MB"


def table(parts: Sequence[Part]) -> str:
    """Return a table of parts, with what they took in all."""
    rows = [("what", "min:s", "from the server", "")]
    rows += [
        (part.title, minutes(part.elapsed_s), amount(part.sent_bytes), part.note) for part in parts
    ]
    total_s = sum(part.elapsed_s for part in parts)
    rows.append(("in all", minutes(total_s), amount(sum(p.sent_bytes for p in parts)), ""))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"{row[0]:{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip()
        for row in rows
    ]
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def picture(parts: Sequence[Part], title: str) -> str:
    """Return parts as bars on one line of time, as SVG that needs nothing else."""
    end_s = max((part.began_s + part.elapsed_s for part in parts), default=1.0) or 1.0
    scale = (_WIDTH - _LEFT - _RIGHT) / end_s
    height = _TOP + _ROW * len(parts) + 30
    said = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
        f' font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="16" y="28" font-size="17" font-weight="600" fill="#1b2430">'
        f"{escape(title)}</text>",
    ]
    for minute in range(0, int(end_s // 60) + 1, max(1, int(end_s // 60) // 8)):
        x = _LEFT + minute * 60 * scale
        bottom = height - 24
        said.append(f'<path d="M{x:.1f} {_TOP - 12}V{bottom}" stroke="#e3e7ee"/>')
        said.append(
            f'<text x="{x:.1f}" y="{height - 8}" fill="#6b7686" text-anchor="middle">'
            f"{minute or '0 min'}</text>"
        )
    for number, part in enumerate(parts):
        y = _TOP + number * _ROW
        x, wide = _LEFT + part.began_s * scale, max(part.elapsed_s * scale, 2)
        said.append(
            f'<text x="{_LEFT - 12}" y="{y + 13}" fill="#1b2430" text-anchor="end">'
            f"{escape(part.title)}</text>"
        )
        said.append(
            f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{_BAR}" rx="3"'
            f' fill="{COLOURS[part.kind]}"><title>{escape(part.note)}</title></rect>'
        )
        after = minutes(part.elapsed_s)
        if part.sent_bytes:
            after += f", {amount(part.sent_bytes)}"
        said.append(f'<text x="{x + wide + 6:.1f}" y="{y + 13}" fill="#6b7686">{after}</text>')
    return "\n".join([*said, "</svg>"]) + "\n"

"""Damage texts as editors, mails and terminals do: lines lost, moved, cut and wrapped."""

import textwrap
from collections.abc import Iterator

WIDTHS = (60, 72, 76, 80, 100)


def damaged(text: str, *, farthest: int) -> Iterator[str]:
    """Give the text with one damage each.

    Args:
        farthest: How many lines apart two lines may be that change places.
    """
    lines = text.replace("\r", "").rstrip("\n").split("\n")
    for at in range(len(lines)):
        yield "\n".join((*lines[:at], *lines[at + 1 :], ""))
        yield "\n".join((*lines[:at], ""))
        yield "\n".join((*lines[:at], lines[at][: len(lines[at]) // 2]))
        yield "\n".join((*lines[:at], lines[at][: len(lines[at]) // 2], *lines[at + 1 :], ""))
        for size in (2, 5):
            yield "\n".join((*lines[:at], *lines[at + size :], ""))
        for other in range(at + 1, min(at + farthest + 1, len(lines))):
            moved = list(lines)
            moved[at], moved[other] = moved[other], moved[at]
            yield "\n".join((*moved, ""))
        yield "\n".join((*lines[:at], lines[-1], *lines[at:-1], ""))
    for width in WIDTHS:
        yield "\n".join(line[:width] for line in lines)
        yield "\n".join(part for line in lines for part in textwrap.wrap(line, width) or [""])
        yield "\n".join(
            part
            for line in lines
            for part in [line[at : at + width] for at in range(0, len(line), width)] or [""]
        )

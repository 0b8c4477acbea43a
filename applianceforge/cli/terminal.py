"""How the terminal that we write to wants its text."""

from __future__ import annotations

import os
import sys

from applianceforge.preflight.render import Style

_WIDTH = 80
_WIDEST = 100


def style(*, verbose: bool = False) -> Style:
    """Return the style for standard output: its width, colours and encoding."""
    return Style(
        width=columns(),
        colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"),
        verbose=verbose,
        encoding=sys.stdout.encoding or "ascii",
    )


def columns() -> int:
    """Return how wide text is to be: as the terminal is, but no wider than one likes to read."""
    try:
        return min(os.get_terminal_size(sys.stdout.fileno()).columns or _WIDTH, _WIDEST)
    except (OSError, ValueError):
        return _WIDTH

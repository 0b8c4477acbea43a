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
        width=min(_columns(), _WIDEST),
        colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"),
        verbose=verbose,
        encoding=sys.stdout.encoding or "ascii",
    )


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _WIDTH
    except (OSError, ValueError):
        return _WIDTH

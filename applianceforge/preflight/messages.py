"""Explain a line of a log to somebody who already went from 32 to 64 bits, or tried to.

`explain` says what a message means, what not to do, and what to run instead. It is tolerant: what
stands before and behind the message, its case, its quotation marks and its spaces do not matter,
and a message may be broken over several lines. What it knows stands in known_postgres.py,
known_data.py and known_machine.py, with where each wording comes from.
"""

from __future__ import annotations

import re
import textwrap

from applianceforge.preflight import known_data, known_machine, known_postgres
from applianceforge.preflight.explanation import Explanation, Known
from applianceforge.preflight.render import printable

# A log line is a few hundred characters; one that never ends must not keep us busy.
LONGEST = 16384
_QUOTES = {
    ord(mark): "'"
    for mark in '"`\u00b4\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u2039\u203a\u00ab\u00bb'
}
_COLOUR = re.compile("\033\\[[0-9;]*m")
_DASHES = {ord(mark): "-" for mark in "\u2010\u2011\u2012\u2013\u2014\u2212"}
_KNOWN = known_postgres.KNOWN + known_data.KNOWN + known_machine.KNOWN
_TABLE = {**_QUOTES, **_DASHES}

NOT_KNOWN = (
    "This line is not known. Lines that are known say that a file, a program or a processor does"
    ' not fit, such as "incorrect checksum in control file" or "wrong ELF class". Look for such'
    " a line just before this one in the log, and give that one. `applianceforge check --scan"
    " DIR` looks at the data itself, and `applianceforge check` at the machine."
)


def explain(line: str) -> tuple[Explanation, ...]:
    """Return what is known about a line of a log, the most telling first; nothing if nothing is.

    Args:
        line: A line, or some of them, with or without what the log puts before it. Only the first
            16384 characters are looked at.
    """
    plain = _plain(line)
    return tuple(known.explanation for known in _KNOWN if _fits(known, plain))


def known() -> tuple[Known, ...]:
    """Return all that is known."""
    return _KNOWN


def _plain(line: str) -> str:
    unpainted = _COLOUR.sub(" ", line[:LONGEST])
    return " ".join(unpainted.translate(_TABLE).casefold().split())


def _fits(entry: Known, plain: str) -> bool:
    # Compiled at the first use: all of them at import would cost each command some milliseconds.
    return any(re.search(pattern, plain) for pattern in entry.patterns)


def lines(explanation: Explanation, width: int = 80) -> tuple[str, ...]:
    """Return an explanation as lines for a person; commands are never broken.

    Args:
        explanation: What `explain` said.
        width: Columns of the terminal.
    """
    said = _paragraph(f"{explanation.title} [{explanation.key}]", "", width)
    said.extend(_paragraph(explanation.meaning, "  ", width))
    said.append("  What not to do:")
    for never in explanation.never:
        said.extend(_paragraph(never, "  - ", width))
    said.append("  What to do instead:")
    for number, step in enumerate(explanation.steps, 1):
        said.extend(_paragraph(step.text, f"  {number}. ", width))
        said.extend(f"     $ {command}" for command in step.commands)
    said.extend(_paragraph(f"Said by: {explanation.documented}", "  ", width))
    return tuple(said)


def not_known(line: str, width: int = 80) -> tuple[str, ...]:
    """Return what is said about a line that is not known."""
    return (f"  {printable(line, 200)}", *_paragraph(NOT_KNOWN, "", width))


def _paragraph(text: str, lead: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )

"""`applianceforge error`: what a line of a log means, what not to do, what to run instead."""

from __future__ import annotations

import argparse
import sys

from applianceforge.cli.ending import say
from applianceforge.cli.terminal import style
from applianceforge.model.errors import UnexplainedError, UsageError
from applianceforge.preflight import messages, render

_MOST_BYTES = 1 << 16


def error(options: argparse.Namespace) -> int:
    """Explain a line of a log and return the exit status.

    Raises:
        UsageError: There is no line.
        UnexplainedError: Nothing is known about it.
    """
    line = " ".join(options.line)
    if not options.line or options.line == ["-"]:
        line = sys.stdin.buffer.read(_MOST_BYTES).decode("utf-8", "replace")
    if not line.strip():
        raise UsageError("there is no line to explain", hint='give it in quotes: error "LINE"')
    explanations = messages.explain(line)
    if not explanations:
        raise UnexplainedError(
            f"nothing is known about this line: {render.printable(line, 200)}",
            hint=messages.NOT_KNOWN,
        )
    wanted = style()
    told = ("\n".join(messages.lines(one, wanted.width)) for one in explanations)
    say(render.encodable("\n\n".join(told), wanted.encoding))
    return 0

"""The way into the command.

What only looks at a machine (`check`, `scan`, `error`) starts at once: it is asked on old, slow
boxes, and before every update. The other commands take half a second for what they import. So this
is the one place that imports by name: it must choose before it imports.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from applianceforge.cli import standalone
from applianceforge.model.report import Finding


def main() -> None:
    """Run the command that the arguments name, and end with its status."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in standalone.COMMANDS:
        sys.exit(standalone.main(arguments, _planned))
    sys.exit(import_module("applianceforge.cli.main").main(arguments))


def _planned(settings: Path) -> tuple[Finding, ...]:
    findings: tuple[Finding, ...] = import_module("applianceforge.cli.migrate").findings(settings)
    return findings

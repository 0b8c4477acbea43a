"""The way into the command.

What only looks at a machine (`check`, `scan`, `error`) starts at once: it is asked on old, slow
boxes, and before every update. The other commands take half a second for what they import, so this
is a place that chooses before it imports.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from applianceforge.cli import standalone

if TYPE_CHECKING:
    from applianceforge.preflight.checks import Planned


_INTERRUPTED = 130
# As appliance.COMMANDS has them, which is not imported to find out.
_OF_AN_APPLIANCE = ("history", "settle", "slot", "status")


def main() -> None:
    """Run the command that the arguments name, and end with its status."""
    try:
        _main(sys.argv[1:])
    except KeyboardInterrupt:
        # While it imports; afterwards each command says itself what that means.
        sys.exit(_INTERRUPTED)


def _main(arguments: list[str]) -> None:
    if arguments and arguments[0] in standalone.COMMANDS:
        sys.exit(standalone.main(arguments, _planned))
    if arguments and arguments[0] in _OF_AN_APPLIANCE:
        from applianceforge.cli import appliance

        sys.exit(appliance.main(arguments))
    # The rest of the command does without what proves a repository, also where that is broken.
    if arguments and arguments[0] == "release":
        _prepare_proving()
        from applianceforge.cli import release

        sys.exit(release.main(arguments))
    if arguments and arguments[0] == "update":
        _prepare_proving()
        from applianceforge.cli import update

        sys.exit(update.main(arguments))
    from applianceforge.cli import main as others

    sys.exit(others.main(arguments))


def _prepare_proving() -> None:
    from applianceforge.release import old_cryptography

    old_cryptography.complete()


def _planned(settings: Path) -> Planned:
    from applianceforge.cli import migrate

    return migrate.planned(settings)

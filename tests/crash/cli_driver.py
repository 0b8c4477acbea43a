"""The same as `driver`, through the command line: `applianceforge migrate run`.

python -m tests.crash.cli_driver PLACE RECORD NUMBER BLOW
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from applianceforge.cli import main as command_line
from applianceforge.cli import migrate, settings_file
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.system.effects import Effects
from tests.crash.driver import injector_of
from tests.crash.injector import Injector


class Observed(Protocol):
    """The surroundings of a command, whose effects an injector observes."""

    def __call__(self, config: Path, shown: str) -> Iterator[Surroundings]: ...


def main(words: list[str]) -> None:
    """Run the command line with its effects observed."""
    injector = injector_of(words)
    migrate.surroundings = contextmanager(_observed(injector))
    settings = str(injector.place.settings)
    words = ["migrate", "run", "-c", settings, "--progress", "none"]
    sys.exit(command_line.main(words))


def _observed(injector: Injector) -> Observed:
    def surroundings(config: Path, shown: str) -> Iterator[Surroundings]:
        yield Surroundings(settings_file.read_settings(config), Effects(injector.observe), injector)

    return surroundings


if __name__ == "__main__":
    main(sys.argv[1:])

"""Run a migration in a process of its own, to be struck after one of its effects.

python -m tests.crash.driver PLACE RECORD NUMBER BLOW

Ends as the command line does: 0, or the exit status of the error, which goes to standard error.
"""

import sys
from pathlib import Path

from applianceforge.migrate.run import run
from applianceforge.migrate.settings import decode
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.model.errors import ForgeError, exit_status_of
from applianceforge.system.effects import Effects
from tests.crash.injector import Blow, Injector, Place


def injector_of(words: list[str]) -> Injector:
    """Return the injector that the arguments describe."""
    root, record, number, blow = words
    return Injector(Place(Path(root)), Path(record), int(number), Blow(blow))


def main(words: list[str]) -> int:
    """Carry out, or continue, the migration of a place."""
    injector = injector_of(words)
    path = injector.place.settings
    settings = decode(path.read_text(), str(path))
    try:
        run(Surroundings(settings, Effects(injector.observe), injector))
    except ForgeError as error:
        print(error.message, *error.evidence, error.hint, sep="\n", file=sys.stderr)
        return exit_status_of(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

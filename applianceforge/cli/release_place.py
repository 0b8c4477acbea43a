"""Which repository a command of `applianceforge release` is about."""

from pathlib import Path

import click

from applianceforge.release.publish.layout import Layout
from applianceforge.release.publish.repository import Repository
from applianceforge.system.effects import Effects

directory_argument = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))


def repository(directory: Path) -> Repository:
    """Return the repository of a directory."""
    return Repository(Layout(directory), Effects())

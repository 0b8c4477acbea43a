"""The program's name and version."""

from importlib.metadata import version as installed_version

PROGRAM = "applianceforge"


def version() -> str:
    """Return the installed version."""
    return installed_version(PROGRAM)

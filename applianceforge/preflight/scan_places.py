"""Directories that are one thing: thousands of files in them need no answer of their own."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from applianceforge.formats.foreign_words import Disposition, Identification


class _Place(NamedTuple):
    """What must be in a directory that is one thing: all of `names`, and one of `any_of`."""

    found: Identification
    names: tuple[str, ...]
    any_of: tuple[str, ...] = ()


CLUSTER = Identification("postgresql", Disposition.CONVERTED)
_TABLESPACE = Identification(
    "postgresql-tablespace", Disposition.CONVERTED, None, "named after a release and its catalog"
)

# Source: PostgreSQL "Database File Layout"; MariaDB "InnoDB System Tablespaces"; Erlang/OTP Mnesia
# mnesia_lib.erl (schema.DAT, LATEST.LOG); PEP 405 (pyvenv.cfg); Squid src/fs/ufs/UFSSwapDir.cc.
_PLACES = (
    _Place(CLUSTER, ("PG_VERSION", "global/pg_control")),
    _Place(
        Identification("mariadb", Disposition.PORTABLE),
        ("mysql",),
        ("ibdata1", "aria_log_control"),
    ),
    _Place(
        Identification("mnesia", Disposition.PORTABLE),
        ("schema.DAT",),
        ("LATEST.LOG", "DECISION_TAB.LOG"),
    ),
    _Place(
        Identification(
            "python-venv", Disposition.REBUILT, None, "pyvenv.cfg: a virtual environment"
        ),
        ("pyvenv.cfg",),
    ),
    _Place(
        Identification("squid-cache", Disposition.DISCARD, None, "swap.state: Squid's cache"),
        ("swap.state",),
        ("00",),
    ),
)
_TABLESPACE_NAME = re.compile(r"PG_\d+(\.\d+)?_\d{9}\Z")


def recognise(name: str, directory: int) -> Identification | None:
    """Return what a directory is as a whole, or None.

    Args:
        name: Its own name.
        directory: A descriptor of it.
    """
    if _TABLESPACE_NAME.match(name):
        return _TABLESPACE
    for place in _PLACES:
        if all(_exists(entry, directory) for entry in place.names) and (
            not place.any_of or any(_exists(entry, directory) for entry in place.any_of)
        ):
            return place.found
    return None


def _exists(name: str, directory: int) -> bool:
    # Asked some times of each directory; os.stat would raise nearly each time, which is slow.
    return os.access(name, os.F_OK, dir_fd=directory, follow_symlinks=False)

"""Directories that are one thing: thousands of files in them need no answer of their own."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from typing import NamedTuple

from applianceforge.formats.foreign_words import Disposition, Identification


class _Place(NamedTuple):
    """What must be in a directory that is one thing: all of `names`, and one of `any_of`."""

    found: Identification
    names: tuple[str, ...]
    any_of: tuple[str, ...] = ()


CLUSTER = Identification("postgresql", Disposition.CONVERTED)
VENV = "python-venv"
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
        Identification(VENV, Disposition.REBUILT, None, "pyvenv.cfg: a virtual environment"),
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


def is_compiled(path: str) -> bool:
    """Return whether a file of a virtual environment has a width: a library, or Python itself."""
    parent, _, name = path.rpartition("/")
    return name.endswith(".so") or ".so." in name or (parent.endswith("bin") and "python" in name)


def venv(widths: Collection[int]) -> Identification:
    """Return what a virtual environment is that holds programs or libraries of these widths.

    `pyvenv.cfg` does not tell the width, and `bin/python` is mostly a link out of the tree.
    """
    if 32 in widths:
        evidence = "with 32-bit and 64-bit libraries" if 64 in widths else "with 32-bit libraries"
        return Identification(VENV, Disposition.REBUILT, 32, evidence)
    if 64 in widths:
        return Identification(VENV, Disposition.PORTABLE, 64, "with 64-bit libraries")
    return Identification(VENV, Disposition.REBUILT, None, "no library in it shows a width")


def _exists(name: str, directory: int) -> bool:
    # Asked some times of each directory; os.stat would raise nearly each time, which is slow.
    return os.access(name, os.F_OK, dir_fd=directory, follow_symlinks=False)

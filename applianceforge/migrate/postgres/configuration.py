"""Carry over a cluster's configuration files as far as they still mean something."""

import re
from pathlib import Path

from applianceforge.migrate.postgres.server import Server
from applianceforge.system import files
from applianceforge.system.effects import Effects
from applianceforge.system.programs import User

# Who may connect is the same on both sides.
_AS_THEY_ARE = ("pg_hba.conf", "pg_ident.conf")
_FILTERED = ("postgresql.conf", "postgresql.auto.conf")
_SETTING = re.compile(r"^\s*(?P<name>[A-Za-z_][A-Za-z0-9_.]*)\s*(=|\s)")
CARRIED = (*_AS_THEY_ARE, *_FILTERED)
_INCLUDES = frozenset({"include", "include_dir", "include_if_exists"})
# They name places of the old side, or what only the old side could know.
_PLACES = frozenset(
    {"data_directory", "hba_file", "ident_file", "external_pid_file", "unix_socket_directories"}
)


def known_settings(server: Server) -> frozenset[str]:
    """Return the names of the settings that a server knows."""
    with server.session("template1") as session:
        rows = session.rows("SELECT lower(name) FROM pg_settings")
    return frozenset(row[0] for row in rows)


def filtered(text: str, known: frozenset[str], major: int) -> tuple[str, tuple[str, ...]]:
    """Return a configuration file for the new server, and the names of what was put aside.

    A setting that it does not know, or that names a place of the old side, becomes a comment. One
    with a dot belongs to an extension and stays.
    """
    lines, aside = [], []
    # Only an end of line ends one: other separators may stand in values and comments.
    for line in text.removesuffix("\n").split("\n"):
        found = _SETTING.match(line)
        name = found["name"].lower() if found else ""
        strange = name and name not in known and "." not in name and name not in _INCLUDES
        if strange or name in _PLACES:
            aside.append(name)
            why = f"unknown to PostgreSQL {major}" if strange else "a place of the old side"
            line = f"# {why}: {line}"
        lines.append(line)
    return "\n".join(lines) + "\n", tuple(aside)


def carry_over(
    old: Path, new: Path, known: frozenset[str], user: User | None, effects: Effects
) -> tuple[str, ...]:
    """Write the old configuration files into the new data directory; return what was done.

    Where the old data directory holds none (Debian keeps them in /etc), the new one keeps what
    initdb wrote.
    """
    done = []
    major = int((new / "PG_VERSION").read_text())
    for name in CARRIED:
        source = old / name
        if not source.is_file():
            continue
        with files.named_errors(source, "read"):
            text = source.read_bytes().decode("utf-8", errors="surrogateescape")
        aside: tuple[str, ...] = ()
        if name in _FILTERED:
            text, aside = filtered(text, known, major)
        content = text.encode("utf-8", errors="surrogateescape")
        files.write_file(new / name, content, effects)
        if user is not None:
            files.change_owner(new / name, user.uid, user.gid)
        done.append(name + (f" without {', '.join(aside)}" if aside else ""))
    return tuple(done)

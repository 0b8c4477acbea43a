"""`applianceforge cluster`: what a PostgreSQL data directory is, without starting anything."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from applianceforge.formats import pg_control
from applianceforge.formats.pg_control import NEVER_RESET, NOT_DAMAGE, ControlData
from applianceforge.migrate.tree import read_head
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import DamagedClusterError, ProgramMissingError, UsageError
from applianceforge.system import files

_SCHEMA = 1
_CONTROL = Path("global/pg_control")
_VERSION_BYTES = 64
_SERVERS = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server program of this machine."""

    program: Path
    architecture: Architecture | None


@dataclass(frozen=True)
class Opening:
    """Whether this machine can open a cluster, why not, and what to do then."""

    possible: bool
    reason: str
    advice: str


def read_cluster(directory: Path) -> ControlData:
    """Read PG_VERSION and the control file of a data directory.

    Raises:
        UsageError: It is no data directory.
        AccessDeniedError: It may not be read.
        DamagedClusterError: A part is missing, damaged, or contradicts the other.
        ForeignClusterError: It is of another byte order or of an unknown release.
    """
    version = _read(directory / "PG_VERSION", _VERSION_BYTES)
    control = _read(directory / _CONTROL, pg_control.CONTROL_BYTES)
    if version is None and control is None:
        raise UsageError(
            f"{directory} is not a PostgreSQL data directory",
            hint="name the directory that holds PG_VERSION and global/; Debian's are"
            " /var/lib/postgresql/VERSION/NAME",
        )
    if version is None or control is None:
        missing = "PG_VERSION" if version is None else _CONTROL
        raise DamagedClusterError(
            f"the data directory {directory} has no {missing}",
            hint=f"restore the whole data directory from a backup or a standby; {NEVER_RESET}",
        )
    data = pg_control.decode(control, name=str(directory / _CONTROL))
    stated = version.decode("ascii", errors="replace").strip()
    if stated != data.major:
        raise DamagedClusterError(
            f"{directory} contradicts itself: PG_VERSION says {stated or 'nothing'}, the control"
            f" file says {data.major}",
            hint="files of two clusters were mixed: restore the whole data directory from a backup"
            f" or a standby; {NEVER_RESET}",
        )
    return data


def _read(path: Path, limit_bytes: int) -> bytes | None:
    """Return the first bytes of a file, or None if it is not there."""
    with files.named_errors(path, "read"):
        try:
            with open(path, "rb") as stream:
                return stream.read(limit_bytes)
        except (FileNotFoundError, NotADirectoryError):
            return None


def find_server(major: str, servers: Path = _SERVERS) -> Server | None:
    """Return this machine's PostgreSQL server of a release, if it has one."""
    program = servers / major / "bin" / "postgres"
    try:
        return Server(program, read_head(program).architecture)
    except ProgramMissingError:
        return None


def judge(data: ControlData, server: Server | None) -> Opening:
    """Return whether a server, if there is one, can open the cluster."""
    wanted = data.architecture
    if wanted is None:
        return Opening(
            False,
            "it was written by a 32-bit machine that is not i386",
            f"dump it with PostgreSQL {data.major} on a machine of its own kind; {NEVER_RESET}",
        )
    migrate = f"carry it over with: applianceforge migrate; {NEVER_RESET}"
    if server is None:
        advice = f"install PostgreSQL {data.major} of {wanted.value}"
        return Opening(
            False,
            f"PostgreSQL {data.major} is not installed here",
            migrate if wanted is Architecture.I386 else f"{advice}; {NEVER_RESET}",
        )
    if server.architecture is wanted:
        return Opening(True, f"{server.program} is of the same architecture", "")
    theirs = "another architecture" if server.architecture is None else server.architecture.value
    return Opening(
        False,
        f"it is of {wanted.value}, and {server.program} is of {theirs}; {NOT_DAMAGE}",
        migrate
        if wanted is Architecture.I386
        else f"start it with PostgreSQL {data.major} of {wanted.value}; {NEVER_RESET}",
    )


def document(
    directory: Path, data: ControlData, server: Server | None, opening: Opening
) -> dict[str, Any]:
    """Return what a program reads; the identifier is text, as it exceeds 53 bits."""
    return {
        "schema": _SCHEMA,
        "directory": str(directory),
        "major": data.major,
        "architecture": None if data.architecture is None else data.architecture.value,
        "width": data.width,
        "max_align": data.max_align,
        "float8_by_value": data.float8_by_value,
        "state": data.state.value,
        "shut_down": data.was_shut_down,
        "modified": _time(data.modified_s),
        "data_checksums": bool(data.data_checksums),
        "system_identifier": str(data.system_identifier),
        "control_version": data.control_version,
        "catalog_version": data.catalog_version,
        "checkpoint": f"{data.checkpoint_lsn >> 32:X}/{data.checkpoint_lsn & 0xFFFFFFFF:X}",
        "timeline": data.timeline,
        "wal_level": data.wal_level.value,
        "block_bytes": data.block_bytes,
        "wal_segment_bytes": data.wal_segment_bytes,
        "server": None if server is None else str(server.program),
        "opens_here": opening.possible,
        "reason": opening.reason,
        "advice": opening.advice,
    }


def _time(seconds: int) -> str | None:
    """Return a time as ISO 8601 in UTC, or None for one that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return None


def table(directory: Path, data: ControlData, opening: Opening) -> Table:
    """Return what a person reads."""
    architecture = "" if data.architecture is None else f" ({data.architecture.value})"
    passing = "value" if data.float8_by_value else "reference"
    shown = Table.grid(padding=(0, 2))
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    for name, value in (
        ("data directory", str(directory)),
        ("version", f"PostgreSQL {data.major} (catalog {data.catalog_version})"),
        ("width", f"{data.width} bits{architecture}"),
        ("alignment", f"{data.max_align} bytes, float8 by {passing}"),
        ("state", f"{data.state.value}, since {_time(data.modified_s) or 'an impossible time'}"),
        ("data checksums", "on" if data.data_checksums else "off"),
        ("system identifier", str(data.system_identifier)),
        ("wal_level", data.wal_level.value),
        ("opens here", f"{'yes' if opening.possible else 'no'}: {opening.reason}"),
        ("to do", opening.advice),
    ):
        if value:
            shown.add_row(name, Text(value))
    return shown


@click.group()
def cluster() -> None:
    """Look at PostgreSQL clusters."""


@cluster.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def info(directory: Path, as_json: bool) -> None:
    """Say what the data directory DIRECTORY is, and whether this machine can open it.

    Starts nothing and changes nothing: PG_VERSION and the control file are enough.
    """
    data = read_cluster(directory)
    server = find_server(data.major)
    opening = judge(data, server)
    if as_json:
        click.echo(json.dumps(document(directory, data, server, opening), indent=2))
    else:
        Console(highlight=False).print(table(directory, data, opening))

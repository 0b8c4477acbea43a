"""The settings file of a migration: where the old data is and where the new shall be.

One TOML file; `example.toml` beside this module is the commented example. An unknown key is an
error that names the nearest known one.
"""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from applianceforge.model.errors import SettingsError

SCHEMA = 1
# A Unix socket's path has 107 bytes; ours is at longest WORK/import/source/.s.PGSQL.5432.
LONGEST_WORK_BYTES = 107 - len("/import/source/.s.PGSQL.5432")


@dataclass(frozen=True)
class WorkSettings:
    """The work space.

    Attributes:
        directory: Journal, status, logs, dumps; on the file system with the most room.
        retention_days: `clean` removes the old data no earlier than this after publication.
        jobs: Processes and connections that work at the same time.
        compression: gzip level of dumps on their way, 0 to 9; 0 is the fastest and the largest.
    """

    directory: Path
    retention_days: float = 7.0
    jobs: int = 2
    compression: int = 0


@dataclass(frozen=True)
class SourcePostgresSettings:
    """The old cluster.

    Attributes:
        data: Its data directory.
        config_file: Its postgresql.conf where that is not in the data directory (Debian).
        hba_file: Who may connect, in place of our own file, which lets in whom the private socket
            directory lets in.
        superuser: The role to connect as.
        passfile: A password file in libpq's format (0600), if `hba_file` asks for a password.
    """

    data: Path
    config_file: Path | None = None
    hba_file: Path | None = None
    superuser: str = "postgres"
    passfile: Path | None = None


@dataclass(frozen=True)
class TargetPostgresSettings:
    """The new cluster.

    Attributes:
        data: Its data directory, which appears when everything is proved.
        tablespaces: For each tablespace of the source the empty directory of the new one.
        major: The major version; 0 is the newest in the target's tree.
        user: Who owns the new data and runs its server, if we are root; by default whoever owns the
            old data, and where there is none, postgres.
    """

    data: Path
    tablespaces: Mapping[str, Path] = field(default_factory=dict)
    major: int = 0
    user: str = ""


@dataclass(frozen=True)
class SourceRrdSettings:
    """The old RRDs.

    Attributes:
        directory: All RRDs are below it.
        patterns: Which files are RRDs: matched with the name, and with the path below.
        rrdcached_journal: The journal directory of rrdcached; it must have been flushed.
    """

    directory: Path
    patterns: tuple[str, ...] = ("*.rrd",)
    rrdcached_journal: Path | None = None


@dataclass(frozen=True)
class TargetRrdSettings:
    """The new RRDs: a directory that appears when everything is proved."""

    directory: Path


@dataclass(frozen=True)
class SourceSettings:
    """The 32-bit side: its program tree ("/" is this system) and its data."""

    tree: Path = Path("/")
    postgres: SourcePostgresSettings | None = None
    rrd: SourceRrdSettings | None = None


@dataclass(frozen=True)
class TargetSettings:
    """The 64-bit side: its program tree ("/" is this system) and where its data goes."""

    tree: Path = Path("/")
    postgres: TargetPostgresSettings | None = None
    rrd: TargetRrdSettings | None = None


@dataclass(frozen=True)
class Settings:
    """One migration."""

    work: WorkSettings
    source: SourceSettings = field(default_factory=SourceSettings)
    target: TargetSettings = field(default_factory=TargetSettings)


def decode(text: str, name: str) -> Settings:
    """Decode the settings file.

    Args:
        text: Its content.
        name: Its name, for messages.

    Raises:
        SettingsError: Not TOML, an unknown or missing key, a value of the wrong kind, or values
            that contradict each other. All problems are named at once.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{name} is not TOML: {error}", hint="mend that line") from error
    except (ValueError, RecursionError) as error:
        # Numbers of thousands of digits, and brackets within brackets; Python has limits for both.
        raise SettingsError(f"{name} cannot be read: {error}", hint="mend it") from error
    schema = table.pop("schema", SCHEMA)
    if schema != SCHEMA:
        raise SettingsError(
            f"{name} has schema {schema!r}; this version knows schema {SCHEMA}",
            hint="use the applianceforge that the file was written for, or a newer one",
        )
    problems: list[str] = []
    settings: Settings | None = _decode_table(Settings, table, "", problems)
    if settings is not None and not problems:
        problems.extend(_contradictions(settings))
    if problems or settings is None:
        raise SettingsError(
            f"{name}: " + "; ".join(problems),
            hint="`applianceforge migrate settings` prints a commented example",
        )
    return settings


def _decode_table(kind: Any, table: Mapping[str, Any], where: str, problems: list[str]) -> Any:
    hints = get_type_hints(kind)
    known = {f.name: f for f in fields(kind)}
    for key in table.keys() - known.keys():
        near = difflib.get_close_matches(key, known, n=1)
        advice = f", did you mean {where}{near[0]}?" if near else f"; known: {', '.join(known)}"
        problems.append(f"unknown key {where}{key}{advice}")
    values: dict[str, Any] = {}
    for key, one in known.items():
        if key in table:
            before = len(problems)
            values[key] = _decode_value(hints[key], table[key], f"{where}{key}", problems)
            if len(problems) > before:
                values[key] = None
        elif one.default is MISSING and one.default_factory is MISSING:
            problems.append(f"{where}{key} is missing")
    return None if problems else kind(**values)


def _decode_value(kind: Any, value: Any, where: str, problems: list[str]) -> Any:
    choices = [one for one in get_args(kind) if one is not type(None)]
    if type(None) in get_args(kind):
        kind = choices[0]
    if hasattr(kind, "__dataclass_fields__"):
        if isinstance(value, Mapping):
            return _decode_table(kind, value, f"{where}.", problems)
        problems.append(f"{where} must be a table")
    elif kind is Path:
        if isinstance(value, str) and value.startswith("/"):
            return Path(value)
        problems.append(f"{where} must be an absolute path in quotes")
    elif kind is str:
        if isinstance(value, str) and value:
            return value
        problems.append(f"{where} must be text in quotes")
    elif kind in (int, float):
        if isinstance(value, int | kind) and not isinstance(value, bool) and value >= 0:
            return kind(value)
        problems.append(f"{where} must be a number, 0 or more")
    elif kind == tuple[str, ...]:
        if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
            return tuple(value)
        problems.append(f"{where} must be a list of texts")
    elif isinstance(value, Mapping):
        return {
            key: _decode_value(Path, one, f"{where}.{key}", problems) for key, one in value.items()
        }
    else:
        problems.append(f"{where} must be a table of paths")
    return None


def _contradictions(settings: Settings) -> list[str]:
    found = []
    source, target, work = settings.source, settings.target, settings.work
    if len(str(work.directory).encode()) > LONGEST_WORK_BYTES:
        found.append(
            f"work.directory is longer than {LONGEST_WORK_BYTES} bytes, and a Unix socket below it"
            " would have too long a path"
        )
    if not 1 <= work.jobs <= 64:
        found.append("work.jobs must be from 1 to 64")
    if work.compression > 9:
        found.append("work.compression must be from 0 to 9")
    places: list[tuple[str, Path | None]] = [
        ("work.directory", work.directory),
        ("source.postgres.data", source.postgres.data if source.postgres else None),
        ("source.rrd.directory", source.rrd.directory if source.rrd else None),
        ("target.postgres.data", target.postgres.data if target.postgres else None),
        ("target.rrd.directory", target.rrd.directory if target.rrd else None),
    ]
    named = [(name, path) for name, path in places if path is not None]
    for index, (name, path) in enumerate(named):
        for other, other_path in named[index + 1 :]:
            if path == other_path or path in other_path.parents or other_path in path.parents:
                found.append(f"{name} and {other} lie within each other")
    return found


def check_has_source(settings: Settings) -> None:
    """Make sure that the settings name something to read.

    Raises:
        SettingsError: They do not.
    """
    if settings.source.postgres is None and settings.source.rrd is None:
        raise SettingsError(
            "the settings name neither source.postgres nor source.rrd: there is nothing to read",
            hint="`applianceforge migrate settings` prints a commented example",
        )


def check_has_both_sides(settings: Settings) -> None:
    """Make sure that the settings name a target for each source, and a source for each target.

    Raises:
        SettingsError: They do not.
    """
    check_has_source(settings)
    for name, old, new in (
        ("postgres", settings.source.postgres, settings.target.postgres),
        ("rrd", settings.source.rrd, settings.target.rrd),
    ):
        if (old is None) != (new is None):
            there, missing = ("source", "target") if new is None else ("target", "source")
            raise SettingsError(
                f"the settings name {there}.{name} but not {missing}.{name}",
                hint=f"add {missing}.{name}, or leave both out",
            )

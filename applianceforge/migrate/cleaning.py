"""Remove the old data, after its retention, by name."""

from dataclasses import dataclass
from pathlib import Path

from applianceforge.migrate.journal import Event, Journal, date
from applianceforge.migrate.operation import opened
from applianceforge.migrate.postgres.control import read_control
from applianceforge.migrate.postgres.server import find_running
from applianceforge.migrate.preparation import new_data
from applianceforge.migrate.rrd.scan import scan
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.migrate.workspace import Workspace
from applianceforge.model.errors import (
    ClockError,
    JournalError,
    RetentionError,
    ServerRunningError,
)
from applianceforge.slots.places import SOURCE_USED
from applianceforge.system import files

_DAY_S = 86400.0


@dataclass(frozen=True)
class Removal:
    """What `clean` removes.

    Attributes:
        cluster: The old data directory, or None if it is gone or there was none.
        rrds: Old RRDs that exist on the new side too; nothing else below their directory.
        work: Files of the finished run that are not needed any more.
        size_bytes: What will be free then.
    """

    cluster: Path | None
    rrds: tuple[Path, ...]
    work: tuple[Path, ...]
    size_bytes: int


def clean(around: Surroundings, *, dry_run: bool) -> Removal:
    """Remove what the migration left behind, if the retention is over.

    Args:
        around: Settings and the clock.
        dry_run: Only say what would be removed.

    Raises:
        JournalError: Nothing was published, or the old data is the truth again.
        RetentionError: The retention is not over.
        ClockError: The clock says a time before the publication.
        ServerRunningError: The old cluster is in use.
    """
    with opened(around, "run") as work:
        journal = Journal(work.journal, around.effects, around.clock)
        _check_time(journal, around)
        _check_old_data(around)
        _check_new_data(journal, around)
        removal = _plan(around, work)
        if not dry_run:
            _apply(around, removal)
            if journal.first(Event.CLEANED) is None:
                journal.write(Event.CLEANED, bytes=removal.size_bytes)
        return removal


def _check_time(journal: Journal, around: Surroundings) -> None:
    published = journal.first(Event.PUBLISHED)
    if published is None:
        raise JournalError(
            "no migration was finished here, so the old data is the only data",
            hint="finish it first: `applianceforge migrate run`; an import leaves no old data",
        )
    latest = max(entry.time_s for entry in journal.entries)
    now = around.clock()
    if now < latest:
        raise ClockError(
            f"the clock says {date(now)}, which is before the migration's last entry of"
            f" {date(latest)}: the retention cannot be judged",
            hint="set the clock, then run again: `timedatectl`, or `chronyc makestep`",
        )
    until = published.time_s + around.settings.work.retention_days * _DAY_S
    if now < until:
        raise RetentionError(
            f"the old data is kept until {date(until)}",
            hint="wait, or set work.retention_days in the settings to less",
        )


def _check_old_data(around: Surroundings) -> None:
    """Make sure that the old data was not used again, as on a box that went back to 32 bits.

    Raises:
        JournalError: It was, so it is the truth.
    """
    used = around.settings.work.directory.parent / SOURCE_USED
    if used.exists():
        raise JournalError(
            "the old data was used again after it was migrated, so it is the truth",
            hint="migrate again: install the migration release, or `applianceforge migrate run"
            " --restart`",
        )


def _check_new_data(journal: Journal, around: Surroundings) -> None:
    """Make sure that what was published is still there: else the old data is the only data.

    Raises:
        JournalError: It is not, or another cluster has its name.
    """
    for path in new_data(around.settings):
        if not path.exists():
            raise JournalError(
                f"the new data {path} is not there, so the old data is the only data",
                hint="put it back, or make it again: `applianceforge migrate run --restart`",
            )
    target = around.settings.target.postgres
    if target is None:
        return
    published = journal.result_of("postgres.publish") or {}
    ours = published.get("values", {}).get("system_identifier")
    found = read_control(target.data).system_identifier
    if found != ours:
        raise JournalError(
            f"{target.data} is not the cluster that was published (its identifier is {found}, and"
            f" not {ours}), so the old data is the only data",
            hint="put the new cluster back, or make it again: `applianceforge migrate run"
            " --restart`",
        )


def _plan(around: Surroundings, work: Workspace) -> Removal:
    settings = around.settings
    cluster = None
    if settings.source.postgres is not None and settings.source.postgres.data.exists():
        cluster = settings.source.postgres.data
        running = find_running(cluster)
        if running is not None:
            raise ServerRunningError(
                f"a PostgreSQL server (process {running.pid}) still runs on the old data {cluster}",
                hint="make sure that the new data is in use, then stop that server",
            )
    rrds: list[Path] = []
    old, new = settings.source.rrd, settings.target.rrd
    if old is not None and new is not None and old.directory.is_dir():
        found = scan(old.directory, old.patterns)
        names = [*(one.path for one in found.files), *(one.path for one in found.links)]
        rrds = [old.directory / name for name in names if (new.directory / name).exists()]
    leftovers = tuple(path for path in (work.archive, work.launchers("target")) if path.exists())
    size = sum(files.used_bytes(path) for path in (*rrds, *leftovers))
    size += files.used_bytes(cluster) if cluster else 0
    return Removal(cluster, tuple(rrds), leftovers, size)


def _apply(around: Surroundings, removal: Removal) -> None:
    if removal.cluster is not None:
        files.remove_tree(removal.cluster, around.effects)
    for path in removal.rrds:
        with files.named_errors(path, "remove"):
            path.unlink(missing_ok=True)
    old = around.settings.source.rrd
    if old is not None and old.directory.is_dir():
        files.prune_empty(old.directory, around.effects)
    for path in removal.work:
        files.remove_tree(path, around.effects)

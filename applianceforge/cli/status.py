"""Show how far a migration is."""

from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape

from applianceforge.cli import summary
from applianceforge.migrate.status import State, Status

_WORDS = {
    State.RUNNING: "is running",
    State.STOPPED: "was stopped; the same command continues it",
    State.FAILED: "failed; after mending, the same command continues it",
    State.CRASHED: "was cut (a crash or the power); the same command continues it",
    State.PUBLISHED: "is finished: the new data was proved equal and published",
    State.CLEANED: "is finished, and the old data was removed",
}


def lines(found: Status) -> list[str]:
    """Return what a person reads of one operation."""
    shown = [f"migrate {found.operation} {_WORDS[found.state]}"]
    if found.changed_s:
        when = datetime.fromtimestamp(found.changed_s, UTC)
        shown.append(f"  journal last written {when:%Y-%m-%d %H:%M:%S} UTC")
    shown.append(f"  {len(found.steps_done)} steps done")
    if found.state not in (State.PUBLISHED, State.CLEANED) and found.step:
        shown.append(f"  last step begun: {found.step}")
    if found.message:
        shown.append(f"  it said: {found.message}")
    progress = found.progress
    if progress is not None:
        shown.append(f"  step {progress.number} of {progress.of}: {progress.title}")
        amount = summary.size(progress.done_bytes)
        if progress.total_bytes:
            amount += f" of about {summary.size(progress.total_bytes)}"
        figures = [
            amount,
            f"{progress.done_rows:,} rows",
            f"{summary.size(int(progress.bytes_per_s))}/s",
        ]
        if progress.left_s is not None:
            figures.append(f"about {summary.duration(progress.left_s)} left")
        shown.append(f"  {', '.join(figures)}")
        if progress.item:
            shown.append(f"  now: {progress.item}")
    return shown


def show(found: Status, console: Console) -> None:
    """Print where one operation stands."""
    for line in lines(found):
        console.print(escape(summary.visible(line)), highlight=False, soft_wrap=True)

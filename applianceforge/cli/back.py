"""`applianceforge migrate back`: go back to the 32-bit release, on a person's word."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from applianceforge.cli import commands, progress
from applianceforge.cli.ending import undisturbed
from applianceforge.cli.settle import root_option
from applianceforge.cli.summary import counted, size, visible
from applianceforge.migrate.back import Archived, GoingBack
from applianceforge.migrate.back_news import Change, News
from applianceforge.migrate.back_services import Tools
from applianceforge.migrate.back_way import Way
from applianceforge.migrate.boot_slots import SlotMarks, booted_slot, loader
from applianceforge.migrate.journal import date
from applianceforge.model.errors import (
    AccessDeniedError,
    ForgeError,
    NotConfirmedError,
    NoWayBackError,
)
from applianceforge.model.version import PROGRAM, VERSION
from applianceforge.slots import disk
from applianceforge.slots.places import BootPlaces
from applianceforge.system.effects import Effects
from applianceforge.system.progress import NoProgress, ProgressSink

_SCHEMA = 1
_MOST_TABLES = 30
_HERE = Path("/")
_QUESTION = "Go back to 32 bits, with the data as it was at the crossing?"


@click.command("back")
@root_option
@click.option("--check", "only_check", is_flag=True, help="Only look and count; change nothing.")
@click.option(
    "--archive",
    type=click.Path(path_type=Path),
    help="The directory that the archive becomes, not there yet; by default one below"
    " /data/forge/archive.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--reboot", is_flag=True, help="Start the machine again when it is done.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def back_command(
    root: Path, only_check: bool, archive: Path | None, yes: bool, reboot: bool, as_json: bool
) -> None:
    """Go back to the 32-bit release, with the data as it was at the crossing.

    There is a way until the second hop takes that release's slot or `migrate clean` removes its
    data. What came in since does not come along: it is counted and shown, and kept in a portable,
    proved archive; then you are asked. Meanwhile the services are stopped and the ports shut, so
    that nothing is accepted that would be lost. Until you say yes nothing is changed.

    \b
    Exit status:
      0   done, restart the machine; with --check: there is a way
      82  nobody said yes
      83  there is no way back, and the message says why

    \b
    Examples:
      applianceforge migrate back --check
      applianceforge migrate back --archive /mnt/stick/back
      applianceforge migrate back --yes --reboot
    """
    if root == _HERE and os.geteuid() != 0:
        raise AccessDeniedError(
            "only root may go back", hint="run the same command with sudo, or as root"
        )
    if only_check:
        _check(_going_back(root, NoProgress()), as_json)
        return
    if not yes and not sys.stdin.isatty():
        raise NotConfirmedError(
            "this takes a person's yes, and this is no terminal",
            hint="see what came in since: `applianceforge migrate back --check`; then say --yes",
        )
    # Lines, and not the display that fills the terminal: it asks in between.
    with progress.choose("none" if as_json else "plain") as sink, _hanging_up_stops():
        back = _going_back(root, sink)
        done = back.carry_out(
            lambda way, archived: _confirmed(way, archived, yes=yes, as_json=as_json), archive
        )
    if as_json:
        _finish_as_json(back, done, reboot=reboot)
        return
    click.echo("From its next start on this box is 32-bit; until then it accepts nothing.")
    if reboot:
        back.restart()
    else:
        click.echo("Start it again: systemctl reboot")


def _going_back(root: Path, sink: ProgressSink) -> GoingBack:
    places, effects = BootPlaces(root), Effects()
    if root == _HERE:
        found = disk.find()
        slot, device, tools = found.booted, found.device(found.booted.other), Tools()
    else:
        slot = booted_slot(places)
        device = root / "slots" / slot.other.value
        tools = Tools((str(root / "bin/systemctl"),), (str(root / "bin/nft"), "--file"))
    return GoingBack(
        places=places,
        marks=SlotMarks(slot, loader(places, effects)),
        device=device,
        tool=f"{PROGRAM} {VERSION}",
        tools=tools,
        effects=effects,
        sink=sink,
        clock=time.time,
    )


@contextmanager
def _hanging_up_stops() -> Iterator[None]:
    """End as on SIGTERM when the terminal goes away, so that the services come up again."""
    before = signal.getsignal(signal.SIGHUP)
    if before is signal.SIG_DFL:  # And not where nohup made it go on.
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _check(back: GoingBack, as_json: bool) -> None:
    """Say whether there is a way, and what came in since, as far as can be seen from outside."""
    try:
        way = back.look()
    except NoWayBackError as error:
        commands.know({"way_back": False, "message": error.message, "hint": error.hint})
        raise
    news: News | None = None
    uncounted = ""
    try:
        news = back.news(way)
    except ForgeError as error:
        uncounted = error.message
    if as_json:
        _print({"way_back": True} | _way_fields(way) | {"news": _news_fields(news)})
        return
    console = Console(highlight=False)
    console.print(
        f"There is a way back to {escape(visible(way.release))} in slot {way.slot.value}, until"
        f" {date(way.until_s)}, or until another release takes that slot."
    )
    if news is None:
        console.print(f"What came in since cannot be counted now: {escape(visible(uncounted))}")
    else:
        _show_news(news, console)
    console.print("Nothing was changed.")


def _confirmed(way: Way, archived: Archived, *, yes: bool, as_json: bool) -> bool:
    console = Console(highlight=False)
    if not as_json:
        _show_news(archived.news, console)
        console.print(
            f"All of the 64-bit data is in the archive {escape(visible(str(archived.path)))}"
            f" ({size(archived.size_bytes)}), read again and proved whole.\n"
            f"{escape(visible(way.release))} would serve the data of {date(way.published_s)}; what"
            " came in since stays in that archive only.",
            soft_wrap=True,
        )
    if yes:
        return True
    try:
        return click.confirm(_QUESTION, err=as_json)
    except click.Abort:
        # Ctrl-C, or the end of the input: no answer is no yes.
        return False


def _show_news(news: News, console: Console) -> None:
    rrds = news.rrds
    rows = [f"{counted(news.rows_more, 'row', 'rows')} more"]
    if news.rows_fewer:
        rows.append(f"{news.rows_fewer} fewer")
    console.print(
        f"Since the crossing: {' and '.join(rows)}; other tables than then: {len(news.changed)} of"
        f" {len(news.tables)}; {counted(rrds.values, 'value', 'values')} in {rrds.updated} of"
        f" {counted(rrds.files, 'RRD', 'RRDs')}"
        + (f", the last at {date(rrds.last_s)}." if rrds.updated else ".")
    )
    if news.changed:
        table = Table()
        for heading in ("table", "then", "now"):
            table.add_column(heading, justify="left" if heading == "table" else "right")
        table.add_column("")
        for one in news.changed[:_MOST_TABLES]:
            cells = ("-" if rows is None else f"{rows:,}" for rows in (one.then, one.now))
            table.add_row(escape(visible(one.name)), *cells, one.change.value)
        console.print(table)
        if len(news.changed) > _MOST_TABLES:
            console.print(f"  and {len(news.changed) - _MOST_TABLES} more tables")
    for line in news.others:
        console.print(f"  {escape(visible(line))}")
    if rrds.gone:
        console.print(f"  {counted(rrds.gone, 'RRD', 'RRDs')} of then are no longer there")
    if any(one.change is Change.CHANGED for one in news.tables):
        console.print("  How many rows of a table were changed in place cannot be told.")
    if not news.exact:
        console.print(
            "  Counted while the box serves: rows that were changed in place do not show; they do"
            " when you go back, with the services stopped."
        )


def _finish_as_json(back: GoingBack, done: Archived, *, reboot: bool) -> None:
    """Restart first if that is asked for: there is one document, and it says whether it failed."""
    archive = {"path": str(done.path), "rows": done.rows, "size_bytes": done.size_bytes}
    said = {"went_back": True, "archive": archive, "news": _news_fields(done.news)}
    commands.know(said)
    with undisturbed():
        if reboot:
            back.restart()
        _print(said)


def _print(fields: dict[str, Any]) -> None:
    click.echo(json.dumps({"schema": _SCHEMA} | fields, ensure_ascii=False, indent=1))


def _way_fields(way: Way) -> dict[str, Any]:
    return {
        "slot": way.slot.value,
        "release": way.release,
        "crossed": way.published_s,
        "until": way.until_s,
    }


def _news_fields(news: News | None) -> dict[str, Any] | None:
    if news is None:
        return None
    return {
        "exact": news.exact,
        "rows_more": news.rows_more,
        "rows_fewer": news.rows_fewer,
        "tables": [
            {"name": one.name, "then": one.then, "now": one.now, "change": one.change.name.lower()}
            for one in news.tables
        ],
        "others": list(news.others),
        "rrds": asdict(news.rrds),
    }

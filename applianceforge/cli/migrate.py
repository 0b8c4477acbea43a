"""`applianceforge migrate`: plan, run, watch, verify, export, import, clean."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from applianceforge.cli import progress, summary
from applianceforge.cli import status as status_view
from applianceforge.cli.back import back_command
from applianceforge.cli.boot import abort_command, boot_command
from applianceforge.cli.graph import draw_one
from applianceforge.cli.page import render
from applianceforge.cli.settings_file import read_settings, settings_option
from applianceforge.migrate import cleaning, outcome, status
from applianceforge.migrate.exporting import ExportOptions, export
from applianceforge.migrate.importing import import_archive
from applianceforge.migrate.journal import date
from applianceforge.migrate.outcome import Outcome
from applianceforge.migrate.preparation import Plan
from applianceforge.migrate.run import run, show
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.migrate.tree import ProgramTree
from applianceforge.migrate.verifying import verify
from applianceforge.migrate.workspace import Workspace
from applianceforge.model.errors import ForgeError, exit_status_of
from applianceforge.model.report import Report, Severity
from applianceforge.model.version import PROGRAM, VERSION
from applianceforge.preflight import document
from applianceforge.preflight.checks import Planned
from applianceforge.system import files
from applianceforge.system.effects import Effects

_COLOURS = {Severity.INFO: "cyan", Severity.WARNING: "yellow", Severity.INHIBITOR: "red"}
_SCHEMA = 1
_TOOL = f"{PROGRAM} {VERSION}"

progress_option = click.option(
    "--progress",
    "shown",
    type=click.Choice(["auto", "plain", "json", "none"]),
    default="auto",
    show_default=True,
    help="How progress is shown: on the terminal, as lines, as JSON Lines, or not.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
restart_option = click.option(
    "--restart", is_flag=True, help="Throw away what an unfinished attempt did, and begin anew."
)


@contextmanager
def surroundings(config: Path, shown: str) -> Iterator[Surroundings]:
    """Read the settings and choose how progress is shown."""
    settings = read_settings(config)
    with progress.choose(shown) as sink, _told_at_the_end(shown):
        yield Surroundings(settings, Effects(), sink)


@contextmanager
def _told_at_the_end(shown: str) -> Iterator[None]:
    """Where progress is JSON, end it with an object that says how it went, also if it failed."""
    try:
        yield
    except ForgeError as error:
        _print_end(
            shown,
            "failed",
            exit_status=exit_status_of(error),
            message=error.message,
            hint=error.hint,
            evidence=list(error.evidence),
        )
        raise
    except KeyboardInterrupt:
        _print_end(shown, "stopped")
        raise


def _print_end(shown: str, event: str, **fields: Any) -> None:
    if shown == "json":
        click.echo(json.dumps({"schema": _SCHEMA, "event": event} | fields, ensure_ascii=False))


def _show_outcome(done: Outcome, shown: str, report: Path | None = None) -> None:
    """Print the result of an operation: a table for a person, an object for a program."""
    place = None if report is None else str(report)
    if shown == "json":
        fields = {"operation": done.operation, "earlier": done.earlier, "report": place}
        _print_end(shown, "finished", **fields, proofs=dict(done.proofs), told=list(done.told))
        return
    console = Console(highlight=False)
    if done.earlier:
        console.print(f"Already finished on {date(done.ended_s)}; nothing was done now.\n")
    summary.show(done, console)
    if place is not None:
        console.print(f"Report: {escape(place)}", soft_wrap=True)


@click.group()
def migrate() -> None:
    """Take PostgreSQL clusters and RRDs from 32 to 64 bits.

    The old data is never the thing that is changed: new data is made beside it, proved equal, and
    only then gets its name. Whatever interrupts a run (Ctrl-C, a crash, the power), the same
    command continues it.

    \b
    Examples:
      applianceforge migrate settings > box.toml      then edit it
      applianceforge migrate plan -c box.toml
      applianceforge migrate run -c box.toml
      applianceforge migrate status -c box.toml       from another terminal
      applianceforge migrate clean -c box.toml        after the retention
    """


@migrate.command("settings")
def settings_command() -> None:
    """Print a commented example of the settings file."""
    click.echo(
        package_files("applianceforge.migrate").joinpath("example.toml").read_text(), nl=False
    )


@migrate.command("plan")
@settings_option
@json_option
def plan_command(config: Path, as_json: bool) -> int:
    """Check everything and show what `run` would do; change nothing.

    Starts the old server for a moment to ask it. Exit status: 0 may go, 10 may go with warnings,
    otherwise that of the least mendable finding.
    """
    with surroundings(config, "none") as around:
        plan = show(around)
    if as_json:
        click.echo(json.dumps(_plan_document(plan), ensure_ascii=False, indent=1))
    else:
        _print_plan(plan)
    return plan.report.exit_status


def planned(config: Path) -> Planned:
    """Return what a look at the migration gives that a settings file describes.

    Starts the old server for a moment to ask it; changes nothing.
    """
    with surroundings(config, "none") as around:
        plan = show(around)
    return Planned(plan.report.findings, plan.needs, plan.peak_bytes)


def _plan_document(plan: Plan) -> dict[str, Any]:
    return {
        "schema": _SCHEMA,
        "exit_status": plan.report.exit_status,
        "predicted_peak_bytes": plan.peak_bytes,
        "source": asdict(plan.source),
        "findings": document.findings(plan.report),
        "steps": [asdict(one) | {"phase": one.phase.name.lower()} for one in plan.steps],
    }


def _print_plan(plan: Plan) -> None:
    console = Console()
    table = Table(title="What `run` will do", title_justify="left")
    for heading in ("#", "phase", "step"):
        table.add_column(heading)
    table.add_column("about", justify="right")
    for number, step in enumerate(plan.steps, start=1):
        size = summary.size(step.predicted_bytes) if step.predicted_bytes else ""
        table.add_row(str(number), step.phase.name.lower(), escape(step.title), size)
    console.print(table)
    console.print(f"Space at the peak: {summary.size(plan.peak_bytes)}")
    print_report(console, plan.report)


def print_report(console: Console, report: Report) -> None:
    """Print the findings for a person, the gravest first."""
    if not report.findings:
        console.print("Checks: nothing stands in the way.")
    weights = list(Severity)
    for one in sorted(report.findings, key=lambda found: -weights.index(found.severity)):
        colour = _COLOURS[one.severity]
        console.print(f"[{colour}]{one.severity.value}[/] {escape(one.title)}  ({one.key})")
        console.print(f"  {escape(one.summary)}")
        for line in one.evidence[:20]:
            console.print(f"  | {escape(line)}")
        for remedy in one.remedies:
            console.print(f"  To do: {escape(remedy.text)}")
            for label, text in (("", remedy.command), ("then see: ", remedy.verify)):
                if text:
                    console.print(f"    {label}{escape(text)}")


@migrate.command("run")
@settings_option
@progress_option
@restart_option
@click.option("--report", type=click.Path(path_type=Path), help="Also write the HTML report here.")
def run_command(config: Path, shown: str, restart: bool, report: Path | None) -> None:
    """Migrate: export, import, verify, publish; or continue where it was cut.

    Ends with what was there, what is there now, and what was proved, as a table and as an HTML
    page in the work directory.
    """
    with surroundings(config, shown) as around:
        done = run(around, restart=restart)
        page = _write_page(around, done)
    if report is not None:
        files.write_file(report, page, around.effects, mode=0o644)
    _show_outcome(done, shown, report or Workspace(around.settings.work.directory, "run").report)


def _write_page(around: Surroundings, done: Outcome) -> bytes:
    """Write the HTML report into the work directory and return it."""
    settings = around.settings
    graphs = []
    if settings.source.rrd is not None and settings.target.rrd is not None:
        graph = draw_one(
            ProgramTree(settings.source.tree),
            settings.source.rrd.directory,
            ProgramTree(settings.target.tree),
            settings.target.rrd.directory,
            around.effects,
            patterns=settings.source.rrd.patterns,
        )
        graphs = [graph] if graph is not None else []
    page = render(done, graphs, _TOOL).encode()
    work = Workspace(settings.work.directory, done.operation)
    files.write_file(work.report, page, around.effects)
    return page


@migrate.command("status")
@settings_option
@json_option
def status_command(config: Path, as_json: bool) -> None:
    """Say how far it is: from another terminal, or after a crash."""
    work = read_settings(config).work.directory
    found = [status.read(work, operation) for operation in status.OPERATIONS]
    present = [one for one in found if one.state is not status.State.NONE]
    if as_json:
        fields = [asdict(one) | {"state": one.state.value} for one in present]
        click.echo(json.dumps({"schema": _SCHEMA, "operations": fields}, indent=1))
        return
    if not present:
        click.echo("Nothing was begun yet.")
    for one in present:
        status_view.show(one, Console())


@migrate.command("verify")
@settings_option
@progress_option
def verify_command(config: Path, shown: str) -> None:
    """Prove once more that the new data equals the old; both servers must be stopped."""
    with surroundings(config, shown) as around:
        done = verify(around)
    _show_outcome(done, shown)


@migrate.command("export")
@settings_option
@progress_option
@restart_option
@click.argument("archive", type=click.Path(path_type=Path))
@click.option("--tar", is_flag=True, help="Write one tar file instead of a directory.")
@click.option(
    "--compress",
    type=click.IntRange(0, 9),
    default=6,
    show_default=True,
    help="gzip level of the database dumps.",
)
@click.option("--xml-only", is_flag=True, help="Leave the RRDs' original bytes out.")
def export_command(
    config: Path,
    shown: str,
    restart: bool,
    archive: Path,
    tar: bool,
    compress: int,
    xml_only: bool,
) -> None:
    """Write a portable, proved ARCHIVE of the source.

    It holds people's data and password verifiers: its files are readable by their owner alone.
    """
    options = ExportOptions(archive.absolute(), tar, compress, not xml_only)
    with surroundings(config, shown) as around:
        done = export(around, options, _TOOL, restart=restart)
    _show_outcome(done, shown)


@migrate.command("import")
@settings_option
@progress_option
@restart_option
@click.argument("archive", type=click.Path(path_type=Path))
def import_command(config: Path, shown: str, restart: bool, archive: Path) -> None:
    """Make the target from an ARCHIVE (directory or tar), prove it equal, and publish it."""
    with surroundings(config, shown) as around:
        done = import_archive(around, archive.absolute(), restart=restart)
    _show_outcome(done, shown)


@migrate.command("clean")
@settings_option
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clean_command(config: Path, dry_run: bool, yes: bool) -> None:
    """Remove the old data, by name, once its retention is over. There is no way back then."""
    around = replace(Surroundings(read_settings(config)))
    removal = cleaning.clean(around, dry_run=True)
    for path in (removal.cluster, *removal.work):
        if path is not None:
            click.echo(f"{'would remove' if dry_run else 'removes'} {path}")
    if removal.rrds:
        click.echo(f"{'would remove' if dry_run else 'removes'} {len(removal.rrds)} old RRDs")
    click.echo(f"frees {summary.size(removal.size_bytes)}")
    if dry_run:
        return
    if not yes and not _confirmed():
        click.echo("nothing was removed")
        return
    cleaning.clean(around, dry_run=False)
    click.echo("done")


def _confirmed() -> bool:
    try:
        return click.confirm("The old data is then gone. Continue?")
    except click.Abort:
        click.echo("\nnobody answered; --yes removes without asking", err=True)
        return False


@migrate.command("report")
@settings_option
@json_option
def report_command(config: Path, as_json: bool) -> None:
    """Show the result of a finished run again."""
    work = Workspace(read_settings(config).work.directory, "run")
    with files.named_errors(work.outcome, "read the result"):
        content = work.outcome.read_bytes()
    if as_json:
        click.echo(content)
    else:
        summary.show(outcome.decode(content), Console())


migrate.add_command(boot_command)
migrate.add_command(abort_command)
migrate.add_command(back_command)

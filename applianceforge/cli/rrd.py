"""`applianceforge rrd`: what an RRD is, its values as text, and its conversion to this machine."""

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from applianceforge.formats.rrd import rpn
from applianceforge.formats.rrd.decode import decode
from applianceforge.formats.rrd.encode import encode
from applianceforge.formats.rrd.layout import NATIVE
from applianceforge.formats.rrd.values import (
    HEARTBEAT,
    MAXIMUM,
    MINIMUM,
    PDP_VALUE,
    UNKNOWN_SECONDS,
    Header,
    SourceType,
    counter,
    double,
    odd_times,
)
from applianceforge.formats.rrd.xml_fields import params_fields
from applianceforge.formats.rrd.xml_write import chunks
from applianceforge.migrate.rrd.convert import convert_tree
from applianceforge.migrate.rrd.reading import OpenRrd, until_unchanged
from applianceforge.migrate.rrd.scan import PATTERNS, Scan, scan
from applianceforge.migrate.rrd.verify import compare_pair, verify_trees
from applianceforge.migrate.rrd.workers import JOBS
from applianceforge.model.errors import InhibitedError, NotProvedError, UsageError
from applianceforge.model.report import Report
from applianceforge.system import files, progress
from applianceforge.system.effects import Effects

_SCHEMA = 1
_LAST_DATE = 253_402_300_799
_REFRESH_S = 0.1
_MEBIBYTE = 1 << 20
_FILE = click.Path(path_type=Path)


@click.group()
def rrd() -> None:
    """Look at round-robin databases (RRDs) and convert them to this machine.

    An RRD is a dump of C structures, so rrdtool opens one only on the kind of machine that wrote
    it. On any other it says "This RRD was created on another architecture". That is not damage:
    these commands read the files of every architecture.

    \b
    Examples:
      applianceforge rrd info cpu.rrd
      applianceforge rrd dump cpu.rrd | less
      applianceforge rrd convert /var/lib/rrd.i386 /var/lib/rrd
    """


@rrd.command()
@click.argument("file", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead of a table.")
def info(file: Path, as_json: bool) -> None:
    """Say what FILE holds: data sources, archives, and which machine wrote it.

    Only the header is read, and nothing is changed.

    \b
    Examples:
      applianceforge rrd info cpu.rrd
      applianceforge rrd info cpu.rrd --json | jq .sources
    """
    header, size_bytes = until_unchanged(str(file), _header_and_size)
    if as_json:
        click.echo(json.dumps(document(file, header, size_bytes), indent=2, allow_nan=False))
        return
    _show(file, header, size_bytes)


def _header_and_size(opened: OpenRrd) -> tuple[Header, int]:
    return opened.header, opened.status.st_size


@rrd.command()
@click.argument("file", type=_FILE)
@click.argument("xml", type=_FILE, required=False)
@click.option("--force", is_flag=True, help="Replace XML if it is there.")
def dump(file: Path, xml: Path | None, force: bool) -> None:
    """Write all of FILE as XML, with every digit, to XML or to standard output.

    `rrdtool restore` on any machine makes an RRD of it. rrdtool's own dump rounds values to 10 or
    11 digits; this one has 17, which give back every value as it was.

    \b
    Examples:
      applianceforge rrd dump cpu.rrd cpu.xml
      applianceforge rrd dump cpu.rrd | rrdtool restore - here.rrd
    """
    content, _ = until_unchanged(str(file), _content_and_status)
    pieces = chunks(decode(content))
    if xml is None:
        for piece in pieces:
            click.echo(piece, nl=False)
        return
    _refuse_existing(xml, force)
    files.write_file(xml, b"".join(pieces), Effects())


@rrd.command()
@click.argument("source", metavar="IN", type=_FILE)
@click.argument("target", metavar="OUT", type=_FILE)
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=JOBS,
    show_default=True,
    help="How many processes work on a directory.",
)
@click.option(
    "--pattern",
    "patterns",
    multiple=True,
    default=PATTERNS,
    show_default=True,
    help="Which files of a directory are RRDs; may be given again.",
)
@click.option("--force", is_flag=True, help="Replace OUT if it is there.")
def convert(source: Path, target: Path, jobs: int, patterns: tuple[str, ...], force: bool) -> None:
    """Convert IN, one RRD or a directory of them, to OUT for this machine.

    IN stays as it is. Every value is carried over bit for bit, and OUT appears only when it was
    read back and proved equal. Owner, mode, times and links are kept. Stop what updates the files
    first (collectd, munin, rrdcached ...); a file that changes while it is read is read again.

    \b
    Examples:
      applianceforge rrd convert cpu-i386.rrd cpu.rrd
      applianceforge rrd convert /var/lib/rrd.i386 /var/lib/rrd --jobs 4
      applianceforge rrd convert old new --pattern '*.rrd' --pattern 'data/*.db'
    """
    _refuse_existing(target, force)
    if target.resolve() == source.resolve():
        raise UsageError("IN and OUT are the same", hint="name another OUT; IN is kept")
    if source.is_dir():
        _convert_directory(source, target, jobs, patterns)
    else:
        _convert_one(source, target)


def _refuse_existing(path: Path, force: bool) -> None:
    if not force and (path.exists() or path.is_symlink()):
        raise UsageError(
            f"{path} is there already", hint="name another file, or replace it with --force"
        )


def _convert_one(source: Path, target: Path) -> None:
    if target.is_dir():
        raise UsageError(f"{target} is a directory", hint="name the file that is to be written")
    content, status = until_unchanged(str(source), _content_and_status)
    encoded = encode(decode(content))
    effects = Effects()
    staging = target.with_name(f".{target.name}.unproved")
    try:
        files.write_file(staging, encoded, effects, mode=status.st_mode & 0o777)
        files.change_owner(staging, status.st_uid, status.st_gid)
        with files.named_errors(staging, "write"):
            os.utime(staging, ns=(status.st_atime_ns, status.st_mtime_ns))
        differences = compare_pair(source, staging)
        if differences:
            raise _not_proved(tuple(map(str, differences)))
        files.rename(staging, target, effects)
    finally:
        staging.unlink(missing_ok=True)
    click.echo(f"{target}: {len(encoded)} bytes, every value equal")


def _content_and_status(opened: OpenRrd) -> tuple[bytes, os.stat_result]:
    return opened.content(), opened.status


def _convert_directory(source: Path, target: Path, jobs: int, patterns: tuple[str, ...]) -> None:
    inner, outer = target.resolve(), source.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise UsageError(
            f"{target} and {source} are within each other", hint="name a directory beside it"
        )
    found = scan(source, patterns)
    report = Report(found.findings)
    if report.inhibitors:
        raise InhibitedError(
            f"{source} cannot be converted as it is: {report.inhibitors[0].title}",
            status=report.exit_status,
            hint=report.inhibitors[0].remedies[0].text,
            evidence=tuple(
                f"{finding.title}: {line}"
                for finding in report.inhibitors
                for line in finding.evidence
            ),
        )
    if not found.files:
        raise UsageError(
            f"there is no RRD below {source}: no file matches {', '.join(patterns)}",
            hint="name another directory, or other patterns with --pattern",
        )
    for finding in report.findings:
        click.echo(f"{finding.title}: {', '.join(finding.evidence) or finding.summary}", err=True)
    effects = Effects()
    staging = target.with_name(f".{target.name}.new")
    files.remove_tree(staging, effects)
    try:
        _fill(found, staging, patterns, jobs, effects)
    except BaseException:
        files.remove_tree(staging, effects)
        raise
    _publish(staging, target, effects)
    click.echo(
        f"{target}: {len(found.files)} files, {found.size_bytes / _MEBIBYTE:.1f} MiB,"
        " every value equal"
    )


def _fill(
    found: Scan, staging: Path, patterns: tuple[str, ...], jobs: int, effects: Effects
) -> None:
    """Convert into the staging directory, and prove it."""
    with _bar("convert", found.size_bytes) as counter:
        convert_tree(found, staging, effects, counter=counter, jobs=jobs)
    with _bar("compare", found.size_bytes) as counter:
        differences = verify_trees(
            found.root, staging, patterns=patterns, counter=counter, jobs=jobs
        )
    if differences:
        raise _not_proved(tuple(map(str, differences)))


def _publish(staging: Path, target: Path, effects: Effects) -> None:
    """Give the staging directory its name; what had the name is kept until then."""
    old = target.with_name(f".{target.name}.old")
    if target.exists() or target.is_symlink():
        files.remove_tree(old, effects)
        files.rename(target, old, effects)
    files.rename(staging, target, effects)
    files.remove_tree(old, effects)


def _not_proved(lines: tuple[str, ...]) -> NotProvedError:
    return NotProvedError(
        f"the converted RRDs differ from the originals: {lines[0]}",
        hint="stop what updates the originals, then run the command again; they are unchanged",
        evidence=lines,
    )


@dataclass
class _Bar:
    """A progress sink that draws a bar; without a thread, as worker processes are forked."""

    shown: Progress
    task: TaskID
    drawn_s: float = 0.0

    def emit(self, event: progress.ProgressEvent) -> None:
        """Draw, but not more often than an eye can follow."""
        if not isinstance(event, progress.StepAdvanced):
            return
        self.shown.update(self.task, completed=event.done_bytes, files=event.done_rows)
        if time.monotonic() - self.drawn_s > _REFRESH_S:
            self.drawn_s = time.monotonic()
            self.shown.refresh()


@contextmanager
def _bar(what: str, total_bytes: int) -> Iterator[progress.Counter]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} % {task.fields[files]} files"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as shown:
        task = shown.add_task(what, total=total_bytes, files=0)
        yield progress.Counter(what, _Bar(shown, task))


def document(file: Path, header: Header, size_bytes: int) -> dict[str, Any]:
    """Return what a program reads: numbers in seconds and bytes, null for unknown values."""
    definition, state = header.definition, header.state
    names = [source.name for source in definition.sources]
    sources = []
    for source, pdp in zip(definition.sources, state.pdp_prep, strict=True):
        limits: dict[str, Any]
        if source.type is SourceType.COMPUTE:
            limits = {"cdef": rpn.to_text(source.params, names)}
        else:
            limits = {
                "heartbeat_s": counter(source.params, HEARTBEAT),
                "minimum": _known(double(source.params, MINIMUM)),
                "maximum": _known(double(source.params, MAXIMUM)),
            }
        sources.append(
            {
                "name": source.name,
                "type": source.type.value,
                **limits,
                "last_reading": pdp.last_ds,
                "value": _known(double(pdp.scratch, PDP_VALUE)),
                "unknown_s": counter(pdp.scratch, UNKNOWN_SECONDS),
            }
        )
    return {
        "schema": _SCHEMA,
        "file": str(file),
        "size_bytes": size_bytes,
        "version": f"{definition.version:04}",
        "layout": header.layout.name,
        "native": header.layout == NATIVE,
        "step_s": definition.step_s,
        "last_update": state.last_up_s,
        "last_update_us": state.last_up_us,
        "sources": sources,
        "archives": [
            {
                "function": archive.cf.value,
                "rows": archive.rows,
                "points_per_row": archive.pdp_per_row,
                "covers_s": archive.rows * archive.pdp_per_row * definition.step_s,
                "current_row": row,
                "parameters": {
                    field.tag: counter(archive.params, field.at)
                    if field.is_counter
                    else _known(double(archive.params, field.at))
                    for field in params_fields(archive.cf, definition.version)
                },
            }
            for archive, row in zip(definition.archives, state.current_rows, strict=True)
        ],
        "remarks": list(odd_times(header)),
    }


def _known(value: float) -> float | str | None:
    """Return a number as JSON has it, which knows neither NaN nor infinity."""
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)


def _show(file: Path, header: Header, size_bytes: int) -> None:
    said = document(file, header, size_bytes)
    console = Console()
    last = said["last_update"]
    date = f"{datetime.fromtimestamp(last, UTC)}" if 0 <= last <= _LAST_DATE else str(last)
    opens = "yes" if said["native"] else "no: convert it with `applianceforge rrd convert`"
    table = Table(show_header=False, box=None)
    for name, value in (
        ("file", str(file)),
        ("size", f"{size_bytes} bytes"),
        ("version", said["version"]),
        ("written on", said["layout"]),
        ("opens here", opens),
        ("step", f"{said['step_s']} s"),
        ("last update", date),
        *(("remark", remark) for remark in said["remarks"]),
    ):
        table.add_row(name, Text(value))
    console.print(table)
    _show_rows(console, "Data sources", said["sources"])
    _show_rows(console, "Archives", said["archives"])


def _show_rows(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    """Print one table; a column that only some rows have is empty for the others."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*(name.replace("_", " ") for name in names), title=title)
    for row in rows:
        table.add_row(*(_cell(row, name) for name in names))
    console.print(table)


def _cell(row: dict[str, Any], name: str) -> Text:
    if name not in row:
        return Text("")
    value = row[name]
    if isinstance(value, dict):
        return Text(", ".join(f"{key.replace('_', ' ')} {_cell(value, key)}" for key in value))
    if isinstance(value, float):
        return Text(f"{value:g}")
    return Text("unknown" if value is None else str(value))

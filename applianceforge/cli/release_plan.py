"""`applianceforge release plan`: what boxes would be offered, and whether any is left behind."""

import json
import re
import time
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from applianceforge.cli.ending import say
from applianceforge.cli.release_place import directory_argument
from applianceforge.cli.terminal import columns, style
from applianceforge.cli.update_words import wrapped
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import NoWayError, UsageError
from applianceforge.model.report import Finding
from applianceforge.preflight import document
from applianceforge.preflight.render import encodable, printable
from applianceforge.release import ordering, planner_picture
from applianceforge.release.graph import STABLE, Graph, Offer
from applianceforge.release.publish import outlook, published, repository, staging
from applianceforge.release.publish.layout import Layout
from applianceforge.release.publish.outlook import Outlook, Standing, Start

_SCHEMA = 1
_MACHINE_ID = re.compile(r"[0-9A-Fa-f]{32}")
_SHOWN = 80
_FIRST = max(len(one.value) for one in Standing) + 4
_MEANINGS = {
    Standing.NEWEST: "nothing newer is there for it",
    Standing.WAITS: "what is newer takes time, or has to be asked for",
    Standing.PROCESSOR: "what is newer needs another processor",
    Standing.STRANDED: "what is newer is out of reach, which only you can mend",
}


@click.command()
@directory_argument
@click.option("--version", default="", help="What runs; by default each version there is.")
@click.option(
    "--architecture",
    type=click.Choice([one.value for one in Architecture]),
    help="Of what runs: only this one.",
)
@click.option(
    "--long-mode/--no-long-mode", default=None, help="Only processors with long mode, or without."
)
@click.option("--channel", default="", help="Only boxes that follow this one.")
@click.option(
    "--id",
    "machine_id",
    default="",
    metavar="MACHINE-ID",
    help="Of one machine, for its shares; by default of one that each share takes in.",
)
@click.option("--published", "as_published", is_flag=True, help="Not what is staged.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def plan(
    directory: Path,
    version: str,
    architecture: str | None,
    long_mode: bool | None,
    channel: str,
    machine_id: str,
    as_published: bool,
    as_json: bool,
) -> int:
    """Say what boxes would be offered, hop by hop, before it is published.

    It decides as the boxes do. For each kind of box it shows the way, and why it leads no further:
    whoever `waits` gets it in time; `stranded` is whom something keeps back that only you can mend.

    Exit status 0: no box is stranded; 78: one is.
    """
    layout = Layout(directory)
    repository.read_state(layout)
    served = published.read(layout).graph
    graph = served if as_published else staging.read(layout, served)
    _require_id(machine_id)
    width = None if architecture is None else Architecture(architecture)
    kinds = _kinds((served, graph), version, width, channel, long_mode)
    now_s = time.time()
    found = tuple(outlook.see(graph, one, now_s, machine_id, str(directory)) for one in kinds)
    stranded = any(one.standing is Standing.STRANDED for one in found)
    status = NoWayError.exit_status if stranded else 0
    if as_json:
        told = _document(graph, found, machine_id, as_published, status)
        # ASCII: it is to be printed whatever the locale.
        say(json.dumps(told, indent=2))
    else:
        lines = _lines(graph, found, machine_id, as_published, bool(version))
        encoding = style().encoding
        # The status counts even if nobody reads to the end: what is published may hang on it.
        say("\n".join(encodable(line, encoding) for line in lines))
    return status


def _require_id(machine_id: str) -> None:
    """Let an id of a machine pass; another text would draw shares that no machine has.

    Raises:
        UsageError: It is none.
    """
    if machine_id and not _MACHINE_ID.fullmatch(machine_id.strip()):
        raise UsageError(
            f"{machine_id[:_SHOWN]!r} is no id of a machine",
            hint="take what /etc/machine-id of the box holds, 32 hexadecimal digits",
        )


def _kinds(
    graphs: tuple[Graph, ...],
    version: str,
    architecture: Architecture | None,
    channel: str,
    long_mode: bool | None,
) -> tuple[Start, ...]:
    """Return the kinds of boxes that were asked for.

    Raises:
        UsageError: There is none of them.
    """
    if version and not ordering.is_version(version):
        raise UsageError(
            f"{version[: ordering.LONGEST]!r} is no version of a release",
            hint="write numbers with dots, such as 2.4.1",
        )
    offers = [one for graph in graphs for one in graph.offers]
    channels = sorted({name for one in offers for name in one.channels}) or [STABLE]
    if channel and channel not in channels:
        raise UsageError(
            f"no release is in the channel {channel[:_SHOWN]!r}",
            hint=f"take one of these: {', '.join(channels)}",
        )
    kinds = outlook.starts(graphs, version, architecture, channel, long_mode)
    if not kinds and offers:
        raise UsageError(
            "no box is like that",
            hint="leave out an option; a 64-bit system has long mode, and a version the"
            " architectures that `applianceforge release status` names",
        )
    return kinds


def _lines(
    graph: Graph, found: tuple[Outlook, ...], machine_id: str, as_published: bool, whole: bool
) -> Iterator[str]:
    what = "as it is published" if as_published else "with what is staged"
    if not found:
        yield f"{graph.appliance}, {what}: no releases."
        return
    whom = "the machine that you named" if machine_id else "a machine that each share takes in"
    yield f"{graph.appliance}, {what}, for {whom}:"
    for (channel, long_mode), group in groupby(
        found, lambda one: (one.start.channel, one.start.long_mode)
    ):
        yield ""
        yield f"Channel {channel}, {'with' if long_mode else 'without'} long mode:"
        for one in group:
            yield from _way(one)
            if whole:
                yield from _hops(one.plan.hops)
    for standing, findings in _reasons(found):
        yield ""
        yield f"{standing.value}: {_MEANINGS[standing]}."
        for finding, names in findings:
            yield from _reason(finding, names, standing)


def _way(one: Outlook) -> Iterator[str]:
    """Return the way, with how it ends before it."""
    mark = f"  {one.standing.value}"
    for line in planner_picture.lines(one.plan, columns() - _FIRST):
        yield mark.ljust(_FIRST) + line
        mark = ""


def _hops(hops: tuple[Offer, ...]) -> Iterator[str]:
    indent = " " * _FIRST
    for number, hop in enumerate(hops, 1):
        title = f"  {hop.title}" if hop.title else ""
        name = f"{hop.version} {hop.architecture.value}"
        yield printable(f"{indent}{number}. {name}: {staging.told(hop)}{title}")


def _reasons(
    found: tuple[Outlook, ...],
) -> Iterator[tuple[Standing, list[tuple[Finding, list[str]]]]]:
    """Return why ways go no further, each once, with the boxes for which it is so."""
    for standing in (Standing.STRANDED, Standing.WAITS, Standing.PROCESSOR):
        reasons: dict[tuple[Any, ...], tuple[Finding, list[str]]] = {}
        for one in found:
            if one.standing is not standing:
                continue
            name = f"{one.plan.installed.version} {one.plan.installed.architecture.value}"
            for finding in one.plan.report.findings:
                if standing is Standing.STRANDED and not outlook.strands(finding):
                    continue
                place = (finding.key, finding.title, finding.remedies)
                names = reasons.setdefault(place, (finding, []))[1]
                if name not in names:
                    names.append(name)
        if reasons:
            yield standing, list(reasons.values())


def _reason(finding: Finding, names: Iterable[str], standing: Standing) -> Iterator[str]:
    yield wrapped([f"  {printable(finding.title)} [{finding.key}]"])
    yield wrapped([f"    From {', '.join(names)}. {printable(finding.summary)}"])
    if standing is Standing.PROCESSOR:
        return
    for remedy in finding.remedies:
        yield wrapped([f"    What to do: {printable(remedy.text)}"])
        if remedy.command:
            yield printable(f"      $ {remedy.command}")


def _document(
    graph: Graph,
    found: tuple[Outlook, ...],
    machine_id: str,
    as_published: bool,
    status: int,
) -> dict[str, Any]:
    return {
        "schema": _SCHEMA,
        "appliance": graph.appliance,
        "graph": "published" if as_published else "staged",
        "machine_id": machine_id.strip() or None,
        "boxes": [
            {
                "version": one.plan.installed.version,
                "architecture": one.plan.installed.architecture.value,
                "channel": one.start.channel,
                "long_mode": one.start.long_mode,
                "standing": one.standing.value,
                "hops": [_hop(hop) for hop in one.plan.hops],
                "findings": document.findings(one.plan.report),
            }
            for one in found
        ],
        "exit_status": status,
    }


def _hop(hop: Offer) -> dict[str, Any]:
    return {
        "version": hop.version,
        "architecture": hop.architecture.value,
        "title": hop.title,
        "crossing": hop.crossing,
        "barrier": hop.barrier,
        "share_percent": hop.share_percent,
    }

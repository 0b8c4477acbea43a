"""Say in words, and as a document, what an update would do, or did."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from applianceforge.cli.summary import size, visible
from applianceforge.cli.terminal import columns, style
from applianceforge.model.architecture import Architecture
from applianceforge.model.report import Severity
from applianceforge.preflight import render
from applianceforge.preflight.document import findings
from applianceforge.release.graph import Offer
from applianceforge.release.manifest import Manifest
from applianceforge.release.update import readiness
from applianceforge.release.update.installation import Installed
from applianceforge.release.update.proposal import Proposal
from applianceforge.release.update.recording import judged
from applianceforge.release.update.status import UpdateState

SCHEMA = 1


def named(offer: Offer) -> str:
    """Return how to call a release in a sentence."""
    return f"{offer.version} ({offer.architecture.value})"


def proposal_text(found: Proposal) -> str:
    """Return what a person reads before being asked."""
    box = found.box
    shown = [
        f"{box.appliance or box.release.name} {box.release.version}"
        f" ({box.release.architecture.value}) runs from slot {box.disk.booted.value}."
    ]
    if found.refused:
        # Its lines have their width, and what is longer is to be copied whole.
        return "\n".join([wrapped(shown), "", *_refusal(found)])
    if found.hop is None or found.plan.goal is None:
        shown += ["Nothing newer is offered.", *_further(found)]
    else:
        shown += [*_way(found.plan.hops, found.plan.goal), *_further(found), ""]
        shown += _now(found, found.hop)
    shown += [f"Only root sees {what}." for what in box.unseen]
    return wrapped(shown)


def wrapped(lines: list[str]) -> str:
    """Return lines as a text that is no wider than the terminal; indented ones stay indented."""
    width = columns()
    told: list[str] = []
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        long = len(line) > width
        told += (
            textwrap.wrap(
                line,
                width,
                subsequent_indent=indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
            if long
            else [line]
        )
    return "\n".join(told)


def _refusal(found: Proposal) -> list[str]:
    told = render.lines(
        found.box.verdict,
        found.report,
        style(),
        long_mode=found.hop is None or found.hop.release.long_mode,
    )
    if found.hop is None:
        return list(told)
    return [f"{named(found.hop)} cannot be installed here.", *told]


def _way(hops: tuple[Offer, ...], goal: Offer) -> list[str]:
    if len(hops) == 1:
        title = f": {visible(goal.title)}" if goal.title else ""
        return [f"{named(goal)} is offered{title}."]
    shown = [f"{named(goal)} is offered, in {len(hops)} steps:"]
    for number, hop in enumerate(hops, 1):
        title = f"  {visible(hop.title)}" if hop.title else ""
        shown.append(f"  {number}. {named(hop)}{title}")
    return shown


def _further(found: Proposal) -> list[str]:
    """Return why the way leads no further than it does, a line each."""
    return [
        f"  Further: {render.printable(one.title)}."
        + (f" {render.printable(one.remedies[0].text)}." if one.remedies else "")
        for one in found.plan.report.findings
        if one.severity is not Severity.WARNING
    ]


def _now(found: Proposal, hop: Offer) -> list[str]:
    other = found.box.disk.booted.other.value
    if found.starts_next:
        return [f"{named(hop)} is installed in slot {other} and starts next: restart the machine."]
    shown = []
    if found.given_up is not None:
        shown += [
            f"{named(hop)} was installed before and given up: {found.given_up.sentence}.",
            f"  What to do: {found.given_up.remedy}.",
        ]
    if found.waits is not None:
        shown += [f"It is too early: {found.waits.message}.", f"  What to do: {found.waits.hint}."]
        return shown
    shown.append(f"What is done to install {named(hop)}:")
    if found.manifest is not None:
        shown.append(f"  {_fetched(found.manifest)}")
    shown += [
        f"  It is written into slot {other}, while this system goes on in slot"
        f" {found.box.disk.booted.value}.",
        "  When the machine is restarted it has three tries; if it does not prove itself, this"
        " system comes back and says why.",
    ]
    crosses = found.box.release.architecture is Architecture.I386
    if crosses and hop.architecture is Architecture.AMD64:
        shown.append(
            "  At its first start it takes the data to 64 bits, and lets nobody in meanwhile. The"
            " old data stays as it is: there is a way back until the release after it is installed."
        )
    elif readiness.overwrites_way_back(found.box):
        shown.append("  It overwrites the 32-bit system: afterwards there is no way back to it.")
    warnings = [f for f in found.report.findings if f.severity is Severity.WARNING]
    shown += [f"  Warning: {render.printable(one.title)} [{one.key}]" for one in warnings]
    return shown


def _fetched(manifest: Manifest) -> str:
    most = size(manifest.payload.size_bytes + manifest.index.size_bytes)
    return f"At most {most} are fetched; what the running system has already is copied."


def installed_lines(hop: Offer, installed: Installed | None, slot: str) -> list[str]:
    """Return what a person reads when the release lies in its slot."""
    figures = ""
    if installed is not None:
        figures = (
            f" {size(installed.fetched_bytes)} were fetched,"
            f" {size(installed.copied_bytes)} copied from the running system,"
            f" {size(installed.kept_bytes)} were there already."
        )
    return [f"{named(hop)} is installed in slot {slot} and starts next.{figures}"]


def document(fields: Mapping[str, Any]) -> str:
    """Return the text of a document that has these fields."""
    # With the bytes of a name that is not UTF-8 as escapes, or it could not be printed.
    text = json.dumps(fields, ensure_ascii=False, indent=1)
    return text.encode("utf-8", "backslashreplace").decode()


def fields(
    found: Proposal,
    *,
    installed: Installed | None = None,
    done: bool = False,
    restarts: bool = False,
) -> dict[str, Any]:
    """Return the same for a program; `release/update/update.schema.json` is its schema.

    Args:
        installed: What came of an installation.
        done: Whether it was installed now.
        restarts: Whether the machine restarts now.
    """
    state, result = judged(found)
    release = found.box.release
    return {
        "schema": SCHEMA,
        "appliance": found.box.appliance or release.name,
        "installed": {"version": release.version, "architecture": release.architecture.value},
        "slot": found.box.disk.booted.value,
        "state": UpdateState.ACTIVATED.value if done else state.value,
        "hops": [_hop(hop) for hop in found.plan.hops],
        "download_bytes": None if found.manifest is None else _download_bytes(found.manifest),
        "reason": None
        if not result.message
        else {"key": result.key, "message": result.message, "hint": result.hint},
        "findings": findings(found.report),
        "further": findings(found.plan.report),
        "fetched_bytes": None if installed is None else installed.fetched_bytes,
        "copied_bytes": None if installed is None else installed.copied_bytes,
        "kept_bytes": None if installed is None else installed.kept_bytes,
        "restarts": restarts,
        "unseen": list(found.box.unseen),
        "exit_status": found.report.exit_status if found.refused else 0,
    }


def _download_bytes(manifest: Manifest) -> int:
    return manifest.payload.size_bytes + manifest.index.size_bytes


def _hop(offer: Offer) -> dict[str, Any]:
    return {
        "version": offer.version,
        "architecture": offer.architecture.value,
        "title": offer.title,
        "crossing": offer.crossing,
        "barrier": offer.barrier,
    }

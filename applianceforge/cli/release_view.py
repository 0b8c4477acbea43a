"""What the commands of `applianceforge release` tell, in words and as a document."""

from datetime import UTC, datetime
from typing import Any

import click

from applianceforge.cli.summary import counted, size
from applianceforge.preflight.render import printable
from applianceforge.release.graph import Graph, Offer
from applianceforge.release.publish import status as repository_status
from applianceforge.release.publish.expiry import State
from applianceforge.release.publish.keys import MadeKey
from applianceforge.release.publish.repository import Outcome
from applianceforge.release.publish.staging import told
from applianceforge.release.publish.status import Status
from applianceforge.release.publish.weighing import Weight

_SCHEMA = 1
_LONGEST = 1000


def document(found: Status) -> dict[str, Any]:
    """Return how a repository stands, for a program."""
    keys_of = {one.role: one for one in found.keys}
    return {
        "schema": _SCHEMA,
        "appliance": found.appliance,
        "state": found.state.value,
        "pending": found.pending or None,
        "roles": {
            term.role.value: {
                "version": term.version,
                "expires_s": term.expires_s,
                "state": term.state(found.now_s).value,
                "keys": list(keys_of[term.role].names),
                "threshold": keys_of[term.role].threshold,
            }
            for term in found.terms
        },
        "releases": [
            {
                "version": one.version,
                "architecture": one.architecture.value,
                "title": one.title,
                "channels": list(one.channels),
                "share_percent": one.share_percent,
                "by_request": one.by_request,
                "since_s": one.since_s,
                "barrier": one.barrier,
                "crossing": one.crossing,
                "replaces": list(one.replaces),
                "minimum_version": one.release.minimum_version or None,
                "withdrawn": one.withdrawn or None,
            }
            for one in found.graph.offers
        ],
        "staged": list(found.staged),
    }


def added_document(outcome: Outcome, graph: Graph, added: Offer, weight: Weight) -> dict[str, Any]:
    """Return what came of adding a release, for a program."""
    return {
        "schema": _SCHEMA,
        "appliance": graph.appliance,
        "version": added.version,
        "architecture": added.architecture.value,
        "slot_bytes": weight.slot_bytes,
        "payload_bytes": weight.payload_bytes,
        "index_bytes": weight.index_bytes,
        "frames": weight.frames,
        "fetched": [
            {
                "from": {
                    "version": one.origin.version,
                    "architecture": one.origin.architecture.value,
                },
                "fetched_bytes": one.size_bytes,
                "percent": round(_percent(one.size_bytes, weight), 1),
            }
            for one in weight.fetched
        ],
        "resumed": outcome.resumed or None,
        "staged": list(outcome.changed),
    }


def tell_weight(weight: Weight) -> None:
    """Tell how large a bundle is, and how much of it boxes fetch."""
    click.echo(
        f"Slot {size(weight.slot_bytes)}, packed {size(weight.payload_bytes)} in"
        f" {counted(weight.frames, 'frame', 'frames')}, index {size(weight.index_bytes)}."
    )
    for one in weight.fetched:
        click.echo(
            f"  A box that runs {one.origin.version} ({one.origin.architecture.value}) fetches"
            f" {size(one.size_bytes)}, {_percent(one.size_bytes, weight):.1f} % of it."
        )


def _percent(size_bytes: int, weight: Weight) -> float:
    """Return the share of what a box fetches that has nothing of the release."""
    return 100 * size_bytes / weight.bundle_bytes


def show(found: Status) -> None:
    """Tell how a repository stands."""
    click.echo(f"Releases of {found.appliance}:")
    for one in found.graph.offers:
        title = f"  {one.title}" if one.title else ""
        line = f"  {one.version} ({one.architecture.value}): {told(one)}{title}"
        click.echo(printable(line, _LONGEST))
    if not found.graph.offers:
        click.echo("  none")
    if found.staged:
        click.echo("Staged, and not published:")
        for text in found.staged:
            click.echo(printable(f"  {text}", _LONGEST))
    if found.pending:
        click.echo(
            f"A `{found.pending}` was cut off; the next command that changes something ends it."
        )
    click.echo("Valid:")
    keys_of = {one.role: one for one in found.keys}
    for term in found.terms:
        mine = keys_of[term.role]
        state = term.state(found.now_s)
        ends = date(datetime.fromtimestamp(term.expires_s, UTC))
        days = f"{abs(term.left_days(found.now_s)):.0f} days"
        when = f"ended {days} ago, {ends}" if state is State.EXPIRED else f"{days}, until {ends}"
        click.echo(
            f"  {term.role.value:<9} version {term.version}, {when};"
            f" {mine.threshold} of {', '.join(mine.names)}"
        )
        if state is not State.VALID:
            click.echo(f"            make it valid anew: {repository_status.remedy(term)}")


def tell_keys(made: tuple[MadeKey, ...]) -> None:
    """Tell which keys are new, and where each belongs."""
    for key in made:
        if key.path is None:
            where = f"{key.entry.uri}, in its module"
        elif key.entry.role.offline:
            where = f"{key.path}: take it offline, to a place of its own, and keep a copy"
        else:
            where = f"{key.path}: for the machine that renews"
        click.echo(f"  {key.entry.name:<12} {where}")


def tell_resumed(outcome: Outcome) -> None:
    """Tell what was ended that had been cut off."""
    if outcome.resumed:
        click.echo(f"Ended what was cut off before: {outcome.resumed}.")


def tell_changed(outcome: Outcome) -> None:
    """Tell which releases changed, and how."""
    for line in outcome.changed:
        click.echo(printable(line, _LONGEST))


def tell_staged(outcome: Outcome) -> None:
    """Tell what the next publication changes."""
    tell_resumed(outcome)
    tell_changed(outcome)
    click.echo("Staged. Boxes see it after: release publish" if outcome.changed else "No change.")


def date(when: datetime) -> str:
    """Return a time as people read it."""
    return f"{when:%Y-%m-%d %H:%M} UTC"

"""`applianceforge check`: can this machine run 64-bit programs?"""

import json
from collections.abc import Iterator
from typing import Any

import click

from applianceforge.cpuid import probe
from applianceforge.cpuid.verdict import Capability, Verdict, remedies

_SCHEMA = 1
_SENTENCES = {
    Capability.CAPABLE: "this machine can run 64-bit programs",
    Capability.MASKED_BY_HYPERVISOR: "the processor could, but the hypervisor hides long mode",
    Capability.MASKED_BY_FIRMWARE: "the processor could, but the firmware hides long mode",
    Capability.INCAPABLE: "this machine cannot run 64-bit programs",
    Capability.UNKNOWN: "the probe failed; that says nothing against this machine",
}
_LONG_MODE = {True: "yes", False: "no", None: "not known"}


def lines(verdict: Verdict) -> list[str]:
    """Return what a person reads."""
    hypervisor = "none seen" if verdict.hypervisor is None else verdict.hypervisor.value
    shown = [
        f"verdict:     {verdict.capability.value} - {_SENTENCES[verdict.capability]}",
        f"long mode:   {_LONG_MODE[verdict.long_mode]}",
        f"hypervisor:  {hypervisor}",
    ]
    for label, line in zip(_labels("evidence:"), verdict.evidence, strict=False):
        shown.append(f"{label}{line}")
    for label, remedy in zip(_labels("to do:"), remedies(verdict), strict=False):
        shown.append(f"{label}{remedy.text}")
        if remedy.command:
            shown.append(f"{'':15}$ {remedy.command}")
        shown.append(f"{'':15}then see whether it helped: {remedy.verify}")
    return shown


def _labels(first: str) -> Iterator[str]:
    yield f"{first:13}"
    while True:
        yield " " * 13


def document(verdict: Verdict) -> dict[str, Any]:
    """Return what a program reads."""
    return {
        "schema": _SCHEMA,
        "verdict": verdict.capability.value,
        "long_mode": verdict.long_mode,
        "hypervisor": None if verdict.hypervisor is None else verdict.hypervisor.value,
        "evidence": list(verdict.evidence),
        "remedies": [
            {"text": remedy.text, "command": remedy.command, "verify": remedy.verify}
            for remedy in remedies(verdict)
        ],
        "exit_status": verdict.capability.exit_status,
    }


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
@click.pass_context
def check(context: click.Context, as_json: bool) -> None:
    """Check whether this machine can run 64-bit programs.

    Changes nothing, and needs no privileges. Exit status: 0 it can, 20 the hypervisor hides it,
    21 the firmware hides it, 22 it cannot, 30 not known.
    """
    verdict = probe.long_mode()
    if as_json:
        click.echo(json.dumps(document(verdict), indent=2))
    else:
        click.echo("\n".join(lines(verdict)))
    context.exit(verdict.capability.exit_status)

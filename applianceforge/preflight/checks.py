"""Decide from the facts what stands in the way of a release. Pure: values in, a report out.

What is not known is never held against a machine: a check without its fact finds nothing,
`check.not-judged` says which requirement nobody could compare, and `check.unseen` what was not
looked at. The processor alone is different: unknown inhibits there
with a status of its own, as nothing may be downloaded that may not run.
"""

from __future__ import annotations

from typing import Iterable, NamedTuple

from applianceforge.cpuid.verdict import Verdict
from applianceforge.model.report import Finding, Report, hardest_first
from applianceforge.preflight import (
    checks_around,
    checks_boot,
    checks_files,
    checks_judged,
    checks_postgres,
    checks_processor,
    checks_resources,
)
from applianceforge.preflight.checks_postgres import ClusterNeeds
from applianceforge.preflight.checks_resources import DataSizes
from applianceforge.preflight.facts import Facts
from applianceforge.preflight.requirements import Release


class Planned(NamedTuple):
    """What looking at a migration that could be run gave, for the check before an update.

    Attributes:
        findings: Of the migration's own checks.
        clusters: What the clusters need, now that they were asked.
        peak_bytes: The most space that it will take at any moment.
    """

    findings: tuple[Finding, ...]
    clusters: tuple[ClusterNeeds, ...]
    peak_bytes: int


def check(
    facts: Facts,
    verdict: Verdict,
    release: Release,
    *,
    sizes: DataSizes | None = None,
    clusters: tuple[ClusterNeeds, ...] = (),
    more: Iterable[Finding] = (),
) -> Report:
    """Return all findings at once, the least mendable first.

    Args:
        facts: What was gathered.
        verdict: On the processor.
        release: What is to be installed, and what it requires.
        sizes: How much data there is; None if nobody looked.
        clusters: What the PostgreSQL clusters need, as far as it is known.
        more: Findings of others, such as the scanner's.
    """
    found = [
        *checks_processor.check_processor(verdict, release),
        *checks_boot.check_firmware(facts, release),
        *checks_resources.check_memory(facts, release),
        *checks_resources.check_data_space(facts, release, sizes),
        *checks_resources.check_slots(facts, release),
        *checks_boot.check_environment(facts),
        *checks_boot.check_loader(facts),
        *checks_boot.check_kernel(facts, release),
        *checks_files.check_file_systems(facts),
        *checks_postgres.check_clusters(clusters, release),
        *more,
        *checks_around.check_clock(facts, release),
        *checks_around.check_partners(facts),
        *checks_judged.check_judged(facts, release, clusters),
        *checks_around.check_unseen(facts),
    ]
    return Report(hardest_first(found))

"""Say which of a release's requirements could not be compared with anything."""

from __future__ import annotations

from typing import Iterator

from applianceforge.model.report import Finding, Remedy, Severity
from applianceforge.preflight.amounts import amount
from applianceforge.preflight.checks_postgres import ClusterNeeds
from applianceforge.preflight.checks_resources import data_file_system
from applianceforge.preflight.facts import Facts
from applianceforge.preflight.requirements import Release


def check_judged(
    facts: Facts, release: Release, clusters: tuple[ClusterNeeds, ...] = ()
) -> Iterator[Finding]:
    """Name the requirements that nothing is known about.

    A dump of another tool tells of the processor alone: that is no leave to go. What PostgreSQL
    needs is known only once its server was asked, which the check does on demand; so that alone is
    information.
    """
    missing = []
    if release.memory_bytes and facts.memory_bytes is None:
        missing.append(f"memory: {amount(release.memory_bytes)} are needed")
    if release.data_bytes and data_file_system(facts) is None:
        missing.append(f"space for the migrated data: {amount(release.data_bytes)} are needed")
    if release.slot_bytes and not facts.disks:
        missing.append(f"slots: {amount(release.slot_bytes)} are needed in each of two")
    if missing:
        yield Finding(
            "check.not-judged",
            Severity.WARNING,
            "Not everything that the release needs could be compared",
            "Nothing is known of what is listed here. That says nothing against the machine, nor"
            " for it.",
            evidence=tuple(missing),
            remedies=(
                Remedy("Run the check on the machine itself", command="applianceforge check"),
                Remedy(
                    "Or let the machine write all its facts, and decide from those",
                    command="applianceforge check --dump > facts.txt",
                ),
            ),
        )
    asked = any(cluster.extensions is not None for cluster in clusters)
    there = release.postgresql
    if there is not None and not asked and not (there.extensions is there.locales is None):
        yield Finding(
            "postgresql.not-asked",
            Severity.INFO,
            "PostgreSQL was not asked what it needs",
            "The release names the extensions and locales that it has. Which ones the databases"
            " need, only their server can tell.",
            remedies=(
                Remedy(
                    "Describe the migration in a settings file, and check with it",
                    command="applianceforge check --settings box.toml",
                ),
            ),
        )

"""Check whether a release has what the PostgreSQL clusters of a machine need.

The migration checks the same against the target's real programs. Here only the release's file is
known, before anything is downloaded.
"""

from __future__ import annotations

from typing import Iterator, NamedTuple

from applianceforge.model.report import Finding, Remedy, Severity
from applianceforge.preflight.requirements import PostgreSQL, Release

DATA = 24
# Built into the C library, or no locale at all.
_ALWAYS_THERE = frozenset(("c", "posix", ""))


class ClusterNeeds(NamedTuple):
    """What one cluster needs of the PostgreSQL that takes it.

    Attributes:
        name: How to call it, such as its data directory.
        major: Its major version, such as 13.
        extensions: Names of the extensions in use; None if not known, as in the next one.
        locales: Names of the C library's locales in use.
    """

    name: str
    major: int
    extensions: tuple[str, ...] | None = None
    locales: tuple[str, ...] | None = None


def check_clusters(clusters: tuple[ClusterNeeds, ...], release: Release) -> Iterator[Finding]:
    """Find clusters that the release cannot take."""
    if release.postgresql is None:
        return
    for cluster in clusters:
        yield from _version(cluster, release, release.postgresql)
        yield from _extensions(cluster, release, release.postgresql)
        yield from _locales(cluster, release, release.postgresql)


def _version(cluster: ClusterNeeds, release: Release, there: PostgreSQL) -> Iterator[Finding]:
    if cluster.major <= there.major:
        return
    yield Finding(
        "postgresql.version",
        Severity.INHIBITOR,
        "The release's PostgreSQL is older than the data",
        f"Data of PostgreSQL {cluster.major} cannot become data of PostgreSQL {there.major}, which"
        f" {release.name} has.",
        evidence=(f"{cluster.name}: PostgreSQL {cluster.major}",),
        remedies=(
            Remedy(f"Ask your vendor for a release with PostgreSQL {cluster.major} or later"),
        ),
        exit_status=DATA,
    )


def _extensions(cluster: ClusterNeeds, release: Release, there: PostgreSQL) -> Iterator[Finding]:
    if cluster.extensions is None or there.extensions is None:
        return
    missing = sorted(set(cluster.extensions) - set(there.extensions))
    if not missing:
        return
    yield Finding(
        "postgresql.extensions",
        Severity.INHIBITOR,
        "The release lacks extensions of PostgreSQL that are in use",
        f"Tables or functions of {cluster.name} come from them, so they could not be restored with"
        f" {release.name}.",
        evidence=tuple(missing),
        remedies=(
            Remedy("Ask your vendor for a release that has them"),
            Remedy(
                "If nothing uses one of them any more, drop it in each database",
                command="psql -c 'DROP EXTENSION NAME' DATABASE",
                verify="psql -c '\\dx' DATABASE",
            ),
        ),
        exit_status=DATA,
    )


def _locales(cluster: ClusterNeeds, release: Release, there: PostgreSQL) -> Iterator[Finding]:
    if cluster.locales is None or there.locales is None:
        return
    have = {normalized(one) for one in there.locales} | _ALWAYS_THERE
    missing = sorted(one for one in set(cluster.locales) if normalized(one) not in have)
    if not missing:
        return
    yield Finding(
        "postgresql.collations",
        Severity.INHIBITOR,
        "The release lacks locales that PostgreSQL uses",
        f"The order of text in {cluster.name} follows them. Without them its databases cannot be"
        f" made with {release.name}.",
        evidence=tuple(missing),
        remedies=(Remedy("Ask your vendor for a release that has these locales"),),
        exit_status=DATA,
    )


def normalized(locale: str) -> str:
    """Return a locale's name as glibc compares it: de_DE.UTF-8 is de_DE.utf8."""
    name, dot, codeset = locale.partition(".")
    codeset, at, modifier = codeset.partition("@")
    return (name + dot + codeset.replace("-", "").lower() + at + modifier).lower()

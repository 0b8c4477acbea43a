"""Decide whether a cluster may be migrated. Pure: facts in, findings out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from applianceforge.migrate.manifest import ArchivedCluster
from applianceforge.migrate.postgres.facts import INVALID, ClusterFacts, DatabaseFacts
from applianceforge.model.errors import (
    ExtensionMissingError,
    ForeignClusterError,
    LocaleMissingError,
    SettingsError,
)
from applianceforge.model.report import Finding, Remedy, Report, Severity

OLDEST_MAJOR = 11
# Built into glibc, or no locale at all.
_ALWAYS_THERE = frozenset({"c", "posix", ""})


@dataclass(frozen=True)
class TargetFacts:
    """What is known of the target's programs.

    Attributes:
        major: The server's major version.
        extensions: Names of the extensions that can be created.
        locales: Names of the C library's locales, normalized.
    """

    major: int
    extensions: frozenset[str]
    locales: frozenset[str]
    tablespaces: Mapping[str, str]


def normalized(locale: str) -> str:
    """Return a locale's name as glibc compares it: de_DE.UTF-8 is de_DE.utf8."""
    name, dot, codeset = locale.partition(".")
    codeset, at, modifier = codeset.partition("@")
    return (name + dot + codeset.replace("-", "").lower() + at + modifier).lower()


def check(facts: ClusterFacts, target: TargetFacts) -> Report:
    """Return what stands in the way, and what is worth knowing."""
    findings = [
        *check_source(facts, target.major).findings,
        *_check_tablespaces(facts.tablespaces, target),
        *(one for database in facts.databases for one in _check_fits(database, target)),
    ]
    return Report(tuple(findings))


def check_source(facts: ClusterFacts, major: int) -> Report:
    """Return what stands in the way of reading a cluster with the programs of `major`."""
    findings = [
        *_check_version(facts, major),
        *_check_cluster(facts),
        *(one for database in facts.databases for one in _check_database(database)),
    ]
    return Report(tuple(findings))


def _check_version(facts: ClusterFacts, major: int) -> Iterable[Finding]:
    if facts.major > major or facts.major < OLDEST_MAJOR:
        yield _newer(facts.major, major)


def _newer(major: int, target: int) -> Finding:
    return Finding(
        "postgres.version",
        Severity.INHIBITOR,
        f"PostgreSQL {major} cannot become {target}",
        f"The source is PostgreSQL {major}; this release takes {OLDEST_MAJOR} to {target} to"
        f" {target}.",
        remedies=(Remedy("Use a target with PostgreSQL of the same or a newer major version."),),
        exit_status=ForeignClusterError.exit_status,
    )


def _check_cluster(facts: ClusterFacts) -> Iterable[Finding]:
    if not facts.control.was_shut_down:
        yield Finding(
            "postgres.not-shut-down",
            Severity.INFO,
            "The source server was not shut down cleanly",
            "Its own server recovers it when it is started; that is safe and takes a moment.",
        )
    if facts.prepared:
        yield Finding(
            "postgres.prepared-transactions",
            Severity.INHIBITOR,
            "There are prepared transactions",
            "A dump does not hold them, so what they changed would be lost.",
            evidence=facts.prepared,
            remedies=(
                Remedy(
                    "Commit or roll back each of them on the source.",
                    "COMMIT PREPARED 'NAME';  or  ROLLBACK PREPARED 'NAME';",
                    "SELECT gid FROM pg_prepared_xacts;  -- must be empty",
                ),
            ),
        )
    if facts.slots:
        yield Finding(
            "postgres.replication-slots",
            Severity.WARNING,
            "There are replication slots",
            "They stay behind: whoever replicates from this cluster must begin anew.",
            evidence=facts.slots,
        )


def _check_tablespaces(names: Iterable[str], target: TargetFacts) -> Iterable[Finding]:
    missing = tuple(name for name in names if name not in target.tablespaces)
    if missing:
        yield Finding(
            "postgres.tablespaces",
            Severity.INHIBITOR,
            "Tablespaces have no new place",
            "Each tablespace needs an empty directory for its new data.",
            evidence=missing,
            remedies=(Remedy("Name one in the settings: target.postgres.tablespaces.NAME"),),
            exit_status=SettingsError.exit_status,
        )


def _check_database(facts: DatabaseFacts) -> Iterable[Finding]:
    if facts.connection_limit == INVALID:
        yield Finding(
            "postgres.invalid-database",
            Severity.INHIBITOR,
            f"The database {facts.name} is invalid",
            "Its removal was interrupted; it cannot be read any more.",
            remedies=(Remedy("Drop it on the source.", f'DROP DATABASE "{facts.name}";'),),
        )
    elif not facts.may_connect:
        yield Finding(
            "postgres.closed-database",
            Severity.INHIBITOR,
            f"The database {facts.name} lets nobody in",
            "It does not allow connections, so it cannot be dumped and would be lost.",
            remedies=(
                Remedy(
                    "Allow connections on the source, or drop it there.",
                    f'ALTER DATABASE "{facts.name}" ALLOW_CONNECTIONS true;',
                ),
            ),
        )


def _check_fits(facts: DatabaseFacts, target: TargetFacts) -> Iterable[Finding]:
    """Return what the target lacks for a database."""
    yield from _check_extensions(facts.name, [name for name, _ in facts.extensions], target)
    yield from _check_locales(facts.name, facts.locales, target)


def _check_extensions(
    database: str, wanted: Iterable[str], target: TargetFacts
) -> Iterable[Finding]:
    missing = tuple(name for name in wanted if name not in target.extensions)
    if missing:
        yield Finding(
            "postgres.extensions",
            Severity.INHIBITOR,
            f"The target lacks extensions of the database {database}",
            "The target's programs have no control file for them.",
            evidence=missing,
            remedies=(
                Remedy(
                    "Install their packages into the target's program tree, or drop them on the"
                    " source."
                ),
            ),
            exit_status=ExtensionMissingError.exit_status,
        )


def _check_locales(database: str, wanted: Iterable[str], target: TargetFacts) -> Iterable[Finding]:
    missing = tuple(
        sorted(one for one in wanted if normalized(one) not in target.locales | _ALWAYS_THERE)
    )
    if missing:
        yield Finding(
            "postgres.locales",
            Severity.INHIBITOR,
            f"The target lacks locales of the database {database}",
            "Its order of text, or its encoding, needs these locales of the C library.",
            evidence=missing,
            remedies=(
                Remedy(
                    "Make them on the target.",
                    "localedef -i de_DE -f UTF-8 de_DE.UTF-8",
                    "locale -a",
                ),
            ),
            exit_status=LocaleMissingError.exit_status,
        )


def check_archive(
    cluster: ArchivedCluster, collate: str, ctype: str, target: TargetFacts
) -> Report:
    """Return what stands in the way of importing an archived cluster."""
    findings: list[Finding] = []
    if cluster.inventory.major > target.major:
        findings.append(_newer(cluster.inventory.major, target.major))
    findings += _check_tablespaces(cluster.tablespaces, target)
    findings += _check_locales("template1", {collate, ctype}, target)
    for database in cluster.inventory.databases:
        names = [one.name for one in database.schema if one.kind == "EXTENSION"]
        findings += _check_extensions(database.name, names, target)
    return Report(tuple(findings))

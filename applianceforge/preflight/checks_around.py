"""Check what is around the machine: its clock, its partners, and what could not be looked at."""

from __future__ import annotations

from typing import Iterator

from applianceforge.model.report import Finding, Remedy, Severity
from applianceforge.preflight.facts import Facts
from applianceforge.preflight.requirements import Release

# 2026-11-01: no clock that is right shows less to this program.
PROGRAM_S = 1_793_491_200
# No release is supported for longer, so a clock beyond is more likely to be wrong than right.
_FAR_S = 10 * 366 * 86_400
_DAY_S = 86_400

_SET_CLOCK = Remedy(
    "Set the clock, and the hardware's clock by it",
    command="date -u -s 'YEAR-MONTH-DAY HOUR:MINUTE' && hwclock --systohc --utc",
    verify="date -u",
)
_KEEP_CLOCK = Remedy(
    "Let a time service keep it: the host's, for a virtual machine, or NTP",
    command="timedatectl set-ntp true",
    verify="timedatectl   (must say: System clock synchronized: yes)",
)


def check_clock(facts: Facts, release: Release) -> Iterator[Finding]:
    """Find a clock that is wrong for certain, or that nothing keeps right."""
    clock = facts.clock
    if clock is None:
        return
    earliest = max(PROGRAM_S, release.released_s)
    if clock.now_s < earliest - _DAY_S:
        yield Finding(
            "clock.wrong",
            Severity.WARNING,
            "The clock is behind",
            f"It shows {day(clock.now_s)}, which is before {day(earliest)}, when what is to be"
            " installed here was made. Signatures are checked by the clock, so a download would be"
            " refused, and the times of new data would be wrong.",
            evidence=(f"clock: {day(clock.now_s)}", f"made: {day(earliest)}"),
            remedies=(_SET_CLOCK, _KEEP_CLOCK),
        )
    elif clock.now_s > earliest + _FAR_S:
        yield Finding(
            "clock.wrong",
            Severity.WARNING,
            "The clock is probably ahead",
            f"It shows {day(clock.now_s)}, more than ten years after {day(earliest)}, when what is"
            " to be installed here was made. By that clock every signature has expired.",
            evidence=(f"clock: {day(clock.now_s)}", f"made: {day(earliest)}"),
            remedies=(_SET_CLOCK, _KEEP_CLOCK),
        )
    elif clock.synchronized is False:
        yield Finding(
            "clock.unsynchronized",
            Severity.INFO,
            "Nothing is known to keep the clock right",
            "The kernel knows of no time service. The clock shows a plausible time; RRDs and"
            " signatures need one that stays right.",
            evidence=(f"clock: {day(clock.now_s)}",),
            remedies=(_KEEP_CLOCK,),
        )


def day(seconds: int) -> str:
    """Return the day of a time in seconds since 1970, in UTC, such as "2026-11-01".

    Source: Howard Hinnant, chrono-Compatible Low-Level Date Algorithms, civil_from_days.
    """
    days = seconds // _DAY_S + 719_468
    era, of_era = divmod(days, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    part = (5 * of_year + 2) // 153
    month = part + 3 if part < 10 else part - 9
    number = of_year - (153 * part + 2) // 5 + 1
    return f"{year + era * 400 + (month <= 2):04}-{month:02}-{number:02}"


_KINDS = {
    "postgresql-standby": "this PostgreSQL is a physical standby: it cannot follow a primary of the"
    " other architecture, and has no data of its own to migrate",
    "postgresql-primary": "standbys follow this PostgreSQL physically: they cannot follow it to"
    " 64 bits, and must be made anew from it",
    "postgresql-logical": "logical replication works between 32 and 64 bits, but its slots are not"
    " carried over: subscribers must synchronize anew",
    "galera": "nodes of Galera can be of both architectures for a while; update one at a time",
    "mysql-replica": "replication of MariaDB works between architectures; update the replica first",
    "redis-replica": "replication of Redis works between architectures; update the replica first",
    "slapd-syncrepl": "replication of slapd works between architectures; update the consumer first",
    "drbd": "DRBD copies blocks: both nodes get the new data at once, so neither can go back alone",
    "glusterfs": "a brick is files; take this peer's bricks out of service while it is updated",
    "corosync": "the cluster would move services to the partner during the restart",
    "keepalived": "the address would move to the partner during the restart",
    "heartbeat": "the cluster would move services to the partner during the restart",
}


def check_partners(facts: Facts) -> Iterator[Finding]:
    """Find what ties the machine to others, and say in which order they can be updated."""
    if not facts.partners:
        return
    kinds = tuple(dict.fromkeys(partner.kind for partner in facts.partners))
    told = [_KINDS[kind] for kind in kinds if kind in _KINDS]
    remedies = []
    if "postgresql-standby" in kinds:
        remedies.append(
            Remedy(
                "Do not migrate a standby. Migrate its primary, install the 64-bit release here,"
                " and make the standby anew from the migrated primary",
                command="pg_basebackup -h PRIMARY -D DIRECTORY -R -X stream",
                verify="SELECT state FROM pg_stat_replication;   -- on the primary: streaming",
            )
        )
    if "postgresql-primary" in kinds:
        remedies.append(
            Remedy(
                "Keep one standby as it is, stopped, until the migrated primary has proved itself:"
                " it is one more way back. Then make the standbys anew",
                command="pg_basebackup -h PRIMARY -D DIRECTORY -R -X stream",
                verify="SELECT state FROM pg_stat_replication;   -- on the primary: streaming",
            )
        )
    remedies.append(
        Remedy(
            "Update one machine of the group at a time, the one that serves last. Put it in"
            " maintenance in its cluster before, so that a restart is not taken for a failure"
        )
    )
    yield Finding(
        "cluster.partners",
        Severity.WARNING,
        "This machine works together with others",
        "The switch to 64 bits concerns them too: " + "; ".join(told) + "."
        if told
        else "The switch to 64 bits may concern them too.",
        evidence=tuple(f"{one.kind}: {one.where}: {one.evidence}" for one in facts.partners),
        remedies=tuple(remedies),
    )


def check_unseen(facts: Facts) -> Iterator[Finding]:
    """Say what could not be looked at, and who could."""
    if not facts.unseen:
        return
    by_root = any(one.who == "root" for one in facts.unseen)
    yield Finding(
        "check.unseen",
        Severity.INFO,
        "Not everything could be looked at",
        "What is listed here was left out. That says nothing against the machine.",
        evidence=tuple(
            f"{one.what}: {one.why}" + (f" (only {one.who} may)" if one.who else "")
            for one in facts.unseen
        ),
        remedies=(Remedy("Run the check as root", command="sudo applianceforge check"),)
        if by_root
        else (),
    )

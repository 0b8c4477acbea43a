"""Gather what ties this machine to others: replication and high availability, by their files.

Only words without secrets go into the evidence: names of hosts and ports, never a whole line.

Source: PostgreSQL 15 documentation, 20.6 and 26.2 (before 12: recovery.conf), and
src/backend/replication/slot.c (a slot's state file: database at byte 80, 0 for a physical slot);
corosync.conf(5), keepalived.conf(5), drbd.conf(5), Heartbeat's ha.cf, glusterd's peers directory;
MariaDB, Galera Cluster System Variables; redis.conf, replicaof; slapd.conf(5), syncrepl.
"""

from __future__ import annotations

from applianceforge.preflight.facts import Partner
from applianceforge.preflight.looking import Tree, settings

_CLUSTERS = "what PostgreSQL replicates"
_DATA = ("/var/lib/pgsql", "/data/i386", "/data/amd64")
_CONFIGURATION = "/etc/postgresql"
_NEAR = ("127.", "::1", "localhost", "samehost")
# Files whose mere presence says it: their packages install none.
_FILES = (
    ("corosync", "/etc/corosync/corosync.conf"),
    ("keepalived", "/etc/keepalived/keepalived.conf"),
    ("heartbeat", "/etc/ha.d/ha.cf"),
    ("heartbeat", "/etc/ha.d/haresources"),
    ("mysql-replica", "/var/lib/mysql/master.info"),
)
_MYSQL = ("/etc/my.cnf", "/etc/mysql/my.cnf", "/etc/mysql/mariadb.cnf")
_MYSQL_DIRECTORIES = (
    "/etc/my.cnf.d",
    "/etc/mysql/conf.d",
    "/etc/mysql/mariadb.conf.d",
    "/etc/mysql/mysql.conf.d",
)
_REDIS = ("/etc/redis/redis.conf", "/etc/redis.conf")
_SLAPD = ("/etc/ldap/slapd.conf", "/etc/openldap/slapd.conf")
_SLAPD_DIRECTORIES = ("/etc/ldap/slapd.d/cn=config", "/etc/openldap/slapd.d/cn=config")
_LONGEST = 120


def partners(tree: Tree, data: str = "") -> tuple[Partner, ...]:
    """Return what ties this machine to others.

    Args:
        data: A further directory that may hold PostgreSQL's data.
    """
    found: list[Partner] = []
    for directory in _data_directories(tree, data):
        found += _of_data(tree, directory)
    for directory in _below(tree, _CONFIGURATION, 2):
        found += _of_configuration(tree, directory)
    for kind, name in _FILES:
        if tree.exists(name):
            found.append(Partner(kind, name, "the file is there"))
    for name in ("/etc/drbd.conf", *_files(tree, "/etc/drbd.d", ".res")):
        if name.endswith(".res") or "resource " in tree.text(name):
            found.append(Partner("drbd", name, "it defines a resource"))
    for peer in tree.names("/var/lib/glusterd/peers", "peers of GlusterFS"):
        found.append(Partner("glusterfs", "/var/lib/glusterd/peers", f"peer {peer[:_LONGEST]}"))
    found += _galera(tree)
    found += _redis(tree)
    found += _slapd(tree)
    return tuple(found)


def _below(tree: Tree, directory: str, depth: int) -> tuple[str, ...]:
    """Return the directories `depth` levels below one, such as /etc/postgresql/15/main."""
    found = [directory]
    for _ in range(depth):
        found = [f"{one}/{name}" for one in found for name in tree.names(one)]
    return tuple(found)


def _files(tree: Tree, directory: str, ending: str) -> tuple[str, ...]:
    return tuple(f"{directory}/{n}" for n in tree.names(directory) if n.endswith(ending))


def _data_directories(tree: Tree, data: str) -> tuple[str, ...]:
    candidates = [*_below(tree, "/var/lib/postgresql", 2)]
    for top in (*_DATA, data):
        if top:
            candidates += [f"{top}/postgresql", f"{top}/data", top]
            candidates += [f"{one}/data" for one in _below(tree, top, 1)]
    named = dict.fromkeys(candidates)
    return tuple(one for one in named if "PG_VERSION" in tree.names(one, _CLUSTERS))


def _of_data(tree: Tree, directory: str) -> list[Partner]:
    names = tree.names(directory)
    found = []
    signal = f"{directory}/standby.signal"
    configuration = ("postgresql.conf", "postgresql.auto.conf", "recovery.conf")
    text = "\n".join(tree.text(f"{directory}/{name}", _CLUSTERS) for name in configuration)
    said = settings(text, ("primary_conninfo", "standby_mode"))
    old = said.get("standby_mode", "").lower() in ("on", "true", "yes", "1")
    if "standby.signal" in names or ("recovery.conf" in names and old):
        where = signal if "standby.signal" in names else f"{directory}/recovery.conf"
        primary = _hosts(said.get("primary_conninfo", ""))
        found.append(Partner("postgresql-standby", where, f"its primary: {primary}"))
    found += _slots(tree, f"{directory}/pg_replslot")
    found += _allowed(tree, directory)
    return found


def _slots(tree: Tree, directory: str) -> list[Partner]:
    found = []
    for name in tree.names(directory):
        database = tree.read(f"{directory}/{name}/state", size=84)[80:84]
        if len(database) == 4:
            kind = "postgresql-logical" if any(database) else "postgresql-primary"
            found.append(Partner(kind, directory, f"replication slot {name[:_LONGEST]}"))
    return found


def _of_configuration(tree: Tree, directory: str) -> list[Partner]:
    names = ["postgresql.conf"]
    names += [f"conf.d/{n}" for n in tree.names(f"{directory}/conf.d") if n.endswith(".conf")]
    text = "\n".join(tree.text(f"{directory}/{name}", _CLUSTERS) for name in names)
    found = []
    waits = settings(text, ("synchronous_standby_names",)).get("synchronous_standby_names", "")
    if waits:
        found.append(
            Partner(
                "postgresql-primary",
                f"{directory}/postgresql.conf",
                f"synchronous_standby_names: {waits[:_LONGEST]}",
            )
        )
    return found + _allowed(tree, directory)


def _allowed(tree: Tree, directory: str) -> list[Partner]:
    """Return who may replicate from elsewhere: `host replication USER ADDRESS METHOD`."""
    name = f"{directory}/pg_hba.conf"
    found = []
    for line in tree.text(name, _CLUSTERS).splitlines():
        words = line.split()
        if len(words) < 5 or not words[0].startswith("host") or words[4:5] == ["reject"]:
            continue
        if "replication" in words[1].split(",") and not words[3].startswith(_NEAR):
            evidence = f"replication is allowed from {words[3][:_LONGEST]}"
            found.append(Partner("postgresql-primary", name, evidence))
    return found


def _hosts(conninfo: str) -> str:
    """Return the hosts and ports of a connection string, without user or password."""
    if "://" in conninfo:
        return conninfo.partition("://")[2].rpartition("@")[2].partition("/")[0].partition("?")[0]
    words = conninfo.replace("'", " ").split()
    kept = [word for word in words if word.startswith(("host=", "hostaddr=", "port="))]
    return " ".join(kept)[:_LONGEST] or "not named"


def _galera(tree: Tree) -> list[Partner]:
    found = []
    files = [*_MYSQL]
    for directory in _MYSQL_DIRECTORIES:
        files += _files(tree, directory, ".cnf")
    for name in files:
        said = settings(tree.text(name).replace("-", "_"), ("wsrep_cluster_address", "wsrep_on"))
        address = said.get("wsrep_cluster_address", "").partition("?")[0]
        if address and said.get("wsrep_on", "on").lower() not in ("off", "0"):
            evidence = f"wsrep_cluster_address {address[:_LONGEST]}"
            found.append(Partner("galera", name, evidence))
    return found


def _redis(tree: Tree) -> list[Partner]:
    found = []
    for name in _REDIS:
        said = settings(tree.text(name, "whether Redis is a replica"), ("replicaof", "slaveof"))
        for word, value in said.items():
            if value and value.lower() != "no one":
                found.append(Partner("redis-replica", name, f"{word} {value[:_LONGEST]}"))
    return found


def _slapd(tree: Tree) -> list[Partner]:
    files = [*_SLAPD]
    for directory in _SLAPD_DIRECTORIES:
        names = tree.names(directory, "what slapd replicates")
        files += [f"{directory}/{name}" for name in names if name.endswith(".ldif")]
    found = []
    for name in files:
        # A long line goes on in the next one, after a space; LDIF breaks inside of words.
        text = tree.text(name, "what slapd replicates").replace("\r", "")
        joined = text.replace("\n ", "" if name.endswith(".ldif") else " ").replace("\n\t", " ")
        for line in joined.splitlines():
            words = line.split()
            if words and words[0].lower() in ("syncrepl", "olcsyncrepl:"):
                provider = next((w for w in words if w.lower().startswith("provider=")), "")
                evidence = f"syncrepl {provider[:_LONGEST]}".rstrip()
                found.append(Partner("slapd-syncrepl", name, evidence))
    return found

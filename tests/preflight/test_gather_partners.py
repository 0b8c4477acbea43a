"""What ties a machine to others, by files as the programs' packages and manuals write them."""

from pathlib import Path

import pytest

from applianceforge.preflight.gather_partners import partners
from applianceforge.preflight.looking import Tree
from tests.preflight.trees import grow

SECRET = "geheim"
DATA = "/var/lib/postgresql/15/main"
CONFIGURATION = "/etc/postgresql/15/main"


def slot(database: int) -> bytes:
    head = bytes(16) + b"one".ljust(64, b"\0")
    return head + database.to_bytes(4, "little") + bytes(100)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {
                f"{DATA}/PG_VERSION": "15",
                f"{DATA}/standby.signal": "",
                f"{DATA}/postgresql.auto.conf": "# no comment\nprimary_conninfo = 'user=repl"
                f" password={SECRET} host=db1 port=5432 sslmode=prefer'\n",
            },
            [("postgresql-standby", "its primary: host=db1 port=5432")],
        ),
        (
            {
                "/var/lib/pgsql/data/PG_VERSION": "9.6",
                "/var/lib/pgsql/data/recovery.conf": "standby_mode = 'on'\n"
                f"primary_conninfo = 'postgresql://repl:{SECRET}@db1:5433/?sslmode=require'\n",
            },
            [("postgresql-standby", "its primary: db1:5433")],
        ),
        (
            {
                f"{DATA}/PG_VERSION": "15",
                f"{DATA}/pg_replslot/one/state": slot(0),
                f"{DATA}/pg_replslot/two/state": slot(16384),
                f"{DATA}/pg_replslot/torn/state": b"short",
            },
            [
                ("postgresql-primary", "replication slot one"),
                ("postgresql-logical", "replication slot two"),
            ],
        ),
        (
            {
                f"{CONFIGURATION}/postgresql.conf": "synchronous_standby_names = 'ANY 1 (a, b)'\n",
                f"{CONFIGURATION}/pg_hba.conf": "local replication all peer\n"
                "host replication all 127.0.0.1/32 scram-sha-256\n"
                "host replication all ::1/128 scram-sha-256\n"
                "hostssl replication repl 10.0.0.0/24 scram-sha-256\n"
                "host replication repl 10.9.0.0/24 reject\n"
                "host all all 10.0.0.0/24 md5\n",
            },
            [
                ("postgresql-primary", "synchronous_standby_names: ANY 1 (a, b)"),
                ("postgresql-primary", "replication is allowed from 10.0.0.0/24"),
            ],
        ),
        ({"/etc/corosync/corosync.conf": "totem {}"}, [("corosync", "the file is there")]),
        (
            {"/etc/keepalived/keepalived.conf": f"auth_pass {SECRET}"},
            [("keepalived", "the file is there")],
        ),
        ({"/etc/ha.d/ha.cf": "node a b"}, [("heartbeat", "the file is there")]),
        ({"/etc/drbd.d/r0.res": f"shared-secret {SECRET};"}, [("drbd", "it defines a resource")]),
        ({"/var/lib/glusterd/peers/1-2-3": "x"}, [("glusterfs", "peer 1-2-3")]),
        (
            {
                "/etc/mysql/mariadb.conf.d/60-galera.cnf": "[galera]\nwsrep_on = ON\n"
                'wsrep-cluster-address = "gcomm://10.0.0.1,10.0.0.2?pc.wait_prim=no"\n'
                f"wsrep_sst_auth = root:{SECRET}\n"
            },
            [("galera", "wsrep_cluster_address gcomm://10.0.0.1,10.0.0.2")],
        ),
        (
            {"/etc/redis/redis.conf": f"masterauth {SECRET}\nreplicaof 10.0.0.1 6379\n"},
            [("redis-replica", "replicaof 10.0.0.1 6379")],
        ),
        (
            {
                "/etc/ldap/slapd.conf": "syncrepl rid=1\n  provider=ldap://master:389\n"
                f"  binddn=cn=x credentials={SECRET}\n"
            },
            [("slapd-syncrepl", "syncrepl provider=ldap://master:389")],
        ),
        (
            {
                "/etc/ldap/slapd.d/cn=config/olcDatabase={1}mdb.ldif": "olcSyncrepl: {0}rid=1 pro\n"
                f" vider=ldap://master credentials={SECRET}\n"
            },
            [("slapd-syncrepl", "syncrepl provider=ldap://master")],
        ),
        ({"/var/lib/mysql/master.info": SECRET}, [("mysql-replica", "the file is there")]),
    ],
)
def test_found_without_secrets(
    tmp_path: Path, files: dict[str, str | bytes], expected: list[tuple[str, str]]
) -> None:
    grow(tmp_path, files)
    found = partners(Tree(str(tmp_path)))
    assert [(one.kind, one.evidence) for one in found] == expected
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {f"{DATA}/PG_VERSION": "15", f"{DATA}/postgresql.auto.conf": "primary_conninfo='host=a'"},
        {f"{DATA}/PG_VERSION": "11", f"{DATA}/recovery.conf": "restore_command = 'cp x y'\n"},
        {f"{CONFIGURATION}/postgresql.conf": "#synchronous_standby_names = 'a'\n"},
        {f"{CONFIGURATION}/postgresql.conf": "synchronous_standby_names = ''  # none\n"},
        {"/etc/mysql/mariadb.conf.d/60-galera.cnf": "#wsrep_cluster_address = gcomm://a\n"},
        {"/etc/mysql/my.cnf": "wsrep_on=OFF\nwsrep_cluster_address=gcomm://a\n"},
        {"/etc/redis/redis.conf": "# replicaof <masterip> <masterport>\nreplicaof no one\n"},
        {"/etc/ldap/slapd.conf": "# syncrepl rid=1 provider=ldap://a\n"},
        {"/etc/drbd.conf": 'include "drbd.d/*.res";\n'},
    ],
)
def test_what_packages_install_is_no_partner(tmp_path: Path, files: dict[str, str]) -> None:
    grow(tmp_path, files)
    assert partners(Tree(str(tmp_path))) == ()


def test_a_data_directory_of_its_own(tmp_path: Path) -> None:
    grow(tmp_path, {"/srv/x/i386/PG_VERSION": "15", "/srv/x/PG_VERSION": "13"})
    grow(tmp_path, {"/srv/x/standby.signal": ""})
    (found,) = partners(Tree(str(tmp_path)), "/srv/x")
    assert found.where == "/srv/x/standby.signal"
    assert found.evidence == "its primary: not named"

"""Inventories and manifests that are small and have one of everything."""

from applianceforge.migrate.inventory import (
    ClusterInventory,
    DatabaseInventory,
    LargeObject,
    Recomputed,
    SchemaObject,
    SequenceState,
    TableContent,
)
from applianceforge.migrate.manifest import ArchivedCluster, ArchivedFile, Manifest

TABLE = TableContent("mail.message", 3, "aa" * 32, 100, ("owner",))
SEQUENCE = SequenceState("mail.message_id", 41, True)
OBJECT = LargeObject(16500, "mail", "mail=rw/mail", 5, "bb" * 32)
INDEX = SchemaObject("INDEX", "mail.message_client", "cc" * 32)
ROLE = SchemaObject("ALTER ROLE", "mail", "dd" * 32)
WAVE = Recomputed("corner.computed.wave", "generated column", 10, 1, "", 100.0, 120.0, (1, 0, 0))
SHOWN = Recomputed("corner.computed.shown", "generated column", 10, 1, "77", 0.0, 0.0, (0, 0, 0))
MONTHLY = Recomputed("stats.monthly.mean", "materialized view", 12, 0, "", 9.0, 9.0, (0, 0, 0))
GATEWAY = DatabaseInventory(
    "gateway", "UTF8", (TABLE,), (SEQUENCE,), (OBJECT,), (INDEX,), (WAVE, SHOWN, MONTHLY)
)
CLUSTER = ClusterInventory(15, 32, (ROLE,), (GATEWAY,))
MANIFEST = Manifest(
    created_s=1_700_000_000.25,
    tool="applianceforge 0",
    digest="stream",
    cluster=ArchivedCluster(
        7_000_000_000_000_000_000, {"superuser": "postgres"}, {"gateway": 5}, ("archive",), CLUSTER
    ),
    rrds=({"path": "größe \udcff.rrd", "mode": 0o640},),
    files=(
        ArchivedFile("globals.sql", 10, "ee" * 32),
        ArchivedFile("databases/gateway/toc.dat", 20, "ff" * 32),
        ArchivedFile("rrd/a.rrd.zst", 0, "11" * 32),
    ),
)

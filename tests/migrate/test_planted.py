"""Planted differences: each is found and named, and only it; an equal pair has none.

Each test changes one thing on the target of a finished migration and takes its inventory anew. What
was planted by earlier tests stays, so a test asks for what was not there before.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from applianceforge.migrate.compare import Weight, compare
from applianceforge.migrate.inventory import ClusterInventory
from applianceforge.migrate.inventory import decode as decode_inventory
from applianceforge.migrate.postgres.census import Census
from applianceforge.migrate.postgres.dump import Dumper
from applianceforge.migrate.postgres.importing import ImportPostgres
from applianceforge.migrate.postgres.server import Server, running
from applianceforge.migrate.tree import ProgramTree
from applianceforge.system.effects import Effects
from applianceforge.system.progress import Counter, NoProgress
from tests.appliance import cluster
from tests.appliance.legacy import LegacyAppliance
from tests.migrate.boxes import Box, planned

pytestmark = pytest.mark.real


@dataclass
class Target:
    """The new cluster of a finished run, with its server running."""

    box: Box
    server: Server
    dumper: Dumper
    expected: ClusterInventory
    known: dict[str, Weight] = field(default_factory=dict)

    def execute(self, database: str, script: str) -> None:
        """Run a script as the superuser."""
        with self.server.session(database) as session:
            session.execute(script)

    def new_differences(self, databases: tuple[str, ...] = ("gateway",)) -> dict[str, Weight]:
        """Return the differences that were not there before, with their weights."""
        like = ClusterInventory(
            self.expected.major,
            self.expected.width,
            self.expected.globals,
            tuple(one for one in self.expected.databases if one.name in databases),
        )
        counter = Counter("", NoProgress())
        census = Census(self.server, self.dumper, 64, 2, counter, self.expected)
        found = {str(one): one.weight for one in compare(like, census.take(databases))}
        new = {text: weight for text, weight in found.items() if text not in self.known}
        self.known |= found
        return new


@pytest.fixture(scope="module")
def published(legacy_small: LegacyAppliance, native_tree: ProgramTree) -> Iterator[Box]:
    """A finished migration, whose target this module spoils."""
    with cluster.short_directory() as place:
        box = Box(place, legacy_small.copy_to(place / "old"), native_tree)
        box.run()
        yield box


@pytest.fixture(scope="module")
def target(published: Box) -> Iterator[Target]:
    expected = decode_inventory((published.workspace.inventories / "source.json").read_bytes())
    with planned(published) as plan:
        importing = next(one for one in plan.subjects if isinstance(one, ImportPostgres))
    setup = replace(importing.setup, data=published.data)
    with running(setup, Effects()) as server:
        yield Target(published, server, importing.dumper, expected)


def test_an_equal_pair_has_no_difference(target: Target) -> None:
    databases = tuple(one.name for one in target.expected.databases)
    assert target.new_differences(databases) == {}


# What is done to the target's database gateway, and how the difference begins.
REWRITTEN = "CLUSTER {0} USING {1}; ALTER TABLE {0} SET WITHOUT CLUSTER"
FLOATS = REWRITTEN.format("corner.floats", "floats_pkey")
ITEMS = REWRITTEN.format("quarantine.item", "item_pkey")
PLANTS = {
    "one byte in one row": (
        "UPDATE quarantine.item SET raw = set_byte(raw, 0, get_byte(raw, 0) # 1)"
        f" WHERE id = (SELECT min(id) FROM quarantine.item WHERE length(raw) > 0); {ITEMS}",
        "table gateway quarantine.item: its ",
    ),
    "0.0 instead of -0.0": (
        f"UPDATE corner.floats SET wide = 0.0 WHERE id = 3; {FLOATS}",
        "table gateway corner.floats: its 9 rows differ",
    ),
    "NaN instead of NULL": (
        f"UPDATE corner.floats SET narrow = 'NaN' WHERE id = 8; {FLOATS}",
        "table gateway corner.floats: its 9 rows differ",
    ),
    "a lost row": (
        "DELETE FROM corner.numerics WHERE id = 4",
        "table gateway corner.numerics: ",
    ),
    "a row too many": (
        "INSERT INTO corner.only_nulls VALUES (NULL, NULL)",
        "table gateway corner.only_nulls: 100 rows became 101",
    ),
    "rows in another order": (
        "UPDATE corner.times SET id = id WHERE id = 1",
        "table gateway corner.times: its 6 rows differ",
    ),
    "a name of the catalog": (
        "UPDATE corner.catalog_types SET kind = 'text' WHERE id = 2",
        "table gateway corner.catalog_types: its 2 rows differ",
    ),
    "a lost step of a sequence": (
        "SELECT setval('mail.message_id', last_value - 1, is_called) FROM mail.message_id",
        "sequence gateway mail.message_id: stands at ",
    ),
    "is_called": (
        "SELECT setval('corner.empty_id_seq', 1, true)",
        "sequence gateway corner.empty_id_seq: stands at 1 (called: False)",
    ),
    "a lost large object": (
        "SELECT lo_unlink(min(oid)) FROM pg_largeobject_metadata",
        "large object gateway ",
    ),
    "a byte in a large object": (
        "SELECT lo_put(max(oid), 1, '\\xee'::bytea) FROM pg_largeobject_metadata",
        "large object gateway ",
    ),
    "a computed value beyond the tolerance": (
        "SET allow_system_table_mods = on;"
        " UPDATE pg_attribute SET attgenerated = ''"
        " WHERE attrelid = 'corner.computed'::regclass AND attname = 'wave';"
        " UPDATE corner.computed SET wave = wave + 1e-6 WHERE a = 20 AND b > 0;"
        " UPDATE pg_attribute SET attgenerated = 's'"
        " WHERE attrelid = 'corner.computed'::regclass AND attname = 'wave'",
        "generated column gateway corner.computed.wave: its values differ",
    ),
    "a dropped index": (
        "DROP INDEX stats.counter_2022_at_idx",
        "gateway index stats.counter_2022_at_idx: is missing",
    ),
    "another tablespace": (
        "ALTER TABLE config.certificate SET TABLESPACE planted",
        "gateway table config.certificate: is defined differently",
    ),
    "a dropped trigger": (
        "DROP TRIGGER keep_revision ON config.setting",
        "gateway trigger config.setting keep_revision: is missing",
    ),
    "a disabled trigger": (
        "ALTER TABLE quarantine.attachment DISABLE TRIGGER attachment_content",
        "gateway trigger quarantine.attachment attachment_content: is defined differently",
    ),
    "a dropped policy": (
        "DROP POLICY release_own ON quarantine.item",
        "gateway policy quarantine.item release_own: is missing",
    ),
    "row security switched off": (
        "ALTER TABLE quarantine.item DISABLE ROW LEVEL SECURITY",
        "gateway row security quarantine.item",
    ),
    "a dropped comment": (
        "COMMENT ON COLUMN mail.message.score IS NULL",
        "gateway comment mail.COLUMN message.score: is missing",
    ),
    "a dropped view": ("DROP VIEW mail.per_domain", "gateway view mail.per_domain: is missing"),
    "a dropped rule": (
        "DROP RULE never_delete ON config.revision",
        "gateway rule config.revision never_delete: is missing",
    ),
    "a dropped check": (
        "ALTER TABLE stats.counter_2022 DROP CONSTRAINT counter_2022_at_check",
        "gateway table stats.counter_2022: is defined differently",
    ),
    "a dropped foreign key": (
        "ALTER TABLE config.revision DROP CONSTRAINT of_setting",
        "gateway fk constraint config.revision of_setting: is missing",
    ),
    "a dropped default": (
        "ALTER TABLE config.setting ALTER changed_by DROP DEFAULT",
        "gateway table config.setting: is defined differently",
    ),
    "a grant on a type": (
        "REVOKE USAGE ON TYPE mail.verdict FROM mail_readers",
        "gateway acl mail.TYPE verdict: ",
    ),
    "a grant on one column": (
        "REVOKE UPDATE (released_by) ON quarantine.item FROM mail_web",
        "gateway acl quarantine.COLUMN item.released_by: is missing",
    ),
    "a grant option": (
        "REVOKE GRANT OPTION FOR INSERT ON mail.message FROM mail_app",
        "gateway acl mail.TABLE message: is defined differently",
    ),
    "a default privilege": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE mail_owner REVOKE USAGE ON SEQUENCES FROM mail_app",
        "gateway default acl DEFAULT PRIVILEGES FOR SEQUENCES",
    ),
    "another owner": (
        "ALTER TABLE config.revision OWNER TO postgres",
        "gateway table config.revision: is defined differently",
    ),
    "the body of a function": (
        "CREATE OR REPLACE FUNCTION mail.loudest(at_least float8 = 10, how_many integer = 3)"
        " RETURNS TABLE (id bigint, score float8) LANGUAGE sql STABLE PARALLEL SAFE COST 500 ROWS 3"
        " AS $$SELECT id, score FROM mail.message WHERE score >= at_least ORDER BY 2 DESC"
        " LIMIT how_many$$",
        "gateway function mail.loudest(double precision, integer): is defined differently",
    ),
    "a statement SET in the body of a function": (
        "DO $do$ BEGIN EXECUTE replace(pg_get_functiondef('config.no_drop'::regproc),"
        " E'BEGIN\\n', E'BEGIN\\nSET work_mem = 100;\\n'); END $do$",
        "gateway function config.no_drop(): is defined differently",
    ),
    "a comment in the body of a function": (
        "DO $do$ BEGIN EXECUTE replace(pg_get_functiondef('config.keep_revision'::regproc),"
        " E'BEGIN\\n', E'BEGIN\\n-- planted\\n'); END $do$",
        "gateway function config.keep_revision(): is defined differently",
    ),
    "another access method": (
        "DROP TABLE corner.other_method; CREATE TABLE corner.other_method (a integer);"
        " INSERT INTO corner.other_method VALUES (1)",
        "gateway table corner.other_method: is defined differently",
    ),
    "a setting of the database": (
        "ALTER DATABASE gateway RESET timezone",
        "gateway database properties gateway: is defined differently",
    ),
    "a grant on the database": (
        "REVOKE CONNECT ON DATABASE gateway FROM auditor",
        "gateway acl DATABASE gateway: is defined differently",
    ),
    "a table of a publication": (
        "ALTER PUBLICATION deliveries DROP TABLE mail.delivery",
        "gateway publication table mail.deliveries delivery: is missing",
    ),
    "a subscription": (
        "DROP SUBSCRIPTION from_head_office",
        "gateway subscription from_head_office: is missing",
    ),
    "an event trigger": ("DROP EVENT TRIGGER no_drop", "gateway event trigger no_drop: is missing"),
    "extended statistics": (
        "DROP STATISTICS mail.sender_and_verdict",
        "gateway statistics mail.sender_and_verdict: is missing",
    ),
    "a target of statistics": (
        "ALTER TABLE mail.message_2023_06_early ALTER COLUMN client SET STATISTICS -1",
        "gateway table mail.message_2023_06_early: is defined differently",
    ),
    "a password": (
        "ALTER ROLE mail_app PASSWORD 'another'",
        "cluster alter role mail_app: is defined differently",
    ),
    "a membership": (
        "REVOKE mail_readers FROM auditor",
        "cluster grant mail_readers TO auditor: is missing",
    ),
    "an admin option": (
        'REVOKE ADMIN OPTION FOR mail_owner FROM "Jürgen O\'Neill"',
        'cluster grant mail_owner TO "Jürgen O\'Neill": is defined differently',
    ),
    "a setting of a role": (
        "ALTER ROLE auditor RESET default_transaction_read_only",
        "cluster alter role auditor: is defined differently",
    ),
    "an attribute of a role": (
        "ALTER ROLE mail_web VALID UNTIL '2032-01-01 00:00:00+00'",
        "cluster alter role mail_web: is defined differently",
    ),
    "a role": ("DROP ROLE IF EXISTS replicator", "cluster create role replicator: is missing"),
    "a comment on a role": (
        "COMMENT ON ROLE mail_app IS 'The relay  itself'",
        "cluster comment on role mail_app: is defined differently",
    ),
}


def add_tablespace(target: Target) -> None:
    """Make a tablespace; that is a difference of its own, and known afterwards."""
    directory = target.box.place / "planted"
    directory.mkdir(mode=0o700)
    owner = target.box.data.stat()
    os.chown(directory, owner.st_uid, owner.st_gid)
    target.execute("postgres", f"CREATE TABLESPACE planted LOCATION '{directory}'")
    assert "cluster create tablespace planted: is on the target only" in target.new_differences()


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_difference_is_found_and_named(target: Target, plant: str) -> None:
    script, said = PLANTS[plant]
    if plant == "another tablespace":
        add_tablespace(target)
    target.execute("gateway", script)
    new = target.new_differences()
    assert any(text.startswith(said) for text in new), (sorted(new), said)
    assert set(new.values()) == {Weight.FATAL}
    # What belongs to the thing may be named too: a role's attributes go with the role.
    assert len(new) <= 3, sorted(new)


def test_a_lost_setting_of_all_roles_in_a_database(target: Target) -> None:
    target.execute("reporting", "ALTER ROLE ALL IN DATABASE reporting RESET work_mem")
    assert target.new_differences(("reporting",)) == {
        "reporting database properties reporting: is defined differently": Weight.FATAL
    }


def test_another_encoding(target: Target) -> None:
    for statement in (
        "DROP DATABASE nothing",
        "CREATE DATABASE nothing ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    ):
        target.execute("postgres", statement)
    found = target.new_differences(("nothing",))
    assert found["database nothing: encoding UTF8 became LATIN1"] is Weight.FATAL


def test_a_lost_database(target: Target) -> None:
    target.execute("postgres", "DROP DATABASE latin")
    found = Census(target.server, target.dumper, 64, 2, Counter("", NoProgress()), target.expected)
    names = ('Archiv "Süd" 100%', "raw")
    assert "database latin: is missing on the target" in {
        str(one) for one in compare(target.expected, found.take(names))
    }


def test_a_materialized_view_that_was_refreshed_under_other_settings_is_told(
    target: Target,
) -> None:
    # Our sessions have UTC, the database another time zone: months begin at other times.
    target.execute("gateway", "REFRESH MATERIALIZED VIEW stats.monthly")
    found = target.new_differences()
    assert "materialized view gateway stats.monthly.first_at: its values differ" in found
    assert set(found.values()) == {Weight.TOLD}

"""What came in since the crossing, as far as it can be told."""

from dataclasses import replace

import pytest

from applianceforge.formats.rrd.values import (
    ZEROS,
    Definition,
    Header,
    PdpPrep,
    Source,
    SourceType,
    State,
)
from applianceforge.migrate import back_news
from applianceforge.migrate.back_news import Change, RrdNews, TableNews
from applianceforge.migrate.inventory import (
    ClusterInventory,
    DatabaseInventory,
    LargeObject,
    SchemaObject,
    SequenceState,
    TableContent,
)

TABLE = TableContent("public.message", 10, "aa", 100)
DATABASE = DatabaseInventory(
    name="mail",
    encoding="UTF8",
    tables=(TABLE,),
    sequences=(SequenceState("public.ticket", 5, True),),
    large_objects=(LargeObject(1, "postgres", "", 5, "dd"),),
    schema=(SchemaObject("TABLE", "public.message", "ee"),),
    recomputed=(),
)
THEN = ClusterInventory(15, 64, (SchemaObject("ROLE", "keeper", "ff"),), (DATABASE,))
NOBODY = RrdNews()


def with_tables(*tables: TableContent) -> ClusterInventory:
    return replace(THEN, databases=(replace(DATABASE, tables=tables),))


def test_nothing_came_in() -> None:
    news = back_news.from_inventories(THEN, THEN, NOBODY)
    assert news.exact
    assert news.tables == (TableNews("mail.public.message", 10, 10, Change.SAME),)
    assert (news.changed, news.others, news.rows_more, news.rows_fewer) == ((), (), 0, 0)


@pytest.mark.parametrize(
    ("now", "change", "more", "fewer"),
    [
        (replace(TABLE, rows=12, digest="bb"), Change.MORE, 2, 0),
        (replace(TABLE, rows=7, digest="bb"), Change.FEWER, 0, 3),
        (replace(TABLE, digest="bb"), Change.CHANGED, 0, 0),
        (replace(TABLE, digest="rows 1 2"), Change.AS_MANY, 0, 0),
        (replace(TABLE, digest="bb", as_text=("at",)), Change.AS_MANY, 0, 0),
    ],
)
def test_a_table_changed(now: TableContent, change: Change, more: int, fewer: int) -> None:
    news = back_news.from_inventories(THEN, with_tables(now), NOBODY)
    (table,) = news.tables
    assert table.change is change
    assert (news.rows_more, news.rows_fewer) == (more, fewer)
    assert bool(news.changed) == (change is not Change.AS_MANY)


def test_digests_of_rows_are_compared_with_their_like() -> None:
    then = with_tables(replace(TABLE, digest="rows 1 2"))
    (same,) = back_news.from_inventories(then, then, NOBODY).tables
    assert same.change is Change.SAME
    other = with_tables(replace(TABLE, digest="rows 1 3"))
    (changed,) = back_news.from_inventories(then, other, NOBODY).tables
    assert changed.change is Change.CHANGED


def test_tables_come_and_go() -> None:
    news = back_news.from_inventories(
        THEN, with_tables(TableContent("public.other", 4, "cc", 9)), NOBODY
    )
    assert news.tables == (
        TableNews("mail.public.message", 10, None, Change.GONE),
        TableNews("mail.public.other", None, 4, Change.NEW),
    )
    assert (news.rows_more, news.rows_fewer) == (4, 10)


def test_databases_come_and_go() -> None:
    shop = replace(DATABASE, name="shop")
    news = back_news.from_inventories(THEN, replace(THEN, databases=(shop,)), NOBODY)
    assert news.others == ("database mail is dropped", "database shop is new")
    assert [one.change for one in news.tables] == [Change.GONE, Change.NEW]


def test_all_else_is_told_in_words() -> None:
    database = replace(
        DATABASE,
        sequences=(SequenceState("public.ticket", 6, True),),
        large_objects=(*DATABASE.large_objects, LargeObject(2, "postgres", "", 5, "dd")),
        schema=tuple(SchemaObject("TABLE", f"public.t{n}", "ee") for n in range(4)),
    )
    now = replace(THEN, databases=(database,), globals=(SchemaObject("ROLE", "keeper", "00"),))
    assert back_news.from_inventories(THEN, now, NOBODY).others == (
        "database mail: sequences that stand elsewhere: 1",
        "database mail: large objects that are new, changed or dropped: 1",
        "database mail: definitions that are new, changed or dropped: table public.message,"
        " table public.t0, table public.t1 and 2 more",
        "roles, grants and settings that are new, changed or dropped: role keeper",
    )


def test_counts_alone_tell_less() -> None:
    counts = {("mail", "public.message"): 10, ("mail", "public.new"): 2}
    news = back_news.from_counts(THEN, counts, NOBODY)
    assert not news.exact
    assert [one.change for one in news.tables] == [Change.AS_MANY, Change.NEW]
    assert [one.name for one in news.changed] == ["mail.public.new"]
    counts = {("mail", "public.message"): 11}
    assert [one.change for one in back_news.from_counts(THEN, counts, NOBODY).tables] == [
        Change.MORE
    ]


def test_a_box_without_a_cluster() -> None:
    assert back_news.from_inventories(None, None, NOBODY).tables == ()
    assert back_news.from_counts(None, {}, NOBODY).tables == ()


def header(last_s: int, sources: int = 2, step_s: int = 300) -> Header:
    source = Source("one", SourceType.GAUGE, ZEROS)
    return Header(
        Definition(3, step_s, (source,) * sources, ()),
        State(last_s, 0, (PdpPrep("1", ZEROS),) * sources, (), ()),
    )


def test_rrds_that_were_updated() -> None:
    then = {"a.rrd": header(3000), "b.rrd": header(3000), "gone.rrd": header(1)}
    now = {"a.rrd": header(3000), "b.rrd": header(4505), "new.rrd": header(900)}
    assert back_news.of_rrds(then, now) == RrdNews(
        files=3, updated=2, gone=1, values=5 * 2, last_s=4505
    )
    assert back_news.of_rrds({}, {}) == RrdNews()

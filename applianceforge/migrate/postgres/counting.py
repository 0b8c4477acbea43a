"""Count the rows of a running server's tables, which may be in use."""

from collections.abc import Mapping

from applianceforge.migrate.postgres import catalog
from applianceforge.migrate.postgres.facts import INVALID
from applianceforge.migrate.postgres.server import Server

_DATABASES = """
SELECT datname::text FROM pg_database
WHERE datallowconn AND datconnlimit <> %s AND datname <> 'template0' ORDER BY 1
"""


def count(server: Server) -> Mapping[tuple[str, str], int]:
    """Return the rows of every table that has rows of its own, by database and name."""
    with server.session("template1") as session:
        names = [str(name) for (name,) in session.rows(_DATABASES, (INVALID,))]
    found: dict[tuple[str, str], int] = {}
    for database in names:
        with server.session(database) as session:
            for relation in catalog.relations(session, catalog.types(session)):
                if relation.kind == "r":
                    only = "" if relation.by_rows else "ONLY "
                    query = f"SELECT count(*) FROM {only}{relation.name} {relation.condition}"
                    rows = session.rows(session.encode(query))[0][0]
                    found[database, relation.name] = int(rows)
    return found

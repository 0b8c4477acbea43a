"""Dump a cluster with the newer side's pg_dump and pg_dumpall."""

from dataclasses import dataclass, replace
from pathlib import Path

from applianceforge.migrate.postgres.server import Server
from applianceforge.migrate.tree import Launchers, ProgramTree
from applianceforge.system import programs
from applianceforge.system.programs import Command

# So that both sides spell times and bytes alike, whatever their configuration says. Only for
# dumping: a load must see the databases' own settings, which materialized views are computed with.
_PINNED = "-c TimeZone=UTC -c bytea_output=hex -c synchronize_seqscans=off -c statement_timeout=0"


@dataclass(frozen=True)
class Dumper:
    """Dumps from any server with the programs of one tree.

    Attributes:
        tree: The target's programs: a newer pg_dump reads an older server.
        major: Their major version.
        launchers: The same, for pg_dumpall.
        log: Where programs complain, 0600.
    """

    tree: ProgramTree
    major: int
    launchers: Launchers
    log: Path

    def globals_text(self, server: Server) -> str:
        """Return roles, memberships, settings and tablespaces as SQL; it holds verifiers."""
        command = self.launchers.command("pg_dumpall", "--globals-only", "--database=template1")
        return self._text(command, server)

    def schema_text(self, server: Server, database: str) -> str:
        """Return the definition of a database and of all in it as SQL."""
        # In one encoding, so that names read the same; a database in SQL_ASCII gives its bytes.
        arguments = ("--schema-only", "--create", "--encoding=UTF8")
        return self._text(self._pg_dump(*arguments, database=database), server)

    def dump_database(
        self, server: Server, database: str, directory: Path, *, jobs: int, compression: int
    ) -> Command:
        """Return the command that dumps a database into a new directory, in pg_dump's format."""
        return self._at(
            self._pg_dump(
                "--format=directory",
                "--blobs",
                "--no-sync",
                f"--jobs={jobs}",
                f"--compress={compression}",
                f"--file={directory}",
                database=database,
            ),
            server,
        )

    def _pg_dump(self, *arguments: str, database: str) -> Command:
        program = self.tree.postgres_program(self.major, "pg_dump")
        # As a connection string: a name with = in it would be taken for one.
        quoted = database.replace("\\", "\\\\").replace("'", "\\'")
        return self.tree.command(program, *arguments, f"--dbname=dbname='{quoted}'")

    def _text(self, command: Command, server: Server) -> str:
        output = programs.run(self._at(command, server), server.effects)
        return output.stdout.decode("utf-8", errors="surrogateescape")

    def _at(self, command: Command, server: Server) -> Command:
        variables = dict(server.environment) | {"PGOPTIONS": _PINNED}
        return replace(command, environment=(*command.environment, *variables.items()))

"""A session with a server: pinned settings, named errors, commits that count as effects."""

import os
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fcntl import F_SETPIPE_SZ, fcntl
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors as pg

from applianceforge.model.errors import (
    AccessDeniedError,
    DiskFullError,
    ExtensionMissingError,
    ForgeError,
    LocaleMissingError,
    LoginRefusedError,
    ServerFailedError,
)
from applianceforge.system import files
from applianceforge.system.effects import EffectKind, Effects

PORT = 5432
# What decides how a value becomes text or in which order rows come, so that both sides agree.
_PINNED = {
    "TimeZone": "UTC",
    "DateStyle": "ISO,YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "xmloption": "content",
    "lc_monetary": "C",
    "search_path": "pg_catalog",
    "row_security": "off",
    "synchronize_seqscans": "off",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
_BLOCK_BYTES = 1 << 20
_POLL_MS = 200


class Session:
    """One connection, in autocommit mode."""

    def __init__(self, connection: psycopg.Connection[Any], effects: Effects) -> None:
        """Take over a connection that `open_session` made."""
        self._connection = connection
        self._effects = effects

    def rows(self, query: str | bytes, parameters: Sequence[Any] | None = None) -> list[Any]:
        """Return all rows of a query, as tuples.

        Raises:
            ForgeError: See `named_error`.
        """
        with named_errors(), self._connection.cursor() as cursor:
            cursor.execute(query, parameters)
            return cursor.fetchall()

    def value(self, query: str, parameters: Sequence[Any] | None = None) -> Any:
        """Return the first column of the only row of a query."""
        return self.rows(query, parameters)[0][0]

    def execute(self, statement: str, parameters: Sequence[Any] | None = None) -> None:
        """Run a statement that changes something, and commit it."""
        with named_errors(), self._connection.cursor() as cursor:
            cursor.execute(statement, parameters)
        self._effects.happened(EffectKind.COMMIT, statement.split("\n", 1)[0][:60])

    def encode(self, text: str) -> bytes:
        """Return text in the encoding of the database, as it is sent to the server."""
        if self._connection.info.encoding == "ascii":
            return text.encode("utf-8", errors="surrogateescape")
        return text.encode(self._connection.info.encoding)

    def cancel(self) -> None:
        """Ask the server to end the statement that another thread waits for."""
        self._connection.cancel()

    def copy_blocks(
        self, query: str, pipe: Path, consume: Callable[[bytes], None], stopped: threading.Event
    ) -> int:
        """Stream a binary COPY through a named pipe, in blocks of up to 1 MiB.

        The server writes to the pipe itself, so that the cost does not grow with the number of
        rows, and memory not with their size.

        Args:
            query: A table name or a query in parentheses, quoted as SQL needs it.
            pipe: Where the pipe is made; the server must be able to reach it.
            consume: Takes each block.
            stopped: Set from outside to give up.

        Returns:
            The number of rows.

        Raises:
            ForgeError: See `named_error`.
            InterruptedError: `stopped` was set.
        """
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe, 0o600)
        owner = pipe.parent.stat()
        files.change_owner(pipe, owner.st_uid, owner.st_gid)
        statement = f"COPY {query} TO '{_literal(pipe)}' (FORMAT binary)"
        outcome: list[int | BaseException] = []

        def copy() -> None:
            try:
                with self._connection.cursor() as cursor:
                    cursor.execute(self.encode(statement))
                    outcome.append(cursor.rowcount)
            except psycopg.Error as error:
                outcome.append(error)

        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        worker = threading.Thread(target=copy, name=f"copy {pipe.name}")
        try:
            fcntl(reader, F_SETPIPE_SZ, _BLOCK_BYTES)
            worker.start()
            try:
                _drain(reader, consume, lambda: bool(outcome), stopped)
            finally:
                if not outcome and (stopped.is_set() or worker.is_alive()):
                    # Done but for the end of the statement, or given up: cancel harms neither.
                    worker.join(timeout=1.0)
                    if worker.is_alive():
                        self.cancel()
        finally:
            os.close(reader)
            worker.join()
            pipe.unlink(missing_ok=True)
        if stopped.is_set():
            raise InterruptedError
        result = outcome[0]
        if isinstance(result, psycopg.Error):
            raise named_error(result) from result
        if isinstance(result, BaseException):
            raise result
        return result

    def close(self) -> None:
        """End the session."""
        self._connection.close()


def _literal(path: Path) -> str:
    return str(path).replace("'", "''")


def _drain(
    reader: int,
    consume: Callable[[bytes], None],
    finished: Callable[[], bool],
    stopped: threading.Event,
) -> None:
    """Read a pipe until its writer has closed it, or until there will be none."""
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    while not stopped.is_set():
        # A pipe that no writer has opened yet shows nothing at all; one that was closed, POLLHUP.
        was_finished = finished()
        events = poller.poll(_POLL_MS)
        if not events:
            if was_finished:
                return
            continue
        block = os.read(reader, _BLOCK_BYTES)
        if not block:
            return
        consume(block)


@contextmanager
def open_session(
    sockets: Path,
    effects: Effects,
    *,
    database: str,
    superuser: str,
    passfile: Path | None = None,
    encoding: str = "UTF8",
) -> Iterator[Session]:
    """Connect through the socket directory of a server of ours.

    Args:
        sockets: The private directory of the socket.
        effects: Told of each commit.
        database: The database's name.
        superuser: The role to connect as.
        passfile: A password file in libpq's format.
        encoding: The client encoding; text is converted to it also in binary COPY.

    Raises:
        LoginRefusedError: Wrong password, missing role, or the hba file says no.
        ServerFailedError: The server went away.
    """
    options = " ".join(f"-c {key}={value}" for key, value in _PINNED.items())
    with named_errors():
        connection = psycopg.connect(
            host=str(sockets),
            port=PORT,
            dbname=database,
            user=superuser,
            passfile=None if passfile is None else str(passfile),
            client_encoding=encoding,
            application_name="applianceforge",
            options=options,
            autocommit=True,
        )
    session = Session(connection, effects)
    try:
        yield session
    finally:
        session.close()


@contextmanager
def named_errors() -> Iterator[None]:
    """Turn psycopg's errors into ours."""
    try:
        yield
    except psycopg.Error as error:
        raise named_error(error) from error


def named_error(error: psycopg.Error) -> ForgeError:
    """Return the named error for an error of the server or of the connection."""
    text = str(error).strip().splitlines() or [type(error).__name__]
    message = f"PostgreSQL says: {text[0]}"
    evidence = tuple(text)
    if isinstance(error, pg.DiskFull) or "No space left on device" in text[0]:
        return DiskFullError(
            message,
            hint="make room on that file system, then run the same command again: it continues",
            evidence=evidence,
        )
    if isinstance(error, pg.InsufficientPrivilege):
        return AccessDeniedError(
            message, hint="name a superuser of the cluster in the settings", evidence=evidence
        )
    if isinstance(error, pg.FeatureNotSupported) and "extension" in text[0]:
        return ExtensionMissingError(
            message, hint="install the extension's package on that side", evidence=evidence
        )
    lowered = str(error).lower()
    if any(one in lowered for one in ("password authentication", "no password supplied")):
        return LoginRefusedError(
            message,
            hint="put the right password into the file that `passfile` names (mode 0600), or leave"
            " hba_file out: then no password is needed",
            evidence=evidence,
        )
    if "role" in lowered and "does not exist" in lowered:
        return LoginRefusedError(
            message,
            hint="set `superuser` in the settings to the cluster's superuser: the role that initdb"
            " made, often postgres",
            evidence=evidence,
        )
    if "pg_hba.conf" in lowered or "authentication failed" in lowered:
        return LoginRefusedError(
            message,
            hint="leave hba_file out of the settings, so that our own is used",
            evidence=evidence,
        )
    if "locale" in lowered and ("not recognized" in lowered or "incompatible" in lowered):
        return LocaleMissingError(
            message, hint="install that locale into the program tree", evidence=evidence
        )
    return ServerFailedError(
        message, hint="the server's log is in the work directory, under logs/", evidence=evidence
    )

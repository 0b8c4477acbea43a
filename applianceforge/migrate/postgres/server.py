"""Run a PostgreSQL server on a Unix socket that only we can reach.

No TCP, an unprivileged user, a session of its own (a signal to our process group takes no server
with it), no autovacuum, no logical replication, modest memory (a 32-bit address space is 4 GB).
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from applianceforge.migrate.postgres.diagnosis import why_it_failed
from applianceforge.migrate.postgres.session import PORT, Session, open_session
from applianceforge.migrate.tree import ProgramTree
from applianceforge.model.errors import (
    AccessDeniedError,
    DiskFullError,
    LoginRefusedError,
    ProgramFailedError,
    ServerFailedError,
    ServerRunningError,
    SettingsError,
)
from applianceforge.system import files, programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Process, User
from applianceforge.system.signals import deferred

_HBA = "local all all trust\n"
_START_PATIENCE_S = 3600.0
_STOP_PATIENCE_S = 300.0
_REAP_PATIENCE_S = 30.0
_POLL_S = 0.02
_WAL_SEGMENT_BYTES = 16 << 20
# Source: PostgreSQL 15, src/backend/postmaster/postmaster.c, ProcessStartupPacket.
_PASSING = ("starting up", "not yet accepting connections", "recovery mode", "shutting down")

_ALWAYS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "unix_socket_group": "",
    "external_pid_file": "",
    "autovacuum": "off",
    # A crashed server ends, and the next start recovers it: asked to stop while it recovers by
    # itself, PostgreSQL 15 can wait for ever.
    "restart_after_crash": "off",
    "max_logical_replication_workers": "0",
    "archive_mode": "off",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_min_messages": "warning",
    "log_statement": "none",
    "lc_messages": "C",
    "ssl": "off",
    "bonjour": "off",
    "jit": "off",
    "shared_buffers": "128MB",
    "max_connections": "40",
    "superuser_reserved_connections": "3",
    "synchronize_seqscans": "off",
    "max_parallel_workers_per_gather": "0",
}


@dataclass(frozen=True)
class ServerSetup:
    """What a server needs to run.

    Attributes:
        side: "source" or "target", for names and messages.
        tree: Whose programs.
        major: The major version.
        data: The data directory.
        sockets: The private directory of its socket.
        log: Its log file, 0600.
        superuser: The role that we connect as.
        options: Settings besides those that every server of ours gets.
        config_file: Its postgresql.conf where that is not in the data directory.
        hba_file: Who may connect, in place of our own.
        passfile: See `open_session`.
    """

    side: str
    tree: ProgramTree
    major: int
    data: Path
    sockets: Path
    log: Path
    superuser: str
    options: tuple[tuple[str, str], ...] = ()
    config_file: Path | None = None
    hba_file: Path | None = None
    passfile: Path | None = None

    @property
    def configuration(self) -> Path:
        """Return the directory of its configuration files: Debian's are not with the data."""
        return self.data if self.config_file is None else self.config_file.parent


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    setup: ServerSetup
    pid: int
    effects: Effects

    def session(self, database: str, *, encoding: str = "UTF8") -> AbstractContextManager[Session]:
        """Connect to one of its databases; see `open_session`."""
        return open_session(
            self.setup.sockets,
            self.effects,
            database=database,
            superuser=self.setup.superuser,
            passfile=self.setup.passfile,
            encoding=encoding,
        )

    @property
    def environment(self) -> tuple[tuple[str, str], ...]:
        """Return the variables by which libpq's programs find the server; none is a secret."""
        found = [
            ("PGHOST", str(self.setup.sockets)),
            ("PGPORT", str(PORT)),
            ("PGUSER", self.setup.superuser),
            ("PGOPTIONS", "-c statement_timeout=0"),
        ]
        if self.setup.passfile is not None:
            found.append(("PGPASSFILE", str(self.setup.passfile)))
        return tuple(found)


@dataclass(frozen=True)
class RunningServer:
    """What postmaster.pid says of a server that is alive."""

    pid: int
    sockets: str


def find_running(data: Path) -> RunningServer | None:
    """Return the living server of a data directory, or None.

    Source: PostgreSQL 15, src/include/utils/pidfile.h: pid, data directory, start time, port,
    socket directory, one a line.
    """
    noted = _read_pid_file(data)
    return noted if noted is not None and _is_postgres(noted.pid) else None


def _read_pid_file(data: Path) -> RunningServer | None:
    """Return what postmaster.pid says, whether or not that server is alive."""
    pid_file = data / "postmaster.pid"
    try:
        with files.named_errors(pid_file, "read"):
            lines = pid_file.read_text(errors="replace").splitlines() if pid_file.exists() else []
    except SettingsError:
        return None  # It vanished between the look and the read.
    if not lines or not lines[0].strip().isdecimal():
        return None
    return RunningServer(int(lines[0]), lines[4] if len(lines) > 4 else "")


def _is_postgres(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    named = any(b"postgres" in word or b"postmaster" in word for word in words)
    return named and _state_of(pid) not in ("", "Z")


def _state_of(pid: int) -> str:
    """Return the letter of a process's state: Z if it ended but is still listed; empty if gone."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return status.rpartition(")")[2].split()[0]


def clear_the_way(setup: ServerSetup) -> None:
    """Make sure that no server runs on the data directory: one that a killed run left is stopped.

    Raises:
        ServerRunningError: A server that is not ours runs there.
    """
    running = find_running(setup.data)
    if running is None:
        _wait_for_the_dead(setup.data)
        return
    if running.sockets != str(setup.sockets):
        raise ServerRunningError(
            f"a PostgreSQL server (process {running.pid}) runs on {setup.data}",
            hint="stop it cleanly first: `systemctl stop postgresql`, or `pg_ctl stop -D"
            f" {setup.data} -m fast`; do not remove postmaster.pid by hand",
        )
    _stop_pid(running.pid, signal.SIGINT)


def _wait_for_the_dead(data: Path) -> None:
    """Wait until a killed server is no longer listed: until then PostgreSQL takes it for alive.

    Source: PostgreSQL 15, src/backend/utils/init/miscinit.c, CreateLockFile: kill(pid, 0).
    """
    noted = _read_pid_file(data)
    deadline = time.monotonic() + _REAP_PATIENCE_S
    while noted is not None and _state_of(noted.pid) == "Z" and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _stop_pid(pid: int, request: signal.Signals) -> None:
    deadline = time.monotonic() + _STOP_PATIENCE_S
    try:
        os.kill(pid, request)
        while _is_postgres(pid):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGQUIT)
                deadline += _STOP_PATIENCE_S
            time.sleep(_POLL_S)
    except ProcessLookupError:
        return


@contextmanager
def running(setup: ServerSetup, effects: Effects) -> Iterator[Server]:
    """Start a server, wait until it answers, and stop it cleanly at the end of the block.

    Raises:
        ServerRunningError: Another server runs on the data directory.
        ServerFailedError: It does not start.
        ForeignClusterError: The data directory is of another architecture or version.
        DamagedClusterError: The data directory is damaged.
        LoginRefusedError: It started but does not let us in.
        AccessDeniedError: Permission denied.
        DiskFullError: No space is left.
    """
    clear_the_way(setup)
    with files.named_errors(setup.data, "read"):
        status = setup.data.stat()
    if status.st_uid == 0:
        raise AccessDeniedError(
            f"{setup.data} belongs to root, and PostgreSQL does not run as root",
            hint=f"give it to the user who shall run the server: `chown -R postgres {setup.data}`",
        )
    owner = User(status.st_uid, status.st_gid)
    if os.geteuid() not in (0, owner.uid):
        raise AccessDeniedError(
            f"{setup.data} belongs to user {owner.uid}, and we are user {os.geteuid()}",
            hint="run as root, or as the user who owns it",
        )
    process: Process | None = None
    try:
        with deferred():
            process = _start(setup, owner, effects)
        _wait_until_it_answers(setup, process, effects)
        yield Server(setup, process.pid, effects)
    finally:
        if process is not None:
            _stop(process)


@dataclass
class OnDemand:
    """A server that is started when it is first needed, and then kept."""

    setup: ServerSetup
    effects: Effects
    _stack: ExitStack = field(default_factory=ExitStack, repr=False)
    _server: Server | None = None

    @property
    def server(self) -> Server:
        """Return the server; raises as `running` does."""
        if self._server is None:
            self._server = self._stack.enter_context(running(self.setup, self.effects))
        return self._server

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Name a full disk where the server, or a program that asks it, says only that it failed.

        Raises:
            DiskFullError: There is no room where it writes.
        """
        try:
            yield
        except (ServerFailedError, ProgramFailedError) as error:
            full = _full_disk(self.setup)
            if not full:
                raise
            raise DiskFullError(
                f"{error.message}: {full}",
                hint="make room on that file system, then run the same command again: it continues",
                evidence=error.evidence,
            ) from error

    def stop(self) -> None:
        """Stop the server, if it runs."""
        self._server = None
        self._stack.close()


def _full_disk(setup: ServerSetup) -> str:
    """Return what shows that the server had no room, or nothing."""
    said = _lines_since_start(setup) if setup.log.exists() else []
    for line in reversed(said):
        if "No space left on device" in line:
            return line
    for path in (setup.data, setup.log):
        # A log on a full disk says nothing; the server writes its own in segments.
        free = files.free_bytes(path)
        if free < _WAL_SEGMENT_BYTES:
            return f"only {free} bytes are free on the file system of {path}"
    return ""


def _start(setup: ServerSetup, owner: User, effects: Effects) -> Process:
    files.make_directory(setup.sockets, effects)
    files.change_owner(setup.sockets, owner.uid, owner.gid)
    hba = setup.sockets / "pg_hba.conf"
    if setup.hba_file is None:
        files.write_file(hba, _HBA.encode(), effects)
        files.change_owner(hba, owner.uid, owner.gid)
    else:
        hba = setup.hba_file
    options = _ALWAYS | dict(setup.options)
    options |= {"unix_socket_directories": str(setup.sockets), "hba_file": str(hba)}
    config = setup.config_file
    if config is None and not (setup.data / "postgresql.conf").exists():
        # Debian keeps it in /etc: without one the server does not start at all.
        config = setup.sockets / "postgresql.conf"
        files.write_file(config, b"", effects)
        files.change_owner(config, owner.uid, owner.gid)
    if config is not None:
        options["config_file"] = str(config)
        options["data_directory"] = str(setup.data)
    words = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
    command = setup.tree.command(
        setup.tree.postgres_program(setup.major, "postgres"),
        *("-D", str(setup.data)),
        *words,
        user=owner,
    )
    files.make_directory(setup.log.parent, effects)
    log_start = f"--- {command}\n".encode()
    files.append_line(setup.log, log_start.rstrip(), effects)
    return programs.start(command, effects, output=Path(os.devnull), errors=setup.log)


def _wait_until_it_answers(setup: ServerSetup, process: Process, effects: Effects) -> None:
    deadline = time.monotonic() + _START_PATIENCE_S
    while True:
        if process.poll() is not None:
            raise why_it_failed(setup.side, setup.data, setup.log, _lines_since_start(setup))
        if (setup.sockets / f".s.PGSQL.{PORT}").exists():
            try:
                with open_session(
                    setup.sockets,
                    effects,
                    database="template1",
                    superuser=setup.superuser,
                    passfile=setup.passfile,
                ):
                    return
            except LoginRefusedError:
                raise
            except ServerFailedError as error:
                # A load that was cut while it dropped template1, or before it was made again.
                if any(one in error.message for one in ("does not exist", "invalid database")):
                    return
                if not _may_pass(error.message) or time.monotonic() > deadline:
                    lines = [*filter(_lasts, _lines_since_start(setup)), error.message]
                    raise why_it_failed(setup.side, setup.data, setup.log, lines) from error
        time.sleep(_POLL_S)


def _may_pass(said: str) -> bool:
    """Tell whether a server that refused may answer later.

    Recovery after a crash answers "starting up" for as long as it takes. All else that the server
    itself says stays as it is, such as that a catalog's file is missing.
    """
    return "FATAL:" not in said or not _lasts(said)


def _lasts(line: str) -> bool:
    return not any(one in line for one in _PASSING)


def _stop(process: Process) -> None:
    """Stop cleanly: a fast shutdown, which ends sessions and writes a checkpoint.

    A second Ctrl-C waits for it: it is the safe way, and a quick one.
    """
    request = signal.SIGINT
    with deferred():
        while process.poll() is None:
            process.send_signal(request)
            if not programs.wait(process, timeout_s=_STOP_PATIENCE_S):
                request = signal.SIGQUIT


def _lines_since_start(setup: ServerSetup) -> list[str]:
    """Return what the server wrote since we started it last."""
    lines = setup.log.read_text(errors="replace").splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("--- ")]
    return lines[starts[-1] + 1 :] if starts else lines

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from applianceforge.migrate import lock
from applianceforge.model.errors import AlreadyRunningError, SettingsError
from applianceforge.system import programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command

_HOLDER = """
import sys, time
from pathlib import Path
from applianceforge.migrate.lock import only_run
with only_run(Path(sys.argv[1]), "export"):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def held_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process holds the lock, until the block ends or it is killed."""
    words = (sys.executable, "-c", _HOLDER, str(path))
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_one_at_a_time_and_the_other_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held_elsewhere(path) as process:
        assert lock.is_held(path)
        with pytest.raises(AlreadyRunningError) as caught, lock.only_run(path, "run"):
            pass
        assert f"process {process.pid} (export)" in caught.value.message
        owner = lock.read_owner(path)
        assert owner is not None
        assert (owner.pid, owner.doing) == (process.pid, "export")
        process.send_signal(signal.SIGKILL)
        process.wait()
        # The name is still there, and means nothing.
        assert lock.read_owner(path) == owner
        assert not lock.is_held(path)
        with lock.only_run(path, "run") as mine:
            assert mine.pid == os.getpid()
            assert lock.read_owner(path) == mine
            assert lock.is_held(path)
    assert not lock.is_held(path)


def test_an_error_lets_go_of_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), lock.only_run(path, "run"):
            raise error
        assert not lock.is_held(path)


def test_whoever_only_looks_is_in_nobody_s_way(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    looking, seen = threading.Event(), threading.Event()

    def look() -> None:
        with open(path) as stream:
            fcntl.flock(stream, fcntl.LOCK_SH)
            looking.set()
            time.sleep(0.1)
            seen.set()

    thread = threading.Thread(target=look)
    thread.start()
    looking.wait()
    with lock.only_run(path, "run"):
        assert seen.is_set()
    thread.join()


def test_a_program_that_was_started_does_not_keep_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock.only_run(path, "run"):
        process = programs.start(Command(("/usr/bin/sleep", "60")), Effects())
    try:
        assert process.poll() is None
        assert not lock.is_held(path)
    finally:
        programs.stop(process)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', "\0\0"])
def test_an_owner_that_cannot_be_read_is_nobody(tmp_path: Path, content: str) -> None:
    path = tmp_path / "lock"
    path.write_text(content)
    assert lock.read_owner(path) is None
    with open(path) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(AlreadyRunningError, match="another process"), lock.only_run(path, "x"):
            pass


def test_no_file_is_no_lock(tmp_path: Path) -> None:
    assert not lock.is_held(tmp_path / "lock")
    assert lock.read_owner(tmp_path / "lock") is None


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "lock"
    with pytest.raises(SettingsError, match="none/lock"), lock.only_run(path, "run"):
        pass

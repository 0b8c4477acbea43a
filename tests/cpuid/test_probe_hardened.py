"""The probe where memory, files or processes are denied, and what it never does itself.

`hardened.py` takes away, and checks that it is gone. `test_probe_i386.py` runs this file with a
32-bit Python too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cpuid import hardened
from tests.cpuid.python import COMMAND

pytestmark = pytest.mark.skipif(
    os.uname().machine not in {"x86_64", "i686"}, reason="needs an x86 machine"
)
SCRIPT = str(Path(hardened.__file__))
EVERYTHING = "seccomp mdwe memfd-noexec noexec no-memfd"


def ask(confinements: str) -> dict[str, Any]:
    """Return what the probe says under these confinements."""
    done = subprocess.run(
        [*COMMAND, SCRIPT, *confinements.split(), "--", *COMMAND],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode == hardened.IMPOSSIBLE:
        pytest.skip(done.stderr.strip())
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    said: dict[str, Any] = json.loads(line)
    return said


def worked(said: dict[str, Any]) -> set[str]:
    return {route for route, failure in said["routes"].items() if not failure}


@pytest.mark.parametrize(
    ("confinements", "routes"),
    [
        ("", {"memfd", "anonymous"}),
        ("mdwe", {"memfd"}),
        ("seccomp", {"memfd"}),
        ("noexec", {"memfd", "anonymous"}),
        ("memfd-noexec", {"memfd", "anonymous"}),
        ("no-memfd", {"file", "anonymous"}),
        ("no-memfd mdwe", {"file"}),
        ("no-memfd seccomp", {"file"}),
        ("no-memfd noexec", {"anonymous"}),
        ("no-tmpfile seccomp", {"file"}),
        ("seccomp mdwe memfd-noexec noexec", {"memfd"}),
        ("no-proc", {"memfd", "anonymous"}),
        (EVERYTHING, set()),
        (f"{EVERYTHING} no-device", set()),
        ("no-fork", set()),
    ],
)
def test_verdict_by_at_least_one_route(confinements: str, routes: set[str]) -> None:
    plain, said = ask(""), ask(confinements)
    assert worked(said) - {"device"} == routes
    assert said["procinfo"] == ("no-proc" not in confinements)
    for fact in ("bits", "capability", "long_mode", "contradictions"):
        assert said[fact] == plain[fact]
    assert said["capability"] != "unknown"


@pytest.mark.parametrize("confinements", [f"{EVERYTHING} no-device no-proc", "no-files"])
def test_nothing_left_to_ask_is_unknown(confinements: str) -> None:
    said = ask(confinements)
    assert worked(said) == set()
    assert all(said["routes"].values())
    assert (said["capability"], said["long_mode"], said["level"]) == ("unknown", None, None)


def test_the_machine_stays_as_it_was() -> None:
    switch = Path("/proc/sys/vm/memfd_noexec")
    if not switch.exists():
        pytest.skip("needs Linux 6.3")
    before = switch.read_text(), Path("/proc/self/mounts").read_text()
    ask("noexec memfd-noexec no-device no-proc")
    assert (switch.read_text(), Path("/proc/self/mounts").read_text()) == before


WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")
CHANGING = {
    *("mkdir", "mkdirat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link"),
    *("linkat", "symlink", "symlinkat", "chmod", "fchmod", "fchmodat", "chown", "fchown"),
    *("lchown", "fchownat", "truncate", "ftruncate", "mknod", "mknodat", "mount", "umount2"),
    *("utimensat", "setxattr"),
}


def calls_of(directory: Path, *arguments: str, confinements: str = "") -> list[str]:
    """Return the system calls of a Python and of its children, one a line."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    log = directory / "strace"
    traced = (strace, "-f", "-qq", "-o", str(log), *COMMAND, "-B", *arguments)
    done = subprocess.run(
        [*COMMAND, SCRIPT, *confinements.split(), "--", *traced],
        check=False,
        capture_output=True,
        text=True,
        cwd=hardened.SOURCES,
    )
    if done.returncode == hardened.IMPOSSIBLE or "ptrace" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.stderr == ""
    assert done.stdout
    return [line.split(maxsplit=1)[1] for line in log.read_text().splitlines()]


def named(calls: list[str], *names: str) -> list[str]:
    return [call for call in calls if call.split("(")[0] in names]


def written(calls: list[str]) -> list[str]:
    return [c for c in named(calls, "open", "openat", "openat2", "creat") if WRITING.search(c)]


# `hardened.py` adds words of its own, which this leaves out.
CHECK = """
import sys
from applianceforge.cli import standalone
standalone.main(["check"])
"""


@pytest.mark.parametrize("arguments", [(), ("-c", CHECK)], ids=["probe", "check"])
def test_no_network_no_file_no_other_program(arguments: tuple[str, ...], tmp_path: Path) -> None:
    calls = calls_of(tmp_path, *arguments)
    assert named(calls, "socket", "socketcall", "connect", "bind", "sendto") == []
    assert len(named(calls, "execve", "execveat")) == 1
    assert named(calls, *CHANGING) == []
    assert written(calls) == []
    # The log does hold what is looked for.
    assert named(calls, "memfd_create")
    assert named(calls, "openat", "open")


def test_the_only_file_has_no_name(tmp_path: Path) -> None:
    calls = calls_of(tmp_path, confinements="no-memfd")
    (only,) = written(calls)
    assert "O_TMPFILE" in only
    assert named(calls, "socket", "connect", *CHANGING) == []


def test_a_file_with_a_name_loses_it_at_once(tmp_path: Path) -> None:
    before = set(os.listdir("/tmp"))
    calls = calls_of(tmp_path, confinements="no-tmpfile")
    created = next(at for at, call in enumerate(calls) if "O_CREAT|O_EXCL" in call)
    assert calls[created + 1].startswith("unlink")
    assert not {name for name in set(os.listdir("/tmp")) - before if name.startswith("cpuid")}

"""The probe's tests once more, with the 32-bit Python of a 32-bit release."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from applianceforge.migrate.tree import ProgramTree
from tests.cpuid import hardened

pytestmark = pytest.mark.real
HERE = Path(__file__).parent
SITE_PACKAGES = Path(pytest.__file__).parent.parent


def python_of(tree: ProgramTree) -> list[str]:
    program = tree.path("/usr/bin/python3").readlink()
    return list(tree.command(f"/usr/bin/{program}").arguments)


def ask(command: list[str]) -> dict[str, Any]:
    script = str(HERE / "hardened.py")
    done = subprocess.run([*command, script, "--ask"], check=True, capture_output=True)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_the_tests_of_the_probe_pass_in_32_bits(i386_tree: ProgramTree) -> None:
    command = python_of(i386_tree)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(hardened.SOURCES), str(SITE_PACKAGES))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "APPLIANCEFORGE_PYTHON": shlex.join(command),
    }
    # No conftest: what it imports is compiled for amd64.
    options = ["--noconftest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-q"]
    files = [str(HERE / "test_probe.py"), str(HERE / "test_probe_hardened.py")]
    code = "import struct, sys, pytest; assert struct.calcsize('P') == 4; sys.exit(pytest.main())"
    done = subprocess.run(
        [*command, "-c", code, *options, *files],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        cwd=hardened.SOURCES,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("tree", ["i386_tree", "i386_tree_13"])
def test_both_widths_say_the_same(tree: str, request: pytest.FixtureRequest) -> None:
    narrow = ask(python_of(request.getfixturevalue(tree)))
    wide = ask([sys.executable])
    assert (narrow.pop("bits"), wide.pop("bits")) == (32, 64)
    assert narrow == wide
    assert narrow["capability"] == "capable"

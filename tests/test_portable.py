"""What travels to boxes that have nothing: Python 3.7, the standard library, one small file."""

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from applianceforge.imaging import zipapp
from applianceforge.system.effects import Effects
from tests.reports import report_of

SOURCES = zipapp.sources()
FOREIGN = Path(__file__).parent / "data" / "foreign" / "i386"
# Found at run time, and done without where they are not there: see the modules' own words.
GUARDED = {"os.memfd_create", "os.MFD_CLOEXEC"}
# A module takes its time to import, and drags in others. None of these is needed to look.
HEAVY = {
    "asyncio", "click", "dataclasses", "email", "inspect", "logging", "multiprocessing", "psycopg",
    "rich", "shutil", "socket", "ssl", "subprocess", "tempfile", "unittest", "urllib", "uuid",
    "xml", "zstandard",
}  # fmt: skip


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_the_check_and_all_that_it_reaches_is_packed() -> None:
    assert "applianceforge/cli/standalone.py" in SOURCES
    assert "applianceforge/cpuid/probe.py" in SOURCES
    assert "applianceforge/preflight/scanner.py" in SOURCES
    assert not any("migrate" in name or "rrd/" in name for name in SOURCES)


@pytest.mark.parametrize("name", SOURCES)
def test_only_the_standard_library_is_imported(name: str) -> None:
    foreign = imported(SOURCES[name]) - sys.stdlib_module_names - {"applianceforge"}
    assert not foreign


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_heavy_is_imported(name: str) -> None:
    # What writes durably is reached by the decision log alone.
    spared = {"shutil"} if name == "applianceforge/system/files.py" else set()
    assert not imported(SOURCES[name]) & HEAVY - spared


@pytest.mark.parametrize("name", SOURCES)
def test_syntax_is_that_of_python_3_7(name: str) -> None:
    ast.parse(SOURCES[name].read_text(), feature_version=(3, 7))


def minimum(*paths: Path) -> str:
    """Return what vermin says of the features and modules that some files use."""
    options = ["--target=3.7-", "--no-tips", "--violations", "--no-parse-comments"]
    options += [word for name in sorted(GUARDED) for word in ("--exclude", name)]
    done = subprocess.run(
        [Path(sys.executable).parent / "vermin", *options, *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout


def test_features_are_those_of_python_3_7() -> None:
    assert minimum(*SOURCES.values()) == ""


def subscripted(source: str) -> list[str]:
    """Return what is subscripted where it is run, and can be so only since Python 3.9.

    Annotations are not run: every module has `from __future__ import annotations`.
    """
    tree = ast.parse(source)
    newer = {"dict", "frozenset", "list", "set", "tuple", "type"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in {"collections", "collections.abc"}:
            newer.update(alias.asname or alias.name for alias in node.names)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
        for name in ("annotation", "returns"):
            if hasattr(node, name):
                setattr(node, name, None)
    return [
        f"{node.value.id}[...] in line {node.lineno}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id in newer
    ]


@pytest.mark.parametrize("name", SOURCES)
def test_no_type_is_subscripted_where_it_is_run(name: str) -> None:
    source = SOURCES[name].read_text()
    assert subscripted(source) == []
    annotated = any(
        isinstance(node, ast.arg | ast.AnnAssign) for node in ast.walk(ast.parse(source))
    )
    assert not annotated or "from __future__ import annotations" in source


def test_subscripts_are_found() -> None:
    source = "from collections.abc import Callable\nA = Callable[[int], str]\nB = list[int]\n"
    assert len(subscripted(source)) == 2
    assert subscripted("def f(a: list[int]) -> dict[str, int]:\n    b: set[int] = set()\n") == []


@pytest.mark.parametrize(
    "newer",
    [
        "if (n := 3):\n    pass\n",
        "def f(a, /):\n    pass\n",
        "import tomllib\n",
        "'a'.removeprefix('b')\n",
        "from functools import cache\n",
        "from typing import Protocol\n",
    ],
)
def test_what_is_newer_is_found(newer: str, tmp_path: Path) -> None:
    path = tmp_path / "newer.py"
    path.write_text(newer)
    assert minimum(path) != ""


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    first = zipapp.build(tmp_path / "one.pyz", Effects())
    zipapp.build(tmp_path / "two.pyz", Effects())
    assert (tmp_path / "one.pyz").read_bytes() == (tmp_path / "two.pyz").read_bytes()
    assert first <= zipapp.MOST_BYTES
    with zipfile.ZipFile(tmp_path / "one.pyz") as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) > set(SOURCES)


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zipapp") / "applianceforge-check.pyz"
    zipapp.build(path, Effects())
    return path


def call(packed: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the zipapp with nothing of ours to import, and no third party's either."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(packed), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=packed.parent,
    )


def test_the_zipapp_checks_scans_and_explains(packed: Path, tmp_path: Path) -> None:
    checked = call(packed, "check")
    assert checked.stderr == ""
    assert checked.returncode in {0, 10}
    assert "can run 64-bit programs" in checked.stdout
    (tmp_path / "note.txt").write_text("nothing but text\n")
    assert call(packed, "scan", tmp_path).returncode == 0
    explained = call(packed, "error", "FATAL:  incorrect checksum in control file")
    assert explained.returncode == 0
    assert "pg_resetwal" in explained.stdout


def interpreters() -> dict[str, str]:
    """Return other Pythons of this machine, by their version: on PATH, and pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    names = [f"python3.{minor}" for minor in range(4, 20)]
    candidates = [path for name in names if (path := shutil.which(name))]
    candidates += [str(path) for path in sorted(pyenv.glob("versions/*/bin/python"))]
    found: dict[str, str] = {}
    for candidate in candidates:
        said = subprocess.run(
            [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if said.returncode == 0:
            found.setdefault(said.stdout.strip(), candidate)
    return found


INTERPRETERS = interpreters()


@pytest.mark.parametrize("version", INTERPRETERS)
def test_the_zipapp_runs_on_other_pythons(packed: Path, version: str, tmp_path: Path) -> None:
    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [INTERPRETERS[version], "-W", "error", packed, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    if tuple(map(int, version.split("."))) < (3, 7):
        told = run("check")
        assert (told.returncode, told.stdout) == (41, "")
        assert "check.sh" in told.stderr
        return
    checked = run("check", "--json")
    assert (checked.returncode, checked.stderr) in {(0, ""), (10, "")}
    mine = call(packed, "check", "--json")
    assert report_of(checked.stdout)["processor"] == report_of(mine.stdout)["processor"]
    dump = tmp_path / "facts.txt"
    dump.write_text(run("check", "--dump").stdout)
    assert run("check", "--from-dump", dump).returncode in {0, 10}
    assert "inhibitor" in run("check", "--leapp", "--scan", FOREIGN).stdout
    scanned = run("scan", "--json", FOREIGN)
    assert (scanned.returncode, scanned.stderr) == (24, "")
    assert report_of(scanned.stdout)["scans"]
    assert scanned.stdout == call(packed, "scan", "--json", FOREIGN).stdout
    assert "pg_resetwal" in run("error", "incorrect checksum in control file").stdout
    answers = tmp_path / "box.answers"
    answers.write_text("[data *.gdbm]\nis = discard\nreason = a cache\n")
    log = tmp_path / "decisions.jsonl"
    assert run("scan", FOREIGN, "--answers", answers, "--decisions", log).returncode == 24
    assert log.exists()


def test_the_zipapp_is_executable(packed: Path) -> None:
    assert packed.stat().st_mode & 0o777 == 0o755
    assert packed.read_bytes().startswith(b"#!/usr/bin/env python3\n")


def test_an_old_python_is_told_what_to_do(packed: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        main = archive.read("__main__.py").decode()
    # Its first lines are read by any Python: no syntax of ours before the check of the version.
    assert main.index("version_info") < main.index("from applianceforge")
    assert "check.sh" in main
    ast.parse(main, feature_version=(3, 4))

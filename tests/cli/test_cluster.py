"""The command that says what a data directory is."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from applianceforge.cli import cluster as command
from applianceforge.cli.cluster import Server, cluster, find_server, judge
from applianceforge.formats import pg_control
from applianceforge.migrate.tree import ProgramTree
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import (
    AccessDeniedError,
    DamagedClusterError,
    ForeignClusterError,
    ForgeError,
    UsageError,
)

DATA = Path(__file__).parent.parent / "data" / "pg_control"
NOBODY = 65534


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Path]:
    """Give a data directory of i386, as far as the command looks."""
    directory = tmp_path / "main"
    (directory / "global").mkdir(parents=True)
    (directory / "PG_VERSION").write_text("15\n")
    shutil.copy(DATA / "i386" / "pg_control", directory / "global")
    yield directory


def servers_of(tree: Path, architecture: Architecture) -> Path:
    """Lay out the head of a server program of an architecture, as Debian does."""
    program = tree / "15" / "bin" / "postgres"
    program.parent.mkdir(parents=True)
    bits, machine = (1, 3) if architecture is Architecture.I386 else (2, 62)
    head = bytearray(64)
    head[:6] = b"\x7fELF" + bytes([bits, 1])
    head[18] = machine
    program.write_bytes(head)
    return tree


def ask(directory: Path, *options: str) -> str:
    result = CliRunner().invoke(cluster, ["info", str(directory), *options])
    if result.exception is not None:
        raise result.exception
    return result.output


def flat(text: str) -> str:
    return " ".join(text.split())


def test_32_bit_cluster_on_a_64_bit_machine(
    make: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = servers_of(tmp_path / "servers", Architecture.AMD64)
    monkeypatch.setattr(command, "find_server", lambda major: find_server(major, servers))
    text = flat(ask(make))
    for words in (
        "version PostgreSQL 15",
        "32 bits (i386)",
        "4 bytes, float8 by reference",
        "state shut down",
        "data checksums off",
        "7710889538612604951",
        "opens here no:",
        "that is not damage",
        "applianceforge migrate",
        "never run pg_resetwal",
    ):
        assert words in text
    said = json.loads(ask(make, "--json"))
    assert said["schema"] == 1
    assert (said["major"], said["architecture"], said["width"]) == ("15", "i386", 32)
    assert (said["opens_here"], said["shut_down"]) == (False, True)
    assert said["system_identifier"] == "7710889538612604951"
    assert said["modified"] == "2026-11-22T07:09:39+00:00"
    assert said["server"] == str(servers / "15" / "bin" / "postgres")


def test_cluster_of_this_architecture_opens(
    make: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = servers_of(tmp_path / "servers", Architecture.I386)
    monkeypatch.setattr(command, "find_server", lambda major: find_server(major, servers))
    text = flat(ask(make))
    assert "opens here yes" in text
    assert "to do" not in text


@pytest.mark.parametrize("cluster_of", ["i386", "amd64"])
@pytest.mark.parametrize("server_of", [None, *Architecture])
def test_who_opens_what(cluster_of: str, server_of: Architecture | None) -> None:
    data = pg_control.decode((DATA / cluster_of / "pg_control").read_bytes())
    server = None if server_of is None else Server(Path("/bin/postgres"), server_of)
    opening = judge(data, server)
    assert opening.possible == (server_of is not None and server_of.value == cluster_of)
    assert ("pg_resetwal" in opening.advice) != opening.possible
    if not opening.possible:
        assert ("applianceforge migrate" in opening.advice) == (cluster_of == "i386")


def test_no_server_and_no_elf_are_no_server(tmp_path: Path) -> None:
    assert find_server("15", tmp_path) is None
    program = tmp_path / "15" / "bin" / "postgres"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    assert find_server("15", tmp_path) is None


def test_not_a_data_directory(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "missing", Path(__file__)):
        with pytest.raises(UsageError, match="not a PostgreSQL data directory"):
            ask(directory)


@pytest.mark.parametrize("name", ["PG_VERSION", "global/pg_control"])
def test_missing_part(make: Path, name: str) -> None:
    (make / name).unlink()
    with pytest.raises(DamagedClusterError, match=name) as caught:
        ask(make)
    assert "pg_resetwal" in caught.value.hint


def test_part_that_is_a_directory(make: Path) -> None:
    (make / "PG_VERSION").unlink()
    (make / "PG_VERSION").mkdir()
    with pytest.raises(ForgeError, match="PG_VERSION"):
        ask(make)


@pytest.mark.parametrize("stated", ["13\n", "", "15.1\n", "\xff\n"])
def test_contradiction(make: Path, stated: str) -> None:
    (make / "PG_VERSION").write_text(stated)
    with pytest.raises(DamagedClusterError, match="contradicts itself"):
        ask(make)


def test_damaged(make: Path) -> None:
    control = make / "global" / "pg_control"
    control.write_bytes(control.read_bytes().replace(b"\x19\x40", b"\x19\x41", 1))
    with pytest.raises(DamagedClusterError, match="wrong checksum") as caught:
        ask(make)
    assert str(control) in caught.value.message


def test_foreign(make: Path) -> None:
    control = make / "global" / "pg_control"
    content = bytearray(8192)
    content[8:16] = (1300).to_bytes(4, "big") + (202209061).to_bytes(4, "big")
    content[208:216] = bytes.fromhex("4132d68700000000")
    control.write_bytes(content)
    with pytest.raises(ForeignClusterError, match="big-endian"):
        ask(make)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Drop root's privileges for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_permission_denied(make: Path) -> None:
    (make / "global").chmod(0o000)
    try:
        with as_nobody(), pytest.raises(AccessDeniedError, match="Permission denied"):
            ask(make)
    finally:
        (make / "global").chmod(0o700)


@pytest.mark.real
def test_real_servers_are_told_apart(i386_tree: ProgramTree, native_tree: ProgramTree) -> None:
    for tree, architecture in ((i386_tree, "i386"), (native_tree, "amd64")):
        server = find_server("15", tree.path("/usr/lib/postgresql"))
        assert server is not None
        assert server.architecture is Architecture(architecture)

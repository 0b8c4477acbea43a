"""What 64-bit programs really say of 32-bit files is known."""

import ctypes
import ctypes.util
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from applianceforge.preflight import messages

pytestmark = pytest.mark.real
DATA = Path(__file__).parents[1] / "data"
POSTGRESQL = Path("/usr/lib/postgresql/15/bin")


def said(*words: str | Path) -> str:
    """What a program says that is made to fail, in English."""
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not here")
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.stderr or done.stdout
    return done.stderr + done.stdout


def keys(line: str) -> list[str]:
    return [explanation.key for explanation in messages.explain(line)]


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """As much of an i386 data directory as a server reads before it gives up."""
    (tmp_path / "global").mkdir()
    shutil.copy(DATA / "pg_control/i386/pg_control", tmp_path / "global")
    (tmp_path / "PG_VERSION").write_text("15\n")
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        (tmp_path / name).touch()
    return tmp_path


def test_postgres(cluster: Path) -> None:
    line = said(POSTGRESQL / "postgres", "-C", "data_checksums", "-D", cluster)
    assert "incorrect checksum in control file" in line
    assert keys(line) == ["postgresql.control-checksum"]


def test_pg_controldata(cluster: Path) -> None:
    line = said(POSTGRESQL / "pg_controldata", cluster)
    assert keys(line) == ["postgresql.control-checksum"]


def test_rrdtool() -> None:
    line = said("rrdtool", "lastupdate", DATA / "rrd/i386/t.rrd")
    assert keys(line) == ["rrd.architecture"]


def test_storable() -> None:
    line = said(
        "perl", "-MStorable", "-e", "retrieve($ARGV[0])", DATA / "foreign/i386/native.storable"
    )
    assert keys(line) == ["perl.storable"]


def test_storable_s_own_remedy(tmp_path: Path) -> None:
    """The command that is recommended for the old side makes what the other side reads."""
    (explanation,) = messages.explain("Long integer size is not compatible")
    (command,) = (c for step in explanation.steps for c in step.commands if c.startswith("perl "))
    path = tmp_path / "cache"
    shutil.copy(DATA / "foreign/amd64/native.storable", path)
    if shutil.which("perl") is None:
        pytest.skip("perl is not here")
    subprocess.run(["sh", "-c", command.replace("FILE", str(path))], check=True)
    written = path.with_name("cache.new").read_bytes()
    network_order = 1
    assert written[:4] == b"pst0"
    assert written[4] & network_order


def test_gdbm() -> None:
    name = ctypes.util.find_library("gdbm")
    if name is None:
        pytest.skip("GDBM's library is not here")
    library = ctypes.CDLL(name)
    library.gdbm_open.restype = ctypes.c_void_p
    library.gdbm_strerror.restype = ctypes.c_char_p
    library.gdbm_errno_location.restype = ctypes.POINTER(ctypes.c_int)
    path = bytes(DATA / "foreign/i386/g.gdbm")
    reader = 0
    assert library.gdbm_open(path, 0, reader, 0, None) is None
    line = library.gdbm_strerror(library.gdbm_errno_location().contents).decode()
    assert keys(line) == ["gdbm.header"]


def elf(width_bits: int, machine: int) -> bytes:
    """The header of a program or library that is nothing else."""
    kind = 1 if width_bits == 32 else 2
    identification = b"\x7fELF" + bytes((kind, 1, 1)) + bytes(9)
    return identification + struct.pack("<HHI", 3, machine, 1) + bytes(100)


def test_the_dynamic_linker(tmp_path: Path) -> None:
    path = tmp_path / "old.so"
    path.write_bytes(elf(32, 3))
    with pytest.raises(OSError, match="ELFCLASS32") as caught:
        ctypes.CDLL(str(path))
    assert keys(str(caught.value)) == ["elf.class"]


def test_the_shell(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(elf(64, 0xFFF0))
    path.chmod(0o755)
    assert keys(said("bash", "-c", str(path))) == ["elf.exec"]

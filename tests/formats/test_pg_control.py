"""The control file's decoder, against the files, the compiler and pg_controldata."""

import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.formats import pg_control
from applianceforge.formats.pg_control import ClusterState, ControlData, WalLevel, decode, layout
from applianceforge.migrate.tree import ProgramTree
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import DamagedClusterError, ForeignClusterError, ForgeError
from applianceforge.system.effects import Effects
from applianceforge.system.programs import run

DATA = Path(__file__).parent.parent / "data" / "pg_control"
GOLDEN = {name: (DATA / name / "pg_control").read_bytes() for name in ("i386", "amd64")}
RELEASES = (902, 903, 904, 905, 906, 1000, 1100, 1200, 1300, 1400, 1500, 1600, 1700, 1800)
VERSIONS = {
    902: (922, 201204301),
    903: (937, 201306121),
    904: (942, 201409291),
    905: (942, 201510051),
    906: (960, 201608131),
    1000: (1002, 201707211),
    1100: (1100, 201809051),
    1200: (1201, 201909212),
    1300: (1300, 202007201),
    1400: (1300, 202107181),
    1500: (1300, 202209061),
    1600: (1300, 202307071),
    1700: (1700, 202406281),
    1800: (1800, 202506291),
}


def control_file(release: int, max_align: int, **changed: int) -> bytes:
    """Make a control file with random members, right where it has to be, and a right checksum."""
    dice = random.Random(f"{release} {max_align}")
    members = layout(release, max_align)
    content = bytearray(8192)
    fixed = {
        "control_version": VERSIONS[release][0],
        "catalog_version": VERSIONS[release][1],
        "state": 1,
        "wal_level": 1,
        "max_align": max_align,
        "modified_s": 1_700_000_000,
        "checkpoint_s": 1_700_000_001,
        "block_bytes": 8192,
        "wal_segment_bytes": 1 << 24,
        "wal_block_bytes": 8192,
        "timeline": 7,
    }
    for name, (at, kind) in members.items():
        if kind == "d":
            content[at : at + 8] = struct.pack("<d", 1234567.0)
        elif kind == "N":
            content[at : at + 32] = dice.randbytes(32)
        else:
            value = (fixed | changed).get(name, dice.randrange(2 if kind == "?" else 1 << 31))
            form = {"?": "B", "L": "Q"}.get(kind, kind)
            struct.pack_into("<" + form, content, at, value)
    end = members["crc"][0]
    struct.pack_into("<I", content, end, pg_control.checksum(bytes(content[:end]), release))
    return bytes(content)


def resealed(content: bytes, release: int, max_align: int) -> bytes:
    end = layout(release, max_align)["crc"][0]
    sealed = struct.pack("<I", pg_control.checksum(content[:end], release))
    return content[:end] + sealed + content[end + 4 :]


def test_golden_i386() -> None:
    data = decode(GOLDEN["i386"])
    assert data == ControlData(
        major="15",
        system_identifier=7710889538612604951,
        control_version=1300,
        catalog_version=202209061,
        state=ClusterState.SHUT_DOWN,
        modified_s=1795331379,
        checkpoint_lsn=0x15337A0,
        redo_lsn=0x15337A0,
        timeline=1,
        next_oid=16409,
        checkpoint_s=1795331378,
        wal_level=WalLevel.REPLICA,
        max_connections=100,
        max_worker_processes=8,
        max_wal_senders=10,
        max_prepared_transactions=0,
        max_locks_per_transaction=64,
        max_align=4,
        block_bytes=8192,
        segment_blocks=131072,
        wal_block_bytes=8192,
        wal_segment_bytes=16777216,
        name_bytes=64,
        index_keys=32,
        toast_chunk_bytes=2000,
        large_object_chunk_bytes=2048,
        float8_by_value=False,
        data_checksums=0,
    )
    assert (data.width, data.architecture, data.was_shut_down) == (32, Architecture.I386, True)


def test_golden_amd64() -> None:
    data = decode(GOLDEN["amd64"])
    assert (data.width, data.architecture) == (64, Architecture.AMD64)
    assert (data.max_align, data.float8_by_value, data.toast_chunk_bytes) == (8, True, 1996)
    assert data.system_identifier == 7710889574954946583


@pytest.mark.parametrize("name", ["i386", "amd64"])
def test_first_sector_is_enough(name: str) -> None:
    assert decode(GOLDEN[name][:512]) == decode(GOLDEN[name])


def test_crc32c_of_the_standard() -> None:
    # Source: RFC 3720, appendix B.4, and the usual check value.
    assert pg_control.crc32c(b"123456789") == 0xE3069283
    assert pg_control.crc32c(bytes(32)) == 0x8A9136AA
    assert pg_control.crc32c(b"\xff" * 32) == 0x62A8AB43


def test_legacy_checksum_is_neither_bit_order_of_crc32() -> None:
    assert pg_control.legacy_crc32(b"") == 0
    assert pg_control.legacy_crc32(b"123456789") not in (0xCBF43926, 0xFC891918)


@pytest.mark.parametrize("max_align", [4, 8])
@pytest.mark.parametrize("release", RELEASES)
def test_every_release_of_either_alignment(release: int, max_align: int) -> None:
    data = decode(control_file(release, max_align, float8_by_value=int(max_align == 8)))
    assert data.major == (str(release // 100) if release >= 1000 else f"9.{release % 100}")
    assert data.width == (32 if max_align == 4 else 64)
    assert (data.timeline, data.block_bytes, data.wal_segment_bytes) == (7, 8192, 1 << 24)
    assert data.wal_level is (WalLevel.REPLICA if release >= 906 else WalLevel.ARCHIVE)
    assert (data.max_worker_processes is None) == (release < 904)
    assert (data.max_wal_senders is None) == (release < 1200)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("release", RELEASES)
def test_offsets_are_the_compilers(release: int, bits: int, tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs gcc")
    location = "struct { unsigned a, b; }" if release == 902 else "unsigned long long"
    types = {"Q": "unsigned long long", "q": "long long", "d": "double", "I": "unsigned"}
    types |= {"i": "int", "?": "_Bool", "L": location}
    lines, depth = ["struct control {"], ""
    members = layout(release, 4 if bits == 32 else 8)
    where = {}
    for field in pg_control._FIELDS:
        if not field.since <= release < field.until:
            continue
        if field.kind == "(":
            lines.append("struct {")
            depth = "inner."
        elif field.kind == ")":
            lines.append("} inner;")
            depth = ""
        elif field.kind == "N":
            lines.append(f"char {field.name}[32];")
            where[field.name] = field.name
        else:
            lines.append(f"{types[field.kind]} {field.name};")
            where[field.name] = depth + field.name
    lines.append("};")
    for name, (at, _) in members.items():
        test = f"__builtin_offsetof(struct control, {where[name]}) == {at}"
        lines.append(f'_Static_assert({test}, "{name}");')
    source = tmp_path / "layout.c"
    source.write_text("\n".join(lines))
    command = [compiler, f"-m{bits}", "-std=c11", "-fsyntax-only", str(source)]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stderr == ""


def test_942_is_two_releases_and_the_catalog_version_tells() -> None:
    assert decode(control_file(904, 4)).major == "9.4"
    assert decode(control_file(905, 4)).major == "9.5"
    mixed = bytearray(control_file(905, 4))
    struct.pack_into("<I", mixed, 12, VERSIONS[904][1])
    with pytest.raises(ForgeError):
        decode(bytes(mixed))


def test_old_location_has_its_upper_word_first() -> None:
    content = bytearray(control_file(902, 4))
    at = layout(902, 4)["checkpoint_lsn"][0]
    struct.pack_into("<II", content, at, 0x61, 0xF34CE340)
    assert decode(resealed(bytes(content), 902, 4)).checkpoint_lsn == 0x61F34CE340


def test_32_bit_arm_is_no_i386() -> None:
    data = decode(control_file(1500, 8, float8_by_value=0))
    assert (data.width, data.architecture) == (32, None)


@pytest.mark.parametrize("state", range(7))
def test_every_state(state: int) -> None:
    data = decode(control_file(1500, 4, state=state))
    assert data.state is tuple(ClusterState)[state]
    assert data.was_shut_down == (state in (1, 2))


def big_endian() -> bytes:
    content = bytearray(8192)
    struct.pack_into(">QII", content, 0, 7, 1300, 202209061)
    struct.pack_into(">Id", content, 204, 8, 1234567.0)
    return bytes(content)


def unknown_release() -> bytes:
    content = bytearray(GOLDEN["amd64"])
    struct.pack_into("<I", content, 12, 209912311)
    return resealed(bytes(content), 1500, 8)


def flipped(name: str, at: int) -> bytes:
    content = bytearray(GOLDEN[name])
    content[at] ^= 1
    return bytes(content)


MALFORMED = {
    "empty": (b"", DamagedClusterError, "0 bytes"),
    "cut within the versions": (GOLDEN["i386"][:12], DamagedClusterError, "12 bytes"),
    "cut before the checksum": (GOLDEN["i386"][:270], DamagedClusterError, "damaged"),
    "zeros": (bytes(8192), DamagedClusterError, "zeros only"),
    "text": (b"this is not a control file, really" * 9, DamagedClusterError, "not a control file"),
    "one bit, i386": (flipped("i386", 0x48), DamagedClusterError, "wrong checksum"),
    "one bit, amd64": (flipped("amd64", 0x48), DamagedClusterError, "wrong checksum"),
    "one bit of the checksum": (flipped("i386", 0x10C), DamagedClusterError, "wrong checksum"),
    "one bit of the version": (flipped("i386", 8), DamagedClusterError, "damaged"),
    "state": (control_file(1500, 4, state=9), DamagedClusterError, "state 9"),
    "wal_level": (control_file(1500, 8, wal_level=5), DamagedClusterError, "wal_level 5"),
    "big endian": (big_endian(), ForeignClusterError, "big-endian"),
    "unknown release": (unknown_release(), ForeignClusterError, "209912311"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(case: str) -> None:
    content, error, words = MALFORMED[case]
    with pytest.raises(error) as caught:
        decode(content, name="/srv/pg/global/pg_control")
    assert words in caught.value.message
    assert caught.value.message.startswith("/srv/pg/global/pg_control ")
    assert "never run pg_resetwal" in caught.value.hint


@given(st.binary(max_size=600))
def test_random_bytes_raise_only_own_errors(content: bytes) -> None:
    with pytest.raises(ForgeError):
        decode(content)


@given(
    st.sampled_from(["i386", "amd64"]),
    st.lists(st.tuples(st.integers(0, 291), st.integers(1, 255)), min_size=1, max_size=3),
    st.integers(0, 8192),
)
def test_mutations_are_found(name: str, changes: list[tuple[int, int]], cut: int) -> None:
    content = bytearray(GOLDEN[name])
    for at, mask in changes:
        content[at] ^= mask
    mutated = bytes(content[:cut])
    end = layout(1500, 4 if name == "i386" else 8)["crc"][0] + 4
    if mutated[:end] == GOLDEN[name][:end]:
        assert decode(mutated) == decode(GOLDEN[name])
    else:
        with pytest.raises(DamagedClusterError):
            decode(mutated)


@given(st.sampled_from([4, 8]), st.data())
def test_sealed_garbage_raises_only_own_errors(max_align: int, data: st.DataObject) -> None:
    content = bytearray(control_file(1500, max_align))
    at = data.draw(st.integers(16, layout(1500, max_align)["crc"][0] - 8))
    struct.pack_into("<Q", content, at, data.draw(st.integers(0, 2**64 - 1)))
    try:
        decode(resealed(bytes(content), 1500, max_align))
    except ForgeError as error:
        assert error.hint


def spoken(tree: ProgramTree, directory: Path) -> dict[str, str]:
    command = tree.command("/usr/lib/postgresql/15/bin/pg_controldata", str(directory))
    lines = run(command, Effects()).stdout.decode().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def lsn(value: int) -> str:
    return f"{value >> 32:X}/{value & 0xFFFFFFFF:X}"


@pytest.mark.real
@pytest.mark.parametrize("case", ["golden", "random", "recovery"])
@pytest.mark.parametrize("architecture", ["i386", "amd64"])
def test_pg_controldata_says_the_same(
    architecture: str,
    case: str,
    i386_tree: ProgramTree,
    native_tree: ProgramTree,
    tmp_path: Path,
) -> None:
    max_align = 4 if architecture == "i386" else 8
    changed = {"float8_by_value": int(max_align == 8)}
    content = {
        "golden": GOLDEN[architecture],
        "random": control_file(1500, max_align, **changed),
        "recovery": control_file(1500, max_align, state=5, wal_level=2, **changed),
    }[case]
    (tmp_path / "global").mkdir()
    (tmp_path / "global" / "pg_control").write_bytes(content)
    said = spoken(i386_tree if architecture == "i386" else native_tree, tmp_path)
    data = decode(content)
    assert {
        "pg_control version number": str(data.control_version),
        "Catalog version number": str(data.catalog_version),
        "Database system identifier": str(data.system_identifier),
        "Database cluster state": data.state.value,
        "Latest checkpoint location": lsn(data.checkpoint_lsn),
        "Latest checkpoint's REDO location": lsn(data.redo_lsn),
        "Latest checkpoint's TimeLineID": str(data.timeline),
        "Latest checkpoint's NextOID": str(data.next_oid),
        "wal_level setting": data.wal_level.value,
        "max_connections setting": str(data.max_connections),
        "max_worker_processes setting": str(data.max_worker_processes),
        "max_wal_senders setting": str(data.max_wal_senders),
        "max_prepared_xacts setting": str(data.max_prepared_transactions),
        "max_locks_per_xact setting": str(data.max_locks_per_transaction),
        "Maximum data alignment": str(data.max_align),
        "Database block size": str(data.block_bytes),
        "Blocks per segment of large relation": str(data.segment_blocks),
        "WAL block size": str(data.wal_block_bytes),
        "Bytes per WAL segment": str(data.wal_segment_bytes),
        "Maximum length of identifiers": str(data.name_bytes),
        "Maximum columns in an index": str(data.index_keys),
        "Maximum size of a TOAST chunk": str(data.toast_chunk_bytes),
        "Size of a large-object chunk": str(data.large_object_chunk_bytes),
        "Float8 argument passing": "by value" if data.float8_by_value else "by reference",
        "Data page checksum version": str(data.data_checksums),
    }.items() <= said.items()

"""What the bytes of other programs' files say, on samples of both sides and on nonsense."""

import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.formats import (
    foreign,
    foreign_deflate,
    foreign_magic,
    foreign_text,
    foreign_unknown,
    pg_control,
)
from applianceforge.formats.foreign_words import HEAD_BYTES, Disposition, Identification
from applianceforge.formats.rrd import decode as rrd_decode
from applianceforge.model.architecture import Architecture

DATA = Path(__file__).parent.parent / "data"
FOREIGN = DATA / "foreign"
SAMPLES = sorted(FOREIGN.glob("*/*"))

# Sample: format, and what becomes of it on either side; None for a width that does not show.
EXPECTED = {
    "arr.raw": ("unknown-structure", "SUSPECT 32", "SUSPECT 64"),
    "atop.raw": ("atop", "CARRY_OVER 32", "PORTABLE 64"),
    "bdb-region__db.001": ("berkeley-db-environment", "", "CARRY_OVER"),
    "btree.db": ("berkeley-db", "PORTABLE", "PORTABLE"),
    "exim-retry.db": ("exim-hints", "DISCARD", "DISCARD"),
    "g.gdbm": ("gdbm", "CARRY_OVER 32", "PORTABLE 64"),
    "h.rrd": ("rrd", "CONVERTED 32", ""),
    "h.xml": ("text", "PORTABLE", ""),
    "hash.db": ("berkeley-db", "PORTABLE", "PORTABLE"),
    "lmdb-data.mdb": ("lmdb", "CARRY_OVER 32", "PORTABLE 64"),
    "mandb-index.db": ("man-db", "REBUILT 32", "REBUILT 64"),
    "n.dir": ("gdbm-ndbm-dir", "PORTABLE", "PORTABLE"),
    "n.pag": ("gdbm", "CARRY_OVER 32", "PORTABLE 64"),
    "native.storable": ("perl-storable", "CARRY_OVER 32", "PORTABLE 64"),
    "net.storable": ("perl-storable", "PORTABLE", "PORTABLE"),
    "pg_control": ("postgresql", "CONVERTED 32", "PORTABLE 64"),
    "queue.db": ("berkeley-db", "PORTABLE", "PORTABLE"),
    "slapd-data.mdb": ("lmdb", "CARRY_OVER 32", "PORTABLE 64"),
    "sysstat-sa01": ("sysstat", "PORTABLE", "PORTABLE"),
    "t.rrd": ("rrd", "CONVERTED 32", "PORTABLE 64"),
    "t.sqlite": ("sqlite", "PORTABLE", "PORTABLE"),
    "t.tch": ("tokyo-cabinet", "PORTABLE", "PORTABLE"),
    "t.tdb": ("tdb", "PORTABLE", "PORTABLE"),
    "wtmp": ("utmp", "PORTABLE", "PORTABLE"),
}


def identified(path: str, content: bytes) -> Identification:
    return foreign.identify(path, content[:HEAD_BYTES], len(content))


def in_words(found: Identification) -> str:
    return f"{found.disposition.name} {found.width_bits or ''}".strip()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_sample_of_either_side(sample: Path) -> None:
    name, narrow, wide = EXPECTED[sample.name]
    found = identified(sample.name, sample.read_bytes())
    assert found.format == name
    assert in_words(found) == (narrow if sample.parent.name == "i386" else wide)


def test_every_expected_sample_is_there() -> None:
    found = {(path.parent.name, path.name) for path in SAMPLES}
    for name, (_, narrow, wide) in EXPECTED.items():
        assert (("i386", name) in found) == bool(narrow)
        assert (("amd64", name) in found) == bool(wide)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_cut_head_is_never_taken_for_the_other_width(sample: Path) -> None:
    content = sample.read_bytes()
    width_bits = identified(sample.name, content).width_bits
    for length in range(65):
        found = foreign.identify(sample.name, content[:length], len(content))
        assert isinstance(found.disposition, Disposition)
        if found.format == EXPECTED[sample.name][0] and found.disposition is Disposition.PORTABLE:
            assert width_bits in (None, 64)


@given(st.text(max_size=40), st.binary(max_size=600), st.integers(0, 1 << 60))
def test_any_bytes_get_an_answer(path: str, head: bytes, size_bytes: int) -> None:
    found = foreign.identify(path, head, max(size_bytes, len(head)))
    assert isinstance(found.disposition, Disposition)
    foreign.identify_sample(head)


@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.integers(0, 511), st.integers(0, 255)), max_size=20),
    st.integers(0, HEAD_BYTES),
)
def test_mutated_samples_get_an_answer(
    sample: Path, changes: list[tuple[int, int]], length: int
) -> None:
    content = bytearray(sample.read_bytes()[:HEAD_BYTES])
    for at, value in changes:
        if at < len(content):
            content[at] = value
    found = foreign.identify(sample.name, bytes(content[:length]), len(content))
    assert isinstance(found.disposition, Disposition)


@pytest.mark.parametrize("magic", foreign_magic.MAGICS)
def test_bare_magic_number_gets_an_answer(magic: foreign_magic.Magic) -> None:
    for length in range(len(magic.number) + 40):
        head = (bytes(magic.offset) + magic.number + bytes(40))[: magic.offset + length]
        assert foreign.identify("file", head, len(head)).format


# Agreement with the decoders proper.


@pytest.mark.parametrize("path", sorted(DATA.glob("pg_control/*/pg_control")), ids=str)
def test_agrees_with_the_decoder_of_control_files(path: Path) -> None:
    control = pg_control.decode(path.read_bytes())
    found = identified("main/global/pg_control", path.read_bytes())
    assert found.format == "postgresql"
    assert found.width_bits == control.width
    assert (found.disposition is Disposition.CONVERTED) == (
        control.architecture is Architecture.I386
    )


@pytest.mark.parametrize("release", [902, 903, 904, 905, 906, 1000, 1200, 1300, 1500, 1700, 1800])
@pytest.mark.parametrize("max_align", [4, 8])
def test_finds_the_alignment_in_every_release_layout(release: int, max_align: int) -> None:
    members = pg_control.layout(release, max_align)
    content = bytearray(8192)
    version = {902: 922, 903: 937, 904: 942, 905: 942, 906: 960, 1000: 1002, 1200: 1201}
    struct.pack_into("<I", content, 8, version.get(release, max(release, 1300)))
    struct.pack_into("<I", content, members["max_align"][0], max_align)
    struct.pack_into("<d", content, members["float_format"][0], 1234567.0)
    content[members["float8_by_value"][0]] = max_align == 8
    found = identified("global/pg_control", bytes(content))
    assert (found.format, found.width_bits) == ("postgresql", max_align * 8)


@pytest.mark.parametrize("path", sorted(DATA.glob("rrd/*/*.rrd")), ids=str)
def test_agrees_with_the_decoder_of_rrds(path: Path) -> None:
    found = identified("a.rrd", path.read_bytes())
    rrd = rrd_decode.decode(path.read_bytes())
    assert found.format == "rrd"
    assert found.width_bits == (32 if "i386" in path.parts else 64)
    assert rrd is not None


# Names and sizes where there is no number.

DER = bytes.fromhex("3082010a0282010100") + bytes(range(256)) + bytes(5)


@pytest.mark.parametrize(
    ("path", "content", "name", "disposition"),
    [
        ("log/wtmp", struct.pack("<I380x", 7), "utmp", "PORTABLE"),
        ("log/wtmp.1", struct.pack("<I380x", 7), "utmp", "PORTABLE"),
        ("log/lastlog", bytes(292), "lastlog", "PORTABLE"),
        (
            "log/faillog",
            struct.pack("<HH12sII", 1, 2, b"tty1", 1700000000, 0),
            "faillog",
            "DISCARD",
        ),
        (
            "spool/exim4/db/retry",
            b"\0" * 12 + b"\x61\x15\x06\0" + bytes(496),
            "exim-hints",
            "DISCARD",
        ),
        ("spool/exim4/db/wait-smtp", b"TDB file\n" + bytes(60), "exim-hints", "DISCARD"),
        ("spool/exim4/db/retry.lockfile", b"", "empty", "PORTABLE"),
        ("ldap/lock.mdb", struct.pack("<IIQ", 0xBEEFC0DE, 2, 5), "lmdb-lock", "DISCARD"),
        ("env/__db.001", bytes(64), "berkeley-db-environment", "CARRY_OVER"),
        ("env/__db.002", bytes(64), "berkeley-db-region", "DISCARD"),
        ("x/dovecot.index.cache", bytes([1, 8, 1, 0, 5, 0, 0, 0]) * 8, "dovecot-index", "REBUILT"),
        ("x/dovecot-uidlist", b"3 V1 N2\n", "dovecot-index", "PORTABLE"),
        ("x/swap.state", struct.pack("<IIQ", 1, 2, 3), "squid-cache", "DISCARD"),
        ("a.pyc", b"\xa7\x0d\x0d\x0a" + bytes(12), "python-bytecode", "REBUILT"),
        ("s.pag", struct.pack("<5H", 4, 1000, 990, 980, 970) + bytes(1014), "sdbm", "PORTABLE"),
        ("sa01", b"\x96\xd5\x71\x21" + bytes(60), "sysstat-old", "CARRY_OVER"),
        ("key.der", bytes.fromhex("3082010a0282010100") + os.urandom(261), "der", "PORTABLE"),
        ("u.txt", "hello world\r\n".encode("utf-16-le"), "text", "PORTABLE"),
        ("u.txt", "Gr\xfc\xdfe an alle Leser\n".encode("latin-1") * 9, "text", "PORTABLE"),
        ("zeros", bytes(5000), "zeros", "PORTABLE"),
        ("chain.der", DER * 3, "der", "PORTABLE"),
        ("long.der", DER * 30, "der", "PORTABLE"),
        (
            "mail.p7m",
            bytes.fromhex("308006092a864886f70d010702a080") + os.urandom(99),
            "der",
            "PORTABLE",
        ),
        (
            "mime.cache",
            struct.pack(">HH9I", 1, 2, *range(40, 76, 4)) + bytes(4) * 20,
            "mime-cache",
            "REBUILT",
        ),
        ("trustdb.gpg", b"\1gpg\3\3\1\5" + bytes(range(200)), "gnupg-trustdb", "PORTABLE"),
        ("a.cbor", b"\xd9\xd9\xf7\xa2" + bytes(range(99)), "cbor", "PORTABLE"),
        (
            "a.shp",
            struct.pack(">I20xI", 0x270A, 99) + struct.pack("<50I", 1000, *range(49)),
            "shapefile",
            "PORTABLE",
        ),
        (
            "a.db-journal",
            struct.pack(">12x4I484x", 9, 3, 512, 4096) + struct.pack("<99I", *range(99)),
            "sqlite",
            "PORTABLE",
        ),
        ("a.db-journal", bytes(512) + struct.pack("<99I", *range(99)), "sqlite", "PORTABLE"),
        (
            "a-journal",
            bytes(12) + struct.pack("<99I", *range(1, 100)),
            "unknown-structure",
            "SUSPECT",
        ),
        ("hostid", struct.pack("<I", 0x7F0101), "hostid", "PORTABLE"),
        ("u.txt", ("Привет, мир. Grüße an Łódź\n" * 9).encode("utf-16-le"), "text", "PORTABLE"),
        ("u.txt", ("Привет, мир. Grüße an Łódź\n" * 99).encode("utf-16-be"), "text", "PORTABLE"),
        ("u.txt", "\ufeffGrüße 漢字\n".encode("utf-16-le"), "text", "PORTABLE"),
        ("u.txt", "\ufeffGrüße 漢字\n".encode("utf-16-be"), "text", "PORTABLE"),
        ("u.txt", "\ufeffGrüße 漢字\n".encode("utf-32-le"), "text", "PORTABLE"),
        ("a.csv", b"name,\0,12\nanna,\0,13\n" * 50, "text", "PORTABLE"),
        ("names", b"/usr/lib/x\0/usr/lib/yy\0" * 50, "text", "PORTABLE"),
        ("log", b"a line of a log\n" * 20 + bytes(300) + b"more\n" * 40, "text", "PORTABLE"),
        ("a.txt", ("HELLO WORLD, this is text. 12345\n" * 9).encode("cp037"), "text", "PORTABLE"),
        ("dump.rdb", b"REDIS0009\xfa\x0aredis-bits\xc0\x20", "redis", "PORTABLE"),
    ],
)
def test_told_by_name_or_size(path: str, content: bytes, name: str, disposition: str) -> None:
    found = identified(path, content)
    assert (found.format, found.disposition.name) == (name, disposition)


def test_redis_says_its_width() -> None:
    assert identified("d", b"REDIS0009\xfa\x0aredis-bits\xc0\x20").width_bits == 32
    assert identified("d", b"REDIS0009\xfa\x0aredis-bits\xc0\x40").width_bits == 64


def elf(bits: int, kind: int, machine: int) -> bytes:
    return b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9) + struct.pack("<HH", kind, machine)


@pytest.mark.parametrize(
    ("head", "name", "verdict"),
    [
        (elf(32, 3, 3), "elf", "REBUILT 32"),
        (elf(64, 3, 62), "elf", "PORTABLE 64"),
        (elf(32, 4, 3), "core", "DISCARD 32"),
        (elf(32, 1, 40), "elf-other", "PORTABLE 32"),
        (elf(96, 3, 62), "elf-other", "PORTABLE"),
    ],
)
def test_programs(head: bytes, name: str, verdict: str) -> None:
    found = identified("x", head)
    assert (found.format, in_words(found)) == (name, verdict)


def wal(at: int) -> bytes:
    head = bytearray(8192)
    struct.pack_into("<HHIQ", head, 0, 0xD110, 2, 1, 0x1000000)
    struct.pack_into("<II", head, at, 16 << 20, 8192)
    return bytes(head)


@pytest.mark.parametrize(("at", "verdict"), [(28, "DISCARD 32"), (32, "PORTABLE 64")])
def test_archived_log_of_postgresql(at: int, verdict: str) -> None:
    found = identified("archive/000000010000000000000001", wal(at))
    assert (found.format, in_words(found)) == ("postgresql-wal", verdict)


@pytest.mark.parametrize(
    ("block", "fit", "bits"),
    # What GDBM writes for block sizes from 512 bytes to 64 KiB: (block - header) / element + 1.
    [
        (
            block,
            (block - 56 if wide else block - 52) // (16 if wide else 12) + 1,
            64 if wide else 32,
        )
        for block in (512, 1024, 4096, 65536)
        for wide in (False, True)
    ],
)
def test_gdbm_of_any_block_size(block: int, fit: int, bits: int) -> None:
    head = bytearray(128)
    struct.pack_into("<II", head, 0, 0x13579ACF, block)
    struct.pack_into("<I", head, 40, fit)
    assert identified("x.gdbm", bytes(head)).width_bits == bits
    struct.pack_into("<I", head, 0, 0x13579AD1)
    struct.pack_into("<II", head, 40, 0, 0)
    struct.pack_into("<I", head, 72, fit)
    assert identified("x.gdbm", bytes(head)).width_bits == bits
    struct.pack_into("<I", head, 0, 0x13579ACD)
    assert identified("x.gdbm", bytes(head)).width_bits == 32


# Unknown formats.

LONGS = struct.pack("<100q", *range(100))
# A Friday in November 2026.
NOW_S = 1795000000
SOURCE = random.Random(7)


def name_of(letters: int) -> bytes:
    return bytes(SOURCE.choice(b"abcdefghijklmnopqrstuvwxyz") for _ in range(letters))


def repeated(layout: str, *values: Callable[[int], object], number: int = 400) -> bytes:
    return b"".join(
        struct.pack(layout, *(value(at) for value in values)) for at in range(1, number + 1)
    )


def at_each_step(step_s: int) -> Callable[[int], int]:
    return lambda number: NOW_S + number * step_s


def any_percentage(_number: int) -> float:
    return SOURCE.random() * 100


def any_time(_number: int) -> int:
    return SOURCE.randint(946684800, NOW_S)


def numbered(number: int) -> int:
    return number


def counted_down(number: int) -> int:
    return -number


RECORDS = {
    "times": b"".join(struct.pack("<IIH2x", 1600000000 + 60 * n, n, 7) for n in range(300)),
    "names": b"".join(struct.pack("<56sI", b"x" * 56, n + 1) for n in range(60)),
    "longs": LONGS,
    "pointers": b"".join(struct.pack("<QI4x", 0x7F0000001000 + n, n) for n in range(99)),
    "doubles": struct.pack("<200d", *(n * 0.37 + 1 for n in range(200))),
    "doubles of i386": b"\1\0\0\0"
    + b"".join(struct.pack("<d", n if n % 3 else float("nan")) for n in range(1, 90)),
    "faillog-like": struct.pack("<HH12sII", 1, 5, b"tty1", 1700000000, 60) * 3,
    "time and double of i386": repeated("<Id", at_each_step(300), any_percentage),
    "time and double of amd64": repeated("<qd", at_each_step(300), any_percentage),
    "20 of them": repeated("<Id", at_each_step(300), any_percentage, number=20),
    "time and 8 bytes of anything": repeated(
        "<I8s", at_each_step(300), lambda _: SOURCE.randbytes(8)
    ),
    "negative longs of i386": repeated("<i", counted_down),
    "negative longs of amd64": repeated("<q", counted_down),
    # FF FE and FE FF are marks of text, FF FB begins an MP3.
    "from -2": repeated("<i", lambda number: -1 - number),
    "from -257": repeated("<i", lambda number: -256 - number),
    "from -1025": repeated("<i", lambda number: -1024 - number),
    "from 65279": repeated("<i", lambda number: 65278 + number),
    "name and time of i386": repeated("<60sI", lambda _: name_of(60), at_each_step(250000)),
    "name and time of amd64": repeated("<60s4xq", lambda _: name_of(60), at_each_step(250000)),
    "digest and time": repeated("<20sI", lambda _: SOURCE.randbytes(20), at_each_step(5000)),
    "digest and time of amd64": repeated(
        "<20s4xq", lambda _: SOURCE.randbytes(20), at_each_step(5000)
    ),
    "digest and long": repeated("<64si", lambda _: SOURCE.randbytes(64), numbered),
    "digest and long of amd64": repeated("<64sq", lambda _: SOURCE.randbytes(64), numbered),
    "large records": repeated("<500si", lambda _: SOURCE.randbytes(500), numbered, number=8),
    "times of many years": repeated("<I", any_time),
    "times of many years of amd64": repeated("<q", any_time),
    "a long": struct.pack("<i", 5),
    "a long of amd64": struct.pack("<q", 5),
    "a negative long": struct.pack("<i", -5),
    "a negative long of amd64": struct.pack("<q", -5),
    "a time": struct.pack("<I", NOW_S),
    "a time with three letters": b"\x41\xfd\x42\x6a",
    "a time of amd64": struct.pack("<q", NOW_S),
    "longs behind 2 bytes": b"\1\2" + repeated("<i", numbered),
    "longs of amd64 behind 2 bytes": b"\1\2" + repeated("<q", numbered),
    "times behind 2 bytes": b"\1\2" + repeated("<I", at_each_step(60)),
    "what begins as DER does": b"\x30\4\4\0" + repeated("<i", numbered),
    "what begins as long DER does": b"\x30\x82\2\2\2\2\0\0" + repeated("<i", numbered),
    "what begins as a MIME cache does": b"\0\1\0\1\0\0\0\0" + repeated("<i", numbered),
}


@pytest.mark.parametrize("name", RECORDS)
def test_structures_are_suspect(name: str) -> None:
    found = identified("state.dat", RECORDS[name])
    assert found.disposition is Disposition.SUSPECT
    assert len(found.evidence) <= 65


def test_evidence_is_a_few_words() -> None:
    assert identified("x", RECORDS["longs"]).evidence == "99 of 99 words are small numbers or times"
    source = random.Random(1)
    doubles = struct.pack("<200d", *(-1 - source.random() for _ in range(200)))
    assert identified("x", doubles).evidence == "200 of 200 double words are floating-point numbers"


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_machine_dependent_samples_would_be_suspect_if_nobody_knew_them(sample: Path) -> None:
    content = sample.read_bytes()
    if identified(sample.name, content).width_bits or "__db." in sample.name:
        assert foreign_unknown.classify(content[:HEAD_BYTES]).disposition is Disposition.SUSPECT


@pytest.mark.parametrize("name", RECORDS)
def test_structures_cut_or_mutated_get_an_answer(name: str) -> None:
    content = RECORDS[name]
    source = random.Random(name)
    for length in range(min(600, len(content)) + 1):
        assert isinstance(identified("state", content[:length]).disposition, Disposition)
    for _ in range(100):
        mutated = bytearray(content[:HEAD_BYTES])
        for _ in range(source.randint(1, 20)):
            mutated[source.randrange(len(mutated))] = source.randrange(256)
        assert isinstance(identified("state", bytes(mutated)).disposition, Disposition)


def test_times_of_many_records_are_not_text_of_ideograms() -> None:
    content = struct.pack("<400I", *(NOW_S + n * 7 for n in range(400)))
    assert content.decode("utf-16-le").strip()
    assert not foreign_text.is_text(content, whole=True)


def test_random_bytes_are_not_suspect() -> None:
    source = random.Random(3)
    suspects = 0
    for _ in range(2000):
        content = source.randbytes(source.choice((16, 32, 64, 256, 512, 4096)))
        suspects += identified("key", content).disposition is Disposition.SUSPECT
    # The rule's docstring derives once in a thousand for the worst length.
    assert suspects <= 4


def deflated(content: bytes, level: int, window_bits: int) -> bytes:
    stream = zlib.compressobj(level, zlib.DEFLATED, window_bits)
    return stream.compress(content) + stream.flush()


def tree_object(entries: int) -> bytes:
    """Return what git hashes of a directory: modes and names in words, identities in bytes."""
    source = random.Random(entries)
    content = b"".join(b"100644 f%d\0" % n + source.randbytes(20) for n in range(entries))
    return b"tree %d\0" % len(content) + content


@pytest.mark.parametrize("level", range(10))
def test_zlib_streams_are_portable(level: int) -> None:
    for entries in (3, 5, 40, 1000):
        content = deflated(tree_object(entries), level, 15)
        assert content[0] == 0x78
        assert content[1] in (0x01, 0x5E, 0x9C, 0xDA)
        assert identified("objects/ab/cd", content).format == "zlib"


def test_zlib_streams_are_known_without_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_deflate, "zlib", None)
    for level in range(1, 10):
        for entries in (3, 5, 40, 1000):
            content = deflated(tree_object(entries), level, 15)
            assert identified("objects/ab/cd", content).format == "zlib"
    assert identified("state", b"\x78\x9c\0\0" + LONGS).disposition is Disposition.SUSPECT


def test_a_zlib_stream_of_a_file_of_zeros_unpacks_in_bounds() -> None:
    content = deflated(bytes(1 << 26), 9, 15)
    assert identified("a", content).format == "zlib"


def test_what_only_begins_like_zlib_stays_suspect() -> None:
    for second in (0x01, 0x5E, 0x9C, 0xDA):
        content = bytes((0x78, second, 0, 0)) + LONGS
        assert identified("state", content).disposition is Disposition.SUSPECT
    cut = deflated(tree_object(40), 6, 15)[:-5] + bytes(5)
    assert identified("state", cut).format != "zlib"


def test_bare_deflate_is_known_where_it_cannot_be_chance() -> None:
    for entries in (5, 40, 1000):
        assert identified("a", deflated(tree_object(entries), 9, -15)).format == "zlib"
    for name, content in RECORDS.items():
        assert not foreign_deflate.is_stream(content, whole=True), name
    source = random.Random(5)
    for _ in range(2000):
        content = source.randbytes(source.choice((16, 64, 256, 4096)))
        assert not foreign_deflate.is_stream(content, whole=len(content) < 4096)


@pytest.mark.parametrize(
    "content",
    [
        b"".join(struct.pack(">II", n, n * 3) for n in range(256, 512)),
        b"".join(struct.pack(">I", n) for n in range(1, 2000)),
        b"".join(struct.pack(">I", NOW_S + n * 60) for n in range(2000)),
        b"".join(struct.pack(">Q", NOW_S + n * 60) for n in range(2000)),
        b"\xff" * 5000,
        b"\xe9\xe8\xe7 \xe0\xe2\r\n" * 100,
        b"====\xff" * 300,
    ],
)
def test_neither_text_nor_structure_is_no_alarm(content: bytes) -> None:
    assert identified("file", content).disposition is not Disposition.SUSPECT


def test_text_that_is_cut_within_a_character_is_text() -> None:
    content = ("ä" * 3000).encode()
    for length in range(1, 9):
        assert foreign_text.is_text(content[:length], whole=False)
    assert not foreign_text.is_text(content[:3], whole=True)

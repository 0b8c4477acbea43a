"""Each rule by itself: a file's first bytes as its specification has them, and near misses.

The heads are written by hand from what the formats' own documents say, so that a number that is
lost from the table or wrong in it shows here.
"""

import struct

import pytest

from applianceforge.formats import foreign, foreign_magic, foreign_width
from applianceforge.formats.foreign_words import HEAD_BYTES, Disposition, Identification

SQLITE = b"SQLite format 3\0\x10\0\1\1\0\x40\x20\x20"
ISO_MEDIA = b"isom\0\0\2\0isomiso2"
FONT = b"\0\x0c\0\x80\0\3\0\x40"
OLD_GIT = b"\0\0\0\1"
GIT = b"\0\0\0\2"

PORTABLE = {
    "sqlite": (
        SQLITE,
        bytes.fromhex("377F0682 002DE218 00001000"),
        bytes.fromhex("377F0683 002DE218 00001000"),
        bytes.fromhex("D9D505F920A163D7 00000001"),
        bytes.fromhex("18E22D00 00000000 02000000"),
    ),
    "tdb": (b"TDB file\n".ljust(32, b"\0") + b"\x67\x19\x01\x26",),
    "tokyo-cabinet": (b"ToKyO CaBiNeT\n1.0:911\n",),
    "cyrus-skiplist": (b"\241\002\213\015skiplist file\0\0\0" + bytes.fromhex("0000000100000002"),),
    "cyrus-twoskip": (b"\241\002\213\015twoskip file\0\0\0\0" + bytes.fromhex("00000001"),),
    "cyrus-zeroskip": (b"\241\002\213\015zeroskip file\0",),
    "cyrus": (b"\241\002\213\015Cyrus mailbox header\n",),
    "erlang-disk-log": (bytes.fromhex("01020304 06070809"),),
    "pg_dump-archive": (b"PGDMP\1\x0e\0\4\x08\1",),
    "clamav": (b"ClamAV-VDB:22 Nov 2026 08-00 +0000:",),
    "systemd-journal": (b"LPKSHHRH\0\0\0\0\x0c\0\0\0",),
    "gvariant": (b"GVariant\0\0\0\0\0\0\0\0\x18\0\0\0",),
    "java-keystore": (bytes.fromhex("FEEDFEED 00000002 00000001"),),
    "mariadb": (
        bytes.fromhex("FE01090C 03000010"),
        bytes.fromhex("FE010A0C 12000010"),
        bytes.fromhex("FEFE0701 00000300"),
        bytes.fromhex("FEFE0903 00000300"),
        bytes.fromhex("FEFE0C01 00000300"),
    ),
    "mariadb-binlog": (b"\xfebin\x10\x20\x30\x65\x0f\1\0\0\0",),
    "text": (b"\xef\xbb\xbfKey", b"\xff\xfeK\0e\0y\0", b"\xfe\xff\0K\0e\0y"),
    "gzip": (bytes.fromhex("1F8B0800 00000000 0003"),),
    "compress": (bytes.fromhex("1F9D9061"),),
    "bzip2": (b"BZh91AY&SY\x01",),
    "xz": (bytes.fromhex("FD377A585A00 0004"),),
    "lzma": (bytes.fromhex("5D00008000 FFFFFFFFFFFFFFFF 00"),),
    "zstd": (
        bytes.fromhex("28B52FFD 0458"),
        bytes.fromhex("37A430EC 01020304"),
        bytes.fromhex("502A4D18 04000000 10000000"),
    ),
    "lz4": (bytes.fromhex("04224D18 64"), bytes.fromhex("02214C18 64000000")),
    "lzo": (b"\x89LZO\0\r\n\x1a\n\x10",),
    "lzip": (b"LZIP\1\x0c",),
    "snappy": (bytes.fromhex("FF060000") + b"sNaPpY",),
    "lrzip": (b"LRZI\0\6",),
    "zip": (b"PK\3\4\x14\0", b"PK\5\6\0\0", b"JM\1\0PK\3\4"),
    "7zip": (bytes.fromhex("377ABCAF271C 0004"),),
    "rar": (b"Rar!\x1a\x07\0",),
    "ar": (b"!<arch>\n/       ", b"!<thin>\n/       "),
    "cpio": (b"07070100000001", b"07070200000001", b"070707000001"),
    "rpm": (bytes.fromhex("EDABEEDB 0300"),),
    "cab": (b"MSCF\0\0\0\0",),
    "tar": (b"etc/hosts".ljust(257, b"\0") + b"ustar\x0000",),
    "png": (bytes.fromhex("89504E470D0A1A0A"),),
    "jpeg": (bytes.fromhex("FFD8FFE00010") + b"JFIF\0",),
    "gif": (b"GIF89a\1\0\1\0",),
    "tiff": (b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"),
    "bmp": (b"BM" + struct.pack("<IHHII", 1078, 0, 0, 54, 40),),
    "ico": (
        bytes.fromhex("000001000100 10100000 01002000"),
        bytes.fromhex("000002000100 20200000 0A000300"),
    ),
    "riff": (b"RIFF\x24\0\0\0WAVE", b"RIFX\0\0\0\x24WAVE"),
    "xcf": (b"gimp xcf v011\0",),
    "photoshop": (b"8BPS\0\1",),
    "xcursor": (b"Xcur\x10\0\0\0",),
    "ogg": (b"OggS\0\2",),
    "flac": (b"fLaC\0\0\0\x22",),
    "mp3": (
        b"ID3\4\0\0",
        bytes.fromhex("FFFB9064"),
        bytes.fromhex("FFF36464"),
        bytes.fromhex("FFF26464"),
    ),
    "midi": (b"MThd\0\0\0\6",),
    "au": (b".snd\0\0\0\x20",),
    "flv": (b"FLV\1\5",),
    "mpeg": (bytes.fromhex("000001BA 44"), bytes.fromhex("000001B3 14")),
    "asf": (bytes.fromhex("3026B2758E66CF11 A6D9"),),
    "mp4": (b"\0\0\0\x18ftyp" + ISO_MEDIA, b"\0\0\x10\0moov\0\0\0\x6cmvhd"),
    "matroska": (bytes.fromhex("1A45DFA3 A3"),),
    "pdf": (b"%PDF-1.7\n",),
    "postscript": (b"%!PS-Adobe-3.0\n", bytes.fromhex("C5D0D3C6 1E000000")),
    "postscript-font": (b"\x80\1\x20\x0e\0\0%!PS-AdobeFont-1.0",),
    "rtf": (b"{\\rtf1\\ansi",),
    "ole2": (bytes.fromhex("D0CF11E0A1B11AE1"),),
    "dvi": (bytes.fromhex("F7020183 92C01C3B"),),
    "font": (
        b"\0\1\0\0" + FONT + b"OS/2",
        b"OTTO" + FONT + b"CFF ",
        b"ttcf\0\1\0\0",
        b"true" + FONT + b"cmap",
        b"wOFF\0\1\0\0",
        b"wOF2\0\1\0\0",
        b"\1fcp\x08\0\0\0",
    ),
    "pcap": (
        bytes.fromhex("D4C3B2A1 02000400"),
        bytes.fromhex("A1B2C3D4 00020004"),
        bytes.fromhex("4D3CB2A1 02000400"),
        bytes.fromhex("0A0D0D0A 1C000000 4D3C2B1A"),
    ),
    "timezone": (b"TZif2",),
    "gettext": (bytes.fromhex("DE120495 00000000"), bytes.fromhex("950412DE 00000000")),
    "terminfo": (
        struct.pack("<6H", 0o432, 6, 0, 0, 0, 0) + b"vt100\0",
        struct.pack("<6H", 0o1036, 6, 0, 0, 0, 0) + b"xterm\0",
    ),
    "java-class": (bytes.fromhex("CAFEBABE 00000034"),),
    "webassembly": (b"\0asm\1\0\0\0",),
    "dos-program": (b"MZ\x90\0\3\0",),
    "git": (
        b"DIRC" + GIT,
        b"PACK" + GIT,
        b"\xfftOc" + GIT,
        b"RIDX" + OLD_GIT,
        b"CGPH\1\1",
        b"MIDX\1\1",
        b"BITM\0\1",
        b"MTME" + OLD_GIT,
    ),
    "python-pickle": (
        b"\x80\2}q\0.",
        b"\x80\3]q\0.",
        b"\x80\4\x95\5\0\0\0\0\0\0\0",
        b"\x80\5\x95\5\0\0\0\0\0\0\0",
    ),
    "numpy": (b"\x93NUMPY\1\0\x76\0",),
    "hdf5": (b"\x89HDF\r\n\x1a\n\0",),
    "netcdf": (b"CDF\1\0\0\0\0", b"CDF\2\0\0\0\0"),
    "openpgp": (
        bytes.fromhex("99010D04"),
        bytes.fromhex("99020D04"),
        bytes.fromhex("89013304"),
        bytes.fromhex("89023304"),
        bytes.fromhex("95039804"),
        bytes.fromhex("95070403"),
    ),
    "gnupg-trustdb": (b"\1gpg\3\3\1\5",),
    "cbor": (bytes.fromhex("D9D9F7A1"),),
    "gnupg-keybox": (bytes.fromhex("00000020 01010002") + b"KBXf",),
    "vim-spell": (b"VIMspell\x32", b"VIMsug\1"),
    "devicetree": (bytes.fromhex("D00DFEED 00001000"),),
    "option-rom": (bytes.fromhex("55AA80E9"),),
    "grub": (bytes.fromhex("5256BE1B81E8"), b"FILE\0\0\0\4PFF2NAME"),
    "ds-store": (b"\0\0\0\1Bud1\0\0\x10\0",),
    "mach-o": (bytes.fromhex("CFFAEDFE 07000001"),),
    "disk-image": (
        b"QFI\xfb\0\0\0\3",
        b"KDMV\1\0\0\0",
        b"COWD\1\0\0\0",
        b"<<< Oracle VM VirtualBox Disk Image >>>\n",
        b"conectix\0\0\0\2",
        b"vhdxfile",
        b"XFSB\0\0\x10\0",
        b"hsqs\x10\0\0\0",
        bytes.fromhex("453DCD28"),
        b"EFI PART\0\0\1\0",
        bytes(512) + b"EFI PART\0\0\1\0",
        b"LUKS\xba\xbe\0\2",
        b"LABELONE\1\0\0\0",
        bytes(1024 + 56) + b"\x53\xef\1\0",
        bytes(510) + b"\x55\xaa",
    ),
}
REBUILT = {
    "hwdb": (b"KSLPHHRH\xfb\0\0\0",),
    "systemd-catalog": (b"RHHHKSLP\0\0\0\0",),
    "ld.so-cache": (b"ld.so-1.7.0\0\x10\0\0\0", b"glibc-ld.so.cache1.1"),
    "apt-cache": (struct.pack("<IHH", 0x98FE76DC, 19, 0),),
    "fontconfig-cache": (struct.pack("<II", 0xFC02FC04, 9),),
    "locale-archive": (struct.pack("<II", 0xDE020109, 56),),
    "gconv-cache": (struct.pack("<IH", 0x20010324, 16),),
    "selinux": (struct.pack("<II", 0xF97CFF8A, 5), struct.pack("<II", 0xF97CFF8C, 8)),
    "sycoca": (b"KDE Sycoca\0",),
    "file-magic": (struct.pack("<II", 0xF11E041C, 18),),
    "mime-cache": (b"MIME-Magic\0\n[90:", b"MIME-TreeMagic\0\n[50:"),
    "icon-cache": (struct.pack(">HHII", 1, 0, 12, 1000),),
    "xmlb": (b"XMLb\x08\0\0\0",),
    "typelib": (b"GOBJ\nMETADATA\r\n\x1a",),
    "kmod-index": (struct.pack(">II", 0xB007F457, 0x00020001),),
}
DISCARD = {
    "vim-swap": (b"b0VIM 9.0\0",),
    "swap": (bytes(4086) + b"SWAPSPACE2", bytes(4086) + b"SWAP-SPACE"),
}
HEADS = [
    (name, disposition, head)
    for disposition, heads in (
        (Disposition.PORTABLE, PORTABLE),
        (Disposition.REBUILT, REBUILT),
        (Disposition.DISCARD, DISCARD),
    )
    for name, some in heads.items()
    for head in some
]
LONGS = struct.pack("<300q", *range(1, 301))


def identified(path: str, content: bytes) -> Identification:
    return foreign.identify(path, content[:HEAD_BYTES], len(content))


def in_words(found: Identification | None) -> str:
    return "" if found is None else f"{found.disposition.name} {found.width_bits or ''}".strip()


@pytest.mark.parametrize(("name", "disposition", "head"), HEADS)
def test_known_by_its_number(name: str, disposition: Disposition, head: bytes) -> None:
    magic = foreign_magic.look_up(head)
    assert magic is not None
    assert (magic.format, magic.disposition) == (name, disposition)
    found = identified("file", head)
    assert (found.format, found.disposition) == (name, disposition)


@pytest.mark.parametrize("magic", foreign_magic.MAGICS)
def test_every_number_of_the_table_has_a_head_here(magic: foreign_magic.Magic) -> None:
    assert magic in [foreign_magic.look_up(head) for _, _, head in HEADS]


@pytest.mark.parametrize(
    "head",
    [
        b"SQLite format 4\0",
        b"TDB file ",
        b"\241\002\213\015skiplist\0",
        b"\241\002\213\014Cyrus",
        b"\xfebit",
        b"\x5d\0\0\1\2\3\4\5\6\7\x08\x09\x0a\x0b",
        b"BM" + bytes(4) + b"\1\0\0\0" + bytes(9),
        bytes.fromhex("000001000000 10100000 01002000"),
        bytes.fromhex("000001000100 10100001 01002000"),
        b"\0\1\0\0\0\x0c" + bytes(6) + b"\1\2\3\4",
        b"\0\1\0\0\0\0" + bytes(6) + b"cmap",
        struct.pack("<6H", 0o432, 6, 0, 0, 0, 0) + b"\1\2",
        b"\x80\2\0\0",
        bytes.fromhex("99010D05"),
        b"\x80\1\x20\x0e\0\0\0\0",
        bytes.fromhex("FFFB0064"),
        bytes.fromhex("FFFBF064"),
        bytes.fromhex("FFFB9C64"),
        bytes(256) + b"ustar\0",
        bytes(511) + b"\x55\xaa",
        bytes(4085) + b"SWAPSPACE2",
    ],
)
def test_what_only_begins_like_it_is_not_it(head: bytes) -> None:
    assert foreign_magic.look_up(head) is None


# Round-robin databases.

COOKIE = bytes.fromhex("2F25C0C7432B1F5B")


@pytest.mark.parametrize(
    ("head", "verdict", "evidence"),
    [
        # i386: the double is aligned to 4.
        (b"RRD\x000003\0".ljust(12, b"\0") + COOKIE + struct.pack("<3I", 2, 3, 300), 32, "byte 12"),
        # 32-bit ARM: aligned to 8, but unsigned long has 4 bytes.
        (
            b"RRD\x000003\0".ljust(16, b"\0") + COOKIE + struct.pack("<3I", 2, 3, 300),
            32,
            "byte 16, and counts have 4 bytes",
        ),
        (
            b"RRD\x000003\0".ljust(16, b"\0") + COOKIE + struct.pack("<3Q", 2, 3, 300),
            64,
            "byte 16, and counts have 8 bytes",
        ),
    ],
)
def test_rrd_of_each_alignment(head: bytes, verdict: int, evidence: str) -> None:
    found = identified("a.rrd", head)
    assert (found.format, found.width_bits) == ("rrd", verdict)
    assert found.disposition is (Disposition.PORTABLE if verdict == 64 else Disposition.CONVERTED)
    assert evidence in found.evidence


@pytest.mark.parametrize("at", [8, 11, 13, 15, 17, 20])
def test_rrd_with_its_number_elsewhere(at: int) -> None:
    found = identified("a.rrd", b"RRD\0".ljust(at, b"\0") + COOKIE + bytes(20))
    assert (found.format, in_words(found)) == ("rrd-foreign", "CARRY_OVER")


# Control files of PostgreSQL.


def control(
    version: int, max_align: int, by_value: bool, *, padding: int = 0, at: int = 208
) -> bytes:
    content = bytearray(8192)
    struct.pack_into("<I", content, 8, version)
    struct.pack_into("<I", content, at - padding - 4, max_align)
    struct.pack_into("<d", content, at, 1234567.0)
    content[at + 40] = by_value
    return bytes(content)


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize(
    ("max_align", "by_value", "verdict"),
    [
        (4, False, "CONVERTED 32"),
        (4, True, "CONVERTED 32"),
        (8, False, "CONVERTED 32"),
        (8, True, "PORTABLE 64"),
    ],
)
def test_control_file_is_wide_by_both_halves_alone(
    max_align: int, by_value: bool, padding: int, verdict: str
) -> None:
    found = identified("global/pg_control", control(1300, max_align, by_value, padding=padding))
    assert (found.format, in_words(found)) == ("postgresql", verdict)
    assert f"MAXALIGN {max_align} at byte {204 - padding}" in found.evidence
    assert f"by {'value' if by_value else 'reference'} at byte 248" in found.evidence


@pytest.mark.parametrize(("version", "bits"), [(1299, 64), (1300, 32)])
def test_control_file_says_how_float8_is_passed_since_13(version: int, bits: int) -> None:
    assert identified("pg_control", control(version, 8, by_value=False)).width_bits == bits


@pytest.mark.parametrize(
    ("version", "known"), [(0, False), (799, False), (800, True), (9999, True), (10000, False)]
)
def test_control_file_of_a_version(version: int, known: bool) -> None:
    found = identified("pg_control", control(version, 8, by_value=True))
    assert (found.format == "postgresql") is known


@pytest.mark.parametrize(
    "content",
    [
        control(1300, 16, by_value=True),
        control(1300, 0, by_value=True),
        control(1300, 8, by_value=True, at=210),
        control(1300, 8, by_value=True, at=20),
        control(1300, 8, by_value=True, at=600),
    ],
)
def test_no_control_file(content: bytes) -> None:
    assert foreign_width.pg_control(content) is None


# Storable.


def storable(order: bytes, *sizes: int) -> bytes:
    return b"pst0\4\x0b" + bytes([len(order)]) + order + bytes(sizes) + b"\3\0\0\0\0"


@pytest.mark.parametrize(
    ("head", "verdict"),
    [
        (storable(b"1234", 4, 4, 4, 8), "CARRY_OVER 32"),
        (storable(b"12345678", 4, 4, 4, 8), "CARRY_OVER 32"),
        (storable(b"12345678", 4, 8, 8, 8), "PORTABLE 64"),
        # sizeof(long) decides, not what a pointer has: x32's reverse, as on 64-bit Windows.
        (storable(b"12345678", 4, 4, 8, 8), "CARRY_OVER 32"),
        (storable(b"12345678", 4, 8, 4, 8), "PORTABLE 64"),
        (storable(b"12345678", 8, 4, 8, 8), "CARRY_OVER 32"),
        (storable(b"12345678", 4, 2, 8, 8), "CARRY_OVER"),
        (storable(b"12345678", 4, 8, 8, 8)[:17], "CARRY_OVER"),
        (storable(b"12345678", 4, 8, 8, 8)[:15], "CARRY_OVER"),
        (b"pst0\4\x0b", "CARRY_OVER"),
        (b"pst0\5\x0b\3\0\0\0\0", "PORTABLE"),
    ],
)
def test_storable(head: bytes, verdict: str) -> None:
    found = identified("session", head)
    assert (found.format, in_words(found)) == ("perl-storable", verdict)


# GDBM.


def gdbm(magic: int, block: int, fit: int, at: int = 40) -> bytes:
    content = bytearray(128)
    struct.pack_into("<II", content, 0, magic, block)
    struct.pack_into("<I", content, at, fit)
    return bytes(content)


@pytest.mark.parametrize(("magic", "at"), [(0x13579ACF, 40), (0x13579AD1, 72)])
@pytest.mark.parametrize(
    ("fit", "verdict"),
    [
        (342, "CARRY_OVER 32"),  # 11.98 bytes each
        (292, "CARRY_OVER 32"),  # 14.03
        (283, "CARRY_OVER 32"),  # 14.47: nearer to what 12 can become than to 16
        (282, "PORTABLE 64"),  # 14.52
        (273, "PORTABLE 64"),  # 15.00
        (256, "PORTABLE 64"),
        (0, "CARRY_OVER"),
    ],
)
def test_gdbm_is_wide_by_the_size_of_an_element(
    magic: int, at: int, fit: int, verdict: str
) -> None:
    found = identified("a.gdbm", gdbm(magic, 4096, fit, at))
    assert (found.format, in_words(found)) == ("gdbm", verdict)


@pytest.mark.parametrize("magic", [0x13579ACD, 0x13579ACE, 0x13579AD0])
def test_gdbm_with_a_number_of_narrow_offsets(magic: int) -> None:
    found = identified("a.gdbm", gdbm(magic, 4096, 256))
    assert (found.format, in_words(found)) == ("gdbm", "CARRY_OVER 32")
    assert f"{magic:08x}" in found.evidence
    assert identified("man/index.db", gdbm(magic, 4096, 256)).format == "man-db"


@pytest.mark.parametrize("magic", [0x13579ACC, 0x13579AD2])
def test_no_gdbm(magic: int) -> None:
    assert foreign_width.gdbm("a", gdbm(magic, 4096, 256)) is None
    assert foreign_width.gdbm("a", b"GDBM\0".ljust(65, b"\0")) is None


# LMDB.


def lmdb(at: int, flags: int) -> bytes:
    content = bytearray(4096)
    struct.pack_into("<H", content, at - 6, flags)
    struct.pack_into("<II", content, at, 0xBEEFC0DE, 1)
    return bytes(content)


@pytest.mark.parametrize(("at", "verdict"), [(12, "CARRY_OVER 32"), (16, "PORTABLE 64")])
def test_lmdb_begins_with_a_page_of_meta_data(at: int, verdict: str) -> None:
    found = foreign_width.lmdb(lmdb(at, 8))
    assert found is not None
    assert (found.format, in_words(found)) == ("lmdb", verdict)
    for flags in (0, 1, 2, 4, 16):
        assert foreign_width.lmdb(lmdb(at, flags)) is None


# PostgreSQL's write-ahead log.


def log_segment(number: int, at: int, segment_bytes: int = 16 << 20, block: int = 8192) -> bytes:
    content = bytearray(8192)
    struct.pack_into("<HHIQ", content, 0, number, 2, 1, 0x1000000)
    struct.pack_into("<II", content, at, segment_bytes, block)
    return bytes(content)


@pytest.mark.parametrize("number", [0xD066, 0xD093, 0xD101, 0xD118])
@pytest.mark.parametrize("name", ["000000010000000000000001", "0000000A00000001000000FF.partial"])
def test_log_of_every_release(name: str, number: int) -> None:
    for at, verdict in ((28, "DISCARD 32"), (32, "PORTABLE 64")):
        found = foreign_width.wal(f"archive/{name}", log_segment(number, at))
        assert found is not None
        assert (found.format, in_words(found)) == ("postgresql-wal", verdict)


def test_log_whose_width_does_not_show() -> None:
    name = "000000010000000000000001"
    for content in (
        log_segment(0xD110, 40),
        log_segment(0xD110, 28, (1 << 20) - 1),
        log_segment(0xD110, 28, block=8191),
        log_segment(0xD110, 28, block=512),
        log_segment(0xD110, 28, block=1 << 17),
    ):
        assert in_words(foreign_width.wal(name, content)) == "DISCARD"
    for number in (0xCF93, 0xD293):
        assert foreign_width.wal(name, log_segment(number, 28)) is None
    for other in (name[1:], name + "0", "00000001000000000000000g", name + ".gz"):
        assert foreign_width.wal(other, log_segment(0xD110, 28)) is None


# Exim's hints.


@pytest.mark.parametrize(
    ("path", "hints"),
    [
        ("spool/exim4/db/retry", True),
        ("var/spool/exim/db/wait-remote_smtp", True),
        ("exim-retry.db", True),
        ("spool/exim4/db/retry.lockfile", False),
        ("exim.lockfile", False),
        ("spool/postfix/db/retry", False),
        ("spool/exim4/input/retry", False),
        ("db/retry", False),
    ],
)
def test_a_path_of_exims_hints(path: str, hints: bool) -> None:
    assert foreign_width.is_exim_hints(path) is hints
    for content, name in ((b"TDB file\n".ljust(40, b"\0"), "tdb"), (SQLITE, "sqlite")):
        found = identified(path, content)
        assert found.format == ("exim-hints" if hints else name)
        assert found.disposition is (Disposition.DISCARD if hints else Disposition.PORTABLE)


# What only its name and its structure give away.


def login(kind: int) -> bytes:
    return struct.pack("<II376s", kind, 4711, b"pts/0")


def dets(number: int) -> bytes:
    return struct.pack(">II", 0, number) + LONGS


def page(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}H", *numbers).ljust(1024, b"\1")


@pytest.mark.parametrize(
    ("path", "content", "name"),
    [
        ("log/wtmp", login(7) + login(9), "utmp"),
        ("log/wtmp", login(7) + login(8) + b"\1", ""),
        ("log/wtmp", login(7) + login(8)[:-4], ""),
        ("log/btmp", login(10), ""),
        ("log/btmp", login(7) + login(10), ""),
        ("log/utmp.old", login(7), ""),
        ("log/lastlog", LONGS[: 292 * 4], "lastlog"),
        ("log/lastlog", LONGS[: 292 * 4 + 4], ""),
        ("log/lastlog", LONGS[: 296 * 4], ""),
        ("log/tallylog", LONGS[: 64 * 4], "tallylog"),
        ("log/tallylog", LONGS[: 64 * 4 + 8], ""),
        ("log/tallylog", LONGS[: 64 * 4 + 32], ""),
        ("mnesia/user.DAT", dets(0x00ABCDEF), "mnesia"),
        ("mnesia/user.DCD", dets(0x00ABCDEF), "mnesia"),
        ("mnesia/user.DAT", dets(0x00ABCDEE), ""),
        ("mnesia/user.DCL", LONGS, ""),
        ("user.DMP", LONGS, ""),
        ("user.bin", dets(0x00ABCDEF), ""),
        ("s.pag", page(4, 1000, 990, 980, 970), "sdbm"),
        ("s.pag", page(2, 1024, 1024), "sdbm"),
        ("s.pag", page(3, 1000, 990, 980), ""),
        ("s.pag", page(4, 1000, 990, 995, 970), ""),
        ("s.pag", page(2, 1025, 990), ""),
        ("s.pag", page(4, 1000, 990, 980, 8), ""),
        ("s.pag", page(512, *range(1024, 1024 - 512, -1)), ""),
        # More offsets than the file has bytes for.
        ("s.pag", page(1000, 1000, 990), ""),
        ("s.pag", page(4, 1000, 990, 980, 970)[:1023], ""),
        ("s.dat", page(4, 1000, 990, 980, 970), ""),
    ],
)
def test_a_name_is_believed_with_its_structure_alone(path: str, content: bytes, name: str) -> None:
    found = identified(path, content)
    if name:
        assert (found.format, found.disposition) == (name, Disposition.PORTABLE)
    else:
        assert found.format in ("unknown-structure", "unknown-binary")
        assert found.disposition in (Disposition.SUSPECT, Disposition.UNKNOWN)

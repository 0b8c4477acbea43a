"""Formats that differ between 32-bit and 64-bit programs, and how their bytes tell which.

Each rule takes the path and the first bytes and returns what the file is, or None. The layouts that
the rules know stand in their docstrings; all numbers are little-endian, as i386 and amd64 write
them. Samples of either side are in tests/data/foreign.
"""

from __future__ import annotations

import re
import struct

from applianceforge.formats.foreign_words import Disposition, Identification

_CARRY = Disposition.CARRY_OVER
_PORTABLE = Disposition.PORTABLE
_REBUILT = Disposition.REBUILT
_DISCARD = Disposition.DISCARD

EXIM_HINTS = Identification(
    "exim-hints", _DISCARD, None, "it holds structures with time_t; of which width does not show"
)

_FLOAT_FORMAT = struct.pack("<d", 1234567.0)


def u16(head: bytes, at: int) -> int:
    """Return the 16-bit word at `at`, or -1 where the bytes end before it."""
    return struct.unpack_from("<H", head, at)[0] if at + 2 <= len(head) else -1


def u32(head: bytes, at: int) -> int:
    """Return the 32-bit word at `at`, or -1 where the bytes end before it."""
    return struct.unpack_from("<I", head, at)[0] if at + 4 <= len(head) else -1


def _by_width(name: str, bits: int | None, narrow: Disposition, evidence: str) -> Identification:
    """Return `narrow` for 32 bits, portable for 64: that side stays what it is."""
    return Identification(name, _PORTABLE if bits == 64 else narrow, bits, evidence)


def pg_control(head: bytes) -> Identification | None:
    """Recognise PostgreSQL's control file, of any release.

    The double 1234567.0 is in every release's structure. Right before it stands MAXALIGN (4 on
    i386, 8 elsewhere), at its byte 40 whether float8 is passed by value, since release 13.

    Source: PostgreSQL src/include/catalog/pg_control.h, releases 9.2 to 18.
    """
    at = head.find(_FLOAT_FORMAT, 0, 512)
    while at >= 0 and at % 4:
        at = head.find(_FLOAT_FORMAT, at + 1, 512)
    if at < 24:
        return None
    version, max_align = u32(head, 8), u32(head, at - 4)
    before = at - 4
    if max_align not in (4, 8):
        # Padding, where the compiler aligned the double to 8.
        before, max_align = at - 8, u32(head, at - 8)
    if max_align not in (4, 8) or not 800 <= version < 10000:
        return None
    by_value = head[at + 40 : at + 41] == b"\1" if version >= 1300 else max_align == 8
    bits = 64 if max_align == 8 and by_value else 32
    evidence = f"control version {version}, MAXALIGN {max_align} at byte {before}"
    if version >= 1300:
        evidence += f", float8 {'by value' if by_value else 'by reference'} at byte {at + 40}"
    return _by_width("postgresql", bits, Disposition.CONVERTED, evidence)


_COOKIE = bytes.fromhex("2F25C0C7432B1F5B")


def rrd(head: bytes) -> Identification | None:
    """Recognise a round-robin database: `RRD`, version, the double 8.642135E130.

    The double is at 12 where it is aligned to 4 (i386), else at 16; there, u64 counts mean 64-bit
    words, u32 counts 32-bit ARM's. ds_cnt is small, so the upper half of a u64 is 0 and an u32's
    neighbour rra_cnt is not.

    Source: RRDtool 1.7.2 src/rrd_format.h, struct stat_head_t.
    """
    if not head.startswith(b"RRD\0"):
        return None
    if head[12:20] == _COOKIE:
        return _by_width("rrd", 32, Disposition.CONVERTED, "the float cookie is at byte 12")
    if head[16:24] == _COOKIE:
        wide = u32(head, 28) == 0
        words = "8" if wide else "4"
        return _by_width(
            "rrd",
            64 if wide else 32,
            Disposition.CONVERTED,
            f"the float cookie is at byte 16, and counts have {words} bytes",
        )
    return Identification(
        "rrd-foreign", _CARRY, None, "RRD, but the float cookie is at no known place"
    )


def lmdb(head: bytes) -> Identification | None:
    """Recognise an LMDB environment's data file: a page header, then DE C0 EF BE.

    The header is u32 or u64 page number, u16, u16 flags (8 = meta), two u16: 12 or 16 bytes.

    Source: LMDB 0.9.24 libraries/liblmdb/mdb.c, struct MDB_page and MDB_meta.
    """
    for at, bits in ((12, 32), (16, 64)):
        if u32(head, at) == 0xBEEFC0DE and u16(head, at - 6) & 8:
            return _by_width("lmdb", bits, _CARRY, f"DE C0 EF BE is at byte {at}")
    return None


# Number: (where the block of free space begins, whether its offsets have 8 bytes).
_GDBM = {
    0x13579ACF: 40,  # GDBM_MAGIC64
    0x13579AD1: 72,  # GDBM_NUMSYNC_MAGIC64: 32 bytes of extended header
}
_GDBM_NARROW = (0x13579ACE, 0x13579ACD, 0x13579AD0)


def gdbm(path: str, head: bytes) -> Identification | None:
    """Recognise a GDBM file, and the man-db index, which is one.

    header: magic, block_size u32, off_t dir, dir_size, dir_bits, bucket_size, bucket_elems u32,
    off_t next_block; then the free list: u32 how many elements fit, ... An element is
    {u32 size; off_t}: 12 bytes on i386, 16 with padding on amd64, so block_size / fit tells which.

    Source: GDBM 1.23 src/gdbmdefs.h, gdbmconst.h and gdbmopen.c.
    """
    magic = u32(head, 0)
    name = path.rpartition("/")[2]
    manual = name == "index.db" or name.startswith("mandb")
    bits: int | None
    if magic in _GDBM:
        block, fit = u32(head, 4), u32(head, _GDBM[magic])
        if block <= 0 or fit <= 0:
            bits, evidence = None, "the header is cut or empty"
        else:
            # With a block of 512 bytes what rounding and header take moves it by less than 2.
            element = block / fit
            bits = 64 if element >= 14.5 else 32
            evidence = (
                f"a block of {block} bytes holds {fit} free entries, {element:.1f} bytes each"
            )
    elif magic in _GDBM_NARROW:
        bits, evidence = 32, f"magic number {magic:08x}: offsets of 4 bytes"
    elif head.startswith(b"GDBM\0") and len(head) <= 64:
        return Identification("gdbm-ndbm-dir", _PORTABLE, None, "belongs to the .pag beside it")
    else:
        return None
    if manual:
        return Identification("man-db", _REBUILT, bits, evidence)
    return _by_width("gdbm", bits, _CARRY, evidence)


_BDB = {0x061561: "hash", 0x053162: "btree", 0x042253: "queue", 0x074582: "heap"}


def berkeley_db(path: str, head: bytes) -> Identification | None:
    """Recognise Berkeley DB's files, and the region files of an environment, which are memory.

    Databases have their magic number at 12 (release 1.85 at 0), logs theirs at 12, regions at 0.

    Source: Berkeley DB 5.3 src/dbinc/db_page.h, log.h and region.h (DB_REGION_MAGIC).
    """
    name = path.rpartition("/")[2]
    region = re.search(r"__db\.(\d{3})$", name)
    if u32(head, 0) == 0x120897 or region:
        # The first region stands for the environment, so that one is counted, not six.
        if region and region.group(1) != "001":
            return Identification("berkeley-db-region", _DISCARD)
        return Identification(
            "berkeley-db-environment", _CARRY, None, "__db.001 is an image of shared memory"
        )
    for at in (12, 0):
        kind = _BDB.get(u32(head, at))
        if kind is not None:
            if is_exim_hints(path):
                return EXIM_HINTS
            return Identification("berkeley-db", _PORTABLE, None, f"{kind}, number at byte {at}")
    if u32(head, 12) == 0x040988:
        return Identification("berkeley-db-log", _PORTABLE, None, "log number at byte 12")
    return None


def is_exim_hints(path: str) -> bool:
    """Return whether the path is that of a hints database: spool/exim4/db, or named so.

    Source: Exim specification, chapter 53, "Format of spool files" and 10.
    """
    parts = path.split("/")
    if parts[-1].endswith(".lockfile"):
        return False
    return (len(parts) > 2 and parts[-2] == "db" and "exim" in parts[-3]) or parts[-1].startswith(
        "exim"
    )


def storable(head: bytes) -> Identification | None:
    """Recognise what Perl's Storable wrote: `pst0`, major << 1 | network order, minor, ...

    In native order: length and text of the byte order, then sizeof(int), sizeof(long),
    sizeof(char *), sizeof(NV).

    Source: Storable 3.x, "MAGIC" in Storable.xs and Storable.pm's read_magic.
    """
    if not head.startswith(b"pst0") or len(head) < 6:
        return None
    if head[4] & 1:
        return Identification("perl-storable", _PORTABLE, None, "written in network order")
    at = 7 + head[6] if len(head) > 6 else 7
    sizes = head[at : at + 3]
    if len(sizes) < 3 or sizes[1] not in (4, 8):
        return Identification("perl-storable", _CARRY, None, "native order, its header is cut")
    return _by_width(
        "perl-storable",
        sizes[1] * 8,
        _CARRY,
        f"native order, sizeof(long) = {sizes[1]}, sizeof(char *) = {sizes[2]}",
    )


def atop(head: bytes) -> Identification | None:
    """Recognise a log of atop: EF BE ED FE, u16 version at 4, u16 size of a record at 12.

    Source: atop 2.8 rawlog.h, struct rawheader; record sizes seen with Debian 12's programs.
    """
    if u32(head, 0) != 0xFEEDBEEF:
        return None
    record = u16(head, 12)
    bits = {0x58: 32, 0x60: 64}.get(record)
    return _by_width("atop", bits, _CARRY, f"a record's header has {record} bytes")


def sysstat(head: bytes) -> Identification | None:
    """Recognise sysstat's daily data: u16 0xD596, u16 format.

    Format 0x2175 (11.7.1 and later) says the size of each member; before, they were C's own.

    Source: sysstat sa.h, SYSSTAT_MAGIC and FORMAT_MAGIC.
    """
    if u16(head, 0) != 0xD596:
        return None
    form = u16(head, 2)
    if form >= 0x2175:
        return Identification("sysstat", _PORTABLE, None, f"format {form:04x}")
    return Identification("sysstat-old", _CARRY, None, f"format {form:04x}, before 2175")


def elf(head: bytes) -> Identification | None:
    """Recognise a program, a library, or the core of one that died.

    Source: System V ABI 4.1, chapter 4: e_ident[4] class, e_type at 16 (4 = core).
    """
    if not head.startswith(b"\x7fELF") or len(head) < 18:
        return None
    bits = {1: 32, 2: 64}.get(head[4])
    if u16(head, 16) == 4:
        return Identification("core", _DISCARD, bits, f"ELF core, class {head[4]}")
    machine = u16(head, 18)
    if machine in (3, 62) and bits is not None:
        return _by_width("elf", bits, _REBUILT, f"ELF class {head[4]}, machine {machine}")
    # Another machine's programs (firmware, eBPF) do not run here now and need not later.
    return Identification("elf-other", _PORTABLE, bits, f"ELF of machine {machine}")


def wal(path: str, head: bytes) -> Identification | None:
    """Recognise a segment of PostgreSQL's write-ahead log outside a cluster: an archive of them.

    u16 magic D0xx or D1xx, u16 flags (2 = long header); after 20 bytes, or 24 where a u64 is
    aligned to 8: system identifier u64, segment size u32, block size u32.

    Source: PostgreSQL src/include/access/xlog_internal.h, XLogLongPageHeaderData.
    """
    name = path.rpartition("/")[2]
    if not re.match(r"[0-9A-F]{24}(\.partial)?$", name) or head[1:2] not in (b"\xd0", b"\xd1"):
        return None
    for at, bits in ((32, 32), (36, 64)):
        segment, block = u32(head, at - 4), u32(head, at)
        if 1024 <= block <= 65536 and block & (block - 1) == 0 and segment >= 1 << 20:
            return _by_width(
                "postgresql-wal", bits, _DISCARD, f"the size of a block is at byte {at}"
            )
    return Identification("postgresql-wal", _DISCARD, None, "a segment of a write-ahead log")


def redis(head: bytes) -> Identification | None:
    """Recognise a dump of Redis; both sides read it.

    Source: Redis rdb.c: `REDIS` and the version; auxiliary field `redis-bits`, an 8-bit integer.
    """
    if not re.match(rb"REDIS\d{4}", head):
        return None
    at = head.find(b"redis-bits\xc0", 0, 256)
    bits = {32: 32, 64: 64}.get(head[at + 11]) if 0 <= at < len(head) - 11 else None
    return Identification("redis", _PORTABLE, bits, "")

"""Tell what a file is that another program wrote, and what a change of width does to it.

A path and the first bytes are enough; nothing is opened here. The order of the rules: formats that
differ between the widths, magic numbers, formats that only their names and sizes give away, text,
and at last what the bytes look like.

Source: beside each rule; docs/data.md has the table for an administrator.
"""

from __future__ import annotations

import re
import struct

from applianceforge.formats import (
    foreign_deflate,
    foreign_magic,
    foreign_text,
    foreign_unknown,
    foreign_width,
)
from applianceforge.formats.foreign_width import u16, u32
from applianceforge.formats.foreign_words import Disposition, Identification

_PORTABLE = Disposition.PORTABLE
_REBUILT = Disposition.REBUILT
_DISCARD = Disposition.DISCARD
_EMPTY = Identification("empty", _PORTABLE)
_TEXT = Identification("text", _PORTABLE)


def identify(path: str, head: bytes, size_bytes: int) -> Identification:
    """Tell what a file is.

    Args:
        path: Its path below the scanned directory, `/` between the parts; any characters.
        head: Its first bytes, `foreign_words.HEAD_BYTES` or all of them if it is shorter.
        size_bytes: How long the whole file is.
    """
    if not head:
        return _EMPTY
    found = _of_a_width(path, head)
    if found is None:
        found = _of_a_number(path, head)
    if found is None:
        found = _of_a_name(path, head, size_bytes)
    if found is not None:
        return found
    if foreign_text.is_text(head, whole=len(head) >= size_bytes):
        return _TEXT
    if not any(head):
        # No more can be said of zeros; a scanner that finds data behind them asks again.
        return Identification("zeros", _PORTABLE)
    found = _by_structure(head, size_bytes)
    if found is None and foreign_deflate.is_stream(head, whole=len(head) >= size_bytes):
        found = Identification("zlib", _PORTABLE)
    return found or foreign_unknown.classify(head)


def identify_sample(sample: bytes) -> Identification:
    """Tell what bytes from the midst of a file look like, whose beginning is zeros only.

    Args:
        sample: From an offset that is a multiple of 8.
    """
    if not any(sample):
        return Identification("zeros", _PORTABLE)
    if foreign_text.is_text(sample, whole=False):
        return _TEXT
    return foreign_unknown.classify(sample)


def _of_a_width(path: str, head: bytes) -> Identification | None:
    """Ask the rules of `foreign_width` whose formats can begin with these bytes."""
    start = head[:4]
    if start == b"\x7fELF":
        return foreign_width.elf(head)
    if start == b"RRD\0":
        return foreign_width.rrd(head)
    if start == b"pst0":
        return foreign_width.storable(head)
    if start == b"REDI":
        return foreign_width.redis(head)
    if start == b"\xef\xbe\xed\xfe":
        return foreign_width.atop(head)
    if start[:2] == b"\x96\xd5":
        return foreign_width.sysstat(head)
    if start[1:] == b"\x9a\x57\x13" or start == b"GDBM":
        return foreign_width.gdbm(path, head)
    return (
        foreign_width.lmdb(head)
        or foreign_width.berkeley_db(path, head)
        or foreign_width.wal(path, head)
        or (foreign_width.pg_control(head) if path.endswith("pg_control") else None)
        or _exim(path, head)
    )


def _exim(path: str, head: bytes) -> Identification | None:
    if foreign_width.is_exim_hints(path) and head.startswith((b"TDB file", b"SQLite")):
        return foreign_width.EXIM_HINTS
    return None


def _of_a_number(path: str, head: bytes) -> Identification | None:
    exim = _exim(path, head)
    if exim is not None:
        return exim
    magic = foreign_magic.look_up(head)
    if magic is None:
        return None
    return Identification(magic.format, magic.disposition)


def _of_a_name(path: str, head: bytes, size_bytes: int) -> Identification | None:
    """Recognise what has no number: by the name, and by bytes and size that agree with it."""
    name = path.rpartition("/")[2]
    if name.endswith("-journal") and _is_open_journal(head):
        return Identification("sqlite", _PORTABLE)
    if name == "hostid" and size_bytes == 4:
        return Identification("hostid", _PORTABLE, None, "an int: sethostid(3)")
    if name == "lock.mdb" or name.endswith((".mdb-lock", ".lmdb-lock")):
        return Identification("lmdb-lock", _DISCARD, None, "LMDB's table of readers")
    if re.match(r"(wtmp|btmp|utmp)([.-]\d+)?$", name) and _is_utmp(head, size_bytes):
        return Identification("utmp", _PORTABLE, None, "records of 384 bytes on either side")
    if name.startswith("lastlog") and size_bytes % 292 == 0:
        return Identification("lastlog", _PORTABLE, None, "records of 292 bytes on either side")
    if name.startswith("tallylog") and size_bytes % 64 == 0:
        return Identification("tallylog", _PORTABLE)
    if name == "faillog":
        return Identification("faillog", _DISCARD, None, "records with time_t and long in them")
    if name.startswith("dovecot") and (".index" in name or "uidlist" in name):
        # The list of UIDs is text, and begins with its version; the indexes are made anew.
        return Identification("dovecot-index", _PORTABLE if head[:1] == b"3" else _REBUILT)
    if name.endswith((".pyc", ".pyo")):
        return Identification("python-bytecode", _REBUILT)
    if name == "swap.state":
        return Identification("squid-cache", _DISCARD, None, "structures with time_t and size_t")
    if name.startswith("cyrus."):
        return Identification("cyrus", _PORTABLE)
    if name.endswith((".MYD", ".MAD", ".TRG", ".TRN", ".ibd", ".ibu")) or name.startswith(
        ("ibdata", "ib_logfile", "ib_buffer_pool", "aria_log", "undo0", "ibtmp")
    ):
        return Identification("mariadb", _PORTABLE)
    if name.endswith((".DCD", ".DCL", ".DAT", ".DMP")) and u32(head, 4) == 0xEFCDAB00:
        return Identification("mnesia", _PORTABLE)
    if name.endswith(".pag") and _is_sdbm(head):
        return Identification("sdbm", _PORTABLE, None, "pages of 1024 bytes, 16-bit words")
    if name.endswith((".mod", ".bc")) and head[:4] in (b"BC\xc0\xde", b"\xde\xc0\x17\x0b"):
        return Identification("llvm", _PORTABLE)
    return None


def _is_utmp(head: bytes, size_bytes: int) -> bool:
    """Want the type of each record below 10: utmp(5), struct utmp with __WORDSIZE_TIME64_COMPAT32.

    Source: glibc bits/utmp.h: 32-bit times on amd64, too, so both sides write 384 bytes.
    """
    types = [u32(head, at) for at in range(0, len(head), 384)]
    return size_bytes % 384 == 0 and all(kind < 10 for kind in types)


def _is_open_journal(head: bytes) -> bool:
    """Want a rollback journal whose number is not written yet, or not any more.

    It is written after the pages, with their count; with journal_mode=PERSIST all the header is
    overwritten with zeros in the end.

    Source: sqlite.org/fileformat2.html, 3: sectors and pages of 512 to 65536 bytes, big-endian.
    """
    if len(head) < 28 or any(head[:12]):
        return False
    sector, page = struct.unpack_from(">II", head, 20)
    sizes = [1 << bit for bit in range(5, 17)]
    return not any(head[:28]) or (sector in sizes and page in sizes[4:])


def _is_sdbm(head: bytes) -> bool:
    """Want an even count of 16-bit offsets that fall from the page's end: sdbm's pair.c, chkpage.

    Source: SDBM (Ozan Yigit 1990), as in Perl's ext/SDBM_File/pair.c.
    """
    count = u16(head, 0)
    if count < 0 or count % 2 or count > 511 or len(head) < 1024:
        return False
    offsets = struct.unpack_from(f"<{count}H", head, 2)
    return all(2 * count < offset <= before for offset, before in zip(offsets, (1024, *offsets)))


def _by_structure(head: bytes, size_bytes: int) -> Identification | None:
    """Recognise what has neither number nor name, but a structure that is no accident."""
    if len(head) > 8 and head[0] == 0x30 and _is_der(head, size_bytes):
        return Identification("der", _PORTABLE)  # certificates, keys: ITU-T X.690, 8.1
    if len(head) >= 16 and head[2:4] == b"\r\n" and u32(head, 4) < 8:
        return Identification("python-bytecode", _REBUILT)  # PEP 552
    if head[:1] == b"\x47" and len(head) > 376 and head[188] == head[376] == 0x47:
        return Identification("mpeg", _PORTABLE)  # transport stream: ISO 13818-1, 2.4.3.2
    if head[:4] in (b"\0\1\0\1", b"\0\1\0\2") and _is_mime_cache(head, size_bytes):
        return Identification("mime-cache", _REBUILT)
    if head[:4] == b"\0\0\x27\x0a" and u32(head, 28) == 1000:
        return Identification("shapefile", _PORTABLE)  # ESRI Shapefile, July 1998: main header
    return None


def _is_mime_cache(head: bytes, size_bytes: int) -> bool:
    """Want nine different places in the file, of multiples of 4: big-endian.

    Source: shared-mime-info specification 0.21, "The mime.cache files", header.
    """
    if len(head) < 40:
        return False
    places = struct.unpack_from(">9I", head, 4)
    return len(set(places)) >= 8 and all(
        40 <= place < size_bytes and place % 4 == 0 for place in places
    )


def _is_der(head: bytes, size_bytes: int) -> bool:
    """Want one sequence that is the whole file, or several that are; or BER of PKCS #7."""
    if head.startswith(b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07"):
        return True  # Its length shows at its end only: RFC 2315, 14.
    at = parts = 0
    while at < size_bytes and at + 8 < len(head):
        length = _der_length(head[at : at + 8])
        if length < 0 or head[at] != 0x30:
            return False
        at, parts = at + length, parts + 1
    return at == size_bytes or (parts > 1 and len(head) <= at + 8 <= size_bytes)


def _der_length(head: bytes) -> int:
    """Return the length that a DER sequence says it has, header included, or -1 if it is no DER."""
    first = head[1]
    if first < 128:
        length, at = first, 2
    elif first in (0x81, 0x82, 0x83):
        at = 2 + first - 128
        length = int.from_bytes(head[2:at], "big")
        if length < 128:
            return -1
    else:
        return -1
    # The first thing in it is a number, a sequence, a string or an object's name.
    plausible = head[at : at + 1] in (b"\x02", b"\x30", b"\x31", b"\x06", b"\x04", b"\xa0", b"\x0c")
    return at + length if plausible else -1

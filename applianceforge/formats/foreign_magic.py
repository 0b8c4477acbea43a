"""Magic numbers of formats for which the width of the programs does not matter.

Each entry: where the number is, the number, the format's name, what becomes of the file. The offset
0 entries are found by their first two bytes, so that a hundred thousand files take no time.

Source: the magic files of file(1) 5.44 (Magdir/archive, audio, compress, database, filesystems,
images, java, linux, msdos, mail.news, sgml, sql, vorbis and others), the formats' own documents
where a line names one, and samples that Debian 12's programs wrote on i386 and on amd64.
"""

from __future__ import annotations

from typing import NamedTuple

from applianceforge.formats import foreign_text
from applianceforge.formats.foreign_words import Disposition

_PORTABLE = Disposition.PORTABLE
_REBUILT = Disposition.REBUILT
_DISCARD = Disposition.DISCARD


class Magic(NamedTuple):
    """A number at a place that names a format."""

    offset: int
    number: bytes
    format: str
    disposition: Disposition = _PORTABLE


MAGICS = (
    # Databases whose files both sides read: written on either side, read on the other.
    Magic(0, b"SQLite format 3\0", "sqlite"),  # sqlite.org/fileformat2.html 1.3: big-endian
    Magic(0, b"\x37\x7f\x06\x82", "sqlite"),  # its write-ahead log, section 4.1
    Magic(0, b"\x37\x7f\x06\x83", "sqlite"),
    Magic(0, b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", "sqlite"),  # its rollback journal, section 3
    Magic(0, b"\x18\xe2\x2d\x00", "sqlite"),  # the wal-index: made anew if it does not fit, 4.6
    Magic(0, b"TDB file\n", "tdb"),  # samba lib/tdb/common/tdb_private.h
    Magic(0, b"ToKyO CaBiNeT\n", "tokyo-cabinet"),  # the same bytes from i386 and amd64
    Magic(0, b"\xa1\x02\x8b\x0dskiplist file", "cyrus-skiplist"),  # cyrus lib/cyrusdb_skiplist.c
    Magic(0, b"\xa1\x02\x8b\x0dtwoskip file", "cyrus-twoskip"),
    Magic(0, b"\xa1\x02\x8b\x0dzeroskip", "cyrus-zeroskip"),
    Magic(0, b"\xa1\x02\x8b\x0dCyrus", "cyrus"),
    Magic(0, b"\x01\x02\x03\x04", "erlang-disk-log"),  # OTP kernel disk_log.hrl, LOGMAGIC
    Magic(0, b"PGDMP", "pg_dump-archive"),  # pg_backup_archiver.c
    Magic(0, b"ClamAV-VDB:", "clamav"),
    Magic(0, b"LPKSHHRH", "systemd-journal"),  # systemd.io/JOURNAL_FILE_FORMAT: le32, le64
    Magic(0, b"GVariant", "gvariant"),  # dconf, compiled schemas: aligned by their own rules
    Magic(0, b"KSLPHHRH", "hwdb", _REBUILT),
    Magic(0, b"RHHHKSLP", "systemd-catalog", _REBUILT),
    Magic(0, b"\xfe\xed\xfe\xed", "java-keystore"),
    Magic(0, b"\xfe\x01\x09", "mariadb"),  # .frm; sql/table.cc, FRM_VER and up
    Magic(0, b"\xfe\x01\x0a", "mariadb"),
    Magic(0, b"\xfe\xfe\x07", "mariadb"),  # .MYI, and Aria's: storage/maria/ma_static.c
    Magic(0, b"\xfe\xfe\x09", "mariadb"),
    Magic(0, b"\xfe\xfe\x0c", "mariadb"),
    Magic(0, b"\xfebin", "mariadb-binlog"),
    # Text with a byte-order mark.
    Magic(0, b"\xef\xbb\xbf", "text"),
    Magic(0, b"\xff\xfe", "text"),
    Magic(0, b"\xfe\xff", "text"),
    # Compressed files and archives.
    Magic(0, b"\x1f\x8b\x08", "gzip"),
    Magic(0, b"\x1f\x9d", "compress"),
    Magic(0, b"BZh", "bzip2"),
    Magic(0, b"\xfd7zXZ\0", "xz"),
    Magic(0, b"\x5d\x00\x00", "lzma"),
    Magic(0, b"\x28\xb5\x2f\xfd", "zstd"),
    Magic(0, b"\x37\xa4\x30\xec", "zstd"),  # a dictionary
    Magic(0, b"\x50\x2a\x4d\x18", "zstd"),  # pzstd's frame with a size: RFC 8878, 3.1.2
    Magic(0, b"\x04\x22\x4d\x18", "lz4"),
    Magic(0, b"\x02\x21\x4c\x18", "lz4"),
    Magic(0, b"\x89LZO\0\r\n\x1a\n", "lzo"),
    Magic(0, b"LZIP", "lzip"),
    Magic(0, b"\xff\x06\0\0sNaPpY", "snappy"),
    Magic(0, b"LRZI", "lrzip"),
    Magic(0, b"PK\x03\x04", "zip"),
    Magic(0, b"PK\x05\x06", "zip"),
    Magic(0, b"7z\xbc\xaf\x27\x1c", "7zip"),
    Magic(0, b"Rar!\x1a\x07", "rar"),
    Magic(0, b"!<arch>\n", "ar"),
    Magic(0, b"!<thin>\n", "ar"),
    Magic(0, b"070701", "cpio"),
    Magic(0, b"070702", "cpio"),
    Magic(0, b"070707", "cpio"),
    Magic(0, b"\xed\xab\xee\xdb", "rpm"),
    Magic(0, b"MSCF", "cab"),
    Magic(257, b"ustar", "tar"),
    # Pictures, sound, film, fonts, documents.
    Magic(0, b"\x89PNG", "png"),
    Magic(0, b"\xff\xd8\xff", "jpeg"),
    Magic(0, b"GIF8", "gif"),
    Magic(0, b"II*\0", "tiff"),
    Magic(0, b"MM\0*", "tiff"),
    Magic(0, b"BM", "bmp"),
    Magic(0, b"\0\0\x01\0", "ico"),
    Magic(0, b"\0\0\x02\0", "ico"),
    Magic(0, b"RIFF", "riff"),
    Magic(0, b"RIFX", "riff"),
    Magic(0, b"gimp xcf", "xcf"),
    Magic(0, b"8BPS", "photoshop"),
    Magic(0, b"Xcur", "xcursor"),
    Magic(0, b"OggS", "ogg"),
    Magic(0, b"fLaC", "flac"),
    Magic(0, b"ID3", "mp3"),
    Magic(0, b"\xff\xfb", "mp3"),
    Magic(0, b"\xff\xf3", "mp3"),
    Magic(0, b"\xff\xf2", "mp3"),
    Magic(0, b"MThd", "midi"),
    Magic(0, b".snd", "au"),
    Magic(0, b"FLV\x01", "flv"),
    Magic(0, b"\0\0\x01\xba", "mpeg"),
    Magic(0, b"\0\0\x01\xb3", "mpeg"),
    Magic(0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    Magic(4, b"ftyp", "mp4"),
    Magic(4, b"moov", "mp4"),
    Magic(0, b"\x1a\x45\xdf\xa3", "matroska"),
    Magic(0, b"%PDF-", "pdf"),
    Magic(0, b"%!PS", "postscript"),
    Magic(0, b"\xc5\xd0\xd3\xc6", "postscript"),
    Magic(0, b"\x80\x01", "postscript-font"),
    Magic(0, b"{\\rtf", "rtf"),
    Magic(0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole2"),
    Magic(0, b"\xf7\x02\x01\x83", "dvi"),
    Magic(0, b"\0\x01\0\0\0", "font"),
    Magic(0, b"OTTO", "font"),
    Magic(0, b"ttcf", "font"),
    Magic(0, b"true", "font"),
    Magic(0, b"wOFF", "font"),
    Magic(0, b"wOF2", "font"),
    Magic(0, b"\x01fcp", "font"),
    # Network captures: the records are 32-bit words on any machine.
    Magic(0, b"\xd4\xc3\xb2\xa1", "pcap"),
    Magic(0, b"\xa1\xb2\xc3\xd4", "pcap"),
    Magic(0, b"\x4d\x3c\xb2\xa1", "pcap"),
    Magic(0, b"\x0a\x0d\x0d\x0a", "pcap"),
    # What systems and languages carry with them.
    Magic(0, b"TZif", "timezone"),
    Magic(0, b"\xde\x12\x04\x95", "gettext"),
    Magic(0, b"\x95\x04\x12\xde", "gettext"),
    Magic(0, b"\x1a\x01", "terminfo"),  # term(5): little-endian shorts
    Magic(0, b"\x1e\x02", "terminfo"),
    Magic(0, b"\xca\xfe\xba\xbe", "java-class"),
    Magic(0, b"\0asm", "webassembly"),
    Magic(0, b"MZ", "dos-program"),
    Magic(0, b"DIRC", "git"),
    Magic(0, b"PACK", "git"),
    Magic(0, b"\xfftOc", "git"),
    Magic(0, b"RIDX", "git"),
    Magic(0, b"CGPH", "git"),
    Magic(0, b"MIDX", "git"),
    Magic(0, b"BITM", "git"),
    Magic(0, b"MTME", "git"),  # gitformat-pack(5): all of them big-endian
    Magic(0, b"\x80\x02", "python-pickle"),
    Magic(0, b"\x80\x03", "python-pickle"),
    Magic(0, b"\x80\x04\x95", "python-pickle"),
    Magic(0, b"\x80\x05\x95", "python-pickle"),
    Magic(0, b"\x93NUMPY", "numpy"),  # its header names the width and the order of its numbers
    Magic(0, b"\x89HDF\r\n\x1a\n", "hdf5"),
    Magic(0, b"CDF\x01", "netcdf"),
    Magic(0, b"CDF\x02", "netcdf"),
    Magic(0, b"\x99\x01", "openpgp"),
    Magic(0, b"\x99\x02", "openpgp"),
    Magic(0, b"\x89\x01", "openpgp"),
    Magic(0, b"\x89\x02", "openpgp"),
    Magic(0, b"\x95\x03", "openpgp"),
    Magic(0, b"\x95\x07", "openpgp"),
    Magic(0, b"\x01gpg", "gnupg-trustdb"),  # gnupg g10/tdbio.c: records of 40 bytes, big-endian
    Magic(0, b"\xd9\xd9\xf7", "cbor"),  # RFC 8949, 3.4.6: the tag that says so
    Magic(8, b"KBXf", "gnupg-keybox"),  # gnupg kbx/keybox-blob.c: big-endian
    # Caches of the system, which their programs make again.
    Magic(0, b"ld.so-1.7.0", "ld.so-cache", _REBUILT),
    Magic(0, b"glibc-ld.so", "ld.so-cache", _REBUILT),
    Magic(0, b"\xdc\x76\xfe\x98", "apt-cache", _REBUILT),  # apt-pkg/pkgcache.cc, 0x98FE76DC
    Magic(0, b"\x04\xfc\x02\xfc", "fontconfig-cache", _REBUILT),  # FC_CACHE_MAGIC_MMAP
    Magic(0, b"\x09\x01\x02\xde", "locale-archive", _REBUILT),  # glibc locale/locarchive.h
    Magic(0, b"\x24\x03\x01\x20", "gconv-cache", _REBUILT),  # glibc iconv/iconvconfig.h
    Magic(0, b"\x8a\xff\x7c\xf9", "selinux", _REBUILT),  # compiled regular expressions
    Magic(0, b"\x8c\xff\x7c\xf9", "selinux", _REBUILT),
    Magic(0, b"KDE Sycoca", "sycoca", _REBUILT),
    Magic(0, b"\x1c\x04\x1e\xf1", "file-magic", _REBUILT),
    Magic(0, b"MIME-Magic\0", "mime-cache", _REBUILT),
    Magic(0, b"MIME-TreeMagic\0", "mime-cache", _REBUILT),
    Magic(0, b"\0\x01\0\0\0\0\0\x0c", "icon-cache", _REBUILT),  # big-endian
    Magic(0, b"XMLb", "xmlb", _REBUILT),
    Magic(0, b"VIMspell", "vim-spell"),
    Magic(0, b"VIMsug", "vim-spell"),
    Magic(0, b"b0VIM", "vim-swap", _DISCARD),  # its own numbers are checked: vim memline.c
    Magic(0, b"GOBJ\nMETADATA", "typelib", _REBUILT),
    Magic(0, b"JM\x01\0PK", "zip"),
    Magic(0, b"\xd0\x0d\xfe\xed", "devicetree"),  # big-endian
    Magic(0, b"\x55\xaa", "option-rom"),
    Magic(0, b"\x52\x56\xbe\x1b\x81\xe8", "grub"),  # diskboot.img, which begins core.img
    Magic(0, b"FILE\0\0\0\x04PFF2", "grub"),
    Magic(0, b"\0\0\0\x01Bud1", "ds-store"),
    Magic(0, b"\xcf\xfa\xed\xfe", "mach-o"),
    Magic(0, b"\xb0\x07\xf4\x57\x00", "kmod-index", _REBUILT),  # libkmod-index.h: big-endian
    # Whole disks and file systems; what is in them is not looked at.
    Magic(0, b"QFI\xfb", "disk-image"),
    Magic(0, b"KDMV", "disk-image"),
    Magic(0, b"COWD", "disk-image"),
    Magic(0, b"<<< ", "disk-image"),  # VirtualBox
    Magic(0, b"conectix", "disk-image"),
    Magic(0, b"vhdxfile", "disk-image"),
    Magic(0, b"XFSB", "disk-image"),
    Magic(0, b"hsqs", "disk-image"),
    Magic(0, b"\x45\x3d\xcd\x28", "disk-image"),
    Magic(0, b"EFI PART", "disk-image"),
    Magic(512, b"EFI PART", "disk-image"),
    Magic(0, b"LUKS\xba\xbe", "disk-image"),
    Magic(0, b"LABELONE", "disk-image"),
    Magic(1080, b"\x53\xef", "disk-image"),  # ext2 to ext4: superblock at 1024, s_magic at 56
    Magic(510, b"\x55\xaa", "disk-image"),
    Magic(4086, b"SWAPSPACE2", "swap", _DISCARD),  # mkswap with pages of 4096 bytes
    Magic(4086, b"SWAP-SPACE", "swap", _DISCARD),
)


def _by_first_bytes() -> dict[bytes, tuple[Magic, ...]]:
    """Return the entries of offset 0 by their first two bytes, the longest number first."""
    found: dict[bytes, list[Magic]] = {}
    for magic in MAGICS:
        if magic.offset == 0:
            found.setdefault(magic.number[:2], []).append(magic)
    return {
        start: tuple(sorted(entries, key=lambda entry: -len(entry.number)))
        for start, entries in found.items()
    }


def _is_icon(head: bytes) -> bool:
    """Want a count of pictures, and the first one's reserved byte: [MS-ICO] 2.1."""
    return head[4:5] != b"\0" and head[5:6] == b"\0" and head[9:10] == b"\0" and any(head[6:8])


def _is_font(head: bytes) -> bool:
    """Want a count of tables and the first one's name: OpenType 1.9, Table Directory."""
    tag = head[12:16]
    named = tag.isalnum() or tag in (b"OS/2", b"cvt ", b"CFF ")
    return named and 0 < int.from_bytes(head[4:6], "big") < 256


def _is_terminfo(head: bytes) -> bool:
    """Want the size of the names and the first of their letters: term(5)."""
    return head[3:4] == b"\0" and head[2:3] != b"\0" and head[12:14].isalnum()


def _is_pickle(head: bytes) -> bool:
    """Want an opcode that a pickle can begin with: Python's Lib/pickletools.py."""
    return head[2:3] in (b"]", b"}", b"(", b"c", b"X", b"U", b")", b"K", b"\x8a", b"\x95")


def _is_openpgp(head: bytes) -> bool:
    """Want the packet's version: RFC 4880, sections 5.2 and 5.5."""
    return head[3:4] in (b"\x03", b"\x04")


def _is_bitmap(head: bytes) -> bool:
    """Want the two reserved words: BITMAPFILEHEADER."""
    return len(head) > 14 and head[6:10] == b"\0\0\0\0"


def _is_lzma(head: bytes) -> bool:
    """Want a length that is unknown or below 256 GB: LZMA SDK, lzma-file-format.txt."""
    return head[5:13] == b"\xff" * 8 or (len(head) > 13 and head[10:13] == b"\0\0\0")


def _is_postscript_font(head: bytes) -> bool:
    return head[6:8] == b"%!"


def _is_mp3(head: bytes) -> bool:
    """Want a bit rate and a sample rate: ISO 11172-3, 2.4.2.3; -1025 has neither."""
    return head[:1] != b"\xff" or (
        head[2:3] not in (b"", b"\0") and 0 < head[2] >> 4 < 15 and head[2] >> 2 & 3 != 3
    )


def _is_marked_text(head: bytes) -> bool:
    return head[:1] == b"\xef" or foreign_text.is_marked(head)


# Numbers so short that a C structure may well begin with them.
_MORE = {
    "text": _is_marked_text,
    "mp3": _is_mp3,
    "ico": _is_icon,
    "font": _is_font,
    "terminfo": _is_terminfo,
    "python-pickle": _is_pickle,
    "openpgp": _is_openpgp,
    "bmp": _is_bitmap,
    "lzma": _is_lzma,
    "postscript-font": _is_postscript_font,
}
_NAMED_FONTS = (b"OTTO", b"ttcf", b"true", b"wOFF", b"wOF2", b"\x01fcp")
_AT_START = _by_first_bytes()
_ELSEWHERE = tuple(magic for magic in MAGICS if magic.offset)


def look_up(head: bytes) -> Magic | None:
    """Return the entry that these first bytes match, or None."""
    for magic in _AT_START.get(head[:2], ()):
        if head.startswith(magic.number) and (
            magic.format not in _MORE or magic.number in _NAMED_FONTS or _MORE[magic.format](head)
        ):
            return magic
    for magic in _ELSEWHERE:
        if head.startswith(magic.number, magic.offset):
            return magic
    return None

"""Know text: UTF-8, 8-bit encodings, UTF-16 and UTF-32, EBCDIC.

Text that is told by its bytes must not be an array of numbers that only look like letters, so what
is not plain is asked more: UTF-16 without a mark must have spaces, and letters of alphabets rather
than those that two small halves of any number make.

Source: Unicode 15, 3.10 and 23.8; IBM code page 37 and 1047 for EBCDIC.
"""

from __future__ import annotations

import re

# Bytes that text of any 8-bit encoding does not have; ESC, form feed and bell may be in it.
_CONTROL = bytes(set(range(32)) - {7, 8, 9, 10, 11, 12, 13, 27}) + b"\x7f"
# Letters, digits, the space, punctuation, tabulator and both ends of lines, on code page 37.
_EBCDIC_LETTERS = bytes.fromhex(
    "818283848586878889919293949596979899A2A3A4A5A6A7A8A9"
    "C1C2C3C4C5C6C7C8C9D1D2D3D4D5D6D7D8D9E2E3E4E5E6E7E8E9F0F1F2F3F4F5F6F7F8F9"
)
_EBCDIC = _EBCDIC_LETTERS + bytes.fromhex(
    "050D1525404A4B4C4D4E4F505A5B5C5D5E5F60616A6B6C6D6E6F797A7B7C7D7E7F"
)
# Wide text that is looked at: enough for any statement about it.
_WIDE_BYTES = 1024
_LINE = "\t\n\r"
# Zeros as a crash leaves them in a log; shorter runs are in structures, too.
_HOLE_BYTES = 64
_ZEROS = re.compile(rb"\0+")


def is_text(head: bytes, *, whole: bool) -> bool:
    """Return whether these bytes are text in UTF-8, or in an 8-bit encoding of words.

    Args:
        head: The first bytes of the file.
        whole: Whether that is all of it; else the last character may be cut.
    """
    if b"\0" in head:
        return _is_wide(head) or _is_with_zeros(head, whole=whole)
    controls = len(head) - len(head.translate(None, _CONTROL))
    if controls * 50 <= len(head):
        if _is_utf_8(head, whole=whole):
            return True
        # Latin-1 and the like: mostly letters, spaces and punctuation of ASCII.
        ascii_bytes = sum(1 for byte in head if byte < 128)
        # Three such letters of four bytes make a third of all times, and no word.
        if controls == 0 and ascii_bytes * 10 >= len(head) * 7 and len(head) != 4:
            return True
    return _is_ebcdic(head) or _is_wide(head)


def is_marked(head: bytes) -> bool:
    """Return whether what follows a byte-order mark is UTF-16 or UTF-32.

    The marks are numbers, too: FF FE begins -257 and 65279, FE FF begins -2.
    """
    sample = head[:_WIDE_BYTES]
    encodings = ["utf-16-le" if sample[:2] == b"\xff\xfe" else "utf-16-be"]
    if sample[:4] == b"\xff\xfe\0\0":
        encodings = ["utf-32-le"]
    return len(head) == 2 or any(_printable(sample, encoding) for encoding in encodings)


def _is_utf_8(head: bytes, *, whole: bool) -> bool:
    # The longest character has four bytes, so three may be left of one that is cut.
    for cut in (0,) if whole else (0, 1, 2, 3):
        try:
            head[: len(head) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return True
    return False


def _is_with_zeros(head: bytes, *, whole: bool) -> bool:
    """Return whether this is text with zeros between: lists of names, tables, logs after a crash.

    Zeros stand alone, or in long runs, or at the end; in structures there are two or three, of a
    number's upper half. Nothing else that text does not have may be in it.
    """
    text = head.rstrip(b"\0")
    runs = [match.end() - match.start() for match in _ZEROS.finditer(text)]
    if any(1 < run < _HOLE_BYTES for run in runs):
        return False
    # What a long number leaves at the end of a file that is one.
    if len(head) - len(text) > 1 and len(text) < _HOLE_BYTES:
        return False
    rest = text.replace(b"\0", b"")
    lone = runs.count(1)
    if len(rest) < 8 or lone * 4 > len(rest) or rest.translate(None, _CONTROL) != rest:
        return False
    return _is_utf_8(rest, whole=whole)


def _is_wide(head: bytes) -> bool:
    """Return whether this is UTF-16 without a mark."""
    for letters, zeros in ((head[0::2], head[1::2]), (head[1::2], head[0::2])):
        if len(letters) >= 4 and not any(zeros):
            return all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in letters)
    if len(head) < 32:
        return False
    sample = head[:_WIDE_BYTES]
    return any(_of_an_alphabet(sample, encoding) for encoding in ("utf-16-le", "utf-16-be"))


def _of_an_alphabet(sample: bytes, encoding: str) -> bool:
    """Want printable letters of alphabets, not ideograms: two of those make any time.

    At least one in 40 must be a space or the end of a line, and half must be letters.
    """
    if not _printable(sample, encoding):
        return False
    text = sample[: len(sample) // 2 * 2].decode(encoding, "replace")
    low = sum(1 for letter in text if letter < "\u2000")
    spaces = sum(1 for letter in text if letter in " \n")
    letters = sum(1 for letter in text if letter.isalpha())
    return low * 10 >= len(text) * 9 and spaces * 40 >= len(text) and letters * 2 >= len(text)


def _printable(sample: bytes, encoding: str) -> bool:
    size = 4 if "32" in encoding else 2
    # A pair of two halves may be cut.
    for cut in (0, 2) if size == 2 else (0,):
        try:
            text = sample[: len(sample) // size * size - cut].decode(encoding)
        except UnicodeDecodeError:
            continue
        text = text.lstrip("\ufeff")
        return all(letter.isprintable() or letter in _LINE for letter in text)
    return False


def _is_ebcdic(head: bytes) -> bool:
    """Want nothing but EBCDIC's letters and punctuation, mostly letters, and spaces."""
    if len(head) < 32 or head.translate(None, _EBCDIC):
        return False
    others = len(head.translate(None, _EBCDIC_LETTERS))
    return others * 2 <= len(head) and head.count(b"\x40") * 20 >= len(head)

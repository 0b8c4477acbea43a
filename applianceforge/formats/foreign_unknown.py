"""What to think of bytes that no magic number names.

A file of an unknown format endangers a change of width only if a program wrote a C structure as it
lay in memory. Such bytes are not text and not compressed: they are full of little-endian numbers,
and most numbers that programs keep are small. So the rule looks at the aligned 32-bit words:

- A *small* word is 1 to 2^24 - 1. Of random bytes (compressed, encrypted) 1 word in 256 is small,
  of text none, of big-endian numbers those whose low byte is 0. Of structures a quarter to all.
- A *time* is a word from 1990 to 2038, seconds since 1970, as `time_t` keeps it, and one of three
  or more within 30 days of the middle one: of 16 random words once in ten thousand samples.
- A *double* is an 8-byte word, aligned to 8 or as on i386 to 4, of a size from 2^-40 to 2^40, or a
  NaN; of random words 1 in 25.

At least 1 word in 16 of those that are not 0 must be small or a time, and at least 3 words (2 in a
sample of up to 8): in 1,024 random words 4 are expected and 64 needed, and of 48 random words 3 are
small once in a thousand samples. 1 in 16 finds a record of a name of 56 letters and one number.
Where half of the 64-bit words are doubles (of fewer than 8: nine in ten), that is a structure, too:
the numbers themselves are the same on both sides, but nobody knows what stands between them.

Source: derived here; the figures on real trees are in docs/data.md.
"""

from __future__ import annotations

import struct

from applianceforge.formats.foreign_words import Disposition, Identification

_LEAST_SHARE = 16
_SMALL = 1 << 24
# Quiet ones, as i386 and amd64 make them and as C's NAN is.
_NANS = (0x7FF8 << 48, 0xFFF8 << 48)
_NEAR_S = 30 * 86400
# 1990-01-01 and 2038-01-19.
_EARLIEST_S, _LATEST_S = 631152000, 1 << 31

# Bytes that text of any 8-bit encoding does not have; ESC, form feed and bell may be in it.
_CONTROL = bytes(set(range(32)) - {7, 8, 9, 10, 11, 12, 13, 27}) + b"\x7f"


def is_text(head: bytes, *, whole: bool) -> bool:
    """Return whether these bytes are text in UTF-8, or in an 8-bit encoding of words.

    Args:
        head: The first bytes of the file.
        whole: Whether that is all of it; else the last character may be cut.
    """
    controls = len(head) - len(head.translate(None, _CONTROL))
    if b"\0" in head:
        return _is_wide_text(head)
    if controls * 50 > len(head):
        return False
    # The longest character has four bytes, so three may be left of one that is cut.
    for cut in (0,) if whole else (0, 1, 2, 3):
        try:
            head[: len(head) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return True
    # Latin-1 and the like: mostly letters, spaces and punctuation of ASCII.
    ascii_bytes = sum(1 for byte in head if byte < 128)
    return controls == 0 and ascii_bytes * 10 >= len(head) * 7


def _is_wide_text(head: bytes) -> bool:
    """Return whether this is UTF-16 without a mark: every other byte 0, ASCII between them."""
    for letters, zeros in ((head[0::2], head[1::2]), (head[1::2], head[0::2])):
        if len(letters) >= 4 and not any(zeros):
            return all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in letters)
    return False


def _doubles(sample: bytes) -> tuple[int, int]:
    """Return how many 64-bit words are doubles, and how many are not 0: aligned to 8, or to 4."""
    best = (0, 0)
    for start in (0, 4):
        here = sample[start:]
        values = [value for value in struct.unpack_from(f"<{len(here) // 8}Q", here) if value]
        doubles = sum(
            1 for value in values if 0x3D7 <= (value >> 52 & 0x7FF) <= 0x427 or value in _NANS
        )
        best = max(best, (doubles, len(values)))
    return best


def classify(sample: bytes) -> Identification:
    """Say what a sample of a file of unknown format looks like; it is neither empty nor text.

    Args:
        sample: Bytes from an offset in the file that is a multiple of 8.
    """
    words = struct.unpack_from(f"<{len(sample) // 4}I", sample)
    used = [word for word in words if word]
    small = [word for word in used if word < _SMALL]
    times = [word for word in used if _EARLIEST_S <= word < _LATEST_S and not _is_letters(word)]
    # A third of all random words would pass for a time; so three must lie near the middle one.
    if times:
        middle = sorted(times)[len(times) // 2]
        times = [time_s for time_s in times if abs(time_s - middle) < _NEAR_S]
        times = times if len(times) >= 3 else []
    found = len(small) + len(times)
    if found >= (2 if len(used) <= 8 else 3) and found * _LEAST_SHARE >= len(used):
        return Identification(
            "unknown-structure",
            Disposition.SUSPECT,
            _guess_width(words),
            f"{found} of {len(used)} words are small numbers or times",
        )
    usual, wide = _doubles(sample)
    if usual * 2 >= wide if usual >= 8 else usual >= 4 and usual * 10 >= wide * 9:
        return Identification(
            "unknown-structure",
            Disposition.SUSPECT,
            None,
            f"{usual} of {wide} double words are floating-point numbers",
        )
    return Identification("unknown-binary", Disposition.UNKNOWN, None, "no known magic number")


def _is_letters(word: int) -> bool:
    """Return whether the word's four bytes are printable ASCII: rather text than a time."""
    return all(32 <= word >> shift & 0xFF < 127 for shift in (0, 8, 16, 24))


def _guess_width(words: tuple[int, ...]) -> int | None:
    """Guess from where the zeros stand: every other word is 0 where numbers have 8 bytes.

    An odd number of words cannot be an array of 8-byte numbers.
    """
    low, high = words[0::2], words[1::2]
    if len(words) > 1 and len(words) % 2 == 0 and any(low) and not any(high):
        return 64
    return 32 if any(low) and any(high) and len(words) % 2 else None

"""What to think of bytes that no magic number names.

A file of an unknown format endangers a change of width only if a program wrote a C structure as it
lay in memory. Such bytes are not text and not compressed: they are full of little-endian numbers,
and most numbers that programs keep are small. So the rule looks at the aligned 32-bit words:

- A *small* word is 1 to 2^24 - 1, or -2^20 to -2. Of random bytes (compressed, encrypted) 1 word in
  240 is small, of text none, of big-endian numbers those whose low byte is 0. Of structures a
  quarter to all. -1 (all bits set) counts as little as 0: memory that was never written has it.
- A *time* is a word from 1990 to 2038, seconds since 1970, as `time_t` keeps it: a third of all
  random words. So those count that are close to each other, see `_times`.
- A *double* is an 8-byte word, aligned to 8 or as on i386 to 4, of a size from 2^-40 to 2^40, or a
  NaN; of random words 1 in 25.

At least 1 word in 16 of those that are not 0 must be small or a time, and at least 3 words (2 in a
sample of up to 8): in 1,024 random words 4 are expected and 64 needed, and of 48 random words 3 are
small once in a thousand samples. 1 in 16 finds a record of a name of 56 letters and one number.
Where half of the 64-bit words are doubles (of fewer than 8: nine in ten), that is a structure, too:
the numbers themselves are the same on both sides, but nobody knows what stands between them.

Rarer numbers show where they stand at the same place in each record, see `_records`; and a file of
4 or 8 bytes is one number if it is small or a time. All of that is tried again two bytes later, for
numbers behind a header of 16 bits; half of the words are then wanted, and that the lowest bytes
change more: big-endian numbers look the same from there, but for that.

Source: derived here; the figures on real trees are in docs/data.md.
"""

from __future__ import annotations

import struct

from applianceforge.formats.foreign_words import Disposition, Identification

_LEAST_SHARE = 16
_SMALL, _LEAST_NEGATIVE, _MINUS_ONE = 1 << 24, (1 << 32) - (1 << 20), (1 << 32) - 1
# Quiet ones, as i386 and amd64 make them and as C's NAN is.
_NANS = (0x7FF8 << 48, 0xFFF8 << 48)
_NEAR_S = 60 * 86400
_SOME_YEARS_S = 3 * 365 * 86400
# 1990-01-01 and 2038-01-19.
_EARLIEST_S, _LATEST_S = 631152000, 1 << 31
_LARGEST_RECORD_WORDS = 256


def classify(sample: bytes) -> Identification:
    """Say what a sample of a file of unknown format looks like; it is neither empty nor text.

    Args:
        sample: Bytes from an offset in the file that is a multiple of 8.
    """
    found = _one_number(sample) or _many_numbers(sample, _LEAST_SHARE) or _records(sample)
    if found is not None:
        return found
    usual, wide = _doubles(sample)
    if usual * 2 >= wide if usual >= 8 else usual >= 4 and usual * 10 >= wide * 9:
        return _suspect(None, f"{usual} of {wide} double words are floating-point numbers")
    later = _many_numbers(sample[2:], 2)
    if later is not None and _is_little_endian(sample[2:]):
        return later
    return Identification("unknown-binary", Disposition.UNKNOWN, None, "no known magic number")


def _suspect(width_bits: int | None, evidence: str) -> Identification:
    return Identification("unknown-structure", Disposition.SUSPECT, width_bits, evidence)


def _is_small(word: int) -> bool:
    return 0 < word < _SMALL or _LEAST_NEGATIVE <= word < _MINUS_ONE


def _is_time(word: int) -> bool:
    return _EARLIEST_S <= word < _LATEST_S and not _is_letters(word)


def _is_letters(word: int) -> bool:
    """Return whether the word's four bytes are printable ASCII: rather text than a time."""
    return all(32 <= word >> shift & 0xFF < 127 for shift in (0, 8, 16, 24))


def _has_letters(word: int) -> bool:
    """Return whether three of the word's bytes are printable ASCII; of times, three in ten are."""
    return sum(1 for shift in (0, 8, 16, 24) if 32 <= word >> shift & 0xFF < 127) >= 3


def _one_number(sample: bytes) -> Identification | None:
    """Take 4 bytes for an `int`, `long` or `time_t` of i386, 8 for a `long` or `time_t` of amd64.

    A random file of 4 bytes passes for a time in 1 case of 3; but there are hardly any such files.
    """
    if len(sample) not in (4, 8):
        return None
    low = int.from_bytes(sample[:4], "little")
    high = sample[4:]
    sign = b"\xff" * 4 if low >= 1 << 31 else bytes(4)
    if (_is_small(low) or _is_time(low) or low == _MINUS_ONE) and high in (b"", sign):
        width_bits = 64 if high else None
        return _suspect(width_bits, f"{len(sample)} bytes that are one small number or a time")
    return None


def _many_numbers(sample: bytes, least_share: int, order: str = "<") -> Identification | None:
    """Want that one word in `least_share` is small or a time."""
    words = struct.unpack_from(f"{order}{len(sample) // 4}I", sample)
    used = [word for word in words if word and word != _MINUS_ONE]
    small = sum(1 for word in used if _is_small(word))
    found = small + _times([word for word in used if _is_time(word)], len(used))
    if found >= (2 if len(used) <= 8 else 3) and found * least_share >= len(used):
        evidence = f"{found} of {len(used)} words are small numbers or times"
        return _suspect(_guess_width(words), evidence)
    return None


def _times(times: list[int], used: int) -> int:
    """Return how many of the words that may be times are times: 0 if random words may be so, too.

    Of `used` random words so many lie within 60 days, and so many within 3 years, once in a
    thousand samples: as many as 3 and 1 in 32, as many as 6 and 1 in 16. Times of all years are
    at least 8, and nine in ten words.
    """
    times = sorted(times)
    near = _within(times, _NEAR_S)[1]
    # Words of text with one letter that is not ASCII are no more than some years apart, either.
    far = _within([time_s for time_s in times if not _has_letters(time_s)], _SOME_YEARS_S)[1]
    if len(times) >= 8 and len(times) * 10 >= used * 9:
        return len(times)
    if far >= 6 + used // 16:
        return far
    return near if near >= 3 + used // 32 else 0


def _within(ordered: list[int], span: int) -> tuple[int, int]:
    """Return where the most of these numbers lie within `span`: the index of the first, how many.

    Args:
        ordered: The smallest first.
    """
    best, first, start = 0, 0, 0
    for at, value in enumerate(ordered):
        while value - ordered[start] > span:
            start += 1
        if at - start + 1 > best:
            best, first = at - start + 1, start
    return first, best


def _records(sample: bytes) -> Identification | None:
    """Find records by a number that stands at the same place in each of them.

    Records of 8 bytes to 1 KiB are tried, at least four of them, and nine in ten must have a small
    number there, or at least six and a time within three years: of random words one in 240 is
    small and one in 45 such a time, so that chance finds none among all lengths and places.
    """
    words = struct.unpack_from(f"<{len(sample) // 4}I", sample)
    small = [at for at, word in enumerate(words) if _is_small(word)]
    times = sorted((word, at) for at, word in enumerate(words) if _is_time(word))
    first, number = _within([word for word, _ in times], _SOME_YEARS_S)
    near = sorted(at for _, at in times[first : first + number])
    for places, least in ((small, 4), (near, 6)):
        if len(places) < least:
            continue
        # Fewer places than records: no such length.
        shortest = max(2, len(words) * 9 // (10 * len(places)))
        for length in range(shortest, min(_LARGEST_RECORD_WORDS, len(words) // least) + 1):
            columns = [0] * length
            for at in places:
                columns[at % length] += 1
            most = max(columns)
            if most >= least and most * length * 10 >= len(words) * 9:
                if _many_numbers(sample, 4, ">") is not None:
                    # Big-endian numbers that count up have a low byte of 0 at regular places.
                    return None
                column = columns.index(most)
                return _suspect(
                    None,
                    f"records of {length * 4} bytes with a small number or a time at {column * 4}",
                )
    return None


def _is_little_endian(sample: bytes) -> bool:
    """Return whether the lowest bytes of the numbers have more values, or change more often.

    Clearly more than the bytes next to them, that is.
    """
    words = [sample[at : at + 4] for at in range(0, len(sample) - 3, 4)]
    used = [word for word in words if any(word) and word != b"\xff" * 4]
    values = [len({word[at] for word in used}) for at in (0, 1)]
    changes = [
        sum(1 for other in range(1, len(used)) if used[other - 1][at] != used[other][at])
        for at in (0, 1)
    ]
    return values[0] > 2 * values[1] or changes[0] * 2 > changes[1] * 3


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


def _guess_width(words: tuple[int, ...]) -> int | None:
    """Guess from where the zeros stand: every other word is 0 where numbers have 8 bytes.

    Or all its bits are set, above a negative number. An odd number of words cannot be an array of
    8-byte numbers.
    """
    low, high = words[0::2], words[1::2]
    if len(words) > 1 and len(words) % 2 == 0 and any(low):
        signs = (_MINUS_ONE if word >= 1 << 31 else 0 for word in low)
        if all(word == sign for word, sign in zip(high, signs)):
            return 64
    return 32 if any(low) and any(high) and len(words) % 2 else None

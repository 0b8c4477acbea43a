"""Know compressed data that no magic number names: zlib streams and bare DEFLATE.

A zlib stream is CMF, FLG, DEFLATE blocks, and the Adler-32 of what was compressed. CMF's low half
is 8 and its high half at most 7; CMF * 256 + FLG is a multiple of 31 (so 78 01, 78 5E, 78 9C,
78 DA); bit 5 of FLG is a dictionary's, which nobody has. The objects of git are such streams. One
structure in 500 may begin so by chance; that it then unpacks does not happen by chance.

Source: RFC 1950, section 2.2; RFC 1951, section 3.2.
"""

from __future__ import annotations

try:
    import zlib
except ImportError:  # A Python that was built without it.
    zlib = None  # type: ignore[assignment]

_MOST_BYTES = 65536
# Bytes without a header are asked more: fewer than that could unpack by chance.
_LEAST_BARE = 64


def is_stream(head: bytes, *, whole: bool) -> bool:
    """Return whether these bytes begin, or are, a zlib stream or bare DEFLATE.

    Args:
        head: The first bytes of the file.
        whole: Whether that is all of it; the stream must then end in it.
    """
    if _has_header(head):
        return looks_random(head) if zlib is None else _unpacks(head, zlib.MAX_WBITS, whole=whole)
    if zlib is None or len(head) < _LEAST_BARE or not looks_random(head):
        return False
    return _unpacks(head, -zlib.MAX_WBITS, whole=whole)


def looks_random(head: bytes) -> bool:
    """Return whether these bytes have about as many different values as random ones.

    Of n random bytes 256 * (1 - (255/256)^n) are different; at least four fifths of that are
    wanted, which numbers in memory with their zeros are far from.
    """
    expected = 256 * (1 - (255 / 256) ** len(head))
    return len(head) >= 16 and len(set(head)) >= 0.8 * expected


def _has_header(head: bytes) -> bool:
    if len(head) < 8:
        return False
    method, flags = head[0], head[1]
    return method & 0x8F == 8 and (method << 8 | flags) % 31 == 0 and not flags & 0x20


def _unpacks(head: bytes, window_bits: int, *, whole: bool) -> bool:
    stream = zlib.decompressobj(window_bits)
    try:
        unpacked = stream.decompress(head, _MOST_BYTES)
    except zlib.error:
        return False
    if len(unpacked) == _MOST_BYTES:
        return True
    if stream.eof:
        # Something may follow a stream that has a header; a bare one that ends early is chance.
        return window_bits > 0 or (whole and not stream.unused_data)
    return not whole and len(unpacked) > 0

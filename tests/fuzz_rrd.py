"""Fuzz the RRD codec for as long as wanted: damaged files and documents, and nothing but RrdError.

Run by `main(seconds, seed)`, or as a program: `python -m tests.fuzz_rrd SECONDS [SEED]`.
"""

import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from applianceforge.formats.rrd.compare import differences
from applianceforge.formats.rrd.decode import decode
from applianceforge.formats.rrd.encode import encode
from applianceforge.formats.rrd.values import Consolidation, SourceType
from applianceforge.formats.rrd.xml_read import decode_xml
from applianceforge.formats.rrd.xml_write import chunks
from applianceforge.model.errors import RrdError
from tests.formats.rrd.build import MACHINES, build
from tests.formats.rrd.test_decode import FULL, SAMPLES

_BASE_BYTES = 1 << 20
_MOST_TIMES_THE_SIZE = 24
"""Python's objects for a header, on top of one copy for decoding and one for encoding."""

_NUMBERS = (0, 1, 2, 3, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**61, 2**63, 2**64 - 1)
_WORDS = (
    b"<rrd>",
    b"</rra>",
    b"<v>",
    b"NaN",
    b"&a;",
    b"<!--",
    b"]]>",
    b"1e999",
    b"-",
    b"\xff",
    b"",
)


def _flip(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    content[at] ^= 1 << chance.randrange(8)


def _number(content: bytearray, chance: random.Random) -> None:
    """Put a number that is a limit where a field may be; headers are at the beginning."""
    size = chance.choice((4, 8))
    at = chance.randrange(min(len(content), 4096)) // 4 * 4
    value = chance.choice(_NUMBERS) % 256**size
    content[at : at + size] = value.to_bytes(size, chance.choice(("little", "big")))


def _cut(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


def _drop(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    del content[at : at + chance.randrange(1, 200)]


def _repeat(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    content[at:at] = content[at : at + chance.randrange(1, 400)]


def _noise(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    content[at : at + 8] = chance.randbytes(chance.randrange(9))


def _word(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    content[at : at + chance.randrange(8)] = chance.choice(_WORDS)


_CHANGES = (_flip, _flip, _number, _number, _cut, _drop, _repeat, _noise, _word)


def _mutated(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        if changed:
            chance.choice(_CHANGES)(changed, chance)
    return bytes(changed)


def _try_native(content: bytes) -> bool:
    """Decode; what can be decoded must come back from its native form and from XML."""
    rrd = decode(content)
    native = encode(rrd)
    assert encode(decode(native)) == native
    document = b"".join(chunks(rrd))
    again = decode_xml([document], most_bytes=len(document))
    definition = rrd.header.definition
    computed = {ds.name for ds in definition.sources if ds.type is SourceType.COMPUTE}
    histories = {
        number
        for number, archive in enumerate(definition.archives)
        if archive.cf is Consolidation.FAILURES
    }
    for difference in differences(rrd, again):
        # XML does not keep the sign and payload of a NaN, what stands behind the end of an
        # expression, and a flag of a history that is neither 0 nor 1.
        if difference.what.startswith("ds_def.par") and difference.ds in computed:
            continue
        if difference.what.startswith("cdp_prep") and difference.rra in histories:
            continue
        assert difference.source.startswith("nan"), difference
        assert difference.target.startswith("nan"), difference
    return True


def _try_xml(content: bytes) -> bool:
    rrd = decode_xml([content], most_bytes=len(content))
    native = encode(rrd)
    assert list(differences(rrd, decode(native))) == []
    return True


def _bounded(attempt: Callable[[bytes], bool], content: bytes) -> bool:
    """Return whether the content was taken; fail if it took memory beyond its size."""
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    try:
        taken = attempt(content)
    except RrdError:
        taken = False
    _, peak = tracemalloc.get_traced_memory()
    limit = _BASE_BYTES + _MOST_TIMES_THE_SIZE * max(len(content), 1)
    assert peak - before < limit, f"{peak - before} bytes for {len(content)}"
    return taken


def main(seconds: float, seed: int) -> int:
    """Fuzz for some seconds and return how many inputs were tried.

    An input that breaks the codec is kept in `fuzz-rrd-SEED-NUMBER` in the working directory.

    Raises:
        AssertionError: The codec took what it does not give back, or too much memory.
        Exception: Whatever else than RrdError the codec raised.
    """
    natives = [build(FULL, machine) for machine in MACHINES.values()]
    natives += [path.read_bytes() for path in SAMPLES if path.stat().st_size < 16_384]
    documents = [b"".join(chunks(decode(content))) for content in natives[:2]]
    chance = random.Random(seed)
    until = time.monotonic() + seconds
    tried = taken = 0
    tracemalloc.start()
    try:
        while time.monotonic() < until:
            native = chance.random() < 0.75
            content = _mutated(chance.choice(natives if native else documents), chance)
            try:
                taken += _bounded(_try_native if native else _try_xml, content)
            except Exception:
                Path(f"fuzz-rrd-{seed}-{tried}").write_bytes(content)
                raise
            tried += 1
    finally:
        tracemalloc.stop()
    print(f"{tried} inputs, {taken} of them still usable, seed {seed}")
    assert 0 < taken < tried, "the fuzzer changes everything or nothing"
    return tried


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**32))

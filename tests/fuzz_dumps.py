"""Fuzz the decoders of dumps for as long as wanted: damaged texts, and nothing but SettingsError.

Run by `main(seconds, seed)`, or as a program: `python -m tests.fuzz_dumps SECONDS [SEED]`.
"""

import random
import sys
import time
import tracemalloc
from itertools import islice
from pathlib import Path

from applianceforge.cpuid import dumps
from applianceforge.cpuid.facts import Answer
from applianceforge.cpuid.facts import Facts as ProcessorFacts
from applianceforge.cpuid.verdict import Capability, decide
from applianceforge.model.errors import SettingsError
from applianceforge.preflight import dump
from applianceforge.preflight.facts import Facts
from tests.cpuid import dump_texts
from tests.cpuid.damage import damaged
from tests.cpuid.table import ROWS
from tests.preflight.test_dump import CPUINFO, box

SAMPLES = Path(__file__).parent / "data" / "dumps"
_BASE_BYTES = 1 << 20
_MOST_TIMES_THE_SIZE = 64
"""A text of lines of two characters becomes a list of objects of some sixty bytes each."""

_MOST_SECONDS = 20.0
"""Far beyond what a text of a mebibyte takes, and far below what quadratic time would."""

_WORDS = (
    b"CPUID 80000001: ",
    b"[SL ",
    b"basic_cpuid[",
    b"ext_cpuid[1]=",
    b"\n   0x80000001 0x00: eax=0x",
    b": subleafs:\n",
    b"applianceforge-dump 1\n",
    b"route a like memfd 1\n",
    b"leaf 80000001 0 0 0 20000000\n",
    b"end 1 2\n",
    b"cpuinfo flags: lm\n",
    b"\nend\n",
    b"memory 99999999999999999999K\n",
    b"boot-environment 4096 x\n",
    b"\\377\\777\\08",
    b"vendor_id: x\nflags: lm\nbogomips",
    b"address sizes: ",
    b"9" * 5000,
    b" " * 5000,
    b"\xff\xfe",
    b"\x00",
    b"\r",
    b"\xe2\x80\xa8",
    b"-",
    b"",
)


def _flip(content: bytearray, chance: random.Random) -> None:
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def _cut(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


def _drop(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    del content[at : at + chance.randrange(1, 200)]


def _repeat(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    content[at:at] = content[at : at + chance.randrange(1, 400)] * chance.choice((1, 1, 1, 50, 500))


def _noise(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    content[at : at + 8] = chance.randbytes(chance.randrange(9))


def _word(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    content[at : at + chance.randrange(8)] = chance.choice(_WORDS)


def _swap_lines(content: bytearray, chance: random.Random) -> None:
    lines = content.split(b"\n")
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    content[:] = b"\n".join(lines)


_CHANGES = (_flip, _flip, _word, _word, _cut, _drop, _repeat, _noise, _swap_lines)


def _mutated(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        if changed:
            chance.choice(_CHANGES)(changed, chance)
    return bytes(changed)


def _try(content: bytes) -> bool:
    """Read; what can be read is judged, written and read again."""
    facts = dump.read(content, "a dump")
    assert facts.hostname == ""
    decide(facts.processor)
    written = dump.encode(facts)
    assert len(written) <= dump.MOST_BYTES
    assert written.isascii()
    again = dump.decode(written)
    assert decide(again.processor).capability == decide(facts.processor).capability
    if "left out to keep the dump short" not in written:
        assert dump.encode(again) == written
    return True


def _judged(content: bytes) -> Capability | None:
    """Return what comes of a dump; None if it is refused."""
    try:
        return decide(dump.read(content, "a dump").processor).capability
    except SettingsError:
        return None


def _never_incapable(seeds: list[bytes], chance: random.Random) -> int:
    """Damage a seed as mails do; what is capable must not become incapable."""
    seed = chance.choice(seeds)
    if _judged(seed) is not Capability.CAPABLE:
        return 0
    texts = damaged(seed.decode(), farthest=chance.choice((1, 5, 50)))
    tried = 0
    for text in islice(texts, chance.randrange(500), None, chance.randrange(20, 80)):
        assert _judged(text.encode()) is not Capability.INCAPABLE, text
        tried += 1
    return tried


def _bounded(content: bytes) -> bool:
    """Return whether the content was taken; fail if it took memory or time beyond its size."""
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    started = time.monotonic()
    try:
        taken = _try(content)
    except SettingsError as error:
        assert error.hint
        assert len(error.evidence) <= dumps.MOST_PROBLEMS
        assert all(len(line) < 400 for line in error.evidence)
        taken = False
    _, peak = tracemalloc.get_traced_memory()
    limit = _BASE_BYTES + _MOST_TIMES_THE_SIZE * max(len(content), 1)
    assert peak - before < limit, f"{peak - before} bytes for {len(content)}"
    assert time.monotonic() - started < _MOST_SECONDS
    return taken


def _seeds() -> list[bytes]:
    seeds = [path.read_bytes() for path in sorted(SAMPLES.glob("*.txt"))]
    for row in ROWS[::6]:
        seeds += [write(row.registers).encode() for write in dump_texts.WRITERS.values()]
        seeds.append(dump.encode(box(row.registers)).encode())
        foreign = Facts(ProcessorFacts((Answer("libcpuid", row.registers),)), "libcpuid")
        seeds.append(dump.encode(foreign).encode())
    seeds.append(Path("/proc/cpuinfo").read_bytes())
    seeds.append(CPUINFO.encode("utf-16"))
    return seeds


def main(seconds: float, seed: int) -> int:
    """Fuzz for some seconds and return how many inputs were tried.

    An input that breaks a decoder is kept in `fuzz-dump-SEED-NUMBER` in the working directory.

    Raises:
        AssertionError: A decoder took what does not come back, or too much memory or time.
        Exception: Whatever else than SettingsError a decoder raised.
    """
    seeds = _seeds()
    mails = [seed for seed in seeds if len(seed) < 10_000 and not seed.startswith(b"\xff")]
    chance = random.Random(seed)
    until = time.monotonic() + seconds
    tried = taken = 0
    tracemalloc.start()
    try:
        while time.monotonic() < until:
            if chance.random() < 0.02:
                tried += _never_incapable(mails, chance)
                continue
            if chance.random() < 0.95:
                content = _mutated(chance.choice(seeds), chance)
            else:
                content = chance.randbytes(chance.choice((10, 1000, 100_000)))
            try:
                taken += _bounded(content)
            except Exception:
                Path(f"fuzz-dump-{seed}-{tried}").write_bytes(content)
                raise
            tried += 1
    finally:
        tracemalloc.stop()
    print(f"{tried} inputs, {taken} of them still usable, seed {seed}")
    assert 0 < taken < tried, "the fuzzer changes everything or nothing"
    return tried


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**32))

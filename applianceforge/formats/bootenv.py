"""The boot environment: which slot boots, and how often it may be tried.

Two copies, `env1` and `env2`, in GRUB's environment-block format:

    # GRUB Environment Block
    # WARNING: ...      lines that begin with # say nothing; grub-editenv writes one
    NAME=VALUE          a backslash stands before a backslash and a line end of the value
    ####...             up to 1024 bytes

All variables lie in the first 512 bytes, in this order: gen, primary (a or b), a_boot, a_tries,
a_good, b_boot, b_tries, b_good, reason, end. Numbers are decimal without leading zeros, as GRUB
reads 010 as octal and 2^31 is its limit. `end` repeats `gen`: equal means that the copy is
complete. GRUB takes the complete copy with the higher generation, the first of two equal ones.

There are two readings. `decode` is strict and names all that is wrong, for a report. `complete` is
GRUB's own, which overlooks what does not decide: whoever acts on the environment must read it as
GRUB does, or the two would follow different copies.

Source: GRUB 2.06, grub-core/lib/envblk.c, include/grub/lib/envblk.h (signature, 1024 bytes); the
variables are this project's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from applianceforge.formats import envblock
from applianceforge.formats.envblock import BLOCK_BYTES

# One sector is old or new, never half: what decides must lie in one.
DECIDING_BYTES = 512
HIGHEST_NUMBER = (1 << 31) - 1
MOST_TRIES = 3
ORDER = (
    "gen",
    "primary",
    "a_boot",
    "a_tries",
    "a_good",
    "b_boot",
    "b_tries",
    "b_good",
    "reason",
    "end",
)
_HIGHEST = {
    "gen": HIGHEST_NUMBER,
    "a_boot": 1,
    "a_tries": MOST_TRIES,
    "a_good": 1,
    "b_boot": 1,
    "b_tries": MOST_TRIES,
    "b_good": 1,
    "end": HIGHEST_NUMBER,
}
_LONGEST_SHOWN = 20
# What a reason may be: one word that also fits on a kernel's command line.
REASON = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
NO_REASON = "none"


class SlotVariables(NamedTuple):
    """What the environment says of one slot.

    Attributes:
        boot: Whether it may be started at all.
        tries: How many starts are left while it is not good, 0 to 3.
        good: Whether it was started, and found to work.
    """

    boot: bool
    tries: int
    good: bool


NOT_BOOTABLE = SlotVariables(False, 0, False)
KNOWN_GOOD = SlotVariables(True, 0, True)


class Environment(NamedTuple):
    """The boot environment as values.

    Attributes:
        generation: Counts the changes; the higher of two complete copies counts.
        primary: The slot to start if it can be, "a" or "b".
        a: What it says of slot a.
        b: What it says of slot b.
        reason: Why the primary slot was passed over or marked bad last, a word; "none".
    """

    generation: int
    primary: str
    a: SlotVariables
    b: SlotVariables
    reason: str = NO_REASON


# Of a new disk: slot a holds a system that was proved by its maker, slot b nothing.
FACTORY = Environment(1, "a", KNOWN_GOOD, NOT_BOOTABLE)


class Copy(NamedTuple):
    """One copy of the boot environment.

    Attributes:
        variables: Names and values in their order, as far as they could be read.
        problems: What is wrong with it, one sentence each; () if it is complete and in range.
    """

    variables: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]

    def value(self, name: str) -> str:
        """Return a variable's value, or "" if it is not there."""
        for known, value in self.variables:
            if known == name:
                return value
        return ""

    @property
    def generation(self) -> int:
        """Return the generation of a copy without problems; -1 of another."""
        return -1 if self.problems else int(self.value("gen"))


def decode(data: bytes) -> Copy:
    """Decode one copy. Anything may be in it: what is wrong is told, never raised."""
    if not data:
        return Copy((), ("it is missing or empty",))
    if not data.startswith(envblock.SIGNATURE):
        return Copy((), ("it does not begin as a GRUB environment block does",))
    problems = []
    if len(data) != BLOCK_BYTES:
        problems.append(f"it has {len(data)} bytes instead of {BLOCK_BYTES}")
    variables, end, torn = _lines(data[:BLOCK_BYTES])
    if torn:
        problems.append(f"what follows byte {end} is neither a variable nor filling")
    elif end > DECIDING_BYTES:
        problems.append(f"its variables take {end} bytes, which is more than one sector")
    problems += _order(variables)
    problems += [problem for name, value in variables for problem in _range(name, value)]
    copy = Copy(variables, tuple(problems))
    if copy.value("gen") != copy.value("end"):
        problems.append("its first and last variable (gen, end) differ: it was not written whole")
    return copy._replace(problems=tuple(problems))


def encode(environment: Environment) -> bytes:
    """Return one copy of an environment, 1024 bytes.

    Raises:
        ValueError: A value is out of its range, or the variables exceed the deciding sector.
    """
    if not REASON.fullmatch(environment.reason):
        raise ValueError(f"{environment.reason!r} is no reason: one word of a-z, 0-9, dot, dash")
    generation = str(environment.generation)
    variables = [("gen", generation), ("primary", environment.primary)]
    for name, slot in (("a", environment.a), ("b", environment.b)):
        variables += [
            (f"{name}_boot", str(int(slot.boot))),
            (f"{name}_tries", str(slot.tries)),
            (f"{name}_good", str(int(slot.good))),
        ]
    variables += [("reason", environment.reason), ("end", generation)]
    wrong = [problem for name, value in variables for problem in _range(name, value)]
    if wrong:
        raise ValueError("; ".join(wrong))
    return envblock.encode(variables, DECIDING_BYTES).ljust(BLOCK_BYTES, b"#")


def complete(data: bytes) -> Environment | None:
    """Return what GRUB reads in one copy; None if it takes it for incomplete.

    All that decides must be there and in its range. The reason decides nothing, so anything may
    stand there: GRUB is written once, and must read what later releases write.
    """
    variables = envblock.decode(data)
    values = {name: variables.get(name, "") for name in ORDER}
    checked = ((name, value) for name, value in values.items() if name != "reason")
    if values["gen"] != values["end"] or any(_range(name, value) for name, value in checked):
        return None
    a, b = (
        SlotVariables(
            values[f"{name}_boot"] == "1",
            int(values[f"{name}_tries"]),
            values[f"{name}_good"] == "1",
        )
        for name in ("a", "b")
    )
    return Environment(int(values["gen"]), values["primary"], a, b, values["reason"])


def newest(copies: Sequence[bytes]) -> int | None:
    """Return the index of the copy that GRUB takes; None if none is complete."""
    best, highest = None, -1
    for index, data in enumerate(copies):
        found = complete(data)
        if found is not None and found.generation > highest:
            best, highest = index, found.generation
    return best


def encode_marker(slot: str) -> bytes:
    """Return the marker file that says which slot was good last: "a", "b", or "" for none."""
    return envblock.encode([("good", slot)], DECIDING_BYTES).ljust(BLOCK_BYTES, b"#")


def decode_marker(data: bytes) -> str:
    """Return which slot the marker file says was good last; "" if it says nothing."""
    slot = envblock.decode(data).get("good", "")
    return slot if slot in ("a", "b") else ""


def sane(copies: tuple[bytes, ...]) -> tuple[str, ...]:
    """Return what is wrong with the copies, one sentence each; () if all is well.

    One good copy is enough to boot; `chosen` tells whether there is one.
    """
    found = []
    for number, data in enumerate(copies, 1):
        found += [f"copy {number}: {problem}" for problem in decode(data).problems]
    best = chosen(copies)
    if best is not None:
        primary = best.value("primary")
        if best.value(f"{primary}_boot") != "1":
            found.append(f"slot {primary} is to boot, but it is marked as not bootable")
        if best.value("a_boot") != "1" and best.value("b_boot") != "1":
            found.append("neither slot is marked as bootable")
    return tuple(found)


def chosen(copies: tuple[bytes, ...]) -> Copy | None:
    """Return the copy that GRUB takes; None if there is no good one."""
    good = [copy for copy in map(decode, copies) if not copy.problems]
    return max(good, key=lambda copy: copy.generation) if good else None


def _lines(block: bytes) -> tuple[tuple[tuple[str, str], ...], int, bool]:
    """Return the variables, where they end, and whether something else than filling follows."""
    found: list[tuple[str, str]] = []
    at = last = len(envblock.SIGNATURE)
    while at < len(block):
        end = _line_end(block, at)
        if end < 0:
            break
        if block[at : at + 1] != b"#":
            name, equals, value = block[at:end].partition(b"=")
            if not equals:
                return tuple(found), at, True
            found.append((name.decode("latin-1"), _unescaped(value).decode("latin-1")))
            last = end + 1
        at = end + 1
    return tuple(found), last, block[at:].strip(b"#") != b""


def _unescaped(value: bytes) -> bytes:
    """Return a value without the backslashes that stand before a character."""
    parts = value.split(b"\\\\")
    return b"\\".join(part.replace(b"\\", b"") for part in parts)


def _line_end(block: bytes, at: int) -> int:
    """Return where the line ends that begins at `at`, escaped line ends passed over; -1 if not."""
    while at < len(block):
        if block[at : at + 1] == b"\\":
            at += 1
        elif block[at : at + 1] == b"\n":
            return at
        at += 1
    return -1


def _order(variables: tuple[tuple[str, str], ...]) -> list[str]:
    names = [name for name, _ in variables]
    missing = [name for name in ORDER if name not in names]
    if missing:
        return [f"it lacks {', '.join(missing)}"]
    return [] if tuple(names) == ORDER else ["its variables are not in their order"]


def _range(name: str, value: str) -> list[str]:
    shown = value if len(value) <= _LONGEST_SHOWN else value[:_LONGEST_SHOWN] + "..."
    if name == "primary" and value not in ("a", "b"):
        return [f"primary is {shown!r} instead of a or b"]
    if name not in _HIGHEST:
        return []
    # Ten digits hold 2^31; more would only cost time.
    plain = value.isdigit() and value.isascii() and len(value) <= 10
    if not plain or str(int(value)) != value or int(value) > _HIGHEST[name]:
        return [f"{name} is {shown!r} instead of a number up to {_HIGHEST[name]}"]
    return []

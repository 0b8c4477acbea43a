"""Random boot environments: good ones, and all that power cuts, bad disks and people leave."""

from __future__ import annotations

import random
from dataclasses import dataclass

from applianceforge.formats import bootenv, envblock
from applianceforge.formats.bootenv import Environment, SlotVariables
from applianceforge.model.architecture import Architecture

# What a slot's place holds in the test, and what GRUB must make of it.
KINDS: dict[str, Architecture | None] = {
    "i386": Architecture.I386,
    "amd64": Architecture.AMD64,
    "nothing": None,
    "other": None,
    "empty": None,
    "noblock": None,
}
_ODD_VALUES = (
    *(
        "",
        "0",
        "1",
        "2",
        "3",
        "4",
        "03",
        "010",
        "0x1",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1.0",
        "a",
        "b",
        "c",
    ),
    *("A", "ab", "a b", "2147483647", "2147483648", "4294967295", "4294967296", "9999999999"),
    *("99999999999", "1\n", "\\", "$gen", "!", "(", "-a", "-n", "=", "1\0", "\xe9", "'", '"', ";"),
)
_ODD_REASONS = (
    *("", "none", "a-no-tries", "b-no-long-mode", "a-unreadable", "x" * 64, "y" * 300, "two words"),
    *("-a", "=", "!", "(", ")", "-n", "$primary", "a\\b", "line\nline", "\xff", '"', "'", ";halt"),
)


@dataclass(frozen=True)
class Case:
    """One boot partition; None is a file that is not there."""

    env1: bytes | None
    env2: bytes | None
    marker: bytes | None
    kind_a: str
    kind_b: str


def description(kind: str) -> bytes | None:
    """Return the file `boot/slot.env` of a kind of slot."""
    if kind == "nothing":
        return None
    if kind == "empty":
        return b""
    if kind == "noblock":
        return b"arch=i386\n".ljust(1024, b"#")
    arch = "arm64" if kind == "other" else kind
    return envblock.encode([("schema", "1"), ("arch", arch), ("args", "quiet")])


def environment(source: random.Random) -> Environment:
    """Return one with values in their ranges, such as are met and such as are not."""

    def slot() -> SlotVariables:
        return SlotVariables(source.random() < 0.8, source.randrange(4), source.random() < 0.4)

    generation = source.choice((0, 1, 7, 8, 9, 10, 11, 99, 100, bootenv.HIGHEST_NUMBER))
    reason = source.choice(("none", "a-no-tries", "b-no-tries", "b-no-long-mode", "x" * 64))
    return Environment(generation, source.choice("ab"), slot(), slot(), reason)


def _variables(one: Environment) -> list[tuple[str, str]]:
    return list(envblock.decode(bootenv.encode(one)).items())


def _odd_value(source: random.Random, one: Environment) -> bytes:
    variables = dict(_variables(one))
    names = source.sample([name for name in variables if name != "reason"], source.randint(1, 2))
    odd = source.choice(_ODD_VALUES)
    for name in names:
        variables[name] = odd
    # Both of them odd in the same way would be complete, if the value were not looked at.
    if "gen" in names and source.random() < 0.7:
        variables["end"] = variables["gen"]
    lines = b"".join(
        name.encode() + b"=" + value.encode("latin-1") + b"\n" for name, value in variables.items()
    )
    return (envblock.SIGNATURE + lines).ljust(1024, b"#")


def _odd_reason(source: random.Random, one: Environment) -> bytes:
    variables = dict(_variables(one)) | {"reason": source.choice(_ODD_REASONS)}
    return envblock.encode(variables.items())


def _odd_order(source: random.Random, one: Environment) -> bytes:
    variables = _variables(one)
    way = source.randrange(3)
    if way == 0:
        source.shuffle(variables)
    elif way == 1:
        variables.remove(source.choice(variables))
    else:
        name, _ = source.choice(variables)
        variables.insert(source.randint(0, len(variables)), (name, source.choice("0123ab")))
    return envblock.encode(variables)


def _torn(source: random.Random, one: Environment) -> bytes:
    """Return a mixture of two copies, cut at a sector or at any byte."""
    newer, older = bootenv.encode(one), bootenv.encode(environment(source))
    at = source.choice((512, source.randrange(300), source.randrange(1024)))
    return newer[:at] + older[at:]


def _other_second_sector(source: random.Random, one: Environment) -> bytes:
    good = bootenv.encode(one)
    again = f"\na_tries={source.randrange(4)}\nend={one.generation}\n".encode()
    second = source.choice(
        (bytes(512), b"x" * 512, b"\n" * 512, again.ljust(512, b"#"), source.randbytes(512))
    )
    return good[:512] + second


def _full(source: random.Random, one: Environment) -> bytes:
    """Return a block with little or no room for a change."""
    used = bootenv.encode(one).rstrip(b"#")
    room = source.choice((0, 1, 5, 20))
    filler = b"fill=" + b"f" * (1024 - room - len(used) - 6) + b"\n"
    return (used + filler).ljust(1024, b"#")


def _flipped(source: random.Random, one: Environment) -> bytes:
    data = bytearray(bootenv.encode(one))
    for _ in range(source.randint(1, 4)):
        data[source.randrange(250)] ^= 1 << source.randrange(8)
    return bytes(data)


def _other_length(source: random.Random, one: Environment) -> bytes:
    good = bootenv.encode(one)
    length = source.choice((0, 1, 24, 25, 26, 60, 150, 200, 512, 600, 1023, 1025, 1500, 2048))
    return good[:length].ljust(length, b"#")


_WAYS = (
    *(_odd_value, _odd_reason, _odd_order, _torn, _other_second_sector, _full, _flipped),
    _other_length,
)


def copy(source: random.Random) -> bytes | None:
    """Return what may lie in place of one copy."""
    chance = source.random()
    one = environment(source)
    if chance < 0.45:
        return bootenv.encode(one)
    if chance < 0.49:
        return None
    if chance < 0.52:
        return source.randbytes(1024)
    return source.choice(_WAYS)(source, one)


def case(source: random.Random) -> Case:
    """Return a boot partition."""
    env1, env2 = copy(source), copy(source)
    if source.random() < 0.1:
        env2 = env1
    if source.random() < 0.12:
        env1, env2 = (source.choice((None, b"", bytes(1024), b"#" * 1024)) for _ in range(2))
    marker = source.choice(
        (
            *(bootenv.encode_marker("a"), bootenv.encode_marker("b"), bootenv.encode_marker("")),
            *(None, b"", envblock.encode([("good", "c")]), bootenv.encode_marker("b")[:600]),
        )
    )
    usual = ("i386", "amd64")
    kinds = [source.choice(usual if source.random() < 0.85 else tuple(KINDS)) for _ in range(2)]
    return Case(env1, env2, marker, kinds[0], kinds[1])


def cases(count: int, seed: int) -> tuple[Case, ...]:
    """Return as many boot partitions; the same for the same seed."""
    source = random.Random(seed)
    return tuple(case(source) for _ in range(count))

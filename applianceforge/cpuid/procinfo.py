"""The processor by /proc/cpuinfo, for where the own probe does not work.

    vendor_id, cpu family, model   as in CPUID, family and model decimal and combined
    flags                          lm long mode, pni SSE3, cx16, sse2, hypervisor
    address sizes                  36 bits physical, 48 bits virtual

32-bit kernels show lm too. A kernel that runs as a 32-bit Xen guest may hide it.

What the kernel itself says is taken as it is. A copy may be damaged (`damage`): each line has a
name, a colon and a value, no name comes twice, bogomips is below the flags, and an empty line ends
each processor, or "power management" before a lost one. Flags are in the order of their bits: pni
and its like are behind lm, and so are 3dnow, which all of AMD's have, and the kernel's own.

Source: Linux, arch/x86/kernel/cpu/proc.c and arch/x86/include/asm/cpufeatures.h.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_SIZES = re.compile(r"\b(\d{1,3}) bits virtual", re.ASCII)
MOST_NUMBER = 999_999_999
_DIGITS = len(str(MOST_NUMBER))
_END = "power management"
_BELOW_FLAGS = "bogomips"
_FLAG = re.compile("[A-Za-z0-9_.+-]+", re.ASCII)
# Behind lm in the kernel's order; processors that may have lm have one of these at least.
_BEHIND_LM = frozenset({"3dnow", "3dnowext", "constant_tsc", "cpuid", "pni", "up"})
# By vendor: the families, and the lowest models in them, that may have lm; () without any.
_MAY_HAVE_LM: dict[str, tuple[tuple[int, int], ...]] = {
    "GenuineIntel": ((6, 0xF), (0xF, 3)),
    "AuthenticAMD": ((0xF, 0),),
    "CentaurHauls": ((6, 0xF),),
    "CyrixInstead": (),
    "Geode by NSC": (),
    "GenuineTMx86": (),
    "Vortex86 SoC": (),
}
_OTHER_VENDORS = ((6, 0),)
_TOLAPAI = ("GenuineIntel", 6, 0x15)


class ProcInfo(NamedTuple):
    """What /proc/cpuinfo says of the first processor; 0 where it does not say."""

    vendor: str
    family: int
    model: int
    flags: frozenset[str]
    linear_bits: int

    @property
    def long_mode(self) -> bool:
        """Return whether the kernel lists long mode."""
        return "lm" in self.flags

    @property
    def has_cx16_sse(self) -> bool:
        """Return whether CX16, SSE2 and SSE3 are all there."""
        return {"cx16", "sse2", "pni"} <= self.flags


def decode(text: str) -> ProcInfo | None:
    """Decode /proc/cpuinfo; None if it is not that of an x86 processor."""
    return of_fields(dict(_first(text)[0]))


def of_fields(fields: dict[str, str]) -> ProcInfo | None:
    """Take the lines of /proc/cpuinfo apart; None if they are not those of an x86 processor."""
    flags = frozenset(fields.get("flags", "").split())
    vendor = fields.get("vendor_id", "")
    if not vendor or not flags:
        return None
    sizes = _SIZES.search(fields.get("address sizes", ""))
    return ProcInfo(
        vendor=vendor,
        family=_number(fields.get("cpu family", "")),
        model=_number(fields.get("model", "")),
        flags=flags,
        linear_bits=int(sizes[1]) if sizes else 0,
    )


def damage(text: str) -> list[str]:
    """Return what shows that a copy of /proc/cpuinfo is not as the kernel wrote it."""
    fields, odd, ended = _first(text)
    names = [name for name, _ in fields]
    found = [f"a line without a colon: {line[:40]!r}" for line in odd]
    found += [f"{name[:40]!r} is there twice" for name in sorted({*names}) if names.count(name) > 1]
    found += [
        f"{name!r} is not there as a number"
        for name in ("cpu family", "model")
        if not _number(dict(fields).get(name, "")) and dict(fields).get(name) != "0"
    ]
    if _BELOW_FLAGS not in names[names.index("flags") :] if "flags" in names else True:
        found.append(f"there is no {_BELOW_FLAGS!r} below the flags")
    if not ended and names[-1:] != [_END]:
        found.append("neither an empty line nor 'power management' is at the end of a processor")
    return found + _flags_damage(dict(fields))


def _flags_damage(fields: dict[str, str]) -> list[str]:
    listed = of_fields(fields)
    if listed is None:
        return ["vendor_id or flags are not there"]
    odd = sorted(flag for flag in listed.flags if not _FLAG.fullmatch(flag))
    found = [f"there is no such flag: {flag[:40]!r}" for flag in odd[:1]]
    if (
        not listed.long_mode
        and _may_have_long_mode(listed)
        and not ("sse2" in listed.flags and _BEHIND_LM & listed.flags)
    ):
        found.append("the flags end before the place of lm")
    return found


def _may_have_long_mode(listed: ProcInfo) -> bool:
    if listed[:3] == _TOLAPAI:
        return False
    known = _MAY_HAVE_LM.get(listed.vendor, _OTHER_VENDORS)
    return any(
        listed.family == family and listed.model >= model for family, model in known
    ) or listed.family > max((family for family, _ in known), default=MOST_NUMBER)


def _first(text: str) -> tuple[list[tuple[str, str]], list[str], bool]:
    """Return the lines of the first processor, those without a colon, and whether it ends."""
    fields: list[tuple[str, str]] = []
    odd: list[str] = []
    lines = text.split("\n")
    if not lines[-1]:
        # What follows the last line feed is no line.
        lines.pop()
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            fields.append((name.strip(), value.strip()))
        elif fields and not line.strip():
            return fields, odd, True
        elif fields:
            odd.append(line.strip())
    return fields, odd, False


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else 0

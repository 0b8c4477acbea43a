"""The processor by /proc/cpuinfo, for where the own probe does not work.

    vendor_id, cpu family, model   as in CPUID, family and model decimal and combined
    flags                          lm long mode, pni SSE3, cx16, sse2, hypervisor
    address sizes                  36 bits physical, 48 bits virtual

32-bit kernels show lm too. A kernel that runs as a 32-bit Xen guest may hide it.

Source: Linux, arch/x86/kernel/cpu/proc.c and arch/x86/include/asm/cpufeatures.h.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_SIZES = re.compile(r"\b(\d{1,3}) bits virtual", re.ASCII)
_DIGITS = 10


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
    first: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if not colon:
            if first:
                break
            continue
        first[name.strip()] = value.strip()
    flags = frozenset(first.get("flags", "").split())
    if "vendor_id" not in first or not flags:
        return None
    sizes = _SIZES.search(first.get("address sizes", ""))
    return ProcInfo(
        vendor=first["vendor_id"],
        family=_number(first.get("cpu family", "")),
        model=_number(first.get("model", "")),
        flags=flags,
        linear_bits=int(sizes[1]) if sizes else 0,
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < _DIGITS else 0

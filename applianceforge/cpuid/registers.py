"""What CPUID answered, as values, and what the registers say of the processor.

    leaf 0         EAX highest basic leaf, EBX EDX ECX vendor
    leaf 1         EAX signature, ECX bits 0 SSE3, 13 CX16, 27 OSXSAVE, 31 hypervisor,
                   EDX bit 26 SSE2
    leaf 7         the newer features (features.py)
    leaf 40000000  EBX ECX EDX the hypervisor's signature; others every 100h up to 4000FF00
    leaf 80000000  EAX highest extended leaf, if it is from 80000000 to 8000FFFF
    leaf 80000001  EDX bit 29 long mode
    leaf 80000008  EAX bits 8-15: bits of a linear address

Source: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E; Linux,
Documentation/virt/kvm/x86/cpuid.rst for leaf 40000000.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

EXTENDED = 0x80000000
HIGHEST_EXTENDED = 0x8000FFFF
HYPERVISOR = 0x40000000
HIGHEST_HYPERVISOR = 0x4000FF00


class Leaf(NamedTuple):
    """One answer of CPUID: what was asked, and the four registers as unsigned numbers."""

    number: int
    subleaf: int
    eax: int
    ebx: int
    ecx: int
    edx: int


class Registers(NamedTuple):
    """The answers of one processor, or of one model of a hypervisor.

    Attributes:
        xcr0: What XGETBV says that the kernel has enabled; None where it was not asked.
    """

    leaves: tuple[Leaf, ...]
    xcr0: int | None = None

    def leaf(self, number: int, subleaf: int = 0) -> Leaf | None:
        """Return an answer, or None where it was not asked."""
        for leaf in self.leaves:
            if (leaf.number, leaf.subleaf) == (number, subleaf):
                return leaf
        return None

    def extended(self, number: int) -> Leaf | None:
        """Return an extended leaf if the processor has it.

        Both bounds count: Pentium II and III answer 80000000 with 03020101, and a processor
        without extended leaves answers with what it has of another leaf.
        """
        head = self.leaf(EXTENDED)
        if head is None or not number <= head.eax <= HIGHEST_EXTENDED:
            return None
        return self.leaf(number)

    @property
    def long_mode(self) -> bool | None:
        """Return whether the processor says that it has long mode; None without any answer.

        A collection of answers leaves out the leaves that a processor does not have.
        """
        if self.leaf(0) is None:
            return None
        features = self.extended(EXTENDED + 1)
        return features is not None and bool(features.edx >> 29 & 1)

    @property
    def vendor(self) -> str:
        """Return the twelve letters of leaf 0."""
        leaf = self.leaf(0)
        if leaf is None:
            return ""
        return struct.pack("<3I", leaf.ebx, leaf.edx, leaf.ecx).decode("latin-1")

    @property
    def family(self) -> int:
        """Return the family, the extended one added as the vendors do."""
        signature = self._signature
        base = signature >> 8 & 0xF
        return base + (signature >> 20 & 0xFF) if base == 0xF else base

    @property
    def model(self) -> int:
        """Return the model, the extended one in front where it counts."""
        signature = self._signature
        extended = signature >> 12 & 0xF0 if signature >> 8 & 0xF in (6, 7, 0xF) else 0
        return extended | signature >> 4 & 0xF

    @property
    def has_cx16_sse(self) -> bool:
        """Return whether CX16, SSE2 and SSE3 are all there."""
        leaf = self.leaf(1)
        return leaf is not None and leaf.ecx & 0x2001 == 0x2001 and bool(leaf.edx >> 26 & 1)

    @property
    def linear_bits(self) -> int:
        """Return the bits of a linear address, or 0 where the processor does not say."""
        leaf = self.extended(EXTENDED + 8)
        return 0 if leaf is None else leaf.eax >> 8 & 0xFF

    @property
    def hypervisor_bit(self) -> bool:
        """Return whether leaf 1 tells of a hypervisor.

        Centaur before family 6 model 9 leaves ECX as it was, so its bit 31 means nothing.
        """
        leaf = self.leaf(1)
        if leaf is None or (self.vendor == "CentaurHauls" and (self.family, self.model) < (6, 9)):
            return False
        return bool(leaf.ecx >> 31)

    @property
    def hypervisor_signatures(self) -> tuple[str, ...]:
        """Return the signatures of the hypervisor's leaves, lowest leaf first.

        Dumps of other tools also have the leaves between, which are no signatures.
        """
        if not self.hypervisor_bit:
            return ()
        return tuple(
            struct.pack("<3I", leaf.ebx, leaf.ecx, leaf.edx).decode("latin-1").rstrip("\0")
            for leaf in self.leaves
            if HYPERVISOR <= leaf.number <= HIGHEST_HYPERVISOR
            and leaf.number % 0x100 == leaf.subleaf == 0
            and any((leaf.ebx, leaf.ecx, leaf.edx))
        )

    @property
    def _signature(self) -> int:
        leaf = self.leaf(1)
        return 0 if leaf is None else leaf.eax

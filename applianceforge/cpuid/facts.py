"""What can be found out about the processor and about what it runs under, as values."""

from __future__ import annotations

from typing import NamedTuple

from applianceforge.cpuid.procinfo import ProcInfo
from applianceforge.cpuid.registers import Registers


class Answer(NamedTuple):
    """What one route to CPUID gave.

    Attributes:
        route: The route's name, such as "memfd".
        registers: None where the route did not work.
        failure: Why it did not; "" where it did.
    """

    route: str
    registers: Registers | None
    failure: str = ""


class Machine(NamedTuple):
    """What kernel and firmware say of the machine; "" or None where they say nothing.

    Attributes:
        maker: DMI's system vendor.
        product: DMI's product name.
        bios_segment: Where the firmware starts, a real-mode segment (SMBIOS type 0, bytes 6-7).
        xen: "PV", "HVM", "PVH" or "dom0" under Xen, "guest" if only that much is known.
        container: The container's kind, such as "docker" or "lxc".
    """

    maker: str = ""
    product: str = ""
    bios_segment: int | None = None
    xen: str = ""
    container: str = ""


class Facts(NamedTuple):
    """All that the verdict on the processor follows from.

    Attributes:
        answers: One for each route to CPUID that was tried, the most trusted first.
        procinfo: From /proc/cpuinfo; None where it does not tell.
        machine: What it runs under.
    """

    answers: tuple[Answer, ...]
    procinfo: ProcInfo | None = None
    machine: Machine = Machine()

    @property
    def registers(self) -> Registers | None:
        """Return what the first route that worked gave."""
        for answer in self.answers:
            if answer.registers is not None and answer.registers.leaf(0) is not None:
                return answer.registers
        return None

"""Write registers as other tools do, so that recorded processors can be read back."""

from applianceforge.cpuid.registers import EXTENDED, Leaf, Registers


def _dashed(leaf: Leaf) -> str:
    return "-".join(f"{value:08X}" for value in leaf[2:])


def instlatx64(registers: Registers, *, labels: bool = True, processors: int = 2) -> str:
    """Write it as AIDA64 does; old versions give no subleaf, and files of theirs no headings."""
    lines = ["------[ Versions ]------", "", "Program Version : AIDA64 Extreme v6.60", ""]
    lines += ["CPUID Manufacturer : GenuineIntel", "CPUID CPU Name     : a name", ""]
    for number in range(processors):
        lines += [f"------[ CPUID Registers / Logical CPU #{number} ]------", ""]
        lines += ["allcpu: Package 0 / Core 0 / Thread 0: Valid", ""]
        for leaf in registers.leaves:
            label = f" [SL {leaf.subleaf:02X}]" if labels and leaf.number in (7, 0xD) else ""
            note = " [GenuineIntel]" if labels and leaf.number == 0 else ""
            # Another processor has another APIC identifier.
            shown = leaf._replace(ebx=leaf.ebx | number << 24) if leaf.number == 1 else leaf
            lines.append(f"CPUID {leaf.number:08X}: {_dashed(shown)}{label}{note}")
        lines += ["", "L1    Data Cache:    48 KB, 12-way Associative, 64-byte Line", ""]
    lines += ["------[ MSR Registers ]------", "", "MSR 0000001B: 0000-0000-FEE0-0900"]
    return "\r\n".join(lines) + "\r\n"


def libcpuid(registers: Registers, *, processors: int = 0) -> str:
    """Write it as `cpuid_serialize_raw_data`: 32 leaves of either kind, there or not.

    What is out of range is answered as Intel's processors do: with the highest basic leaf.
    """
    basic = [leaf for leaf in registers.leaves if leaf.number < 32 and leaf.subleaf == 0]
    lines = ["version=0.6.5"]
    for number in range(max(processors, 1)):
        if processors:
            lines += ["", f"_________________ Logical CPU #{number} _________________"]
        for name, first in (("basic_cpuid", 0), ("ext_cpuid", EXTENDED)):
            for index in range(32):
                leaf = registers.leaf(first + index) or basic[-1]
                values = " ".join(f"{value:08x}" for value in leaf[2:])
                lines.append(f"{name}[{index}]={values}")
        lines += ["intel_fn4[0]=1c004121 01c0003f 0000003f 00000000"]
        lines += ["amd_fn8000001dh[0]=ffffffff ffffffff ffffffff ffffffff"]
    return "\n".join(lines) + "\n"


def _named(leaf: Leaf, comma: str = "") -> str:
    names = ("eax", "ebx", "ecx", "edx")
    return f"{comma} ".join(f"{n}=0x{v:08x}" for n, v in zip(names, leaf[2:], strict=True))


def cpuid_r(registers: Registers, *, processors: int = 1) -> str:
    """Write it as `cpuid -r`, or for one processor as `cpuid -1 -r`."""
    lines = []
    for number in range(processors):
        lines.append("CPU:" if processors == 1 else f"CPU {number}:")
        lines += [
            f"   0x{leaf.number:08x} 0x{leaf.subleaf:02x}: {_named(leaf)}"
            for leaf in registers.leaves
        ]
    return "\n".join(lines) + "\n"


def kcpuid_r(registers: Registers) -> str:
    """Write it as Linux's `kcpuid -r`."""
    lines = ["Basic Leafs :", "================"]
    for leaf in registers.leaves:
        if leaf.number == EXTENDED:
            lines += ["Extended Leafs :", "================"]
        named = ", ".join(
            f"{name.upper()}={value}"
            for name, value in (pair.split("=") for pair in _named(leaf, ",").split(", "))
        )
        if leaf.number in (7, 0xD):
            if leaf.subleaf == 0:
                lines.append(f"0x{leaf.number:08x}: subleafs:")
            lines.append(f" {leaf.subleaf:2d}: {named}")
        else:
            lines.append(f"0x{leaf.number:08x}: {named}")
    return "\n".join(lines) + "\n"


WRITERS = {
    "InstLatx64": instlatx64,
    "libcpuid": libcpuid,
    "cpuid -r": cpuid_r,
    "kcpuid -r": kcpuid_r,
}

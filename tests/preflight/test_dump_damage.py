"""A damaged dump of a capable processor is refused, or still tells of a capable one."""

from collections.abc import Callable

import pytest

from applianceforge.cpuid.facts import Answer
from applianceforge.cpuid.facts import Facts as ProcessorFacts
from applianceforge.cpuid.registers import Registers
from applianceforge.cpuid.verdict import Capability, decide
from applianceforge.model.errors import SettingsError
from applianceforge.preflight import dump
from tests.cpuid import dump_texts
from tests.cpuid.damage import damaged
from tests.cpuid.table import ROWS, hidden
from tests.preflight.test_check_sh import cpuinfo
from tests.preflight.test_dump import box

CAPABLE = [row for row in ROWS if row.long_mode]


def own(registers: Registers) -> str:
    """Write two routes that differ a little, below which most lines are alike."""
    second = registers._replace(xcr0=7)
    known = box(registers)
    answers = (Answer("memfd", registers), Answer("file", second))
    processor = ProcessorFacts(answers, known.processor.procinfo, known.processor.machine)
    return dump.encode(known._replace(processor=processor, disks=(), partners=()))


WRITERS: dict[str, Callable[[Registers], str]] = {
    **dump_texts.WRITERS,
    "applianceforge": own,
    "/proc/cpuinfo": cpuinfo,
}


def wrong(text: str, whole: Capability) -> bool:
    """Return whether a damaged text came out as incapable; the undamaged one did not."""
    try:
        verdict = decide(dump.read(text.encode(), "box.dump").processor)
    except SettingsError as error:
        assert all(len(line) < 200 for line in (error.message, *error.evidence))
        return False
    return verdict.capability is Capability.INCAPABLE is not whole


@pytest.mark.parametrize("name", WRITERS)
def test_every_capable_processor_with_any_damage(name: str) -> None:
    tried = 0
    # libcpuid's are long and all of the same lines.
    for at, row in enumerate(CAPABLE[:: 4 if name == "libcpuid" else 1]):
        text = WRITERS[name](row.registers)
        whole = decide(dump.read(text.encode(), "box.dump").processor).capability
        assert whole is Capability.CAPABLE
        # Lines far apart change places for some only, as they are many.
        for changed in damaged(text, farthest=30 if at % 12 == 0 else 1):
            assert not wrong(changed, whole), changed
            tried += 1
    assert tried > 500


@pytest.mark.parametrize("name", WRITERS)
def test_every_whole_dump_is_taken(name: str) -> None:
    for row in ROWS:
        if not (name == "libcpuid" and row.registers.leaf(0x80000000) is None):
            verdict = decide(dump.read(WRITERS[name](row.registers).encode(), "a").processor)
            assert verdict.long_mode is row.long_mode


def test_a_damaged_head_of_the_extended_leaves() -> None:
    for row in CAPABLE:
        for name, write in dump_texts.WRITERS.items():
            text = write(row.registers)
            head = row.registers.leaf(0x80000000)
            assert head is not None
            for shown in (f"{head.eax:08X}", f"{head.eax:08x}"):
                for other in ("00000000", "0" + shown[1:], "8000000", "80000000", "ffffffff"):
                    changed = text.replace(f"80000000: {shown}", f"80000000: {other}")
                    changed = changed.replace(f"ext_cpuid[0]={shown}", f"ext_cpuid[0]={other}")
                    changed = changed.replace(f"ax=0x{shown}", f"ax=0x{other}")
                    changed = changed.replace(f"AX=0x{shown}", f"AX=0x{other}")
                    assert not wrong(changed, Capability.CAPABLE), (name, row.name, other)


def test_what_is_hidden_stays_hidden() -> None:
    for row in CAPABLE[::3]:
        text = own(hidden(row.registers))
        for changed in damaged(text, farthest=1):
            assert not wrong(changed, decide(dump.decode(text).processor).capability)

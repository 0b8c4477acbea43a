"""The probe on this machine: every route, what it must preserve, and what must not crash."""

import ctypes
import os
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from applianceforge.cpuid import probe
from applianceforge.cpuid.verdict import Capability

pytestmark = pytest.mark.skipif(
    os.uname().machine not in {"x86_64", "i686"}, reason="needs an x86 machine"
)
# Fill RBX, call the code, return RBX: push rbx; mov rbx, N; call rsi; mov rax, rbx; pop rbx; ret.
FILLING = 0x1122334455667788
TRAMPOLINE_64 = bytes.fromhex("53 48bb") + struct.pack("<Q", FILLING)
TRAMPOLINE_64 += bytes.fromhex("ffd6 4889d8 5b c3")


def careless(code: bytes) -> bytes:
    """Return the code with the saving and restoring of RBX or EBX blanked out."""
    body = bytearray(code)
    body[0] = body[-2] = 0x90
    if code is probe.CODE_32:
        body[0], body[-2] = 0x50, 0x5A  # push eax, pop edx: the stack stays even
    return bytes(body)


@pytest.mark.parametrize("route", probe.ROUTES, ids=lambda route: str(route.__name__))
def test_every_route_gives_the_same(route: type) -> None:
    with probe.by_memfd(probe.native_code()) as address:
        expected = probe.run_in_child(address)
    with route(probe.native_code()) as address:
        registers = probe.run_in_child(address)
    # Leaf 1 names the processor that answered, in the upper bits of EBX.
    for one, other in zip(registers.leaves, expected.leaves, strict=True):
        assert (one.number, one.eax, one.edx) == (other.number, other.eax, other.edx)
    assert registers.long_mode is not None


def test_probe_agrees_with_the_kernel() -> None:
    facts = probe.gather()
    assert facts.registers is not None
    assert facts.procinfo is not None
    assert facts.registers.vendor == facts.procinfo.vendor
    assert (facts.registers.family, facts.registers.model) == (
        facts.procinfo.family,
        facts.procinfo.model,
    )
    assert facts.registers.hypervisor_bit == ("hypervisor" in facts.procinfo.flags)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs a 64-bit machine")
def test_this_machine_is_capable() -> None:
    assert probe.long_mode().capability is Capability.CAPABLE
    assert probe.long_mode_finding() is None


@pytest.mark.skipif(struct.calcsize("P") != 8, reason="needs a 64-bit Python")
@pytest.mark.parametrize("careful", [True, False])
def test_rbx_is_preserved(careful: bool) -> None:
    code = probe.CODE_64 if careful else careless(probe.CODE_64)
    with probe.by_memfd(code) as address, probe.by_memfd(TRAMPOLINE_64) as trampoline:
        call = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_void_p)(trampoline)
        registers = (ctypes.c_uint32 * 4)(0, 0)
        left = call(ctypes.addressof(registers), address)
    assert registers[1] != 0
    assert (left == FILLING) is careful


PROGRAM_32 = """
.globl _start
_start:
    movl $registers, %eax
    pushl %eax
    movl $0x11223344, %ebx
    movl $0x55667788, %edi
    call code
    addl $4, %esp
    xorl $0x11223344, %ebx
    xorl $0x55667788, %edi
    orl %edi, %ebx
    setne %bl
    movzbl %bl, %ebx
    cmpl $0, registers+4
    jne 1f
    movl $2, %ebx
1:  movl $1, %eax
    int $0x80
code: .byte CODE
.section .note.GNU-stack,"",@progbits
.data
registers: .long 0, 0, 0, 0
"""


@pytest.mark.parametrize("careful", [True, False])
def test_ebx_and_edi_are_preserved_in_32_bits(careful: bool, tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs gcc")
    code = probe.CODE_32 if careful else careless(probe.CODE_32)
    source, program = tmp_path / "probe.s", tmp_path / "probe"
    source.write_text(PROGRAM_32.replace("CODE", ", ".join(map(str, code))))
    options = ["-m32", "-nostdlib", "-static", "-no-pie"]
    subprocess.run([compiler, *options, "-o", str(program), str(source)], check=True)
    try:
        status = subprocess.run([str(program)], check=False).returncode
    except OSError:
        pytest.skip("this kernel does not run 32-bit programs")
    assert status == (0 if careful else 1)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("0f0b", f"signal {int(signal.SIGILL)}"),
        ("31c0 8b00", f"signal {int(signal.SIGSEGV)}"),
    ],
)
def test_fault_is_no_answer_and_no_crash(code: str, words: str) -> None:
    registers, failures = probe.read_registers(bytes.fromhex(code))
    assert registers is None
    assert len(failures) == len(probe.ROUTES)
    assert all(words in failure for failure in failures)


def test_probe_leaves_nothing_behind() -> None:
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        probe.gather()
    assert set(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


# PR_SET_MDWE (65), PR_MDWE_REFUSE_EXEC_GAIN (1), since Linux 6.3.
CONFINED = """
import ctypes, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0:
    sys.exit(77)
from applianceforge.cpuid import probe
try:
    with probe.by_anonymous_memory(probe.native_code()):
        sys.exit(1)
except OSError:
    pass
with probe.by_memfd(probe.native_code()) as address:
    sys.exit(0 if probe.run_in_child(address).leaves else 2)
"""


def test_memfd_works_where_anonymous_memory_may_not_become_executable() -> None:
    status = subprocess.run([sys.executable, "-c", CONFINED], check=False).returncode
    if status == 77:
        pytest.skip("this kernel has no PR_SET_MDWE")
    assert status == 0

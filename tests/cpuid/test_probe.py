"""The probe on this machine: every route, what it must preserve, and what must not crash it.

`test_probe_i386.py` runs this file with a 32-bit Python too.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from applianceforge.cpuid import child, native, probe, verdict
from applianceforge.cpuid.facts import Answer, Facts
from applianceforge.cpuid.registers import Leaf, Registers
from applianceforge.cpuid.verdict import Capability
from tests.cpuid.python import COMMAND

pytestmark = pytest.mark.skipif(
    os.uname().machine not in {"x86_64", "i686"}, reason="needs an x86 machine"
)
WIDE = struct.calcsize("P") == 8
CPUID = native.CPUID_64 if WIDE else native.CPUID_32
XGETBV = native.XGETBV_64 if WIDE else native.XGETBV_32
LIBC = ctypes.CDLL(None, use_errno=True)
ROUTES = pytest.mark.parametrize("route", native.ROUTES, ids=lambda route: str(route[0]))


def ask_by(route: tuple[str, native.Route]) -> native.Found:
    (found,) = native.ask_by((route,), native.native_code())
    return found


@ROUTES
def test_every_route_gives_the_same(route: tuple[str, native.Route]) -> None:
    expected, found = ask_by(native.MEMFD), ask_by(route)
    assert (found.route, found.failure, found.xcr0) == (route[0], "", expected.xcr0)
    # Leaf 1 names the processor that answered, in the upper bits of EBX.
    for one, other in zip(found.leaves, expected.leaves, strict=True):
        assert (*one[:3], one[5]) == (*other[:3], other[5])


def test_no_file_is_written_where_memfd_works() -> None:
    routes = {answer.route: answer for answer in probe.gather().answers}
    assert list(routes) == ["memfd", "file", "anonymous", "device"]
    assert routes["memfd"].registers
    assert routes["file"].registers is None
    assert "not needed" in routes["file"].failure
    assert routes["anonymous"].registers


def test_device_agrees_where_it_may_be_read() -> None:
    answer = probe.gather().answers[-1]
    if answer.registers is None:
        assert answer.failure.startswith("/dev/cpu/")
        pytest.skip(answer.failure)
    registers = probe.gather().registers
    assert registers is not None
    assert answer.registers.vendor == registers.vendor
    assert answer.registers.long_mode == registers.long_mode
    assert answer.registers.hypervisor_signatures == registers.hypervisor_signatures


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
    leaf = facts.registers.leaf(1)
    assert leaf is not None
    assert (facts.registers.xcr0 is not None) == bool(leaf.ecx >> 27 & 1)
    if facts.registers.xcr0 is not None:
        assert bool(facts.registers.xcr0 & 4) == ("avx" in facts.procinfo.flags)


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="needs a 64-bit kernel")
def test_this_machine_is_capable() -> None:
    decided = probe.long_mode()
    assert (decided.capability, decided.contradictions) == (Capability.CAPABLE, ())
    assert probe.long_mode_finding() is None


# What the code must leave as it was: called by code that fills EBX or RBX and returns it.
# 64: push rbx; mov rbx, N; call rsi; mov rax, rbx; pop rbx; ret.
# 32: push ebx; mov ebx, N; push [esp+8]; call [esp+16]; add esp, 4; mov eax, ebx; pop ebx; ret.
FILLING = 0x1122334455667788 if WIDE else 0x11223344
TRAMPOLINE = (
    bytes.fromhex("53 48bb") + struct.pack("<Q", FILLING) + bytes.fromhex("ffd6 4889d8 5b c3")
    if WIDE
    else bytes.fromhex("53 bb")
    + struct.pack("<I", FILLING)
    + bytes.fromhex("ff742408 ff542410 83c404 89d8 5b c3")
)


def careless(code: bytes) -> bytes:
    """Return the code with the saving and restoring of RBX or EBX blanked out."""
    body = bytearray(code)
    body[0] = body[-2] = 0x90
    if code is native.CPUID_32:
        body[0], body[-2] = 0x50, 0x5A  # push eax, pop edx: the stack stays even
    return bytes(body)


@pytest.mark.parametrize(
    ("code", "preserved"), [(CPUID, True), (careless(CPUID), False), (XGETBV, True)]
)
def test_rbx_or_ebx_is_preserved(code: bytes, preserved: bool) -> None:
    if code is XGETBV and native.ask_by((native.MEMFD,), native.native_code())[0].xcr0 is None:
        pytest.skip("needs a processor with XSAVE")
    address, trampoline = (native.by_memfd(LIBC, each) for each in (code, TRAMPOLINE))
    word = ctypes.c_uint64 if WIDE else ctypes.c_uint32
    call = ctypes.CFUNCTYPE(word, ctypes.c_void_p, ctypes.c_void_p)(trampoline)
    registers = (ctypes.c_uint32 * 4)(0, 0)
    left = call(ctypes.addressof(registers), address)
    assert any(registers)
    assert (left == FILLING) is preserved


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


@pytest.mark.skipif(not WIDE, reason="the compiler is a 64-bit program")
@pytest.mark.parametrize("careful", [True, False])
def test_ebx_and_edi_are_preserved_in_a_32_bit_program(careful: bool, tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs gcc")
    code = native.CPUID_32 if careful else careless(native.CPUID_32)
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
        ("0f0b", "ended by SIGILL"),  # ud2
        ("31c0 8b00", "ended by SIGSEGV"),  # xor eax, eax; mov eax, [eax]
        ("ebfe", "no answer in 1 s"),  # jmp to itself
        ("b001 c3", None),  # answers, with the question
    ],
)
def test_fault_is_no_answer_and_no_crash(
    code: str, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "PATIENCE_S", 1)
    monkeypatch.setattr(native, "native_code", lambda: native.code(bytes.fromhex(code), XGETBV))
    answers = probe.gather().answers
    assert [answer.route for answer in answers] == ["memfd", "file", "anonymous", "device"]
    if words is not None:
        for answer in answers[:3]:
            assert answer.registers is None
            assert words in answer.failure
        alone = verdict.decide(Facts(answers[:3]))
        assert (alone.capability, alone.long_mode) == (Capability.UNKNOWN, None)
        assert words in " ".join(alone.evidence)
    assert probe.long_mode().capability in (Capability.CAPABLE, Capability.UNKNOWN)


def test_fault_of_xgetbv_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    if ask_by(native.MEMFD).xcr0 is None:
        pytest.skip("needs a processor with XSAVE")
    monkeypatch.setattr(native, "native_code", lambda: native.code(CPUID, b"\x0f\x0b"))
    assert all("SIGILL" in answer.failure for answer in probe.gather().answers[:3])


def test_one_route_that_dies_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def dying(libc: ctypes.CDLL, code: bytes) -> int:
        os.kill(os.getpid(), signal.SIGBUS)
        return 0

    monkeypatch.setattr(native, "MEMFD", ("memfd", dying))
    memfd, file, anonymous, _ = probe.gather().answers
    assert memfd == Answer("memfd", None, "the code was ended by SIGBUS")
    assert file.registers
    assert anonymous.registers
    assert verdict.decide(Facts((memfd, file, anonymous))).long_mode is not None


@pytest.mark.parametrize("bytes_left", [0, 1, 3, 40])
def test_short_answer_is_no_answer(bytes_left: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, said: write(handle, said[:bytes_left]))
    answers = native.ask_by(native.ROUTES, native.native_code())
    assert len(answers) == len(native.ROUTES)
    # The file's own content is cut as well, for the routes that write it.
    assert f"({bytes_left} bytes)" in answers[2].failure
    assert all(answer.failure and not answer.leaves for answer in answers)


@pytest.mark.parametrize("name", ["fork", "pipe"])
def test_no_child_is_no_answer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, name, refuse)
    before = os.listdir("/proc/self/fd")
    for answer in probe.gather().answers[:3]:
        assert answer.failure == "there can be no child process: Resource temporarily unavailable"
    assert os.listdir("/proc/self/fd") == before


def test_python_without_ctypes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "HAS_CTYPES", False)
    facts = probe.gather()
    assert all("no ctypes" in answer.failure for answer in facts.answers[:3])
    assert verdict.decide(facts).capability is Capability.CAPABLE


def test_another_kind_of_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    other = os.uname_result(("Linux", "host", "6.1", "", "aarch64"))
    monkeypatch.setattr(os, "uname", lambda: other)
    (answer,) = probe.gather().answers
    assert answer.failure == "this is not an x86 machine"


def without_long_mode(ask: Callable[..., native.Found]) -> Callable[..., native.Found]:
    def lie(*arguments: object) -> native.Found:
        found = ask(*arguments)
        changed = [
            (*leaf[:5], leaf[5] & ~(1 << 29)) if leaf[0] == 0x80000001 else leaf
            for leaf in ask_by(native.MEMFD).leaves
        ]
        return native.Found(found.route, tuple(changed))

    return lie


def test_routes_that_disagree_give_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = probe.gather().registers
    assert honest is not None
    if not honest.long_mode:
        pytest.skip("needs a processor with long mode")
    monkeypatch.setattr(native, "_ask_device", without_long_mode(native._ask_device))
    decided = probe.long_mode()
    assert (decided.capability, decided.long_mode) == (Capability.UNKNOWN, None)
    assert any("long mode" in line for line in decided.contradictions)
    finding = probe.long_mode_finding()
    assert finding is not None
    assert finding.exit_status == 30


def test_probe_leaves_nothing_behind() -> None:
    before = set(os.listdir("/proc/self/fd"))
    mapped = Path("/proc/self/maps").read_text().count("cpuid")
    for _ in range(3):
        probe.gather()
    assert set(os.listdir("/proc/self/fd")) == before
    assert Path("/proc/self/maps").read_text().count("cpuid") == mapped
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.fixture
def ignored_children() -> Iterator[None]:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.mark.usefixtures("ignored_children")
def test_works_where_the_ends_of_children_are_ignored() -> None:
    assert probe.gather().registers is not None


def hanging() -> Iterator[bytes]:
    signal.pause()
    yield b"never"


def test_a_blocked_alarm_does_not_keep_a_child_that_hangs() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    try:
        said = child.run(LIBC, hanging, 1)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert said == ([], "the code gave no answer in 1 s")


def test_child_says_what_it_can_before_it_dies() -> None:
    def work() -> Iterator[bytes]:
        yield b"one"
        yield b""
        os.abort()

    answers, failure = child.run(LIBC, work, 1)
    assert answers == [b"one", b""]
    assert "ended by SIGABRT" in failure


def test_interrupted_parent_takes_the_child_along(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(handle: int) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(child, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        child.run(LIBC, hanging, 60)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


# What is asked for, on processors that are not here.


def asked(registers: Registers) -> tuple[list[native.LeafTuple], list[tuple[int, int]]]:
    """Return what is gathered of a recorded processor, and what it was asked."""
    questions = []

    def ask(number: int, subleaf: int) -> tuple[int, int, int, int]:
        questions.append((number, subleaf))
        # A processor that has no such leaf answers with data of another, and long mode's bit set.
        leaf = registers.leaf(number, subleaf) or Leaf(number, 0, 0x2C04307D, 1, 2, 0x2C04307D)
        return leaf[2:]

    return native.leaves(ask), questions


def head(vendor: bytes, highest: int, ecx: int = 0) -> tuple[Leaf, Leaf]:
    ebx, edx, ecx_of_0 = struct.unpack("<3I", vendor)
    return Leaf(0, 0, highest, ebx, ecx_of_0, edx), Leaf(1, 0, 0x6D8, 0, ecx, 0)


@pytest.mark.parametrize("highest", [0x03020101, 0x80000000, 0x80010000, 0xFFFFFFFF])
def test_extended_leaves_out_of_range_are_not_asked_for(highest: int) -> None:
    leaf = Leaf(0x80000000, 0, highest, 0, 0, 0)
    found, questions = asked(Registers((*head(b"GenuineIntel", 3), leaf)))
    assert [number for number, _ in questions] == [0, 1, 0x80000000]
    assert Registers(tuple(Leaf(*each) for each in found)).long_mode is False


def test_serial_number_is_never_asked_for() -> None:
    leaf = Leaf(0x80000000, 0, 0x80000008, 0, 0, 0)
    for highest in range(0x20):
        _, questions = asked(Registers((*head(b"GenuineIntel", highest, 1 << 31), leaf)))
        assert 3 not in {number for number, _ in questions}
        assert (7 in {number for number, _ in questions}) == (highest >= 7)


def test_hypervisors_are_looked_for_only_behind_the_bit() -> None:
    leaf = Leaf(0x80000000, 0, 0x80000008, 0, 0, 0)
    signatures = (
        Leaf(0x40000000, 0, 0x40000006, 1, 2, 3),
        Leaf(0x40000100, 0, 0x40000101, 4, 5, 6),
        Leaf(0x4000FF00, 0, 0, 7, 8, 9),
    )
    bare = Registers((*head(b"GenuineIntel", 3), leaf, *signatures))
    assert not any(0x40000000 <= number < 0x80000000 for number, _ in asked(bare)[1])
    virtual = Registers((*head(b"GenuineIntel", 3, 1 << 31), leaf, *signatures))
    found, _ = asked(virtual)
    # All else is data of another leaf.
    assert [each for each in found if 0x40000000 <= each[0] < 0x80000000] == list(signatures)


def test_only_the_standard_library_is_loaded() -> None:
    code = (
        "import sys; before = set(sys.modules); from applianceforge.cpuid import native;"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    from_command = subprocess.run(
        [*COMMAND, "-c", code], check=True, capture_output=True, text=True, env=environment
    )
    loaded = set(from_command.stdout.split())
    assert "applianceforge" in loaded
    assert not loaded & {"typing", "enum", "signal", "tempfile", "subprocess", "rich", "click"}

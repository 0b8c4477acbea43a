"""Ask CPUID, in a child process, by machine code of our own.

Routes to executable memory, in order: a memfd that is written and then mapped to read and execute,
which also works under MemoryDenyWriteExecute; a temporary file on a file system that allows it;
anonymous memory. The call happens in a forked child that writes the registers to a pipe, so that
an illegal instruction or a fault is an unknown answer and not a crash.

Nothing is changed but for a temporary file without a name.

Source: Intel SDM volume 2A, CPUID; System V ABI for i386 and x86-64 (EBX and RBX are the
caller's); prctl(2) PR_SET_MDWE; systemd.exec(5) MemoryDenyWriteExecute.
"""

import ctypes
import mmap
import os
import resource
import signal
import struct
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from applianceforge.cpuid import procinfo, remedies, verdict
from applianceforge.cpuid.facts import Answer, Facts, Machine
from applianceforge.cpuid.registers import (
    EXTENDED,
    HIGHEST_EXTENDED,
    HIGHEST_HYPERVISOR,
    HYPERVISOR,
    Leaf,
    Registers,
)
from applianceforge.cpuid.verdict import Verdict
from applianceforge.model.report import Finding

# void ask(uint32_t r[4]): EAX, ECX = r[0], r[1]; CPUID; r = EAX, EBX, ECX, EDX.
CODE_64 = bytes.fromhex(
    "53"  # push rbx
    "8b07 8b4f04"  # mov eax, [rdi]; mov ecx, [rdi+4]
    "0fa2"  # cpuid
    "8907 895f04 894f08 89570c"  # mov [rdi], eax; ... ebx; ... ecx; ... edx
    "5b c3"  # pop rbx; ret
)
CODE_32 = bytes.fromhex(
    "53 57"  # push ebx; push edi
    "8b7c240c"  # mov edi, [esp+12]
    "8b07 8b4f04"  # mov eax, [edi]; mov ecx, [edi+4]
    "0fa2"  # cpuid
    "8907 895f04 894f08 89570c"  # mov [edi], eax; ... ebx; ... ecx; ... edx
    "5f 5b c3"  # pop edi; pop ebx; ret
)
_ANSWER = struct.Struct("<6I")
_CPUINFO = Path("/proc/cpuinfo")
_DMI = Path("/sys/class/dmi/id")
_X86 = frozenset({"x86_64", "i386", "i486", "i586", "i686"})
# MAP_FAILED, (void *) -1.
_MAP_FAILED = ctypes.c_void_p(-1).value


class ProbeError(Exception):
    """A route of the probe did not work; another may."""


def native_code() -> bytes:
    """Return the machine code for the width of this very process.

    `platform.machine()` tells the kernel's, which is another in a 32-bit Python on a 64-bit kernel.
    """
    return CODE_64 if struct.calcsize("P") == 8 else CODE_32


@contextmanager
def _mapped(handle: int, code: bytes, protection: int, flags: int) -> Iterator[int]:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_long,
    )
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    address = libc.mmap(None, mmap.PAGESIZE, protection, flags, handle, 0)
    if address is None or address == _MAP_FAILED:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    try:
        if protection & mmap.PROT_WRITE:
            ctypes.memmove(address, code, len(code))
            if libc.mprotect(address, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        yield address
    finally:
        libc.munmap(address, mmap.PAGESIZE)


_READ_EXECUTE = mmap.PROT_READ | mmap.PROT_EXEC


@contextmanager
def by_memfd(code: bytes) -> Iterator[int]:
    """Map code from a memfd, and give its address."""
    handle = os.memfd_create("cpuid", os.MFD_CLOEXEC)
    try:
        os.write(handle, code)
        with _mapped(handle, code, _READ_EXECUTE, mmap.MAP_PRIVATE) as address:
            yield address
    finally:
        os.close(handle)


@contextmanager
def by_file(code: bytes) -> Iterator[int]:
    """Map code from a temporary file that has no name, and give its address."""
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(code)
        with _mapped(file.fileno(), code, _READ_EXECUTE, mmap.MAP_PRIVATE) as address:
            yield address


@contextmanager
def by_anonymous_memory(code: bytes) -> Iterator[int]:
    """Write code to anonymous memory, make it executable, and give its address."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    with _mapped(-1, code, mmap.PROT_READ | mmap.PROT_WRITE, flags) as address:
        yield address


ROUTES = (by_memfd, by_file, by_anonymous_memory)


def _ask(address: int, number: int, subleaf: int = 0) -> Leaf:
    registers = (ctypes.c_uint32 * 4)(number, subleaf, 0, 0)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(ctypes.addressof(registers))
    return Leaf(number, subleaf, *registers)


def _answers(ask: Callable[[int], Leaf]) -> Iterator[Leaf]:
    """Ask for the leaves that the verdict needs, none of them out of range."""
    basic = ask(0)
    yield basic
    features = ask(1)
    yield features
    if basic.eax >= 7:
        yield ask(7)
    extended = ask(EXTENDED)
    yield extended
    if extended.eax <= HIGHEST_EXTENDED:
        yield from (ask(n) for n in (EXTENDED + 1, EXTENDED + 8) if n <= extended.eax)
    if features.ecx >> 31:
        found: set[tuple[int, int, int]] = set()
        for number in range(HYPERVISOR, HIGHEST_HYPERVISOR + 1, 0x100):
            leaf = ask(number)
            signature = (leaf.ebx, leaf.ecx, leaf.edx)
            # What repeats is the answer for a leaf out of range.
            if any(signature) and signature not in found:
                found.add(signature)
                yield leaf


def run_in_child(address: int) -> Registers:
    """Call the mapped code in a child process and return what CPUID said.

    Raises:
        ProbeError: The child was ended by a signal, or said less than it should.
    """
    readable, writable = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of forks beside threads; this child takes no lock and never returns.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            for fault in (signal.SIGILL, signal.SIGSEGV, signal.SIGBUS):
                signal.signal(fault, signal.SIG_DFL)
            said = b"".join(
                _ANSWER.pack(r.number, r.subleaf, r.eax, r.ebx, r.ecx, r.edx)
                for r in _answers(lambda number: _ask(address, number))
            )
            os.write(writable, said)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writable)
    with open(readable, "rb") as stream:
        said = stream.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        raise ProbeError(f"CPUID was answered with signal {os.WTERMSIG(status)}")
    if status != 0 or not said or len(said) % _ANSWER.size:
        raise ProbeError("the probe gave no answer")
    return Registers(tuple(Leaf(*answer) for answer in _ANSWER.iter_unpack(said)))


def read_registers(code: bytes) -> tuple[Registers | None, tuple[str, ...]]:
    """Ask CPUID by the first route that works; also return why others did not."""
    if os.uname().machine not in _X86:
        return None, ("this is not an x86 machine",)
    failures: list[str] = []
    for route in ROUTES:
        try:
            with route(code) as address:
                return run_in_child(address), tuple(failures)
        except (OSError, ProbeError) as error:
            failures.append(f"{route.__name__.replace('_', ' ')}: {error}")
    return None, tuple(failures)


def gather() -> Facts:
    """Find out what can be seen of the processor and of what it runs under; never raises."""
    registers, failures = read_registers(native_code())
    listed = procinfo.decode(_text(_CPUINFO))
    machine = Machine(_text(_DMI / "sys_vendor").strip(), _text(_DMI / "product_name").strip())
    answers = tuple(Answer("probe", None, failure) for failure in failures)
    if registers is not None:
        answers = (Answer("probe", registers), *answers)
    return Facts(answers, listed, machine)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="latin-1")
    except OSError:
        return ""


def long_mode() -> Verdict:
    """Return whether this machine can run 64-bit programs."""
    return verdict.decide(gather())


def long_mode_finding() -> Finding | None:
    """Return the finding that inhibits a migration on this machine, or None if it is capable.

    A probe that failed is a warning.
    """
    return remedies.finding(long_mode())

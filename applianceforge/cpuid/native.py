"""Ask CPUID by machine code of our own, in a child process, by every route that there is.

Routes to executable memory, the most trusted first:

    memfd      written, then mapped to read and execute; works under MemoryDenyWriteExecute too
    file       a temporary file without a name, where a directory allows it; only if memfd failed
    anonymous  memory that is written first and made executable then

and `device`, the kernel's /dev/cpu/N/cpuid, which root has once the module `cpuid` is loaded.

The code is mapped and called in a forked child that sends the answers through a pipe. A fault, a
refusal, a child that hangs: each is a failure of that route, with its reason, and never a crash.
Nothing is changed but for the temporary file.

All this is values of Python's own, and few modules are imported: importing `typing` alone takes
longer than all routes together, `signal` (for `enum`) as long.

Source: Intel SDM volume 2A, CPUID and XGETBV; System V ABI for i386 and x86-64 (EBX and RBX are the
caller's); memfd_create(2); prctl(2); systemd.exec(5), MemoryDenyWriteExecute; Linux,
arch/x86/kernel/cpuid.c and Documentation/userspace-api/mfd_noexec.rst.
"""

from __future__ import annotations

import errno
import os
import struct

from applianceforge.cpuid import child

try:
    import ctypes
except (ImportError, MemoryError):
    # Debian's python3-minimal has none. Python 3.7's asks for writable, executable memory when it
    # is imported, and gives up where that is denied.
    HAS_CTYPES = False
else:
    HAS_CTYPES = True

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    # What was asked (EAX, then ECX), and EAX, EBX, ECX, EDX afterwards.
    LeafTuple = tuple[int, int, int, int, int, int]
    Ask = Callable[[int, int], tuple[int, int, int, int]]
    Route = Callable[[ctypes.CDLL, bytes], int]

# void ask(uint32_t r[4]): EAX, ECX = r[0], r[1]; CPUID; r = EAX, EBX, ECX, EDX.
CPUID_64 = bytes.fromhex(
    "53"  # push rbx
    "8b07 8b4f04"  # mov eax, [rdi]; mov ecx, [rdi+4]
    "0fa2"  # cpuid
    "8907 895f04 894f08 89570c"  # mov [rdi], eax; ... ebx; ... ecx; ... edx
    "5b c3"  # pop rbx; ret
)
CPUID_32 = bytes.fromhex(
    "53 57"  # push ebx; push edi
    "8b7c240c"  # mov edi, [esp+12]
    "8b07 8b4f04"  # mov eax, [edi]; mov ecx, [edi+4]
    "0fa2"  # cpuid
    "8907 895f04 894f08 89570c"  # mov [edi], eax; ... ebx; ... ecx; ... edx
    "5f 5b c3"  # pop edi; pop ebx; ret
)
# void ask(uint32_t r[4]): ECX = 0; XGETBV; r[0], r[3] = EAX, EDX. Changes nothing of the caller's.
XGETBV_64 = bytes.fromhex("31c9 0f01d0 8907 89570c c3")
XGETBV_32 = bytes.fromhex("31c9 0f01d0 8b4c2404 8901 89510c c3")
XGETBV_AT = 64

_LEAF = struct.Struct("<6I")
_XCR0 = struct.Struct("<?Q")
_X86 = frozenset({"x86_64", "i386", "i486", "i586", "i686"})
_EXTENDED, _HIGHEST_EXTENDED = 0x80000000, 0x8000FFFF
_HYPERVISOR, _HIGHEST_HYPERVISOR = 0x40000000, 0x4000FF00
_SCAN = range(_HYPERVISOR, _HIGHEST_HYPERVISOR + 1, 0x100)
_DIRECTORIES = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  the file has no name there

# The module mmap has these too, and takes longer to import.
_READ, _WRITE, _EXECUTE = 1, 2, 4  # of mmap
_PRIVATE, _ANONYMOUS = 0x02, 0x20
_PAGE_BYTES = 4096
_CLOEXEC, _NOEXEC_SEAL, _EXEC = 0x1, 0x8, 0x10  # of memfd_create; the last two since Linux 6.3


class ProbeError(Exception):
    """A route did not work; another may."""


class Found:
    """What one route gave.

    Attributes:
        route: Its name.
        leaves: The answers; empty where it did not work.
        xcr0: What XGETBV says; None where it was not asked.
        failure: Why the route did not work; "" where it did.
    """

    __slots__ = ("failure", "leaves", "route", "xcr0")

    def __init__(
        self,
        route: str,
        leaves: tuple[LeafTuple, ...] = (),
        xcr0: int | None = None,
        failure: str = "",
    ) -> None:
        self.route = route
        self.leaves = leaves
        self.xcr0 = xcr0
        self.failure = failure


def native_code() -> bytes:
    """Return the machine code for the width of this very process.

    `platform.machine()` tells the kernel's, which is another in a 32-bit Python on a 64-bit kernel.
    """
    wide = struct.calcsize("P") == 8
    return code(CPUID_64, XGETBV_64) if wide else code(CPUID_32, XGETBV_32)


def code(cpuid: bytes, xgetbv: bytes) -> bytes:
    """Lay out the page of code: CPUID at its start, XGETBV at `XGETBV_AT`, INT3 between."""
    return cpuid.ljust(XGETBV_AT, b"\xcc") + xgetbv


def ask_all(machine_code: bytes) -> tuple[Found, ...]:
    """Ask by every route; never raises for one that does not work."""
    if os.uname().machine not in _X86:
        return (Found("CPUID", failure="this is not an x86 machine"),)
    memfd, anonymous = ask_by((MEMFD, ANONYMOUS), machine_code)
    if memfd.failure:
        (file,) = ask_by((FILE,), machine_code)
    else:
        # The only route that writes to a disk.
        file = Found("file", failure="not needed, as memfd worked")
    found = (memfd, file, anonymous)
    worked = [one for one in found if not one.failure]
    return (*found, _ask_device(_hypervisors(worked[0].leaves) if worked else _SCAN))


def ask_by(routes: Sequence[tuple[str, Route]], machine_code: bytes) -> tuple[Found, ...]:
    """Ask by some routes to executable memory.

    One child asks by all of them, as a fork takes longer than all else; where it dies, another one
    goes on with the route after that.
    """
    if not HAS_CTYPES:
        failure = "this Python has no ctypes, or may not use it"
        return tuple(Found(name, failure=failure) for name, _ in routes)
    # Loaded here, as a child of a process with threads had better not load anything.
    libc = ctypes.CDLL(None, use_errno=True)
    found: list[Found] = []
    while len(found) < len(routes):
        left = routes[len(found) :]
        answers, failure = _in_child(libc, left, machine_code)
        found += [_decode(name, said) for (name, _), said in zip(left, answers)]
        if len(answers) < len(left):
            found.append(Found(left[len(answers)][0], failure=failure))
    return tuple(found)


def _in_child(
    libc: ctypes.CDLL, routes: Sequence[tuple[str, Route]], machine_code: bytes
) -> tuple[list[bytes], str]:
    try:
        return child.run(libc, lambda: _answers(libc, routes, machine_code), child.PATIENCE_S)
    except OSError as error:
        return [], f"there can be no child process: {error.strerror}"


def _answers(
    libc: ctypes.CDLL, routes: Sequence[tuple[str, Route]], machine_code: bytes
) -> Iterator[bytes]:
    """Ask by one route after the other: "+" and the answers, or "-" and why there are none."""
    where: Iterable[int] = _SCAN
    for _, route in routes:
        try:
            found, xcr0 = _call(route(libc, machine_code), where)
        except (OSError, ProbeError, MemoryError) as error:
            said = error.strerror if isinstance(error, OSError) else str(error)
            yield b"-" + (said or type(error).__name__).encode("utf-8", "replace")
        else:
            where = _hypervisors(found)
            head = _XCR0.pack(xcr0 is not None, xcr0 or 0)
            yield b"+" + head + b"".join(_LEAF.pack(*leaf) for leaf in found)


def _decode(name: str, said: bytes) -> Found:
    if said[:1] != b"+":
        return Found(name, failure=said[1:].decode("utf-8", "replace"))
    has_xcr0, xcr0 = _XCR0.unpack_from(said, 1)
    found: list[LeafTuple] = []
    for at in range(1 + _XCR0.size, len(said), _LEAF.size):
        eax_in, ecx_in, eax, ebx, ecx, edx = _LEAF.unpack_from(said, at)
        found.append((eax_in, ecx_in, eax, ebx, ecx, edx))
    return Found(name, tuple(found), xcr0 if has_xcr0 else None)


def _ask_device(where: Iterable[int]) -> Found:
    try:
        numbers = sorted(int(name) for name in os.listdir("/dev/cpu") if name.isdigit())
    except OSError:
        numbers = []
    path = f"/dev/cpu/{numbers[0] if numbers else 0}/cpuid"
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        hint = {
            errno.ENOENT: " (as root, `modprobe cpuid` makes it)",
            errno.EACCES: " (root may read it)",
        }
        return Found("device", failure=f"{path}: {error.strerror}{hint.get(error.errno or 0, '')}")

    def ask(number: int, subleaf: int) -> tuple[int, int, int, int]:
        said = os.pread(handle, 16, number | subleaf << 32)
        if len(said) != 16:
            raise ProbeError(f"{path} gave {len(said)} bytes of 16")
        eax, ebx, ecx, edx = struct.unpack("<4I", said)
        return eax, ebx, ecx, edx

    try:
        return Found("device", tuple(leaves(ask, where)))
    except OSError as error:
        return Found("device", failure=f"{path}: {error.strerror}")
    except ProbeError as error:
        return Found("device", failure=str(error))
    finally:
        os.close(handle)


def leaves(ask: Ask, where: Iterable[int] = _SCAN) -> list[LeafTuple]:
    """Ask for the leaves that the verdict needs, none of them out of range.

    ECX is always set, so a processor that leaves it alone in leaf 1 (Centaur's early ones do) does
    not look like a virtual one. Leaf 3, a serial number on a Pentium III, is not asked for.

    Args:
        ask: Asks for one leaf and subleaf.
        where: Where a hypervisor's leaves may begin.
    """
    found: list[LeafTuple] = []

    def get(number: int) -> tuple[int, int, int, int]:
        said = ask(number, 0)
        found.append((number, 0, *said))
        return said

    highest = get(0)[0]
    features = get(1)
    if highest >= 7:
        get(7)
    highest_extended = get(_EXTENDED)[0]
    if highest_extended <= _HIGHEST_EXTENDED:
        for number in (_EXTENDED + 1, _EXTENDED + 8):
            if number <= highest_extended:
                get(number)
    if features[2] >> 31:
        found += _signatures(ask, where)
    return found


def _signatures(ask: Ask, where: Iterable[int]) -> list[LeafTuple]:
    found: list[LeafTuple] = []
    seen: set[tuple[int, int, int]] = set()
    for number in where:
        eax, ebx, ecx, edx = ask(number, 0)
        # EAX is the highest of the hypervisor's leaves, or 0 (KVM once). All else answers for a
        # leaf out of range, which on Intel's is data of another leaf, and repeats.
        if (eax and eax >> 16 != _HYPERVISOR >> 16) or not (ebx or ecx or edx):
            continue
        if (ebx, ecx, edx) not in seen:
            seen.add((ebx, ecx, edx))
            found.append((number, 0, eax, ebx, ecx, edx))
    return found


def _hypervisors(found: Sequence[LeafTuple]) -> list[int]:
    """Return where the next route has to look for a hypervisor, after one that looked everywhere.

    To look everywhere takes 256 exits to the hypervisor, more than all else together.
    """
    seen = {leaf[0] for leaf in found if leaf[0] in _SCAN}
    return sorted(seen | {_HYPERVISOR})


def _call(address: int, where: Iterable[int]) -> tuple[list[LeafTuple], int | None]:
    """Call the code that is mapped at an address; return the leaves, and XCR0 if it has one."""
    registers = (ctypes.c_uint32 * 4)()
    pointer = ctypes.addressof(registers)
    prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    cpuid, xgetbv = prototype(address), prototype(address + XGETBV_AT)

    def ask(number: int, subleaf: int) -> tuple[int, int, int, int]:
        registers[0], registers[1] = number, subleaf
        cpuid(pointer)
        return registers[0], registers[1], registers[2], registers[3]

    found = leaves(ask, where)
    if not found[1][4] >> 27 & 1:  # OSXSAVE
        return found, None
    xgetbv(pointer)
    return found, registers[3] << 32 | registers[0]


def by_memfd(libc: ctypes.CDLL, machine_code: bytes) -> int:
    """Map code from a memfd, and return its address; it stays mapped."""
    # By number, as os.memfd_create is of Python 3.8, and glibc's of 2.27.
    number = 319 if struct.calcsize("P") == 8 else 356
    # It is mapped, never started, so it may be one that vm.memfd_noexec forbids to start.
    for flags in (_CLOEXEC | _NOEXEC_SEAL, _CLOEXEC | _EXEC, _CLOEXEC):
        handle = libc.syscall(number, b"cpuid", flags)
        error = _os_error("memfd_create")
        if handle >= 0:
            try:
                return _map_file(libc, handle, machine_code)
            except OSError as refused:
                error = refused
    raise error


def by_file(libc: ctypes.CDLL, machine_code: bytes) -> int:
    """Map code from a temporary file without a name, and return its address; it stays mapped."""
    named = os.environ.get("TMPDIR", "")
    failures = []
    for directory in (named, *_DIRECTORIES) if named else _DIRECTORIES:
        try:
            if os.statvfs(directory).f_flag & os.ST_NOEXEC:
                failures.append(f"{directory} is mounted noexec")
                continue
            return _map_file(libc, _open_nameless(directory), machine_code)
        except OSError as error:
            failures.append(f"{directory}: {error.strerror}")
    raise ProbeError("; ".join(failures))


def _open_nameless(directory: str) -> int:
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        # Linux before 3.11, or a file system that cannot.
        path = os.path.join(directory, f"cpuid-{os.urandom(8).hex()}")  # noqa: PTH118
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.unlink(path)  # noqa: PTH108
        return handle


def by_anonymous_memory(libc: ctypes.CDLL, machine_code: bytes) -> int:
    """Write code to memory, make it executable, and return its address; it stays mapped."""
    flags = _PRIVATE | _ANONYMOUS
    address = _map(libc, -1, _READ | _WRITE, flags)
    ctypes.memmove(address, machine_code, len(machine_code))
    if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(_PAGE_BYTES), _READ | _EXECUTE) != 0:
        raise _os_error("mprotect")
    return address


MEMFD, FILE = ("memfd", by_memfd), ("file", by_file)
ANONYMOUS = ("anonymous", by_anonymous_memory)
ROUTES = (MEMFD, FILE, ANONYMOUS)


def _map_file(libc: ctypes.CDLL, handle: int, machine_code: bytes) -> int:
    try:
        os.write(handle, machine_code)
        return _map(libc, handle, _READ | _EXECUTE, _PRIVATE)
    finally:
        os.close(handle)


def _map(libc: ctypes.CDLL, handle: int, protection: int, flags: int) -> int:
    libc.mmap.restype = ctypes.c_void_p
    address = libc.mmap(
        ctypes.c_void_p(None),
        ctypes.c_size_t(_PAGE_BYTES),
        protection,
        flags,
        handle,
        ctypes.c_long(0),
    )
    # MAP_FAILED is (void *) -1.
    if address is None or address == ctypes.c_void_p(-1).value:
        raise _os_error("mmap")
    return int(address)


def _os_error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")

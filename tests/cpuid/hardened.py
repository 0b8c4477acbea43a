"""Run the probe in a process from which things were taken away.

    PYTHON hardened.py [CONFINEMENT ...] -- PYTHON [LATE ...]

confines this process, checks that what it took away is really gone, and starts the second Python,
which loads the probe, takes away what is to go late, asks, and prints one line of JSON. The status
is 77 where this machine cannot confine so. Needs the standard library alone, of Python 3.7.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import resource
import struct
import sys
from pathlib import Path
from typing import NamedTuple

IMPOSSIBLE = 77
SOURCES = Path(__file__).parent.parent.parent
WIDE = struct.calcsize("P") == 8
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
FAILED = ctypes.c_void_p(-1).value
READ, WRITE, EXECUTE = mmap.PROT_READ, mmap.PROT_WRITE, mmap.PROT_EXEC
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")

# System calls: number on amd64, number on i386.
MMAP, MPROTECT, PKEY_MPROTECT, SHMAT = (9, 192), (10, 125), (329, 380), (30, 397)
MEMFD_CREATE, OPENAT = (319, 356), (257, 295)
SHM_EXEC, O_TMPFILE_BIT = 0o100000, 0o20000000


class Rule(NamedTuple):
    """Deny a system call where (argument & mask) == mask; a mask of 0 denies it always."""

    call: tuple[int, int]
    argument: int
    mask: int
    error: int


# What systemd's MemoryDenyWriteExecute denies.
WRITE_EXECUTE = (
    Rule(MMAP, 2, WRITE | EXECUTE, errno.EPERM),
    Rule(MPROTECT, 2, EXECUTE, errno.EPERM),
    Rule(PKEY_MPROTECT, 2, EXECUTE, errno.EPERM),
    Rule(SHMAT, 2, SHM_EXEC, errno.EPERM),
)


def fail_without(possible: bool, what: str) -> None:
    if not possible:
        print(f"cannot: {what}", file=sys.stderr)
        sys.exit(IMPOSSIBLE)


def expect(happened: bool, what: str) -> None:
    if not happened:
        raise AssertionError(f"the fault did not happen: {what}")


def call(name: str, *arguments: object) -> int:
    """Call libc; return 0, or the number of the error."""
    ctypes.set_errno(0)
    return ctypes.get_errno() if getattr(LIBC, name)(*arguments) == -1 else 0


def mapped(protection: int, flags: int, handle: int) -> int | None:
    address = LIBC.mmap(
        None, ctypes.c_size_t(mmap.PAGESIZE), protection, flags, handle, ctypes.c_long(0)
    )
    return None if address == FAILED else int(address)


def can_gain_execution() -> bool:
    """Tell whether written memory can become executable, in either of the two ways."""
    anonymous = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    if mapped(READ | WRITE | EXECUTE, anonymous, -1) is not None:
        return True
    address = mapped(READ | WRITE, anonymous, -1)
    assert address is not None
    page = (ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE))
    return call("mprotect", *page, READ | EXECUTE) == 0


def deny(rules: tuple[Rule, ...]) -> None:
    """Install a seccomp filter."""
    code = [(0x20, 0, 0, 4), (0x15, 1, 0, 0xC000003E if WIDE else 0x40000003)]
    code.append((0x06, 0, 0, 0x7FFF0000))  # of another architecture: let it be
    for rule in rules:
        code.append((0x20, 0, 0, 0))
        code.append((0x15, 0, 4, rule.call[0 if WIDE else 1]))
        code.append((0x20, 0, 0, 16 + 8 * rule.argument))
        code.append((0x54, 0, 0, rule.mask))
        code.append((0x15, 0, 1, rule.mask))
        code.append((0x06, 0, 0, 0x00050000 | rule.error))
    code.append((0x06, 0, 0, 0x7FFF0000))
    program = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *one) for one in code))
    head = struct.pack("H" + ("6xQ" if WIDE else "2xI"), len(code), ctypes.addressof(program))
    fail_without(call("prctl", 38, 1, 0, 0, 0) == 0, "no_new_privs")
    fail_without(call("prctl", 22, 2, ctypes.create_string_buffer(head)) == 0, "seccomp")


def mdwe() -> None:
    fail_without(call("prctl", 65, 1, 0, 0, 0) == 0, "PR_SET_MDWE, since Linux 6.3")
    expect(not can_gain_execution(), "memory became executable under MDWE")


def seccomp() -> None:
    expect(can_gain_execution(), "memory cannot become executable even before")
    deny(WRITE_EXECUTE)
    expect(not can_gain_execution(), "memory became executable under seccomp")
    # i386 libraries reach it through ipc(2), which systemd leaves alone there.
    if WIDE:
        shared = LIBC.shmget(0, mmap.PAGESIZE, 0o600)  # IPC_PRIVATE
        refused = LIBC.shmat(shared, None, SHM_EXEC) & 0xFFFFFFFF == 0xFFFFFFFF
        LIBC.shmctl(shared, 0, None)
        expect(refused and ctypes.get_errno() == errno.EPERM, "shmat may execute")


def no_memfd() -> None:
    """Be a kernel before 3.17."""
    deny((Rule(MEMFD_CREATE, 0, 0, errno.ENOSYS),))
    expect(not can_make_memfd(), "there is a memfd")


def no_tmpfile() -> None:
    """Be a kernel before 3.11, without memfd too."""
    rules = (
        Rule(MEMFD_CREATE, 0, 0, errno.ENOSYS),
        Rule(OPENAT, 2, O_TMPFILE_BIT, errno.EISDIR),
    )
    deny(rules)
    expect(not can_make_memfd(), "there is a memfd")
    try:
        os.open("/tmp", os.O_TMPFILE | os.O_RDWR, 0o600)
    except IsADirectoryError:
        return
    expect(False, "there is O_TMPFILE")


def can_make_memfd(*, flags: int = 0x1) -> bool:
    handle = LIBC.syscall(MEMFD_CREATE[0 if WIDE else 1], b"test", flags)
    if handle >= 0:
        os.close(handle)
    return bool(handle >= 0)


def own_namespaces() -> None:
    """Take a mount namespace and a process namespace; go on as its first process."""
    uid, gid = os.geteuid(), os.getegid()
    if call("unshare", 0x00020000 | 0x20000000) != 0:  # CLONE_NEWNS, CLONE_NEWPID
        fail_without(call("unshare", 0x10000000 | 0x00020000 | 0x20000000) == 0, "unshare")
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"0 {uid} 1"),
            ("gid_map", f"0 {gid} 1"),
        ):
            Path("/proc/self", name).write_text(text)
    expect(call("mount", b"none", b"/", None, 0x4000 | 0x40000, None) == 0, "private mounts")
    first = os.fork()
    if first:
        _, status = os.waitpid(first, 0)
        sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)


def noexec() -> None:
    """Mount the directories for temporary files noexec, as hardening guides say."""
    # The checkout may lie in one of them, and the Python that goes on from here in the checkout.
    own = str(SOURCES).encode()
    expect(call("mount", own, own, None, 0x1000 | 0x4000, None) == 0, "bind the checkout")
    for directory in TEMPORARY:
        path = directory.encode()
        expect(call("mount", path, path, None, 0x1000 | 0x4000, None) == 0, f"bind {directory}")
        flags = os.statvfs(directory).f_flag & 0x7 | 0x8 | 0x20 | 0x1000
        expect(call("mount", None, path, None, flags, None) == 0, f"remount {directory}")
        handle = os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o600)
        os.write(handle, b"\xc3")
        refused = mapped(READ | EXECUTE, mmap.MAP_PRIVATE, handle) is None
        os.close(handle)
        expect(refused, f"a file of {directory} may be executed")


def memfd_noexec() -> None:
    """Deny executable memfds in this process namespace; the machine's own stays as it was."""
    switch = Path("/proc/sys/vm/memfd_noexec")
    fail_without(switch.exists(), "vm.memfd_noexec, since Linux 6.3")
    try:
        switch.write_text("2")
    except OSError as error:
        fail_without(False, f"vm.memfd_noexec: {error}")
    refused = not can_make_memfd(flags=0x11) and ctypes.get_errno() == errno.EACCES
    expect(refused, "there is an executable memfd")


def cover(directory: str) -> None:
    """Mount an empty directory over this one."""
    if Path(directory).is_dir():
        said = call("mount", b"none", directory.encode(), b"tmpfs", 0, None)
        expect(said == 0 and os.listdir(directory) == [], f"{directory} is still there")


def no_device() -> None:
    cover("/dev/cpu")


def no_proc() -> None:
    cover("/proc")


def no_fork() -> None:
    """Be a user who may start no other process."""
    fail_without(os.geteuid() == 0, "root is needed to be someone else")
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    try:
        child = os.fork()
    except BlockingIOError:
        return
    if child == 0:
        os._exit(0)
    expect(False, "fork works")


def no_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    try:
        os.pipe()
    except OSError:
        return
    expect(False, "files can be opened")


# In this order: filters last, as they deny what the others need.
EARLY = {
    "noexec": noexec,
    "memfd-noexec": memfd_noexec,
    "no-device": no_device,
    "no-proc": no_proc,
    "seccomp": seccomp,
    "mdwe": mdwe,
    "no-memfd": no_memfd,
    "no-tmpfile": no_tmpfile,
}
IN_NAMESPACES = {"noexec", "memfd-noexec", "no-device", "no-proc"}
LATE = {"no-fork": no_fork, "no-files": no_files}


def confine(names: list[str], command: list[str]) -> None:
    if IN_NAMESPACES & set(names):
        own_namespaces()
    for name, take_away in EARLY.items():
        if name in names:
            take_away()
    late = [name for name in names if name in LATE]
    os.execv(command[0], [*command, __file__, "--ask", *late])


def ask(late: list[str]) -> None:
    sys.path.insert(0, str(SOURCES))
    # Only now, as loading must work under the confinement too.
    from applianceforge.cpuid import probe, verdict

    for name in late:
        LATE[name]()
    facts = probe.gather()
    decided = verdict.decide(facts)
    said = {
        "bits": 8 * struct.calcsize("P"),
        "routes": {answer.route: answer.failure for answer in facts.answers},
        "procinfo": facts.procinfo is not None,
        "capability": decided.capability.value,
        "long_mode": decided.long_mode,
        "level": decided.level,
        "environment": decided.environment,
        "hypervisor": decided.hypervisor,
        "evidence": list(decided.evidence),
        "contradictions": list(decided.contradictions),
    }
    os.write(1, json.dumps(said).encode() + b"\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        ask(sys.argv[2:])
    else:
        at = sys.argv.index("--")
        confine(sys.argv[1:at], sys.argv[at + 1 :])

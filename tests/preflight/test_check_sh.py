"""check.sh under real shells: on this machine, and on the files of others."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

import applianceforge
from applianceforge.cpuid import procinfo
from applianceforge.cpuid.facts import Facts as ProcessorFacts
from applianceforge.cpuid.features import FEATURES
from applianceforge.cpuid.machine import gather as gather_machine
from applianceforge.cpuid.registers import Registers
from applianceforge.cpuid.verdict import Capability, decide
from applianceforge.model.errors import DiskFullError
from applianceforge.preflight import dump, gather
from applianceforge.preflight.facts import Disk, Facts, Partition
from tests.cpuid.table import ROWS, Row, hidden, named

SCRIPT = Path(applianceforge.__file__).parent / "preflight" / "check.sh"
SHELLS = {
    "dash": ("dash",),
    "busybox": ("busybox", "sh"),
    "bash": ("bash", "--posix"),
    "bash -u": ("bash", "-u", "-e"),
}
ATOM_N270 = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 28
model name\t: Intel(R) Atom(TM) CPU N270   @ 1.60GHz
stepping\t: 2
cpu MHz\t\t: 800.000
fdiv_bug\t: no
flags\t\t: fpu vme de pse tsc msr pae mce cx8 mtrr pge mca cmov pat clflush dts acpi mmx fxsr sse \
sse2 ss ht tm pbe nx constant_tsc bts aperfmperf pni dtes64 monitor ds_cpl est tm2 ssse3 xtpr pdcm \
movbe lahf_lm dtherm
bogomips\t: 3192.01
address sizes\t: 32 bits physical, 32 bits virtual
power management:

processor\t: 1
vendor_id\t: GenuineIntel
flags\t\t: fpu lm
"""
CALLS = "trace=socket,connect,open,openat,unlink,unlinkat,rename,mkdir"
ARM = (
    "Processor\t: ARMv7 Processor rev 10 (v7l)\nFeatures\t: swp half thumb lm neon\n\nHardware: x\n"
)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    found = SHELLS[request.param]
    if shutil.which(found[0]) is None:
        pytest.skip(f"there is no {found[0]} here")
    return found


def run(
    shell: tuple[str, ...], *arguments: str, path: str | None = None
) -> subprocess.CompletedProcess[bytes]:
    program = shutil.which(shell[0])
    assert program is not None
    return subprocess.run(
        [program, *shell[1:], str(SCRIPT), *arguments],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"] if path is None else path, "LANG": "de_DE.UTF-8"},
        timeout=60,
        check=False,
    )


def read(done: subprocess.CompletedProcess[bytes]) -> Facts:
    return dump.read(done.stdout, "box.dump")


def tree(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def cpuinfo(registers: Registers) -> str:
    """Write what the kernel would, as far as the table has it."""
    extended = registers.extended(0x80000001)
    flags = [
        feature.flag
        for feature in FEATURES
        for found in [extended if feature.leaf > 0x80000000 else registers.leaf(feature.leaf)]
        if feature.flag and found and getattr(found, feature.register) >> feature.bit & 1
    ]
    lines = [
        "processor\t: 0",
        f"vendor_id\t: {registers.vendor}",
        f"cpu family\t: {registers.family}",
        f"model\t\t: {registers.model}",
        f"flags\t\t: {' '.join(['vme', *flags, *['lm'] * bool(registers.long_mode)])}",
        "bogomips\t: 3192.01",
    ]
    if registers.linear_bits:
        lines.append(f"address sizes\t: 36 bits physical, {registers.linear_bits} bits virtual")
    return "\n".join((*lines, "power management:", "", "processor\t: 1", "flags: lm", ""))


def test_this_machine(shell: tuple[str, ...]) -> None:
    done = run(shell)
    facts = read(done)
    text = Path("/proc/cpuinfo").read_text()
    here = gather.gather()
    assert facts.origin == "check.sh"
    assert facts.processor.procinfo == procinfo.decode(text)
    assert facts.processor.machine == gather_machine(Path("/"))
    assert facts.kernel.release == here.kernel.release
    assert facts.kernel.userland_bits == here.kernel.userland_bits
    assert facts.memory_bytes == here.memory_bytes
    assert facts.swap_bytes == here.swap_bytes
    assert facts.uefi_bits == here.uefi_bits
    assert facts.data_mount_point == here.data_mount_point
    assert [disk.name for disk in facts.disks] == [disk.name for disk in here.disks]
    mine = {fs.mount_point: fs for fs in facts.file_systems}
    for fs in here.file_systems:
        if fs.mount_point and fs.device.startswith("/dev/"):
            assert mine[fs.mount_point].size_bytes // 1024 == fs.size_bytes // 1024
            assert mine[fs.mount_point]._replace(size_bytes=0, free_bytes=0) == fs._replace(
                size_bytes=0, free_bytes=0, needs_recovery=None
            )
    listed = " lm " in text.replace("\n", " ")
    assert done.returncode == (0 if listed else 30)
    assert (b"lm is among the flags" in done.stderr) == listed
    assert len(done.stdout) < 4096


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_recorded_processors(row: Row, tmp_path: Path) -> None:
    for registers in (row.registers, hidden(row.registers)):
        text = cpuinfo(registers)
        tree(tmp_path, {"proc/cpuinfo": text})
        done = run(("dash",), str(tmp_path))
        facts = read(done)
        assert facts.processor.procinfo == procinfo.decode(text)
        assert decide(facts.processor) == decide(ProcessorFacts((), procinfo.decode(text)))
        assert done.returncode == (0 if registers.long_mode else 30)
        assert b"lm is" + b" not" * (not registers.long_mode) + b" among" in done.stdout


def test_an_atom_is_not_taken_for_its_second_thread(shell: tuple[str, ...], tmp_path: Path) -> None:
    done = run(shell, str(tree(tmp_path, {"proc/cpuinfo": ATOM_N270})))
    facts = read(done)
    assert facts.processor.procinfo == procinfo.decode(ATOM_N270)
    assert decide(facts.processor).capability is Capability.INCAPABLE
    assert done.returncode == 30
    assert b"lm is not among the flags" in done.stderr
    assert b"--from-dump" in done.stderr


@pytest.mark.parametrize(
    "files",
    [{}, {"proc/cpuinfo": ""}, {"proc/cpuinfo": ARM}, {"proc/cpuinfo/a": ""}, {"sys/a": "b"}],
    ids=["nothing", "empty", "ARM", "a directory", "no proc"],
)
def test_odd_boxes_are_unknown(
    shell: tuple[str, ...], tmp_path: Path, files: dict[str, str | bytes]
) -> None:
    done = run(shell, str(tree(tmp_path, files)))
    verdict = decide(read(done).processor)
    assert (verdict.capability, verdict.long_mode) == (Capability.UNKNOWN, None)
    assert done.returncode == 30
    assert done.stderr == (
        b"the flags of the processor cannot be read here; run applianceforge check"
        b" --from-dump FILE on another machine for the verdict\n"
    )


VMWARE: dict[str, str | bytes] = {
    "proc/cpuinfo": cpuinfo(hidden(named("_Conroe"))),
    "proc/sys/kernel/osrelease": "2.6.32-5-686\n",
    "proc/cmdline": "root=/dev/sda1 password=hush nolm ia32_emulation=on mem=900M * quiet\n",
    "proc/meminfo": "MemTotal:        1034012 kB\nMemFree: 1 kB\nSwapTotal: 12 kB\n",
    "bin/sh": b"\x7fELF\x01\x01\x01" + bytes(50),
    "sys/class/dmi/id/sys_vendor": "VMware, Inc.\n",
    "sys/class/dmi/id/product_name": "VMware Virtual Platform \\ * $(id)\n",
    "sys/class/dmi/id/product_serial": "VMware-56 4d 77\n",
    "sys/firmware/dmi/entries/0-0/raw": bytes((0, 24, 0, 0, 1, 2, 0x91, 0xE7, 3, 0, 0, 0)),
    "sys/block/sda/size": "16777216\n",
    "sys/block/sda/sda1/size": "8192000\n",
    "sys/block/sda/sda1/partition": "1\n",
    "sys/block/sda/sda2/size": "8000000\n",
    "sys/block/sda/sda2/partition": "2\n",
    "sys/block/loop0/size": "8\n",
    "sys/block/sr0/size": "8\n",
    "sys/block/sdb/size": "0\n",
}


def test_another_box_whole(shell: tuple[str, ...], tmp_path: Path) -> None:
    tree(tmp_path, VMWARE)
    labels = tmp_path / "dev/disk/by-label"
    labels.mkdir(parents=True)
    (labels / "my data").symlink_to("../../sda2")
    done = run(shell, str(tmp_path) + "/")
    facts = read(done)
    assert b"hush" not in done.stdout
    assert b"4d 77" not in done.stdout
    assert facts.kernel.release == "2.6.32-5-686"
    assert facts.kernel.userland_bits == 32
    assert facts.kernel.command_line == "nolm ia32_emulation=on mem=900M"
    assert facts.memory_bytes == 1034012 * 1024
    assert facts.uefi_bits == 0
    assert facts.disks == (
        Disk(
            "sda",
            16777216 * 512,
            (Partition("sda1", 8192000 * 512), Partition("sda2", 8000000 * 512, "my data")),
        ),
    )
    assert facts.processor.machine == gather_machine(tmp_path)
    assert facts.processor.machine.product == "VMware Virtual Platform \\ * $(id)"
    verdict = decide(facts.processor)
    assert verdict.capability is Capability.MASKED_BY_HYPERVISOR
    assert verdict.environment == "vm:VMware ESX 3.5"


@pytest.mark.parametrize(
    "files",
    [
        {"proc/xen/capabilities": "control_d\n"},
        {"proc/xen/capabilities": ""},
        {"sys/hypervisor/type": "xen\n"},
        {"sys/hypervisor/type": "xen\n", "sys/hypervisor/guest_type": "PVH\n"},
        {"sys/hypervisor/type": "xen\n", "sys/hypervisor/properties/features": "000002705\n"},
        {"sys/hypervisor/type": "xen\n", "sys/hypervisor/properties/features": "000002701\n"},
        {"sys/hypervisor/type": "xen\n", "sys/hypervisor/properties/features": "00000a705\n"},
        {"sys/hypervisor/type": "xen\n", "sys/hypervisor/properties/features": "none; id\n"},
        {"sys/hypervisor/type": "other\n"},
        {"run/systemd/container": "lxc\n"},
        {"run/host/container-manager": "systemd-nspawn\n"},
        {"run/.containerenv": ""},
        {".dockerenv": ""},
        {"proc/vz/a": ""},
        {"proc/vz/a": "", "proc/bc/a": ""},
        {"proc/1/cgroup": "2:cpu:/lxc/17\n"},
        {"proc/1/cgroup": "2:cpu:/kubepods/docker/1\n"},
        {"proc/1/cgroup": "2:cpu:/\n0::/init.scope\n"},
        {"proc/sys/kernel/osrelease": "4.4.0-19041-Microsoft\n"},
        {"sys/fs/cgroup/cgroup.controllers": "cpu\n", "sys/fs/cgroup/cgroup.events": "x\n"},
    ],
    ids=str,
)
def test_surroundings_as_the_check_itself_sees_them(
    tmp_path: Path, files: dict[str, str | bytes]
) -> None:
    tree(tmp_path, files)
    expected = gather_machine(tmp_path)
    for shell in (("dash",), ("busybox", "sh"), ("bash", "--posix")):
        assert read(run(shell, str(tmp_path))).processor.machine == expected


@pytest.mark.parametrize(
    ("files", "bits"),
    [
        ({"sys/firmware/efi/fw_platform_size": "32\n"}, 32),
        ({"sys/firmware/efi/fw_platform_size": "64\n"}, 64),
        ({"sys/firmware/efi/vars": ""}, None),
        ({"sys/firmware/acpi/a": ""}, 0),
        ({"sys/kernel": ""}, None),
    ],
)
def test_firmware(tmp_path: Path, files: dict[str, str | bytes], bits: int | None) -> None:
    facts = read(run(("dash",), str(tree(tmp_path, files))))
    assert facts.uefi_bits == bits == gather.gather(root=tmp_path).uefi_bits


def test_without_any_program(shell: tuple[str, ...], tmp_path: Path) -> None:
    done = run(shell, path=str(tmp_path))
    facts = read(done)
    assert facts.processor.procinfo == procinfo.decode(Path("/proc/cpuinfo").read_text())
    if shell[0] != "busybox":
        # Debian's busybox finds its own programs without a path.
        missing = {unseen.why for unseen in facts.unseen}
        assert {"df is not there", "od is not there", "readlink is not there"} <= missing
        assert facts.clock is None
        assert "the clock" in {unseen.what for unseen in facts.unseen}
    assert b"not found" not in done.stderr


def test_with_busybox_alone(tmp_path: Path) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("there is no busybox here")
    for name in ("uname", "df", "od", "readlink", "date"):
        (tmp_path / name).symlink_to(busybox)
    alone = read(run(("busybox", "sh"), path=str(tmp_path)))
    usual = read(run(("dash",)))
    assert alone.unseen == usual.unseen
    assert alone.kernel == usual.kernel
    assert alone.disks == usual.disks
    assert [fs.mount_point for fs in alone.file_systems] == [
        fs.mount_point for fs in usual.file_systems
    ]


@pytest.mark.parametrize("arguments", [("-h",), ("--json",), ("/", "/"), ("",)])
def test_wrong_arguments(shell: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    done = run(shell, *arguments)
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.startswith(b"usage: ")
    assert b"ROOT is" in done.stderr


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_root_that_is_no_directory(shell: tuple[str, ...], tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    done = run(shell, str(tmp_path / name))
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == f"check.sh: {tmp_path / name} is no directory\n".encode()


@pytest.mark.parametrize("output", ["> /dev/full", ">&-"])
def test_a_dump_that_cannot_be_written_is_a_failure(shell: tuple[str, ...], output: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$@" {output}', "sh", *shell, str(SCRIPT)],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == DiskFullError.exit_status
    assert done.stderr == b"check.sh: the dump could not be written: is the disk full?\n"


def test_the_sentence_stands_once_on_a_terminal(shell: tuple[str, ...], tmp_path: Path) -> None:
    tree(tmp_path, {"proc/cpuinfo": ATOM_N270})
    ours, theirs = os.openpty()
    child = subprocess.Popen([*shell, str(SCRIPT), str(tmp_path)], stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    # Linux ends a terminal that nobody writes to any more with EIO.
    with contextlib.suppress(OSError):
        while True:
            said += os.read(ours, 65536)
    os.close(ours)
    assert child.wait(60) == 30
    assert said.count(b"lm is not among the flags") == 1


def test_what_it_cannot_see_is_told(shell: tuple[str, ...], tmp_path: Path) -> None:
    before = int(time.time())
    here = read(run(shell))
    there = read(run(shell, str(tmp_path)))
    assert here.clock is not None
    assert here.clock.synchronized is None
    assert before <= here.clock.now_s <= time.time() + 1
    assert there.clock is None
    for facts in (here, there):
        assert {
            "the answers of CPUID",
            "the boot loader and the boot environment",
            "cluster partners",
            "file systems that are not mounted",
        } <= {unseen.what for unseen in facts.unseen}


def test_any_user_may_run_it(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user")
    script = tempfile.gettempdir() + f"/check-{os.getpid()}.sh"
    shutil.copyfile(SCRIPT, script)
    try:
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--clear-groups", "dash", script],
            capture_output=True,
            check=False,
            cwd="/",
        )
    finally:
        Path(script).unlink()
    assert read(done).processor.procinfo is not None
    assert done.stderr.count(b"\n") == 1


def test_nothing_is_written_and_no_socket_opened(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("there is no strace here")
    trace = tmp_path / "trace"
    subprocess.run(
        ["strace", "-f", "-o", str(trace), "-e", CALLS, "dash", str(SCRIPT)],
        capture_output=True,
        check=False,
    )
    lines = trace.read_text().splitlines()
    assert any("/proc/cpuinfo" in line for line in lines)
    for line in lines:
        assert not any(
            call in line for call in ("socket(", "connect(", "unlink", "rename(", "mkdir")
        )
        assert "O_WRONLY" not in line or "/dev/null" in line
        assert "O_RDWR" not in line


def test_shellcheck_is_content() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("there is no shellcheck here")
    done = subprocess.run(
        ["shellcheck", "-s", "sh", "-o", "all", "-e", "SC2250,SC2310,SC2312,SC2249", str(SCRIPT)],
        capture_output=True,
        check=False,
    )
    assert done.stdout.decode() == ""

"""The gathering: on this very machine as two users, and on roots of machines of several ages."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from applianceforge.cpuid import facts as cpuid
from applianceforge.formats.envblock import BLOCK_BYTES
from applianceforge.imaging import grub as imaging
from applianceforge.preflight.facts import Facts, FileSystem
from applianceforge.preflight.gather import gather
from applianceforge.system.effects import Effects
from tests.formats.test_grub import FILES, install
from tests.preflight import trees

ROOT = Path(__file__).parent.parent.parent
NOBODY = 65534


def system(facts: Facts, device: str) -> FileSystem:
    (found,) = (one for one in facts.file_systems if one.device == device)
    return found


def test_this_machine() -> None:
    facts = gather()
    assert facts.kernel.release == os.uname().release
    assert facts.kernel.userland_bits in (32, 64)
    assert facts.memory_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert facts.memory_available_bytes is not None
    assert 0 < facts.memory_available_bytes <= facts.memory_bytes
    assert facts.clock is not None
    assert facts.clock.synchronized in (True, False, None)
    assert facts.data_mount_point
    space = shutil.disk_usage(facts.data_mount_point)
    (data,) = (s for s in facts.file_systems if s.mount_point == facts.data_mount_point)
    assert data.size_bytes == space.total
    assert facts.partners == ()


_AS_USER = """
import json, os, pathlib, sys
from applianceforge.preflight.gather import gather
user = int(sys.argv[1])
seen = []
def watch(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn",
                         "os.remove", "os.rename", "os.mkdir", "os.system")):
        seen.append(event)
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & 3:
        seen.append(f"open for writing: {arguments[0]}")
sys.addaudithook(watch)
if user:
    os.setgroups([]); os.setgid(user); os.setuid(user)
root = pathlib.Path(sys.argv[2])
facts = gather(root)
print(json.dumps({"memory": facts.memory_bytes, "kernel": facts.kernel.release,
    "systems": [s.mount_point for s in facts.file_systems], "bits": facts.kernel.userland_bits,
    "unseen": facts.unseen, "seen": seen, "partners": facts.partners,
    "loader": facts.boot_loader and facts.boot_loader.untouched,
    "labels": [p.label for d in facts.disks for p in d.partitions]}))
"""


def gather_as(user: int, directory: Path, root: Path = Path("/")) -> dict[str, Any]:
    """Gather in a process of another user, and watch what it does."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    # The checkout may be closed to nobody, so the package comes along.
    shutil.copytree(ROOT / "applianceforge", directory / "package" / "applianceforge")
    for parent in (directory, *directory.parents):
        if "pytest" in str(parent):
            parent.chmod(0o755)
    code = f"import sys; sys.path.insert(0, {str(directory / 'package')!r})\n{_AS_USER}"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(user), str(root)],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    told = json.loads(done.stdout)
    assert isinstance(told, dict)
    return told


@pytest.mark.parametrize("user", [0, NOBODY])
def test_as_root_and_as_nobody_it_reads_only(user: int, tmp_path: Path) -> None:
    told = gather_as(user, tmp_path)
    mine = gather()
    assert told["seen"] == []
    assert told["memory"] == mine.memory_bytes
    assert told["kernel"] == mine.kernel.release
    assert told["bits"] == mine.kernel.userland_bits
    mounted = [one.mount_point for one in mine.file_systems if one.mount_point]
    assert [one for one in told["systems"] if one] == mounted
    if user == 0:
        assert told["unseen"] == [list(one) for one in mine.unseen]


@pytest.mark.parametrize("user", [0, NOBODY])
def test_what_only_root_can_see_is_told(user: int, tmp_path: Path) -> None:
    data = "var/lib/postgresql/15/main"
    root = trees.appliance(tmp_path / "root", b"#" * BLOCK_BYTES)
    trees.grow(
        root,
        {
            "boot/grub/i386-pc/boot.img": bytes(512),
            "boot/grub/i386-pc/core.img": bytes(2048),
            "dev/sda": bytes(4096),
            "dev/sda2": trees.xfs_superblock(b"slot"),
            f"{data}/PG_VERSION": "15",
            f"{data}/standby.signal": "",
        },
    )
    for name in ("dev/sda", "dev/sda2", data):
        (root / name).chmod(0)
    told = gather_as(user, tmp_path, root)
    assert told["seen"] == []
    if user == 0:
        assert told["unseen"] == []
        assert told["loader"] is False
        assert told["labels"] == ["boot", "slot", "", "data"]
        assert [one[0] for one in told["partners"]] == ["postgresql-standby"]
    else:
        assert told["loader"] is None
        assert told["labels"] == ["boot", "", "", "data"]
        assert told["partners"] == []
        assert [(what, who) for what, _, who in told["unseen"]] == [
            ("errors and unclean logs of file systems, labels of partitions", "root"),
            ("the boot loader", "root"),
            ("what PostgreSQL replicates", "root"),
        ]


def test_an_empty_root_is_unknown_and_no_error(tmp_path: Path) -> None:
    facts = gather(tmp_path)
    assert facts == Facts(processor=cpuid.Facts(()))


def test_debian_7(tmp_path: Path) -> None:
    facts = gather(trees.debian_7(tmp_path))
    assert facts.kernel.release == "3.2.0-4-686-pae"
    assert facts.kernel.userland_bits == 32
    assert facts.memory_bytes == 1031084 * 1024
    assert facts.memory_available_bytes is None
    assert facts.swap_bytes == 392188 * 1024
    assert facts.uefi_bits == 0
    assert facts.clock is None
    assert [(one.mount_point, one.kind) for one in facts.file_systems] == [("/", "ext3")]
    assert facts.file_systems[0].errors is None
    assert facts.file_systems[0].needs_recovery is None
    assert [disk.name for disk in facts.disks] == ["sda"]
    assert [p.size_bytes for p in facts.disks[0].partitions] == [15990784 * 512, 784384 * 512]
    assert facts.boot_loader is None
    assert facts.boot_environments == ()
    assert facts.data_mount_point == "/"
    assert facts.unseen == ()


def test_debian_12_with_a_64_bit_kernel(tmp_path: Path) -> None:
    facts = gather(trees.debian_12_on_uefi(tmp_path))
    assert facts.kernel.machine == "x86_64"
    assert facts.kernel.userland_bits == 32
    assert facts.uefi_bits == 64
    assert [one.mount_point for one in facts.file_systems] == ["/", "/boot/efi", "/data"]
    assert system(facts, "/dev/nvme0n1p2").errors == 3
    assert system(facts, "/dev/mapper/vg-data").read_only
    assert facts.data_mount_point == "/data"
    labels = [partition.label for partition in facts.disks[0].partitions]
    assert labels == ["EFI System", ""]


def test_an_empty_firmware_directory_says_nothing(tmp_path: Path) -> None:
    trees.grow(tmp_path, {"/sys/firmware/": ""})
    assert gather(tmp_path).uefi_bits is None


def test_an_old_kernel_does_not_tell_the_width_of_uefi(tmp_path: Path) -> None:
    trees.grow(tmp_path, {"/sys/firmware/efi/systab": "x"})
    assert gather(tmp_path).uefi_bits is None


def test_the_data_may_be_named(tmp_path: Path) -> None:
    root = trees.debian_12_on_uefi(tmp_path)
    trees.grow(root, {"/srv": "-> data/deep", "/data/deep/": ""})
    assert gather(root, data=Path("/srv/x")).data_mount_point == "/data"
    assert gather(root, data=Path("/boot/efi/../x")).data_mount_point == "/"


_WATCHED: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def watch() -> None:
    """Take down what is opened; there is no way to take an audit hook away again."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in ("open", "os.listdir", "os.scandir") and len(_WATCHED) < 10_000:
            _WATCHED.append(str(arguments[0]))

    sys.addaudithook(hook)


@pytest.mark.parametrize("data", ["/home/x", "/home", "/way", "/mnt/my ssh/x"])
def test_nothing_on_a_network_is_touched(tmp_path: Path, data: str) -> None:
    root = trees.debian_12_on_uefi(tmp_path)
    trees.grow(root, {"/home/x/postgresql/PG_VERSION": "15", "/way": "-> /home/x"})
    _WATCHED.clear()
    facts = gather(root, data=Path(data))
    seen = list(_WATCHED)
    assert any(str(root) in name for name in seen)
    assert not [name for name in seen if name.startswith((f"{root}/home", f"{root}/mnt"))]
    assert facts.data_mount_point == ""
    assert [one.what for one in facts.unseen] == ["free space for the data"]


def test_a_pipe_and_a_loop_of_links_do_not_hold_it_up(tmp_path: Path) -> None:
    trees.grow(tmp_path, {"/proc/": "", "/sbin/init": "-> /sbin/init", "/bin/sh": trees.ELF_64})
    os.mkfifo(tmp_path / "proc" / "meminfo")
    facts = gather(tmp_path)
    assert facts.memory_bytes is None
    assert facts.kernel.userland_bits == 64


def test_values_that_are_no_numbers(tmp_path: Path) -> None:
    trees.grow(
        tmp_path,
        {
            "/proc/meminfo": "MemTotal: many kB\nMemAvailable\n\xff",
            "/proc/self/mountinfo": "nonsense\n\n20 1 8:1 / / rw - ext4 /dev/sda1\n - \n",
            "/sys/block/sda/size": "-5\n",
            "/sys/block/sda/sda1/partition": "one\n",
            "/sys/firmware/efi/fw_platform_size": "wide\n",
        },
    )
    facts = gather(tmp_path)
    assert facts.memory_bytes is None
    assert facts.uefi_bits is None
    assert facts.disks[0].size_bytes == 0
    assert facts.file_systems == ()


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=300))
def test_anything_in_the_files_is_survived(one: bytes, other: bytes, third: bytes) -> None:
    with TemporaryDirectory() as directory:
        root = trees.grow(
            Path(directory),
            {
                "/proc/self/mountinfo": b"20 1 8:1 / /"
                + one
                + b" rw - ext4 /dev/sda1 rw\n"
                + other,
                "/proc/meminfo": b"MemTotal: " + other + b"\n" + third,
                "/sys/firmware/efi/fw_platform_size": third,
                "/dev/sda1": one.ljust(0x438, b"\0") + b"\x53\xef" + other.ljust(4096, b"\0"),
                "/dev/sda2": b"XFSB" + one.ljust(600, b"\1"),
                "/etc/redis/redis.conf": other,
                "/var/lib/postgresql/15/main/PG_VERSION": "15",
                "/var/lib/postgresql/15/main/postgresql.conf": b"primary_conninfo = " + one,
                "/var/lib/postgresql/15/main/standby.signal": "",
                "/etc/postgresql/15/main/pg_hba.conf": b"host replication " + third,
                **trees.block("sda", 100, 10, 10),
            },
        )
        assert gather(root, data=Path("/x\0y")).disks[0].name == "sda"


def ext4(path: Path, *features: str, label: str = "") -> bytes:
    path.write_bytes(bytes(4 << 20))
    subprocess.run(["mkfs.ext4", "-q", "-F", "-L", label, str(path)], check=True)
    for feature in features:
        # The write also clears the mark when debugfs closes it, so it comes last.
        subprocess.run(["debugfs", "-w", "-R", feature, str(path)], check=True, capture_output=True)
    return path.read_bytes()


@pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="e2fsprogs is not installed")
def test_unmounted_file_systems_tell_whether_they_need_recovery(tmp_path: Path) -> None:
    made = tmp_path / "made"
    clean = ext4(made, label="clean")
    dirty = ext4(made, "feature needs_recovery", label="dirty")
    broken = ext4(made, "ssv error_count 7", "ssv state 2", label="broken")
    root = trees.grow(
        tmp_path / "root",
        {
            "/proc/self/mountinfo": trees.mountinfo("/dev/sda1 / ext4 rw 0 0\n"),
            **trees.block("sda", 100000, 8192, 8192, 8192, 8192, 8192, 8192),
            "/dev/sda1": dirty,
            "/dev/sda2": clean,
            "/dev/sda3": dirty,
            "/dev/sda4": broken,
            "/dev/sda5": trees.xfs_superblock(b"old"),
            "/dev/sda6": b"nothing that is known",
        },
    )
    facts = gather(root)
    recovery = {one.device: one.needs_recovery for one in facts.file_systems}
    assert recovery == {
        "/dev/sda1": None,  # mounted, so the mark says nothing
        "/dev/sda2": False,
        "/dev/sda3": True,
        "/dev/sda4": False,
        "/dev/sda5": None,
    }
    assert system(facts, "/dev/sda1").errors == 0
    assert system(facts, "/dev/sda4").errors == 7
    assert system(facts, "/dev/sda5").size_bytes == 4096 * 1000
    labels = [partition.label for partition in facts.disks[0].partitions]
    assert labels == ["dirty", "clean", "dirty", "broken", "old", ""]
    inside = cpuid.Facts((), machine=cpuid.Machine(container="lxc"))
    assert [one.device for one in gather(root, inside).file_systems] == ["/dev/sda1"]


@pytest.mark.skipif(not (FILES / "boot.img").exists(), reason="grub-pc-bin is not installed")
def test_grub_on_the_boot_disk(tmp_path: Path) -> None:
    core = tmp_path / "core.img"
    subprocess.run(
        ["grub-mkimage", "-O", "i386-pc", "-p", "/grub", "-o", str(core), "biosdisk", "ext2"],
        check=True,
    )
    boot_img, core_img = (FILES / "boot.img").read_bytes(), core.read_bytes()
    root = trees.appliance(tmp_path / "root", b"#" * BLOCK_BYTES)
    disk = install(boot_img, core_img)
    trees.grow(
        root,
        {
            "/boot/grub/i386-pc/boot.img": boot_img,
            "/boot/grub/i386-pc/core.img": core_img,
            "/dev/sda": disk,
        },
    )
    loader = gather(root).boot_loader
    assert loader is not None
    assert (loader.device, loader.untouched) == ("sda", True)
    changed = bytearray(disk)
    changed[3000] ^= 1
    (root / "dev/sda").write_bytes(changed)
    loader = gather(root).boot_loader
    assert loader is not None
    assert loader.untouched is False
    assert loader.evidence == ("the core image differs from GRUB's file at byte 9B8h",)
    (root / "dev/sda").unlink()
    loader = gather(root).boot_loader
    assert loader is not None
    assert loader.untouched is None


@pytest.mark.skipif(not (FILES / "boot.img").exists(), reason="grub-pc-bin is not installed")
def test_the_boot_partition_of_an_appliance_of_ours(tmp_path: Path) -> None:
    image = imaging.core_image(Effects())
    files = imaging.boot_files(0x11223344, image)
    placed = imaging.install(image)
    root = trees.appliance(tmp_path / "root", b"another")
    disk = placed.code.ljust(510, b"\0") + b"\x55\xaa" + placed.gap
    trees.grow(root, {f"/boot/loader/{name}": content for name, content in files.items()})
    trees.grow(root, {"/dev/sda": disk.ljust(1 << 20, b"\0")})
    facts = gather(root)
    assert facts.boot_environments == (files["env1"], files["env2"])
    assert facts.boot_loader is not None
    assert facts.boot_loader.untouched is True
    assert "as in /boot/loader" in facts.boot_loader.evidence[0]


def test_the_boot_environment(tmp_path: Path) -> None:
    root = trees.appliance(tmp_path, b"one")
    assert gather(root).boot_environments == (b"one", b"one")
    (root / "boot/grub/env2").unlink()
    assert gather(root).boot_environments == (b"one", b"")
    (root / "boot/grub/env1").write_bytes(b"#" * 5000)
    assert gather(root).boot_environments == (b"#" * (BLOCK_BYTES + 1), b"")
    (root / "boot/grub/env1").unlink()
    assert gather(root).boot_environments == ()


_LOOK = """
import sys
from pathlib import Path
from applianceforge.preflight.gather import gather
place = Path(sys.argv[1])
found = [one for one in gather(data=place).file_systems if one.mount_point == str(place)]
print([one.read_only for one in found])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount")
@pytest.mark.parametrize(
    ("mounting", "read_only"),
    [
        # As systemd does it to a service, with ProtectSystem=strict and ReadWritePaths=PLACE/own.
        ("mount -o remount,bind,ro $0", False),
        ("mount --bind $0/own $0/own; mount -o remount,bind,ro $0", False),
        # As the kernel does it after an error.
        ("mount -o remount,ro $0", True),
        ("true", False),
    ],
)
def test_a_service_that_sees_data_as_read_only_does_not_take_it_for_an_error(
    tmp_path: Path, mounting: str, read_only: bool
) -> None:
    place = tmp_path / "data"
    place.mkdir()
    image = tmp_path / "image"
    image.write_bytes(bytes(8 << 20))
    subprocess.run(["mke2fs", "-q", "-F", str(image)], check=True)
    script = (
        f'mount -o loop "$1" "$0"; mkdir "$0/own"; {mounting}; "$2" -c "$3" "$0"; umount -R "$0"'
    )
    words = ["unshare", "--mount", "sh", "-c", script.replace("$0;", '"$0";')]
    words += [str(place), str(image), sys.executable, _LOOK]
    said = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    if "failed to setup loop device" in said.stderr:
        pytest.skip("needs a loop device")
    assert said.stdout.splitlines() == [str([read_only])], said.stderr

"""Boots of the three images: on processors with and without long mode, on each bus of a disk.

Each is a whole appliance under the real boot loader. What it must do is the same everywhere: its
services come up, the database answers, statistics are written, and what is its own is made once.

    python -m tests.vm.boots CASE...      one or more of CASES; by default all
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from applianceforge.formats import mbr
from tests.vm.crossing import images
from tests.vm.hardware import Bus, Disk, Hardware, Kernel
from tests.vm.machine import Machine

Tell = Callable[[str], None]
_DISK_BYTES = 6 << 30
_MEMORY_MIB = 512
_CORES = 2
_UP_S = 900.0
_SERVICES = ("forge-postgresql.service", "forge-statistics.service", "ssh.service")
_SETTINGS = "SELECT count(*) FROM config.setting"


@dataclass(frozen=True)
class Boot:
    """One image on one machine."""

    image: str
    processor: str
    bus: Bus

    @property
    def name(self) -> str:
        """Return what the command line calls it."""
        return f"{self.image}-{self.processor}-{self.bus.value}"

    @property
    def architecture(self) -> str:
        """Return whose data it keeps."""
        return "i386" if self.image == "legacy" else "amd64"


BOOTS = (
    Boot("legacy", "coreduo", Bus.IDE),
    Boot("legacy", "pentium3", Bus.IDE),
    Boot("current", "qemu64", Bus.IDE),
    Boot("current", "qemu64", Bus.AHCI),
    Boot("current", "qemu64", Bus.VIRTIO),
)


def _machine(boot: Boot, *, watch: bool = True) -> Machine:
    disk = Disk(images(boot.image)[boot.image].raw, bus=boot.bus, size_bytes=_DISK_BYTES)
    hardware = Hardware((disk,), boot.processor, _MEMORY_MIB, _CORES, network="e1000")
    return Machine(hardware, name=boot.name, watch=watch)


def tell_boot(boot: Boot, say: Tell) -> list[str]:
    """Boot an image twice, and hold it against all that an appliance must be."""
    with _machine(boot) as box:
        began_s = time.monotonic()
        box.start()
        _wait(box)
        say(f"{boot.name}: first boot, {_startup(box)}")
        say(f"{boot.name}: from power on to there {time.monotonic() - began_s:.0f} s")
        say(_longest(box))
        _hold_system(box, boot)
        own = _own(box)
        _hold_statistics(box, boot)
        box.reboot(timeout_s=_UP_S)
        _wait(box)
        say(f"{boot.name}: later boot, {_startup(box)}")
        say(_longest(box))
        _hold_system(box, boot)
        assert _own(box) == own, "the machine's number or keys changed with a reboot"
        assert box.succeed("cat /etc/machine-id") == own[0]
    return []


def _wait(box: Machine) -> None:
    """Wait for the services without a question on the way, which would cost the start seconds."""
    box.wait_for_agent(timeout_s=_UP_S)
    assert box.run("systemctl is-system-running --wait", timeout_s=_UP_S).stdout == b"running\n"
    for unit in _SERVICES:
        box.wait_for_unit(unit, timeout_s=_UP_S)


def _startup(box: Machine) -> str:
    return box.succeed("systemd-analyze | head -1").strip()


def _longest(box: Machine) -> str:
    """Return where the seconds went: the units that took longest, which overlap."""
    return box.succeed("systemd-analyze blame --no-pager | head -12").rstrip()


def _hold_system(box: Machine, boot: Boot) -> None:
    assert box.succeed("systemctl --failed --quiet --plain") == ""
    # sshd shows /etc/motd alone, and nothing here takes nologin away.
    assert box.succeed("readlink -m /etc/motd") == "/run/motd.d/forge\n"
    box.fail("test -e /run/nologin")
    machine = box.succeed("uname -m").strip()
    assert (machine == "x86_64") == (boot.architecture == "amd64"), machine
    # The slot is read-only, and refuses to be anything else by accident.
    assert "ro" in box.succeed("findmnt -no OPTIONS /").strip().split(",")
    box.fail("touch /etc/written")
    box.succeed("touch /var/lib/written /tmp/written && rm /var/lib/written /tmp/written")
    for place, kind in (("/data", "ext4"), ("/boot/loader", "ext2")):
        assert box.succeed(f"findmnt -no FSTYPE {place}").strip() == kind
    # Grown to the end of a disk that is larger than the image.
    disk = "/dev/$(lsblk -no PKNAME $(findmnt -no SOURCE /data))"
    end = box.succeed(
        f"d={disk}; p=$(basename $(findmnt -no SOURCE /data));"
        " echo $(($(cat /sys/class/block/$p/start) + $(cat /sys/class/block/$p/size)))"
        " $(blockdev --getsz $d)"
    ).split()
    assert end == [str(_DISK_BYTES // 512)] * 2, end
    size, room = map(
        int, box.succeed("findmnt -bno SIZE /data; df -B1 --output=avail /data|tail -1").split()
    )
    assert size > 3 << 30 and room > 3 << 30, (size, room)
    # A watchdog runs, and systemd feeds it.
    assert box.succeed("cat /sys/class/watchdog/watchdog0/state").strip() == "active"
    assert box.succeed("systemctl show --value -p RuntimeWatchdogUSec").strip() == "1min"
    assert int(_psql(box, _SETTINGS)) >= 10
    assert box.succeed("cat /data/forge/epoch").strip() == boot.architecture
    assert box.succeed(f"stat -c %U:%a /data/{boot.architecture}/postgresql").strip() == (
        "postgres:700"
    )


def _psql(box: Machine, question: str) -> str:
    return box.succeed(f'psql -h /run/postgresql -U postgres -d gateway -AtXc "{question}"').strip()


def _own(box: Machine) -> tuple[str, str]:
    number = box.succeed("cat /data/config/machine-id")
    assert len(number.strip()) == 32
    assert box.succeed("stat -c %a /data/config/ssh/ssh_host_ed25519_key").strip() == "600"
    # What the world is shown is what lies on the data partition.
    shown = box.succeed("ssh-keyscan -t ed25519 127.0.0.1 2>/dev/null").split()[-1]
    kept = box.succeed("cut -d' ' -f2 /data/config/ssh/ssh_host_ed25519_key.pub").strip()
    assert shown == kept
    return number, kept


def _hold_statistics(box: Machine, boot: Boot) -> None:
    """Rows that come in are counted, and the counting goes on."""
    place = f"/data/{boot.architecture}/rrd"
    last = f"rrdtool last {place}/mail.rrd"
    first = int(box.succeed(last))
    _psql(box, "INSERT INTO quarantine.item (held_at) SELECT now() FROM generate_series(1, 100)")
    box.wait_until_succeeds(f'[ "$({last})" -gt {first} ]', timeout_s=300)
    held = f"rrdtool lastupdate {place}/mail.rrd | awk 'END {{ print $NF }}'"
    box.wait_until_succeeds(f'[ "$({held})" -ge 100 ]', timeout_s=300)
    for name in ("load", "memory", "network"):
        values = box.succeed(f"rrdtool lastupdate {place}/{name}.rrd").split()
        assert "U" not in values, (name, values)


# What starts instead of systemd, with how it must end. A machine without reboots ends instead.
_BROKEN = {
    "hang": ("init=/bin/cat forge.watchdog=40", "softdog: Initiating system reboot"),
    "killed-init": ("init=/bin/true", "Attempted to kill init"),
    "no-init": ("init=/nowhere", "Attempted to kill init"),
    "no-slot": ("root=PARTUUID=0badcafe-02", "no disk has the partition 0badcafe-02"),
    "no-root": ("root=", "the command line names no slot"),
}


def tell_broken(name: str, say: Tell) -> list[str]:
    """Start the legacy kernel into what can never become a system: the machine starts again."""
    arguments, sign = _BROKEN[name]
    with tempfile.TemporaryDirectory(prefix="vm-boots-") as place:
        box = _direct(Path(place), arguments)
        with box:
            began = time.monotonic()
            box.start()
            box.wait_for_end(timeout_s=_UP_S)
            assert re.search(sign, box.console.text()), box.console.text()[-2000:]
            say(f"{name}: started again after {time.monotonic() - began:.0f} s")
    return []


def tell_panic(say: Tell) -> list[str]:
    """Let the kernel of a running appliance panic: the boot loader has its turn again."""
    with _machine(BOOTS[0], watch=False) as box:
        box.start()
        before = box.wait_for_agent(timeout_s=_UP_S)
        box.succeed("(sleep 1; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 </dev/null &")
        box.wait_for_console_text("Kernel panic", timeout_s=120)
        box.wait_for_agent(timeout_s=_UP_S, after=before)
        say("panic: a new boot")
    return []


def _direct(place: Path, arguments: str) -> Machine:
    """Make a machine whose kernel and initial RAM disk QEMU starts itself, beside the real disk."""
    built = images("legacy")["legacy"]
    signature = mbr.decode(_first_sector(built.raw)).signature
    listed = _debugfs(built.slot, "ls -p /boot")
    kernel = next(name for name in listed.split("/") if name.startswith("vmlinuz-"))
    for name, source in (("kernel", f"/boot/{kernel}"), ("initrd", "/boot/initrd.img")):
        _debugfs(built.slot, f"dump {source} {place / name}")
    if "root=" not in arguments:
        arguments = f"root=PARTUUID={signature:08x}-02 {arguments}"
    started = Kernel(
        place / "kernel", place / "initrd", f"console=ttyS0 ro forge.slot=a panic=5 {arguments}"
    )
    hardware = Hardware(
        (Disk(built.raw),), "coreduo", _MEMORY_MIB, kernel=started, channel=False, reboots=False
    )
    return Machine(hardware, name="direct", watch=False)


def _first_sector(image: Path) -> bytes:
    with image.open("rb") as stream:
        return stream.read(mbr.SECTOR_BYTES)


def _debugfs(image: Path, request: str) -> str:
    words = ["/usr/sbin/debugfs", "-R", request, str(image)]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


CASES: dict[str, Callable[[Tell], list[str]]] = {
    **{boot.name: partial(tell_boot, boot) for boot in BOOTS},
    "panic": tell_panic,
    **{name: partial(tell_broken, name) for name in _BROKEN},
}


def run(names: Sequence[str] = (), say: Tell = print) -> list[str]:
    """Run cases; return what is wrong.

    Args:
        names: Of cases; by default all.
        say: Takes lines, as they come.

    Raises:
        ValueError: There is no such case; says which there are.
    """
    unknown = [name for name in names if name not in CASES]
    if unknown:
        raise ValueError(f"there is no {unknown[0]}; known are {', '.join(CASES)}")
    problems = []
    for name in names or tuple(CASES):
        try:
            problems += CASES[name](say)
        except AssertionError as error:
            problems.append(f"{name}: {error}")
            say(problems[-1])
    return problems


if __name__ == "__main__":
    sys.exit(bool(run(sys.argv[1:], lambda line: print(line, flush=True))))

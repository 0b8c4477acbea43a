"""Take out of a root directory what differs from build to build, or is of the build machine.

Each function takes the directory and changes it; doing it twice is the same as doing it once.
"""

import os
import re
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

_DAY_S = 86400

# What the build machine or chance put there, before the overlays may bring their own.
_OF_THE_MACHINE = (
    "etc/hostname",
    "etc/resolv.conf",
    "etc/ssh/ssh_host_*",
    "etc/ssl/certs/ssl-cert-snakeoil.pem",
    "etc/ssl/private/ssl-cert-snakeoil.key",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/urandom/random-seed",
    "var/lib/systemd/credential.secret",
)
# What was only of use while packages were installed.
_OF_THE_WORK = (
    "dev/*",
    "proc/*",
    "sys/*",
    "run/*",
    "tmp/*",
    "var/tmp/*",
    "etc/.pwd.lock",
    "etc/*-",
    "vmlinuz",
    "vmlinuz.old",
    "initrd.img",
    "initrd.img.old",
    "boot/initrd.img-*",
    "root/.bash_history",
    "var/cache/apt/*",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/*",
    "var/cache/man/*",
    "var/lib/apt/lists/*",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/lock*",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/initramfs-tools/*",
)
_LOGS = "var/log"
_DEBCONF = "var/cache/debconf/config.dat"
# A maintainer script's temporary file, which debconf remembers.
_TEMPORARY = re.compile(rb"/tmp/[^\s]*")
_SHADOW = ("etc/shadow",)
_CHANGED_FIELD = 2
_MACHINE_ID = "etc/machine-id"


def matches(root: Path, glob: str) -> tuple[Path, ...]:
    """Return what matches below a root directory, though not what a link out of it leads to."""
    name = glob.strip("/")
    if not set(name) & set("*?["):
        # A link to what is removed already is there all the same.
        found = [root / name] if os.path.lexists(root / name) else []
    else:
        found = list(root.glob(name))
    return tuple(path for path in found if _lies_within(root, path))


def remove(root: Path, globs: Iterable[str]) -> tuple[str, ...]:
    """Remove what matches below a root directory, and return which of the globs matched nothing."""
    idle = []
    for glob in globs:
        found = matches(root, glob)
        for path in found:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if not found:
            idle.append(glob)
    return tuple(idle)


def _lies_within(root: Path, path: Path) -> bool:
    return path.parent.resolve().is_relative_to(root.resolve())


def forget_machine(root: Path) -> None:
    """Remove names, keys and seeds; the machine's number becomes an empty file, as systemd asks."""
    dead = [path for path in (root / "etc/ssl/certs").glob("*") if _leads_to_snakeoil(path)]
    remove(root, _OF_THE_MACHINE)
    for path in dead:
        path.unlink(missing_ok=True)
    machine_id = root / _MACHINE_ID
    if machine_id.is_file() and not machine_id.is_symlink():
        machine_id.write_bytes(b"")


def _leads_to_snakeoil(path: Path) -> bool:
    return path.is_symlink() and "ssl-cert-snakeoil" in str(path.readlink())


def forget_work(root: Path) -> None:
    """Remove caches, locks, backups, logs and temporary files."""
    remove(root, _OF_THE_WORK)
    for base, _, names in os.walk(root / _LOGS):
        for name in names:
            (Path(base) / name).unlink()
    debconf = root / _DEBCONF
    if debconf.is_file():
        debconf.write_bytes(_TEMPORARY.sub(b"/tmp/", debconf.read_bytes()))


def settle_passwords(root: Path, epoch_s: int) -> None:
    """Let every password have been changed on the day of the image."""
    for name in _SHADOW:
        path = root / name
        if not path.is_file():
            continue
        lines = []
        for line in path.read_text().splitlines():
            fields = line.split(":")
            if len(fields) > _CHANGED_FIELD and fields[_CHANGED_FIELD]:
                fields[_CHANGED_FIELD] = str(epoch_s // _DAY_S)
            lines.append(":".join(fields))
        path.write_text("\n".join(lines) + "\n")


def clamp_times(root: Path, epoch_s: int) -> None:
    """Let nothing be newer than the image."""
    for base, directories, names in os.walk(root, topdown=False):
        for name in directories + names:
            _clamp(Path(base) / name, epoch_s)
    _clamp(root, epoch_s)


def _clamp(path: Path, epoch_s: int) -> None:
    status = path.lstat()
    if status.st_mtime_ns > epoch_s * 10**9 or status.st_mtime_ns % 10**9:
        when_ns = min(int(status.st_mtime), epoch_s) * 10**9
        os.utime(path, ns=(when_ns, when_ns), follow_symlinks=False)


def sockets_and_pipes(root: Path) -> tuple[str, ...]:
    """Return what no image should hold: sockets, pipes and devices, by their paths."""
    return tuple(
        str((Path(base) / name).relative_to(root))
        for base, _, names in os.walk(root)
        for name in names
        if stat.S_IFMT((Path(base) / name).lstat().st_mode)
        not in (stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR)
    )

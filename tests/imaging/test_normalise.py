import os
import socket
from pathlib import Path

import pytest

from applianceforge.imaging import normalise

EPOCH_S = 1_700_000_000


def put(root: Path, name: str, text: str = "x") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "etc/hostname",
        "etc/resolv.conf",
        "etc/ssh/ssh_host_rsa_key",
        "etc/ssh/ssh_host_ed25519_key.pub",
        "etc/ssl/certs/ssl-cert-snakeoil.pem",
        "etc/ssl/private/ssl-cert-snakeoil.key",
        "var/lib/dbus/machine-id",
        "var/lib/systemd/random-seed",
    ],
)
def test_names_keys_and_seeds_go(tmp_path: Path, name: str) -> None:
    path = put(tmp_path, name)
    beside = put(tmp_path, "etc/ssh/sshd_config")
    normalise.forget_machine(tmp_path)
    assert not path.exists()
    assert beside.exists()


def test_a_link_to_a_certificate_that_goes_goes_too(tmp_path: Path) -> None:
    put(tmp_path, "etc/ssl/certs/ssl-cert-snakeoil.pem")
    link = tmp_path / "etc/ssl/certs/12345678.0"
    link.symlink_to("ssl-cert-snakeoil.pem")
    other = tmp_path / "etc/ssl/certs/87654321.0"
    other.symlink_to("real.pem")
    normalise.forget_machine(tmp_path)
    assert not link.is_symlink()
    assert other.is_symlink()


def test_the_number_of_the_machine_becomes_an_empty_file(tmp_path: Path) -> None:
    path = put(tmp_path, "etc/machine-id", "0123\n")
    normalise.forget_machine(tmp_path)
    assert path.read_bytes() == b""


def test_a_link_to_the_number_of_the_machine_stays(tmp_path: Path) -> None:
    target = put(tmp_path, "data/machine-id", "0123\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").symlink_to("../data/machine-id")
    normalise.forget_machine(tmp_path)
    assert target.read_text() == "0123\n"


@pytest.mark.parametrize(
    "name",
    [
        "tmp/x/y",
        "run/lock",
        "etc/passwd-",
        "etc/.pwd.lock",
        "vmlinuz",
        "boot/initrd.img-6.1",
        "var/cache/apt/pkgcache.bin",
        "var/cache/apt/archives/partial/x",
        "var/cache/debconf/config.dat-old",
        "var/cache/ldconfig/aux-cache",
        "var/lib/apt/lists/x",
        "var/lib/dpkg/status-old",
        "var/lib/dpkg/lock-frontend",
        "var/log/dpkg.log",
        "var/log/apt/history.log",
        "var/lib/initramfs-tools/6.1",
    ],
)
def test_what_was_of_use_for_the_work_alone_goes(tmp_path: Path, name: str) -> None:
    path = put(tmp_path, name)
    kept = put(tmp_path, "var/lib/dpkg/status")
    normalise.forget_work(tmp_path)
    assert not path.exists()
    assert kept.exists()
    if name.startswith("var/log/"):
        assert path.parent.is_dir()


def test_debconf_forgets_names_of_temporary_files(tmp_path: Path) -> None:
    path = put(tmp_path, "var/cache/debconf/config.dat", "Variables:\n NEW = /tmp/x.BXjb5Q\nA: b\n")
    normalise.forget_work(tmp_path)
    assert path.read_text() == "Variables:\n NEW = /tmp/\nA: b\n"


def test_passwords_were_changed_on_the_day_of_the_image(tmp_path: Path) -> None:
    path = put(tmp_path, "etc/shadow", "root:*:20000:0:99999:7:::\nx:!::0:99999:7:::\n")
    normalise.settle_passwords(tmp_path, EPOCH_S)
    day = EPOCH_S // 86400
    assert path.read_text() == f"root:*:{day}:0:99999:7:::\nx:!::0:99999:7:::\n"


def test_nothing_is_newer_than_the_image(tmp_path: Path) -> None:
    new, old = put(tmp_path, "a/new"), put(tmp_path, "a/old")
    os.utime(old, ns=(0, 1_000_000_000_123_456_789))
    link = tmp_path / "a/link"
    link.symlink_to("nowhere")
    normalise.clamp_times(tmp_path, EPOCH_S)
    for path in (tmp_path, tmp_path / "a", new, link):
        assert path.lstat().st_mtime_ns == EPOCH_S * 10**9
    assert old.stat().st_mtime_ns == 1_000_000_000 * 10**9


def test_a_removal_does_not_leave_the_tree(tmp_path: Path) -> None:
    outside = put(tmp_path, "outside/file")
    root = tmp_path / "root"
    put(root, "usr/x/a"), put(root, "usr/y")
    (root / "etc").symlink_to(tmp_path / "outside")
    idle = normalise.remove(root, ("/usr/x", "/etc/file", "/nothing*"))
    assert idle == ("/etc/file", "/nothing*")
    assert outside.exists()
    assert [path.name for path in (root / "usr").iterdir()] == ["y"]


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    target = put(tmp_path, "target/file")
    (tmp_path / "link").symlink_to("target")
    assert normalise.remove(tmp_path, ("/link",)) == ()
    assert target.exists()


def test_sockets_and_pipes_are_found(tmp_path: Path) -> None:
    put(tmp_path, "a/file")
    os.mkfifo(tmp_path / "a/pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        assert sorted(normalise.sockets_and_pipes(tmp_path)) == ["a/pipe", "s"]


def test_twice_is_the_same_as_once(tmp_path: Path) -> None:
    for name in ("etc/machine-id", "var/log/x", "etc/hostname", "etc/passwd-"):
        put(tmp_path, name)
    for _ in range(2):
        normalise.forget_machine(tmp_path)
        normalise.forget_work(tmp_path)
        normalise.clamp_times(tmp_path, EPOCH_S)
        found = [(str(path), path.lstat().st_mtime_ns) for path in sorted(tmp_path.rglob("*"))]
    assert [Path(name).name for name, _ in found] == ["etc", "machine-id", "var", "log"]


def test_a_link_to_what_was_removed_before_goes_too(tmp_path: Path) -> None:
    put(tmp_path, "usr/bin/zstd")
    link = tmp_path / "usr/bin/zstdcat"
    link.symlink_to("zstd")
    assert normalise.remove(tmp_path, ["/usr/bin/zstd", "/usr/bin/zstdcat"]) == ()
    assert not link.is_symlink()
    assert normalise.remove(tmp_path, ["/usr/bin/zstdcat"]) == ("/usr/bin/zstdcat",)

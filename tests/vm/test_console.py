"""Bad lines on a console, and the text of a screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm.console import SCREEN_BYTES, Console, decode_screen, wrong_lines


@pytest.mark.parametrize(
    "line",
    [
        "[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs",
        "[    1.2] BUG: kernel NULL pointer dereference, address: 00000000",
        "[    1.2] Oops: 0002 [#1] PREEMPT SMP",
        "[   10.1] EXT4-fs error (device sda4): ext4_lookup:1855: inode #2: comm ls: deleted inode",
        "[   10.1] EXT4-fs (sda4): I/O error while writing superblock",
        "[   10.1] blk_update_request: I/O error, dev sda, sector 2048 op 0x1:(WRITE)",
        "You are in emergency mode. After logging in, type journalctl -xb",
        "[  20.0] Out of memory: Killed process 312 (postgres)",
        "[ 242.0] INFO: task systemd:1 blocked for more than 120 seconds.",
        "[  12.0] postgres[99]: segfault at 0 ip 00000000 sp bfff0000 error 4",
    ],
)
def test_bad_line(line: str) -> None:
    assert wrong_lines(f"before\n{line}\nafter") == [line]


@pytest.mark.parametrize(
    "line",
    [
        "[    0.0] Debug: panic=10",
        "[    0.1] DEBUG: all is well",
        "[    3.0] EXT4-fs (sda2): mounted filesystem with ordered data mode. errors=remount-ro",
        "[  OK  ] Reached target emergency-shell.target",
    ],
)
def test_good_line(line: str) -> None:
    assert wrong_lines(line) == []


def test_each_bad_line_is_told_once_and_only_when_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    console = Console(log, [r"dev sdb"])
    assert console.bad_lines() == []
    log.write_bytes(b"fine\r\nKernel pa")
    assert console.bad_lines() == []
    with log.open("ab") as stream:
        stream.write(b"nic - not syncing\r\nI/O error, dev sdb, sector 1\r\n")
    assert console.bad_lines() == ["Kernel panic - not syncing"]
    assert console.bad_lines() == []
    console.allow("not syncing")
    with log.open("ab") as stream:
        stream.write(b"\x1b[0;31mKernel panic - not syncing\r\nI/O error, dev sda\r\n")
    assert console.bad_lines() == ["I/O error, dev sda"]
    assert "\x1b" not in console.text()
    assert console.tail(1) == "I/O error, dev sda"


def test_screen() -> None:
    rows = [b"No bootable device.", b"", "│ GRUB ü │".encode("cp437")]
    text = b"".join(row.ljust(80, b"\0") for row in rows).ljust(2000)
    memory = b"".join(bytes([character, 7]) for character in text)
    assert decode_screen(memory) == "No bootable device.\n\n│ GRUB ü │"
    with pytest.raises(ValueError, match=str(SCREEN_BYTES)):
        decode_screen(memory[1:])

"""Removing a tree removes all of it and nothing else; an appended line is whole or not there."""

import errno
import fcntl
import multiprocessing
import os
import socket
import threading
from pathlib import Path

import pytest

from applianceforge.model.errors import AccessDeniedError, SettingsError
from applianceforge.system import files
from applianceforge.system.effects import Effect, EffectKind, Effects


def removed(path: Path) -> list[Effect]:
    seen: list[Effect] = []
    files.remove_tree(path, Effects(seen.append))
    assert not os.path.lexists(path)
    return seen


def test_a_tree_of_everything(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    tree = tmp_path / "tree"
    deep = tree / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    (tree / "empty").mkdir()
    os.mkfifo(tree / "a" / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tree / "s"))
    (tree / "to a directory").symlink_to(outside)
    (tree / "to a file").symlink_to(outside / "kept")
    (tree / "a" / "nowhere").symlink_to("missing")
    (tree / "a" / "loop").symlink_to(tree)
    Path(os.fsdecode(os.fsencode(tree) + b"/\xff\n")).write_text("x")
    (effect,) = removed(tree)
    assert (effect.kind, effect.subject) == (EffectKind.WRITE, f"removal of {tree}")
    assert (outside / "kept").read_text() == "kept"


def test_a_file_and_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "kept").touch()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "file").touch()
    assert len(removed(tmp_path / "link")) == 1
    assert len(removed(tmp_path / "file")) == 1
    assert (tmp_path / "target" / "kept").exists()


def test_what_is_not_there_is_no_error_and_no_effect(tmp_path: Path) -> None:
    assert removed(tmp_path / "none") == []


def test_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("missing")
    assert len(removed(tmp_path / "link")) == 1


def test_what_may_not_be_removed(place: Path) -> None:
    tree = place / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "file").touch()
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    else:
        (tree / "sub").chmod(0o500)
    try:
        with pytest.raises(AccessDeniedError, match="cannot remove"):
            files.remove_tree(tree, Effects())
    finally:
        os.seteuid(before)
        (tree / "sub").chmod(0o700)
    assert (tree / "sub" / "file").exists()


def test_half_a_tree_may_be_removed_again(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for number in range(3):
        (tree / f"d{number}").mkdir(parents=True)
        (tree / f"d{number}" / "file").touch()
    (tree / "d1" / "file").unlink()
    assert len(removed(tree)) == 1


def test_an_append_where_a_directory_is(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot write"):
        files.append_line(tmp_path, b"x", Effects())


def append_many(path: Path, word: bytes) -> None:
    for _ in range(50):
        files.append_line(path, word * 1000, Effects())


def test_lines_of_two_processes_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"torn")
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=append_many, args=(path, word)) for word in (b"a", b"b")]
    for one in both:
        one.start()
    for one in both:
        one.join()
        assert one.exitcode == 0
    torn, *lines = path.read_bytes().splitlines()
    assert torn == b"torn"
    assert sorted(lines) == [b"a" * 1000] * 50 + [b"b" * 1000] * 50


def test_what_is_taken_back_is_not_another_s_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else appends while our line is being taken back: that waits for the lock."""
    path = tmp_path / "log"
    append = threading.Thread(
        target=files.append_line, args=(path, b"theirs", Effects()), daemon=True
    )

    def broken(handle: int) -> None:
        monkeypatch.undo()
        append.start()
        with open(path, "rb") as held, pytest.raises(BlockingIOError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        append.join(0.3)
        assert path.read_bytes() == b"ours\n"
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(SettingsError, match="Input/output error"):
        files.append_line(path, b"ours", Effects())
    append.join(60)
    assert path.read_bytes() == b"theirs\n"


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(fcntl, "flock", refuse)
    error = errno.ENOLCK
    files.append_line(tmp_path / "log", b"x", Effects())
    assert (tmp_path / "log").read_bytes() == b"x\n"
    error = errno.EIO
    with pytest.raises(SettingsError):
        files.append_line(tmp_path / "log", b"x", Effects())
    assert (tmp_path / "log").read_bytes() == b"x\n"


def test_a_plain_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    assert files.read_plain(tmp_path / "file") == b"x"
    assert files.read_plain(tmp_path / "none") is None
    assert files.read_plain(tmp_path / "file" / "none") is None
    assert files.read_plain(tmp_path / "link", follow=True) == b"x"
    with pytest.raises(SettingsError, match=r"cannot read .*link: it is a link"):
        files.read_plain(tmp_path / "link")


def test_a_link_that_leads_to_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for path, follow in ((tmp_path / "pipe", False), (tmp_path / "link", True)):
        with pytest.raises(SettingsError, match="no plain file"):
            files.read_plain(path, follow=follow)
        with pytest.raises(SettingsError, match="cannot write"):
            files.open_plain(path, os.O_RDWR | os.O_CREAT, follow=follow)


def test_no_handle_is_left_open_for_what_is_refused(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(5):
        with pytest.raises(SettingsError):
            files.read_plain(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_pipe_is_removed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert len(removed(tmp_path / "pipe")) == 1


def test_what_cannot_be_replaced_is_named_and_not_its_copy(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    with pytest.raises(SettingsError, match=r"cannot write .*/place: Is a directory"):
        files.write_file(tmp_path / "place", b"x", Effects())
    assert os.listdir(tmp_path) == ["place"]

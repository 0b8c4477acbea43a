import os
import tarfile
from pathlib import Path

import pytest

from applianceforge.imaging import content
from applianceforge.imaging.content import Entry, Tree


def overlay(directory: Path, names: list[str], umask: int) -> Path:
    before = os.umask(umask)
    try:
        for name in names:
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("link"):
                path.symlink_to("target")
            else:
                path.write_text(name)
                if name.endswith("program"):
                    path.chmod(path.stat().st_mode | 0o100)
    finally:
        os.umask(before)
    return directory


NAMES = ["etc/file", "usr/bin/program", "usr/link", "etc/a"]


def tree(directory: Path) -> Tree:
    return content.tree_of(content.entries_below(directory))


def test_modes_and_owners_are_those_of_the_image(tmp_path: Path) -> None:
    found = tree(overlay(tmp_path / "o", NAMES, 0o077))
    assert {entry.path: oct(entry.mode) for entry in found.entries} == {
        "etc": "0o40755",
        "etc/a": "0o100644",
        "etc/file": "0o100644",
        "usr": "0o40755",
        "usr/bin": "0o40755",
        "usr/bin/program": "0o100755",
        "usr/link": "0o120777",
    }


def test_neither_order_nor_umask_nor_date_matter(tmp_path: Path) -> None:
    one = overlay(tmp_path / "one", NAMES, 0o022)
    other = overlay(tmp_path / "two", NAMES[::-1], 0o077)
    os.utime(other / "etc/file", (1, 1))
    assert tree(one).digest == tree(other).digest
    for name, directory in (("one", one), ("two", other)):
        content.write_tar(tree(directory), tmp_path / f"{name}.tar", 1234)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as archive:
        for member in archive:
            assert (member.uid, member.gid, member.uname, member.mtime) == (0, 0, "", 1234)


@pytest.mark.parametrize("change", ["content", "mode", "name", "kind"])
def test_a_change_is_seen(tmp_path: Path, change: str) -> None:
    directory = overlay(tmp_path, NAMES, 0o022)
    before = tree(directory).digest
    file = directory / "etc/file"
    match change:
        case "content":
            file.write_text("else")
        case "mode":
            file.chmod(0o755)
        case "name":
            file.rename(directory / "etc/other")
        case "kind":
            file.unlink()
            file.symlink_to("etc/file")
    assert tree(directory).digest != before


def test_the_later_of_two_overlays_counts() -> None:
    def entries(text: bytes) -> Entry:
        return content.file_entry("etc/x", text)

    found = content.tree_of(iter([entries(b"1"), entries(b"2")]))
    assert [entry.read() for entry in found.entries] == [b"2"]

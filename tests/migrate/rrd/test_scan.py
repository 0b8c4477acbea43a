"""Finding RRDs: what counts, what is refused by name, and how many there may be."""

import os
import socket
import time
from pathlib import Path

import pytest

from applianceforge.migrate.rrd.scan import Scan, scan
from applianceforge.model.errors import AccessDeniedError, SettingsError
from applianceforge.model.report import Finding, Severity
from tests.migrate.rrd.places import WHEN_NS, as_nobody, put, tree


def found(result: Scan, key: str) -> Finding:
    (one,) = [finding for finding in result.findings if finding.key == key]
    return one


def test_everything_is_found_sorted(tmp_path: Path) -> None:
    result = scan(tree(tmp_path / "rrd"))
    paths = [file.path for file in result.files]
    assert len(paths) == 13
    assert paths == sorted(paths)
    assert result.findings == ()
    assert [directory.path for directory in result.directories] == ["", "host0", "host1", "host2"]
    assert [(link.path, link.target) for link in result.links] == [
        ("alias", "host1"),
        ("host2/absolute.rrd", "../host0/größe 3.rrd"),
        ("latest.rrd", "host2/größe 2.rrd"),
    ]
    file = next(file for file in result.files if file.path == "host1/größe 1.rrd")
    assert (file.mode, file.mtime_ns) == (0o640, WHEN_NS + 1)
    groups = [[file.path for file in group] for group in result.hard_links() if len(group) > 1]
    assert groups == [["host0/größe 0.rrd", "host1/again.rrd"]]
    assert result.size_bytes == sum(file.size_bytes for file in result.files) * 12 // 13


def test_patterns_are_of_the_name_and_of_the_path(tmp_path: Path) -> None:
    for name in ("a.rrd", "b.db", "deep/c.db", "deep/d.rrd"):
        put(tmp_path / name)
    assert [file.path for file in scan(tmp_path, ["*.db"]).files] == ["b.db", "deep/c.db"]
    assert [file.path for file in scan(tmp_path, ["deep/*.rrd", "b.*"]).files] == [
        "b.db",
        "deep/d.rrd",
    ]
    assert scan(tmp_path, ["*.rrd"]).findings == ()
    assert found(scan(tmp_path, ["*.none"]), "rrd.none").severity is Severity.WARNING


def test_links_that_lead_elsewhere_are_named(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside/secret.rrd")
    root = tmp_path / "rrd"
    put(root / "a.rrd")
    root.joinpath("out.rrd").symlink_to(outside)
    root.joinpath("up").symlink_to("../outside")
    root.joinpath("gone.rrd").symlink_to("nothing.rrd")
    root.joinpath("loop.rrd").symlink_to("loop.rrd")
    root.joinpath("loop").symlink_to("loop")
    root.joinpath("text").write_text("")
    root.joinpath("text.rrd").symlink_to("text")
    root.joinpath("here.rrd").symlink_to("a.rrd")
    result = scan(root)
    assert [file.path for file in result.files] == ["a.rrd"]
    assert [link.path for link in result.links] == ["here.rrd"]
    finding = found(result, "rrd.link-outside")
    assert finding.severity is Severity.INHIBITOR
    assert finding.evidence == (f"out.rrd -> {outside}", f"up -> {outside.parent}")
    assert found(result, "rrd.link-unconverted").evidence == ("text.rrd -> text",)
    assert found(result, "rrd.link-dangling").evidence == ("gone.rrd", "loop.rrd")
    assert all(finding.remedies for finding in result.findings)


def test_a_directory_named_by_a_link_is_the_one_it_leads_to(tmp_path: Path) -> None:
    put(tmp_path / "real/a.rrd")
    tmp_path.joinpath("link").symlink_to("real")
    result = scan(tmp_path / "link")
    assert result.root == tmp_path / "real"
    assert [file.path for file in result.files] == ["a.rrd"]


def test_pipes_sockets_and_hard_links_outside_are_named(tmp_path: Path) -> None:
    root = tmp_path / "rrd"
    put(root / "a.rrd")
    os.link(root / "a.rrd", tmp_path / "elsewhere.rrd")
    os.mkfifo(root / "pipe.rrd")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "socket.rrd"))
    result = scan(root)
    finding = found(result, "rrd.special")
    assert finding.severity is Severity.INHIBITOR
    assert finding.evidence == ("pipe.rrd", "socket.rrd")
    assert found(result, "rrd.hard-link-outside").evidence == ("a.rrd",)


def test_unreadable_files_and_directories_are_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    put(tmp_path / "a.rrd", mode=0o644)
    put(tmp_path / "private.rrd", mode=0o600)
    put(tmp_path / "closed/b.rrd", mode=0o644)
    tmp_path.joinpath("closed").chmod(0o700)
    put(tmp_path / "listed/c.rrd", mode=0o644)
    tmp_path.joinpath("listed").chmod(0o744)
    tmp_path.joinpath("into").symlink_to("closed/below")
    tmp_path.joinpath("closed/below").mkdir()
    with as_nobody():
        result = scan(tmp_path)
        with pytest.raises(AccessDeniedError):
            scan(tmp_path / "closed")
    assert [file.path for file in result.files] == ["a.rrd"]
    assert found(result, "rrd.unreadable").evidence == (*("closed", "listed/c.rrd", "private.rrd"),)
    assert found(result, "rrd.link-unconverted").evidence == ("into -> closed/below",)


def test_unprintable_names_are_shown_quoted(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "line\nbreak.rrd")
    os.mkfifo(os.fsencode(tmp_path) + b"/latin\xe9.rrd")
    assert found(scan(tmp_path), "rrd.special").evidence == (
        "'latin\\udce9.rrd'",
        "'line\\nbreak.rrd'",
    )


def test_many_names_are_cut_short(tmp_path: Path) -> None:
    for number in range(103):
        os.mkfifo(tmp_path / f"{number:03}.rrd")
    evidence = found(scan(tmp_path), "rrd.special").evidence
    assert len(evidence) == 101
    assert evidence[-1] == "and 3 more"


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        scan(tmp_path / "nothing")
    with pytest.raises(SettingsError):
        scan(put(tmp_path / "a.rrd"))


def test_a_hundred_thousand_files_are_found_in_seconds(tmp_path: Path) -> None:
    tmp_path.joinpath("0.rrd").write_bytes(b"")
    handle = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    # Names of a few files: as many inodes would take longer to make than to scan.
    for number in range(1, 20_000):
        os.link("0.rrd", f"{number}.rrd", src_dir_fd=handle, dst_dir_fd=handle)
    os.close(handle)
    begun = time.monotonic()
    assert len(scan(tmp_path).files) == 20_000
    # A hundred thousand take five times that.
    assert time.monotonic() - begun < 4

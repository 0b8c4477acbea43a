"""Archives of RRDs: what is kept, both ways back, and archives that somebody changed."""

import dataclasses
import os
from pathlib import Path

import pytest
import zstandard

from applianceforge.formats.rrd.decode import decode
from applianceforge.migrate.rrd.archive import restore_archive, write_archive
from applianceforge.migrate.rrd.members import MemberKind, RrdMember, bytes_name, xml_name
from applianceforge.migrate.rrd.scan import scan
from applianceforge.migrate.rrd.verify import verify_trees
from applianceforge.model.errors import ArchiveError, RrdError, SettingsError
from applianceforge.system.effects import Effects
from applianceforge.system.progress import Counter, NoProgress
from tests.formats.rrd.build import AMD64, build
from tests.migrate.rrd.places import put, spec, tree


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "archive"
    path.mkdir()
    return path


@pytest.fixture
def members(tmp_path: Path, archive: Path, effects: Effects) -> tuple[RrdMember, ...]:
    return write_archive(scan(tree(tmp_path / "old")), archive, effects, jobs=1)


def test_names_have_the_ending_once() -> None:
    assert bytes_name("host/cpu.rrd") == "rrd/host/cpu.rrd.zst"
    assert xml_name("host/cpu.rrd") == "rrd/host/cpu.xml.zst"
    assert bytes_name("cpu.db") == "rrd/cpu.db.rrd.zst"


@pytest.mark.parametrize("jobs", [1, 2])
def test_all_comes_back_from_the_bytes(
    tmp_path: Path, archive: Path, jobs: int, effects: Effects
) -> None:
    source = tree(tmp_path / "old", 80)
    counter = Counter("rrd", NoProgress())
    members = write_archive(scan(source), archive, effects, counter=counter, jobs=jobs)
    assert counter.done_rows == 80
    kinds = [member.kind for member in members]
    assert [kinds.count(kind) for kind in MemberKind] == [80, 1, 3, 4]
    for path in archive.joinpath("rrd").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
    stored = archive / "rrd/host0/größe 0.rrd.zst"
    original = source.joinpath("host0/größe 0.rrd").read_bytes()
    assert zstandard.ZstdDecompressor().decompress(stored.read_bytes(), 1 << 20) == original
    assert restore_archive(archive, members, tmp_path / "new", effects, jobs=jobs) == 81
    assert verify_trees(source, tmp_path / "new") == ()
    assert effects.count == 2


def test_all_comes_back_from_the_xml(
    tmp_path: Path, archive: Path, members: tuple[RrdMember, ...], effects: Effects
) -> None:
    for path in archive.rglob("*.rrd.zst"):
        path.unlink()
    without = tuple(dataclasses.replace(member, has_bytes=False) for member in members)
    restore_archive(archive, members, tmp_path / "one", effects, jobs=1)
    restore_archive(archive, without, tmp_path / "two", effects, jobs=1)
    assert verify_trees(tmp_path / "one", tmp_path / "two") == ()
    # The NaN of the test's files is another one than RRDtool's, and XML does not tell them apart.
    for difference in verify_trees(tmp_path / "old", tmp_path / "one"):
        assert "source nan" in str(difference)
        assert "target nan" in str(difference)


def test_an_archive_is_written_once(
    tmp_path: Path, archive: Path, members: tuple[RrdMember, ...], effects: Effects
) -> None:
    assert members
    with pytest.raises(SettingsError):
        write_archive(scan(tmp_path / "old"), archive, effects)


def test_what_is_no_rrd_is_refused_by_name(tmp_path: Path, archive: Path, effects: Effects) -> None:
    source = tree(tmp_path / "old")
    source.joinpath("host0/bad.rrd").write_text("hello")
    with pytest.raises(RrdError, match=r"1 RRDs cannot be archived.*bad\.rrd"):
        write_archive(scan(source), archive, effects, jobs=1)


def test_two_files_of_one_name_are_refused(tmp_path: Path, archive: Path, effects: Effects) -> None:
    put(tmp_path / "old/cpu.rrd")
    put(tmp_path / "old/cpu")
    with pytest.raises(RrdError, match="two files would have the name"):
        write_archive(scan(tmp_path / "old", ["cpu*"]), archive, effects)


# Archives that somebody changed


def one(tmp_path: Path, archive: Path, effects: Effects) -> RrdMember:
    put(tmp_path / "old/a.rrd", 1)
    (member,) = (
        member
        for member in write_archive(scan(tmp_path / "old"), archive, effects)
        if member.kind is MemberKind.FILE
    )
    return member


def replaced(path: Path, content: bytes) -> None:
    assert path.exists()
    path.write_bytes(content)


def compressed(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


BOMB_BYTES = 64 << 20


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"", "0 bytes"),
        (b"hello", "damaged"),
        (compressed(build(spec(1), AMD64))[:-40], "are recorded|damaged"),
        (compressed(build(spec(1), AMD64)), "more than the"),
        (compressed(b"hello"), "are recorded"),
        (compressed(bytes(BOMB_BYTES)), "more than the"),
    ],
)
def test_changed_bytes_are_refused(
    content: bytes, wanted: str, tmp_path: Path, archive: Path, effects: Effects
) -> None:
    member = one(tmp_path, archive, effects)
    replaced(archive / "rrd/a.rrd.zst", content)
    with pytest.raises(ArchiveError, match=f"a.rrd.*({wanted})"):
        restore_archive(archive, (member,), tmp_path / "new", effects)
    assert not tmp_path.joinpath("new/a.rrd").exists()


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"hello", "damaged"),
        (compressed(b"<rrd></rrd>"), "missing"),
        (compressed(b" " * BOMB_BYTES), "more than the"),
    ],
)
def test_changed_xml_is_refused(
    content: bytes, wanted: str, tmp_path: Path, archive: Path, effects: Effects
) -> None:
    member = one(tmp_path, archive, effects)
    archive.joinpath("rrd/a.rrd.zst").unlink()
    replaced(archive / "rrd/a.xml.zst", content)
    with pytest.raises(ArchiveError, match=wanted):
        restore_archive(archive, (member,), tmp_path / "new", effects)


def test_a_missing_member_is_refused(tmp_path: Path, archive: Path, effects: Effects) -> None:
    member = one(tmp_path, archive, effects)
    archive.joinpath("rrd/a.rrd.zst").unlink()
    archive.joinpath("rrd/a.xml.zst").unlink()
    with pytest.raises(ArchiveError, match=r"a\.xml\.zst"):
        restore_archive(archive, (member,), tmp_path / "new", effects)
    bare = dataclasses.replace(member, has_xml=False, has_bytes=False)
    with pytest.raises(ArchiveError, match="neither"):
        restore_archive(archive, (bare,), tmp_path / "newer", effects)


def test_a_link_in_the_archive_is_not_followed(
    tmp_path: Path, archive: Path, effects: Effects
) -> None:
    member = one(tmp_path, archive, effects)
    stored = archive / "rrd/a.rrd.zst"
    stored.rename(tmp_path / "elsewhere")
    stored.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArchiveError, match="cannot read"):
        restore_archive(archive, (member,), tmp_path / "new", effects)


FILE = RrdMember("a.rrd", 100, 0o600, 0, 0, 0, True, True)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"path": "../a.rrd"}, "leads elsewhere"),
        ({"path": "/etc/a.rrd"}, "leads elsewhere"),
        ({"path": "x/../../a.rrd"}, "leads elsewhere"),
        ({"path": "x//a.rrd"}, "leads elsewhere"),
        ({"path": "./a.rrd"}, "leads elsewhere"),
        ({"path": ""}, "leads elsewhere"),
        ({"path": "a\0b"}, "leads elsewhere"),
        ({"path": "b.rrd"}, "twice"),
        ({"kind": MemberKind.HARD_LINK, "target": "../secret"}, "which is no file"),
        ({"kind": MemberKind.SYMBOLIC_LINK, "target": "/etc/passwd"}, "leads out"),
        ({"kind": MemberKind.SYMBOLIC_LINK, "target": "x/../../secret"}, "leads out"),
        ({"kind": MemberKind.SYMBOLIC_LINK, "target": ""}, "leads out"),
    ],
)
def test_records_that_lead_elsewhere_are_refused(
    change: dict[str, object], wanted: str, tmp_path: Path, archive: Path, effects: Effects
) -> None:
    changed = dataclasses.replace(FILE, **change)  # type: ignore[arg-type]
    members = (dataclasses.replace(FILE, path="b.rrd"), changed)
    with pytest.raises(ArchiveError, match=wanted):
        restore_archive(archive, members, tmp_path / "new", effects)
    assert not tmp_path.joinpath("new").exists()


def test_special_modes_are_not_restored(tmp_path: Path, archive: Path, effects: Effects) -> None:
    member = dataclasses.replace(one(tmp_path, archive, effects), mode=0o6755)
    restore_archive(archive, (member,), tmp_path / "new", effects)
    restored = tmp_path / "new/a.rrd"
    assert restored.stat().st_mode & 0o7777 == 0o755
    assert restored.stat().st_mtime_ns == member.mtime_ns
    assert restored.stat().st_uid == os.geteuid()
    assert decode(restored.read_bytes()).header.definition.sources[0].name == "ds1"

"""Portable archives: written on one architecture, taken on another; refused when not whole."""

import io
import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from applianceforge.formats import pg_control
from applianceforge.migrate import archive, manifest, outcome
from applianceforge.migrate.tree import ProgramTree
from applianceforge.model.architecture import Architecture
from applianceforge.system.effects import Effects
from applianceforge.system.progress import Counter, NoProgress
from tests.appliance import cluster
from tests.appliance.legacy import SMALL_RRDS, LegacyAppliance
from tests.migrate.boxes import Box, Said, contents

pytestmark = pytest.mark.real


@dataclass(frozen=True)
class Archives:
    """One small source in each of its forms; tests copy what they change."""

    box: Box
    directory: Path
    tar: Path
    xml_only: Path


def exported(box: Box, out: Path, *options: str) -> Said:
    said = box.migrate("export", "--progress", "none", *options, str(out))
    assert said.status == 0, said.errors
    return said


@pytest.fixture(scope="module")
def archives(tiny: LegacyAppliance, native_tree: ProgramTree) -> Iterator[Archives]:
    with cluster.short_directory() as place:
        box = Box(place, tiny.copy_to(place / "old"), native_tree)
        found = Archives(box, place / "whole", place / "whole.tar", place / "xml")
        exported(box, found.directory)
        exported(box, found.tar, "--tar", "--compress", "1")
        exported(box, found.xml_only, "--xml-only", "--compress", "0")
        yield found


def taken(box: Box, source: Path) -> Said:
    """Import on a machine that has only the archive."""
    alone = box.with_settings(source__postgres__data=None, source__rrd__directory=None)
    return alone.migrate("import", "--progress", "none", str(source))


@pytest.fixture
def empty_box(archives: Archives, place: Path) -> Box:
    """Where an archive is taken: nothing of the source is there."""
    old = replace(archives.box.old, data=place / "no data", rrd=place / "no rrd")
    return Box(place, old, archives.box.native)


def test_it_holds_what_it_should(archives: Archives) -> None:
    found = archive.read_manifest(archives.directory)
    names = {one.path for one in found.files}
    assert "globals.sql" in names
    assert "databases/mail/toc.dat" in names
    assert "config/postgresql/postgresql.conf" in names
    assert sum(name.startswith("rrd/") and name.endswith(".rrd.zst") for name in names) == 3
    assert sum(name.startswith("rrd/") and name.endswith(".xml.zst") for name in names) == 3
    assert found.cluster is not None
    assert (found.cluster.inventory.major, found.cluster.inventory.width) == (15, 32)
    assert found.cluster.inventory.rows == 4000
    xml = {one.path for one in archive.read_manifest(archives.xml_only).files}
    assert not any(name.endswith(".rrd.zst") for name in xml)
    with tarfile.open(archives.tar) as tar:
        members = tar.getmembers()
    assert members[0].name == manifest.NAME
    assert {one.name for one in members if one.isfile()} == names | {manifest.NAME}


def test_it_is_closed_to_others(archives: Archives) -> None:
    for root in (archives.directory, archives.xml_only):
        assert stat.S_IMODE(root.stat().st_mode) == 0o700
        for path in root.rglob("*"):
            wanted = 0o700 if path.is_dir() else 0o600
            assert stat.S_IMODE(path.stat().st_mode) == wanted, path
    assert stat.S_IMODE(archives.tar.stat().st_mode) == 0o600


@pytest.mark.parametrize("form", ["directory", "tar", "xml_only"])
def test_it_is_taken_by_amd64(archives: Archives, empty_box: Box, form: str) -> None:
    source: Path = getattr(archives, form)
    before = contents(source) if source.is_dir() else {}
    said = taken(empty_box, source)
    assert said.status == 0, said.errors
    control = pg_control.decode((empty_box.data / "global/pg_control").read_bytes())
    assert control.architecture is Architecture.AMD64
    done = outcome.decode((empty_box.work / "import/outcome.json").read_bytes())
    assert (done.proofs["rows"], done.proofs["rrds"]) == (4000, 3)
    after = contents(source) if source.is_dir() else {}
    assert {name: one[0] for name, one in after.items()} == {
        name: one[0] for name, one in before.items()
    }


def test_the_whole_appliance_by_way_of_a_tar(box: Box) -> None:
    out = box.place / "all.tar"
    exported(box, out, "--tar")
    said = taken(box, out)
    assert said.status == 0, said.errors
    done = outcome.decode((box.work / "import/outcome.json").read_bytes())
    assert (done.proofs["databases"], done.proofs["rrds"]) == (9, SMALL_RRDS)
    assert done.proofs["rows"] > 16_000
    assert done.proofs["large_objects"] > 5
    verified = box.migrate("verify", "--progress", "none")
    assert verified.status == 0, verified.errors


def test_from_amd64_to_i386(archives: Archives, empty_box: Box, i386_tree: ProgramTree) -> None:
    """There and back: the way out of the 64-bit side is the same command."""
    assert taken(empty_box, archives.directory).status == 0
    native = LegacyAppliance(empty_box.native, empty_box.data, empty_box.rrd, "postgres", 15)
    away = Box(empty_box.place / "away", native, i386_tree)
    away.place.mkdir(mode=0o755)
    away.place.chmod(0o755)
    # RRDs are only ever made native, so here the databases alone.
    postgres = away.with_settings(source__rrd__directory=None, target__rrd__directory=None)
    out = away.place / "back"
    exported(postgres, out)
    said = taken(postgres, out)
    assert said.status == 0, said.errors
    control = pg_control.decode((away.data / "global/pg_control").read_bytes())
    assert control.architecture is Architecture.I386
    done = outcome.decode((away.work / "import/outcome.json").read_bytes())
    assert (done.source.width, done.target.width) == (64, 32)
    assert done.proofs["rows"] == 4000


def test_a_name_that_is_taken(archives: Archives) -> None:
    said = archives.box.migrate("export", "--progress", "none", str(archives.tar))
    assert said.status == 40
    assert f"{archives.tar} is already there" in said.errors
    assert said.hint


def refused(box: Box, source: Path, *words: str) -> None:
    said = taken(box, source)
    assert said.status == 54, said.errors
    for word in words:
        assert word in said.errors, (word, said.errors)
    assert said.hint
    assert not box.data.exists()
    assert not box.rrd.exists()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


FILES = (
    "globals.sql",
    "databases/mail/toc.dat",
    "databases/mail/*.dat.gz",
    "config/postgresql/pg_hba.conf",
    "rrd/*.rrd.zst",
    "rrd/*.xml.zst",
)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize("pattern", FILES)
def test_a_changed_or_lost_file_is_named(archives: Archives, empty_box: Box, pattern: str) -> None:
    copy = empty_box.place / "copy"
    shutil.copytree(archives.directory, copy)
    victim = sorted(copy.glob(pattern))[0]
    content, name = victim.read_bytes(), str(victim.relative_to(copy))
    for change, said in (
        (flip, f"{name} was changed"),
        (cut, f"{name} was cut short: {len(content) - 1} of {len(content)} bytes"),
        (Path.unlink, f"{name} is missing"),
    ):
        change(victim)
        found = archive.digest_files(copy, counter())
        assert manifest.differences(archive.read_manifest(copy).files, found) == (said,)
        if change is flip:
            refused(empty_box, copy, said)
        victim.write_bytes(content)


def counter() -> Counter:
    return Counter("", NoProgress())


def add(copy: Path) -> str:
    (copy / "databases/more").write_bytes(b"x")
    return "databases/more does not belong to the archive"


def change_manifest(copy: Path) -> str:
    path = copy / manifest.NAME
    path.write_bytes(path.read_bytes().replace(b'"rows": 4000', b'"rows": 3999'))
    return "manifest.json was changed"


def cut_manifest(copy: Path) -> str:
    os.truncate(copy / manifest.NAME, 1000)
    return "cut short"


def lose_manifest(copy: Path) -> str:
    (copy / manifest.NAME).unlink()
    return "it has no manifest.json"


def put_link(copy: Path) -> str:
    (copy / "globals.sql").unlink()
    (copy / "globals.sql").symlink_to("/etc/hostname")
    return "neither a file nor a directory"


@pytest.mark.parametrize("spoil", [add, change_manifest, cut_manifest, lose_manifest, put_link])
def test_an_archive_that_is_not_whole(
    archives: Archives, empty_box: Box, spoil: Callable[[Path], str]
) -> None:
    copy = empty_box.place / "copy"
    shutil.copytree(archives.directory, copy)
    refused(empty_box, copy, spoil(copy))


def test_an_export_that_was_interrupted_is_no_archive(archives: Archives, empty_box: Box) -> None:
    copy = empty_box.place / ".whole.staging"
    shutil.copytree(archives.directory, copy)
    (copy / manifest.NAME).unlink()
    refused(empty_box, copy, "not a whole archive", "interrupted")


def spoiled_tar(source: Path, target: Path, name: str, kind: bytes = tarfile.REGTYPE) -> None:
    """Copy a tar file and put one member more into it, after the manifest."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for number, member in enumerate(old):
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
            if number == 0:
                more = tarfile.TarInfo(name)
                more.type, more.linkname, more.size = kind, "/etc/passwd", 3
                new.addfile(more, io.BytesIO(b"bad"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../outside", tarfile.REGTYPE),
        ("databases/../../outside", tarfile.REGTYPE),
        ("/tmp/outside", tarfile.REGTYPE),
        ("link", tarfile.SYMTYPE),
        ("link", tarfile.LNKTYPE),
        ("pipe", tarfile.FIFOTYPE),
        ("device", tarfile.CHRTYPE),
    ],
)
def test_a_hostile_tar_file(archives: Archives, empty_box: Box, name: str, kind: bytes) -> None:
    target = empty_box.place / "hostile.tar"
    spoiled_tar(archives.tar, target, name, kind)
    refused(empty_box, target, repr(name), "which no archive of ours has")
    assert not list(empty_box.place.rglob("outside"))
    assert not Path("/tmp/outside").exists()


def test_a_tar_file_with_a_file_twice(archives: Archives, empty_box: Box) -> None:
    target = empty_box.place / "twice.tar"
    spoiled_tar(archives.tar, target, "globals.sql")
    refused(empty_box, target, "globals.sql")


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.9])
def test_a_tar_file_that_was_cut_short(archives: Archives, empty_box: Box, part: float) -> None:
    target = empty_box.place / "cut.tar"
    content = archives.tar.read_bytes()
    target.write_bytes(content[: int(len(content) * part)])
    refused(empty_box, target, "cut.tar")


def test_something_that_is_no_archive(empty_box: Box) -> None:
    target = empty_box.place / "letter.txt"
    target.write_text("Dear administrator\n" * 1000)
    refused(empty_box, target, "letter.txt")
    said = taken(empty_box, empty_box.place / "nowhere")
    assert said.status == 40
    assert "nowhere" in said.errors


def test_an_import_is_continued(archives: Archives, empty_box: Box) -> None:
    """Refused, then given the right file under the same name, the same command goes on."""
    target = empty_box.place / "whole.tar"
    spoiled_tar(archives.tar, target, "surplus")
    refused(empty_box, target, "surplus does not belong to the archive")
    shutil.copyfile(archives.tar, target)
    said = taken(empty_box, target)
    assert said.status == 0, said.errors
    assert archive.is_tar(target)


def test_packing_is_one_step(archives: Archives, place: Path) -> None:
    effects = Effects()
    archive.pack(archives.directory, place / "again.tar", effects)
    assert [path.name for path in place.iterdir()] == ["again.tar"]
    archive.unpack(place / "again.tar", place / "again", counter())
    archive.check(place / "again", archive.read_manifest(place / "again"), counter(), place)

"""File systems as files: the same bytes from the same content, whatever the build machine is."""

import hashlib
import os
import stat
import subprocess
from pathlib import Path
from uuid import UUID

import pytest

from applianceforge.formats import ext
from applianceforge.imaging import filesystem, filesystem_mend, filesystem_size
from applianceforge.imaging.filesystem import Kind
from applianceforge.model.errors import (
    ProgramFailedError,
    RecipeError,
    SettingsError,
    SlotError,
)
from applianceforge.system.effects import Effects

pytestmark = pytest.mark.real

ID = UUID("6f0e7f3a-2a61-4d0e-8f0a-9d4b8e1c7a55")
EPOCH_S = 1_700_000_000
LONG = "n" * 255
ODD = ("a b", "quo'te", 'double"quote', "back\\slash", "new\nline", "tab\there", "Ünïcödé", "<12>")
NAMES = (*(f"file{n}" for n in range(40)), LONG, *ODD)


def fill(root: Path, *, reverse: bool, later_s: int = 0) -> Path:
    """Make the same tree, its entries in one order or the other."""
    root.mkdir(parents=True)
    root.chmod(0o755)
    names = list(reversed(NAMES)) if reverse else list(NAMES)
    for directory in ("sub", "other") if reverse else ("other", "sub"):
        (root / directory).mkdir()
        (root / directory).chmod(0o750)
        for name in names:
            (root / directory / name).write_text(f"content of {name}")
            (root / directory / name).chmod(0o4755 if name == "file3" else 0o644)
    links = ["sub/hard1", "other/hard2"]
    for link in reversed(links) if reverse else links:
        os.link(root / "sub/file1", root / link)
    (root / "link").symlink_to("sub/file1")
    (root / "long link").symlink_to("xy/" * 90 + "end")
    os.mkfifo(root / "fifo")
    (root / "fifo").chmod(0o600)
    with open(root / "holes", "wb") as stream:
        stream.truncate(1 << 20)
        stream.seek(300_000)
        stream.write(b"in the middle")
    if reverse:  # The same content with its zeros written out.
        content = (root / "holes").read_bytes()
        (root / "holes").write_bytes(content)
    (root / "holes").chmod(0o644)
    for path in (root, *root.rglob("*")):
        old = path.name in ("file1", "file2")
        at_s = EPOCH_S - 1000 if old else EPOCH_S + 500 + later_s
        os.utime(path, ns=(at_s * 10**9 + 17, at_s * 10**9 + 17), follow_symlinks=False)
    return root


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def debugfs(image: Path, request: str) -> str:
    done = subprocess.run(
        ["/usr/sbin/debugfs", "-R", request, image], capture_output=True, check=True
    )
    return done.stdout.decode()


def slot(source: Path, image: Path, size_bytes: int | None = None) -> filesystem.Made:
    return filesystem.make(Kind.SLOT, source, image, size_bytes, ID, "slot", EPOCH_S, Effects())


def test_order_times_holes_and_place_of_the_source_do_not_matter(tmp_path: Path) -> None:
    first = slot(fill(tmp_path / "a", reverse=False), tmp_path / "1.img")
    tree = fill(tmp_path / "elsewhere/b", reverse=True, later_s=1000)
    second = slot(tree, tmp_path / "elsewhere/2.img")
    assert digest(first.image) == digest(second.image)


def test_a_tree_on_another_file_system_gives_the_same(tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    first = slot(fill(tmp_path / "a", reverse=False), tmp_path / "1.img")
    place = memory / f"applianceforge-test-{os.getpid()}"
    try:
        second = slot(fill(place, reverse=True), tmp_path / "2.img")
    finally:
        subprocess.run(["/bin/rm", "-r", place], check=True)
    assert digest(first.image) == digest(second.image)


def test_a_single_changed_byte_changes_the_image(tmp_path: Path) -> None:
    """The test of the tests above: their digests do see the content."""
    tree = fill(tmp_path / "a", reverse=False)
    before = digest(slot(tree, tmp_path / "1.img").image)
    at = (tree / "sub/file7").stat()
    (tree / "sub/file7").write_text("content of filE7")
    os.utime(tree / "sub/file7", ns=(at.st_atime_ns, at.st_mtime_ns))
    assert digest(slot(tree, tmp_path / "2.img").image) != before


def test_mke2fs_alone_would_differ(tmp_path: Path) -> None:
    """What is mended does need mending: without it, two trees give two images."""
    for name, reverse in (("a", False), ("b", True)):
        tree = fill(tmp_path / name, reverse=reverse, later_s=1000 * reverse)
        image = tmp_path / f"{name}.img"
        options = ["-q", "-U", str(ID), "-E", f"hash_seed={ID}", "-d", str(tree), str(image), "8M"]
        subprocess.run(
            ["/usr/sbin/mke2fs", *options],
            check=True,
            capture_output=True,
            env={"E2FSPROGS_FAKE_TIME": str(EPOCH_S)},
        )
    assert digest(tmp_path / "a.img") != digest(tmp_path / "b.img")


def test_the_content_is_all_there(tmp_path: Path) -> None:
    tree = fill(tmp_path / "a", reverse=False)
    made = slot(tree, tmp_path / "1.img")
    out = tmp_path / "out"
    out.mkdir()
    debugfs(made.image, f"rdump / {out}")
    for name in NAMES:
        assert (out / "sub" / name).read_bytes() == (tree / "sub" / name).read_bytes(), name
    assert (out / "holes").read_bytes() == (tree / "holes").read_bytes()
    assert (out / "link").readlink() == Path("sub/file1")
    assert (out / "long link").readlink() == Path("xy/" * 90 + "end")
    assert "Mode:  04755" in debugfs(made.image, "stat /sub/file3")
    assert "Mode:  0750" in debugfs(made.image, "stat /sub")
    said = debugfs(made.image, "stat /sub/hard1")
    assert "Links: 3" in said
    assert said == debugfs(made.image, "stat /other/hard2")
    assert "Type: FIFO" in debugfs(made.image, "stat /fifo")


def test_every_time_is_the_epoch_or_an_older_mtime(tmp_path: Path) -> None:
    made = slot(fill(tmp_path / "a", reverse=False), tmp_path / "1.img")
    epoch = ext.Time(EPOCH_S, 0)
    mtimes = set()
    numbers = set()
    for number, inode, _ in filesystem_mend.inodes(made.image):
        assert (inode.ctime, inode.atime, inode.crtime) == (epoch, epoch, epoch), number
        mtimes.add(inode.mtime)
        numbers.add(number)
    assert mtimes == {epoch, ext.Time(EPOCH_S - 1000, 0)}
    assert len(numbers) > 2 * len(NAMES)


def test_the_order_of_attributes_does_not_matter(tmp_path: Path) -> None:
    orders = (("user.b", "user.a", "user.c"), ("user.c", "user.b", "user.a"))
    for number, names in enumerate(orders):
        tree = tmp_path / str(number)
        tree.mkdir()
        tree.chmod(0o755)
        (tree / "file").write_text("x")
        (tree / "file").chmod(0o644)
        try:
            for name in names:
                os.setxattr(tree / "file", name, f'value "{name}"'.encode() + b"\0\xff\n")
            os.setxattr(tree, "user.long", b"l" * 900)
        except OSError:
            pytest.skip("the file system has no attributes of users")
        slot(tree, tmp_path / f"{number}.img")
    assert digest(tmp_path / "0.img") == digest(tmp_path / "1.img")
    said = debugfs(tmp_path / "0.img", "ea_list /file")
    assert [line.split()[0] for line in said.splitlines()[1:] if "=" in line] == [
        "user.a",
        "user.b",
        "user.c",
    ]
    got = tmp_path / "value"
    debugfs(tmp_path / "0.img", f"ea_get -f {got} /file user.b")
    assert got.read_bytes() == b'value "user.b"\0\xff\n'


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device nodes and owners")
def test_devices_and_owners(tmp_path: Path) -> None:
    tree = tmp_path / "a"
    tree.mkdir()
    os.mknod(tree / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (tree / "theirs").write_text("x")
    os.chown(tree / "theirs", 110, 111)
    os.chown(tree, 5, 6)
    made = slot(tree, tmp_path / "1.img")
    assert "Device major/minor number: 01:03" in debugfs(made.image, "stat /null")
    assert "User:   110   Group:   111" in debugfs(made.image, "stat /theirs")
    assert "User:     0   Group:     0" in debugfs(made.image, "stat /")


def test_a_fitted_slot_is_hardly_larger_than_its_content(tmp_path: Path) -> None:
    tree = tmp_path / "a"
    (tree / "many").mkdir(parents=True)
    for number in range(1500):
        (tree / "many" / f"file with a longer name {number:08d}").write_bytes(b"x" * number)
    (tree / "large").write_bytes(os.urandom(12 << 20))
    made = slot(tree, tmp_path / "1.img")
    assert made.image.stat().st_size == made.size_bytes
    assert 0 < made.size_bytes - made.used_bytes < (2 << 20)


def test_a_slot_without_content_can_be_made(tmp_path: Path) -> None:
    made = filesystem.make(
        Kind.SLOT, None, tmp_path / "1.img", None, ID, "empty", EPOCH_S, Effects()
    )
    assert filesystem_mend.read_superblock(made.image).label == "empty"


@pytest.mark.parametrize("kind", list(Kind))
def test_the_superblock_says_what_was_asked_for(tmp_path: Path, kind: Kind) -> None:
    size_bytes = 48 << 20
    made = filesystem.make(
        kind, None, tmp_path / "1.img", size_bytes, ID, kind.value, EPOCH_S, Effects()
    )
    superblock = filesystem_mend.read_superblock(made.image)
    assert (superblock.uuid, superblock.label) == (ID, kind.value)
    assert superblock.size_bytes == size_bytes
    assert superblock.clean
    assert superblock.journal_is_empty
    assert superblock.kind == ("ext2" if kind is Kind.BOOT else "ext4")
    assert bool(superblock.compatible & ext.COMPATIBLE_RESIZE) == (kind is Kind.DATA)
    said = subprocess.run(
        ["/usr/sbin/dumpe2fs", "-h", made.image], capture_output=True, check=True
    ).stdout.decode()
    assert "Maximum mount count:      -1" in said
    assert "Check interval:           0" in said


@pytest.mark.parametrize("kind", [Kind.BOOT, Kind.SLOT, Kind.DATA])
def test_grub_reads_it(tmp_path: Path, kind: Kind) -> None:
    tree = tmp_path / "a"
    (tree / "boot").mkdir(parents=True)
    content = os.urandom(3 << 20)
    (tree / "boot/vmlinuz").write_bytes(content)
    made = filesystem.make(kind, tree, tmp_path / "1.img", 48 << 20, ID, "x", EPOCH_S, Effects())
    done = subprocess.run(
        ["/usr/bin/grub-fstest", made.image, "cat", "(loop0)/boot/vmlinuz"],
        capture_output=True,
        check=True,
    )
    assert done.stdout == content


def test_a_data_file_system_grows(tmp_path: Path) -> None:
    tree = tmp_path / "a"
    tree.mkdir()
    (tree / "file").write_text("kept")
    image = tmp_path / "1.img"
    filesystem.make(Kind.DATA, tree, image, 64 << 20, ID, "data", EPOCH_S, Effects())
    with open(image, "r+b") as stream:
        stream.truncate(40 << 30)
    subprocess.run(["/usr/sbin/resize2fs", image], check=True, capture_output=True)
    filesystem.check(image, Effects())
    assert filesystem_mend.read_superblock(image).size_bytes == 40 << 30
    assert debugfs(image, "cat /file") == "kept"


def test_content_that_does_not_fit_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    tree = tmp_path / "a"
    tree.mkdir()
    (tree / "file").write_bytes(os.urandom(9 << 20))
    with pytest.raises(RecipeError, match="does not fit into 8 MiB"):
        slot(tree, tmp_path / "1.img", 8 << 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_too_many_files_do_not_fit_either(tmp_path: Path) -> None:
    tree = tmp_path / "a"
    tree.mkdir()
    for number in range(700):
        (tree / f"{number}").touch()
    with pytest.raises(RecipeError, match="does not fit"):
        slot(tree, tmp_path / "1.img", 8 << 20)


def test_an_error_keeps_the_image_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "1.img").write_text("the old one")
    with pytest.raises(ProgramFailedError):
        slot(tmp_path / "missing", tmp_path / "1.img")
    assert (tmp_path / "1.img").read_text() == "the old one"
    assert [path.name for path in tmp_path.iterdir()] == ["1.img"]


@pytest.mark.parametrize(
    ("size_bytes", "label", "epoch_s", "said"),
    [
        (5000, "x", EPOCH_S, "multiple of 4096"),
        (-4096, "x", EPOCH_S, "multiple"),
        (8 << 20, "a label of 17 byt", EPOCH_S, "shorter"),
        (8 << 20, "x", -1, "between 0"),
        (8 << 20, "x", 2**31, "between 0"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, size_bytes: int, label: str, epoch_s: int, said: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        filesystem.make(
            Kind.SLOT, None, tmp_path / "1.img", size_bytes, ID, label, epoch_s, Effects()
        )
    assert said in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_check_finds_damage(tmp_path: Path) -> None:
    made = slot(fill(tmp_path / "a", reverse=False), tmp_path / "1.img")
    superblock = filesystem_mend.read_superblock(made.image)
    table = ext.decode_groups(made.image.read_bytes()[superblock.groups_at :], superblock)[0]
    with open(made.image, "r+b") as stream:
        stream.seek(table.inode_table_block * superblock.block_bytes + 20 * 256 + 4)
        stream.write(b"\xff\xff\xff")
    with pytest.raises(ProgramFailedError, match="has errors"):
        filesystem.check(made.image, Effects())


def test_what_is_no_file_system_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "1.img").write_bytes(bytes(4096))
    with pytest.raises(SlotError, match="holds no ext2 or ext4"):
        filesystem_mend.read_superblock(tmp_path / "1.img")


def test_a_command_before_those_that_read_the_tree(tmp_path: Path) -> None:
    """As for a tree in a user namespace; /usr/bin/env stands for that namespace."""
    tree = fill(tmp_path / "a", reverse=False)
    plain = slot(tree, tmp_path / "1.img")
    prefix = ("/usr/bin/env", "IN_NAMESPACE=1")
    wrapped = filesystem.make(
        Kind.SLOT, tree, tmp_path / "2.img", None, ID, "slot", EPOCH_S, Effects(), prefix=prefix
    )
    assert digest(plain.image) == digest(wrapped.image)
    assert stat.S_IMODE(wrapped.image.stat().st_mode) == 0o644


def test_the_hosts_configuration_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = fill(tmp_path / "a", reverse=False)
    before = digest(slot(tree, tmp_path / "1.img").image)
    monkeypatch.setenv("MKE2FS_CONFIG", "/nonexistent")
    monkeypatch.setenv("E2FSPROGS_FAKE_TIME", "1")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    old = os.umask(0o077)
    try:
        assert digest(slot(tree, tmp_path / "2.img").image) == before
    finally:
        os.umask(old)


def test_the_census_counts_a_hard_link_once() -> None:
    listing = b"".join(
        (
            b"d\t4096\t3\t1:1\t\0",
            b"d\t4096\t2\t1:2\tsub\0",
            b"f\t5000\t2\t1:3\tone\0",
            b"f\t5000\t2\t1:3\tsub/two\0",
            b"l\t60\t1\t1:4\tlong\0",
            b"l\t59\t1\t1:5\tshort\twith tab\0",
        )
    )
    census = filesystem_size.census_of(listing, 4096)
    assert census == filesystem_size.Census(inodes=5, blocks=2 + 2 + 1)

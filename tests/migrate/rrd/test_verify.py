"""Comparing files and trees: everything that can differ is found and named."""

import os
import random
import struct
from pathlib import Path

import pytest

from applianceforge.migrate.rrd.convert import convert_file, convert_tree
from applianceforge.migrate.rrd.scan import scan
from applianceforge.migrate.rrd.verify import compare_pair, verify_trees
from applianceforge.model.errors import SettingsError
from applianceforge.system.effects import Effects
from applianceforge.system.progress import Counter, NoProgress
from tests.formats.rrd.build import I386, Rra, Spec, build
from tests.migrate.rrd.places import put, tree


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    source, target = put(tmp_path / "a.rrd", 1), tmp_path / "b.rrd"
    convert_file(source, target)
    return source, target


def change(path: Path, offset: int, value: bytes) -> None:
    """Change bytes of a file, and keep its times."""
    status = path.stat()
    with open(path, "r+b") as stream:
        stream.seek(offset)
        before = stream.read(len(value))
        assert before != value, "the injected fault changes nothing"
        stream.seek(offset)
        stream.write(value)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def said(source: Path, target: Path) -> list[str]:
    return [str(found.difference) for found in compare_pair(source, target)]


def test_a_converted_file_is_equal(pair: tuple[Path, Path]) -> None:
    assert compare_pair(*pair) == ()


def test_one_changed_double_is_named_with_both_values(pair: tuple[Path, Path]) -> None:
    source, target = pair
    # The last row of RRA 1, DS out: the last double of the file.
    change(target, target.stat().st_size - 8, struct.pack("<d", 1.5))
    (found,) = compare_pair(source, target)
    assert found.file == str(target)
    difference = found.difference
    assert (difference.rra, difference.ds, difference.row) == (1, "out", 4)
    assert difference.what == "value"
    assert difference.target.startswith("1.5 (")
    assert "RRA 1, DS out, row 4, value:" in str(found)


def test_every_byte_of_a_header_counts(pair: tuple[Path, Path]) -> None:
    source, target = pair
    content = target.read_bytes()
    header_bytes = len(content) - 8 * 24
    unseen = []
    for offset in range(header_bytes):
        change(target, offset, bytes([content[offset] ^ 0x01]))
        if not compare_pair(source, target):
            unseen.append(offset)
        change(target, offset, content[offset : offset + 1])
    # Padding of C structures, and what stands behind the zero byte of a text, say nothing.
    padding = set(range(9, 16))
    texts = [(128, 20), (148, 20), (248, 20), (268, 20), (368, 20), (488, 20)]
    texts += [(624, 32), (624 + 112, 32)]
    for start, size in texts:
        end = content.index(b"\0", start)
        padding |= set(range(end + 1, start + size))
    padding |= set(range(388, 392)) | set(range(508, 512))
    assert set(unseen) <= padding


def test_metadata_and_layout_count(pair: tuple[Path, Path], tmp_path: Path) -> None:
    source, target = pair
    target.chmod(0o666)
    os.utime(target, ns=(0, 0))
    assert [line.split(":")[0] for line in said(source, target)] == ["mode", "mtime_ns"]
    (line,) = said(source, source)
    assert line == "layout: source amd64, target i386"


def test_what_is_no_rrd_differs(pair: tuple[Path, Path], tmp_path: Path) -> None:
    source, target = pair
    assert "cannot read" in said(tmp_path / "nothing.rrd", target)[0]
    assert "cannot read" in said(source, tmp_path / "nothing.rrd")[0]
    tmp_path.joinpath("text.rrd").write_text("hello")
    assert "does not begin with RRD" in said(source, tmp_path / "text.rrd")[0]
    assert "does not begin with RRD" in said(tmp_path / "text.rrd", target)[0]


def test_large_files_are_compared_piece_by_piece(tmp_path: Path) -> None:
    made = Spec(rra=(Rra(rows=100_000), Rra("MAX", 100_000)))
    tmp_path.joinpath("a.rrd").write_bytes(build(made, I386))
    convert_file(tmp_path / "a.rrd", tmp_path / "b.rrd")
    assert compare_pair(tmp_path / "a.rrd", tmp_path / "b.rrd") == ()
    size = tmp_path.joinpath("b.rrd").stat().st_size
    chosen = random.Random(1).sample(range(200_000), 5)
    for number in chosen:
        change(tmp_path / "b.rrd", size - 1_600_000 + 8 * number, struct.pack("<d", -1.0))
    found = [found.difference for found in compare_pair(tmp_path / "a.rrd", tmp_path / "b.rrd")]
    assert [(d.rra, d.row) for d in found] == [divmod(number, 100_000) for number in sorted(chosen)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_trees(tmp_path: Path, jobs: int, effects: Effects) -> None:
    source, target = tree(tmp_path / "old", 80), tmp_path / "new"
    convert_tree(scan(source), target, effects)
    counter = Counter("rrd", NoProgress())
    assert verify_trees(source, target, jobs=jobs, counter=counter) == ()
    assert counter.done_rows == 80
    assert counter.done_bytes == scan(source).size_bytes

    change(target / "host1/größe 40.rrd", 700, b"\x01\x02")
    target.joinpath("host0/größe 3.rrd").unlink()
    put(target / "host0/extra.rrd")
    target.joinpath("alias").unlink()
    target.joinpath("host1/again.rrd").unlink()
    put(target / "host1/again.rrd")
    target.joinpath("host2").chmod(0o777)
    found = verify_trees(source, target, jobs=jobs)
    lines = [str(difference) for difference in found]
    for wanted in (
        "alias: symbolic link: source host1, target not there",
        "host0/extra.rrd: file: source not there, target there",
        "host0/größe 3.rrd: file: source there, target not there",
        "host1/again.rrd: file: source another name of host0/größe 0.rrd, target there",
        "host2: directory: source 0o755, target 0o777",
    ):
        assert wanted in lines
    assert any(line.startswith("host1/größe 40.rrd: ") for line in lines)
    assert [difference.file for difference in found] == sorted(
        difference.file for difference in found
    )
    assert len(verify_trees(source, target, jobs=jobs, limit=2)) == 2


def test_missing_directories_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        verify_trees(tmp_path / "old", tmp_path / "new")

"""Making a bundle, judged by stock tools and by what is unpacked from it."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
import zstandard

from applianceforge.formats import zstd_seekable
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import SlotError, WrongBundleError
from applianceforge.preflight.requirements import Release
from applianceforge.release import index, manifest_file
from applianceforge.release.index import BLOCK_BYTES
from applianceforge.release.manifest import Manifest
from applianceforge.release.publish import bundle, cutting
from applianceforge.release.reuse import digests_of
from applianceforge.slots.sealing import SEAL_AT, SEAL_BYTES
from applianceforge.system.effects import Effects
from applianceforge.system.progress import NoProgress
from tests.release.bundled import FAST, RELEASE, SLOT_NAME, noise
from tests.slots.slot_images import slot_image


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two releases that have half of their content in common."""
    place = tmp_path_factory.mktemp("images")
    shared = noise(1, 500_000)
    earlier = slot_image(place / "old", Architecture.AMD64, shared + noise(2, 500_000))
    return earlier, slot_image(place / "new", Architecture.AMD64, shared + b"text " * 100_000)


def made(
    image: Path,
    directory: Path,
    *references: Path,
    release: Release = RELEASE,
    name: str = SLOT_NAME,
    level: int = FAST,
) -> Manifest:
    arguments = (image, release, name, references, directory, Effects(), NoProgress())
    return bundle.make(*arguments, level=level)


def test_all_parts_agree(images: tuple[Path, Path], tmp_path: Path) -> None:
    earlier, image = images
    manifest = made(image, tmp_path, earlier)
    content = image.read_bytes()
    assert manifest.slot_sha256 == hashlib.sha256(content).hexdigest()
    assert (manifest.slot_bytes, manifest.slot_name) == (len(content), SLOT_NAME)
    assert manifest_file.decode(manifest_file.encode(manifest), "manifest") == manifest
    for part in (manifest.index, manifest.payload):
        data = (tmp_path / part.path).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (part.size_bytes, part.sha256)
    assert {path.name for path in (tmp_path / "bundles").iterdir()} == {
        Path(part.path).name for part in (manifest.index, manifest.payload)
    }
    found = index.decode((tmp_path / manifest.index.path).read_bytes(), "index")
    payload = (tmp_path / manifest.payload.path).read_bytes()
    assert found.payload_bytes == len(payload)
    assert found.seal == content[SEAL_AT : SEAL_AT + SEAL_BYTES]
    for frame in found.frames:
        packed = payload[frame.at_bytes : frame.at_bytes + frame.size_bytes]
        assert hashlib.sha256(packed).digest() == frame.sha256
        at = frame.first_block * BLOCK_BYTES
        assert (
            zstandard.ZstdDecompressor().decompress(packed)
            == (content[at : at + frame.blocks * BLOCK_BYTES])
        )
    digests = digests_of(content)
    filled = b"".join(digests[run.first * 16 : run.end * 16] for run in found.filled())
    assert filled == found.digests
    for run in found.zeros:
        assert not any(content[run.first * BLOCK_BYTES : run.end * BLOCK_BYTES])


def test_stock_zstd_unpacks_the_payload(images: tuple[Path, Path], tmp_path: Path) -> None:
    earlier, image = images
    manifest = made(image, tmp_path, earlier)
    path = tmp_path / manifest.payload.path
    unpacked = subprocess.run(["zstd", "-dc", path], capture_output=True, check=True)
    assert unpacked.stdout == image.read_bytes()
    subprocess.run(["zstd", "-l", path], capture_output=True, check=True)
    entries = zstd_seekable.decode(path.read_bytes(), "payload")
    found = index.decode((tmp_path / manifest.index.path).read_bytes(), "index")
    assert [entry.size_bytes for entry in entries] == [one.size_bytes for one in found.frames]
    assert sum(entry.content_bytes for entry in entries) == manifest.slot_bytes


def test_the_same_bytes_each_time(
    images: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier, image = images
    manifests = []
    for workers in (1, 2, 7):
        monkeypatch.setattr(os, "cpu_count", lambda workers=workers: workers)
        manifests.append(made(image, tmp_path / str(workers), earlier))
    assert manifests[0] == manifests[1] == manifests[2]
    packed = tmp_path / "slot.zst"
    packed.write_bytes(zstandard.compress(image.read_bytes(), 1))
    assert made(packed, tmp_path / "packed", earlier) == manifests[0]


def test_references_decide_where_frames_begin(images: tuple[Path, Path], tmp_path: Path) -> None:
    earlier, image = images
    frames = []
    for references in ((), (earlier,)):
        manifest = made(image, tmp_path, *references)
        data = (tmp_path / manifest.index.path).read_bytes()
        frames.append(index.decode(data, "index").frames)
    there = digests_of(earlier.read_bytes())
    known = {there[at : at + 16] for at in range(0, len(there), 16)}
    digests = digests_of(image.read_bytes())
    new = [digests[at : at + 16] not in known for at in range(0, len(digests), 16)]
    fetched = [
        sum(one.blocks for one in found if any(new[one.first_block : one.end_block]))
        for found in frames
    ]
    assert sum(new) <= fetched[1] < fetched[0]


def test_no_frame_is_larger_than_it_may_be(images: tuple[Path, Path], tmp_path: Path) -> None:
    for image in images:
        manifest = made(image, tmp_path)
        found = index.decode((tmp_path / manifest.index.path).read_bytes(), "index")
        assert max(one.size_bytes for one in found.frames) <= cutting.most_packed_bytes(
            found.blocks
        )
        assert max(one.blocks for one in found.frames) <= cutting.most_frame_blocks(found.blocks)


def test_what_does_not_pack_is_cut_smaller(tmp_path: Path) -> None:
    parts = bundle._packed(noise(1, 64 * BLOCK_BYTES), level=FAST, most_bytes=70_000)
    assert sum(blocks for _, blocks in parts) == 64
    assert len(parts) == 4
    assert all(len(packed) <= 70_000 for packed, _ in parts)
    # A single block is what it is.
    one = bundle._packed(noise(1, BLOCK_BYTES), level=FAST, most_bytes=10)
    assert [blocks for _, blocks in one] == [1]


@pytest.mark.parametrize(
    ("release", "name"),
    [
        (RELEASE._replace(version="1.3"), SLOT_NAME),
        (RELEASE._replace(architecture=Architecture.I386), SLOT_NAME),
        (RELEASE, "another"),
    ],
)
def test_another_release_is_refused(
    release: Release, name: str, images: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(WrongBundleError, match="holds reference 1") as caught:
        made(images[1], tmp_path, release=release, name=name)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_image(images: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(SlotError):
        made(Path(__file__), tmp_path)
    cut = tmp_path / "cut"
    cut.write_bytes(images[1].read_bytes()[:-BLOCK_BYTES])
    with pytest.raises(SlotError, match="4096 bytes before its file system does"):
        made(cut, tmp_path)
    assert list(tmp_path.iterdir()) == [cut]


def test_an_image_with_more_behind_it(images: tuple[Path, Path], tmp_path: Path) -> None:
    longer = tmp_path / "longer"
    longer.write_bytes(images[1].read_bytes() + b"more")
    assert made(longer, tmp_path) == made(images[1], tmp_path)


def test_blocks_of_another_size(tmp_path: Path) -> None:
    """A file system of 1 KiB blocks need not be a number of ours."""
    odd = slot_image(tmp_path, Architecture.AMD64, options=("-b", "1024"))
    size = odd.stat().st_size
    program = "/usr/sbin/resize2fs"
    subprocess.run([program, "-f", odd, f"{size // 1024 - 1}K"], check=True, capture_output=True)
    with pytest.raises(SlotError, match="not a number of blocks of 4096"):
        made(odd, tmp_path)


def test_an_image_that_changes_meanwhile(
    images: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "slot"
    image.write_bytes(images[1].read_bytes())
    cut_as_it_is = cutting.cut

    def changing(known: list[int]) -> list[int]:
        with open(image, "r+b") as stream:
            stream.seek(2 << 20)
            stream.write(b"changed")
        return cut_as_it_is(known)

    monkeypatch.setattr(cutting, "cut", changing)
    with pytest.raises(SlotError, match="was changed while it was packed"):
        made(image, tmp_path)
    assert list((tmp_path / "bundles").iterdir()) == []

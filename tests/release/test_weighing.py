"""How much of a bundle boxes fetch, beside what they really fetch."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import PayloadError
from applianceforge.preflight.requirements import Release
from applianceforge.release import index
from applianceforge.release.fetch.directory_source import DirectorySource
from applianceforge.release.graph import Graph, Offer
from applianceforge.release.manifest import Manifest
from applianceforge.release.publish import adding, published, staging, weighing
from applianceforge.release.publish.adding import Addition
from applianceforge.release.update import installation
from applianceforge.slots.disk import BootDisk
from applianceforge.slots.environment import Loader
from applianceforge.slots.layout import Slot
from applianceforge.system.effects import Effects
from applianceforge.system.progress import NoProgress
from tests.release.bundled import FAST, noise
from tests.release.vendor import APPLIANCE, Vendor
from tests.slots.power import new_ground

I386, AMD64 = Architecture.I386, Architecture.AMD64
_PART = 4096 * 40
A, B, C, D = (noise(seed, _PART) for seed in range(4))


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    vendor = Vendor(tmp_path)
    vendor.create()
    return vendor


def add(vendor: Vendor, version: str, architecture: Architecture, content: bytes) -> Path:
    """Add a release that has this content, and return its slot image."""
    slot = vendor.slot(version, architecture, content)
    offer = Offer(Release(architecture, APPLIANCE, version), crossing=architecture is AMD64)
    vendor.repository().add(Addition(slot, offer, FAST), NoProgress())
    return slot


def fetched_by_a_box(vendor: Vendor, running: Path, said: Manifest) -> tuple[int, int]:
    """Install a published release on a box that runs an image; return bytes fetched and copied."""
    public = vendor.layout.public
    place = vendor.place / f"box-{running.parent.name}"
    directory = new_ground(place / "boot").directory
    target = place / "partition"
    target.write_bytes(bytes(said.slot_bytes))
    decoded = index.decode((public / said.index.path).read_bytes(), "index")
    done = installation.install(
        BootDisk(Slot.A, directory, slot_a=running, slot_b=target),
        Loader(directory, Effects()),
        said,
        decoded,
        DirectorySource(public),
        Effects(),
        NoProgress(),
    )
    return done.fetched_bytes, done.copied_bytes


def staged(vendor: Vendor) -> Graph:
    return staging.read(vendor.layout, published.read(vendor.layout).graph)


@pytest.mark.parametrize(
    "newest",
    [A + B + C, C + B + A, A + noise(9, 5000) + B + C, noise(7, 3 * _PART), A + A + A, A + D + B],
)
def test_it_is_what_a_box_fetches(newest: bytes, vendor: Vendor) -> None:
    images = {
        "2.0.0": add(vendor, "2.0.0", AMD64, B + A + C),
        "1.0.0": add(vendor, "1.0.0", I386, A + D),
    }
    add(vendor, "3.0.0", AMD64, newest)
    vendor.publish()
    known = published.read(vendor.layout).graph
    weight = weighing.weigh(vendor.layout, known, known.offers[-1])
    said = vendor.box("client").manifest(known.offers[-1].bundle)
    assert (weight.slot_bytes, weight.bundle_bytes) == (
        said.slot_bytes,
        said.payload.size_bytes + said.index.size_bytes,
    )
    assert weight.index_bytes == (vendor.layout.public / said.index.path).stat().st_size
    assert [one.origin.version for one in weight.fetched] == ["2.0.0", "1.0.0"]
    for one in weight.fetched:
        comes, copied = fetched_by_a_box(vendor, images[one.origin.version], said)
        assert one.size_bytes == comes + weight.index_bytes
        assert copied > 0


def test_what_is_there_need_not_come(vendor: Vendor) -> None:
    add(vendor, "1.0.0", AMD64, A + B)
    add(vendor, "2.0.0", AMD64, A + B)
    known = staged(vendor)
    weight = weighing.weigh(vendor.layout, known, known.offers[-1])
    # The version in its description, and the seal.
    assert 0 < weight.fetched[0].size_bytes - weight.index_bytes < weight.payload_bytes / 10
    first = weighing.weigh(vendor.layout, known, known.offers[0])
    assert first.fetched == ()
    assert first.frames > 1


def test_where_no_hop_leads_from_nobody_fetches(vendor: Vendor) -> None:
    add(vendor, "1.0.0", I386, A + B)
    add(vendor, "2.0.0", AMD64, A + C)
    add(vendor, "3.0.0", AMD64, A + D)
    known = staged(vendor)

    def origins(graph: Graph) -> list[str]:
        weight = weighing.weigh(vendor.layout, graph, graph.offers[-1])
        return [one.origin.version for one in weight.fetched]

    assert origins(known) == ["2.0.0", "1.0.0"]
    first, second, third = known.offers
    barrier = replace(second, barrier=True)
    assert origins(replace(known, offers=(first, barrier, third))) == ["2.0.0"]
    no_crossing = replace(third, crossing=False)
    assert origins(replace(known, offers=(first, second, no_crossing))) == ["2.0.0"]
    newer = replace(third, release=third.release._replace(minimum_version="2.5"))
    assert origins(replace(known, offers=(first, second, newer))) == []
    # A share or a date is no matter: it is told what a box fetches whose time has come.
    later = replace(third, share_percent=0, since_s=1 << 33, by_request=True)
    assert origins(replace(known, offers=(first, second, later))) == ["2.0.0", "1.0.0"]


def test_a_32_bit_box_goes_to_a_32_bit_release_of_the_same_version(vendor: Vendor) -> None:
    add(vendor, "1.0.0", I386, A + B)
    add(vendor, "2.0.0", AMD64, A + C)
    add(vendor, "2.0.0", I386, A + C)
    known = staged(vendor)
    for offer in known.offers[1:]:
        weight = weighing.weigh(vendor.layout, known, offer)
        assert [one.origin.version for one in weight.fetched] == ["1.0.0"]


def test_an_earlier_bundle_that_is_gone_is_not_told_of(vendor: Vendor) -> None:
    add(vendor, "1.0.0", AMD64, A)
    vendor.publish()
    add(vendor, "2.0.0", AMD64, A + B)
    known = staged(vendor)
    said = adding.manifest_of(vendor.layout, known.offers[0])
    assert said is not None
    place = vendor.layout.public / said.index.path
    whole = place.read_bytes()
    place.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert weighing.weigh(vendor.layout, known, known.offers[1]).fetched == ()
    place.write_bytes(whole)
    assert len(weighing.weigh(vendor.layout, known, known.offers[1]).fetched) == 1
    (vendor.layout.public / said.payload.path).unlink()
    assert weighing.weigh(vendor.layout, known, known.offers[1]).fetched == ()


@pytest.mark.parametrize("kind", ["directory", "pipe", "link to nothing", "huge", "no plain file"])
def test_an_earlier_index_that_cannot_be_read_fails_nothing(vendor: Vendor, kind: str) -> None:
    add(vendor, "1.0.0", AMD64, A)
    add(vendor, "2.0.0", AMD64, A + B)
    known = staged(vendor)
    said = adding.manifest_of(vendor.layout, known.offers[0])
    assert said is not None
    place = vendor.layout.staged / said.index.path
    assert len(weighing.weigh(vendor.layout, known, known.offers[1]).fetched) == 1
    place.unlink()
    if kind == "directory":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "link to nothing":
        place.symlink_to("gone")
    elif kind == "huge":
        place.touch()
        os.truncate(place, 1 << 40)
    else:
        place.symlink_to("/dev/full")
    assert weighing.weigh(vendor.layout, known, known.offers[1]).fetched == ()


def test_a_bundle_that_is_not_whole(vendor: Vendor) -> None:
    add(vendor, "1.0.0", AMD64, A)
    known = staged(vendor)
    said = adding.manifest_of(vendor.layout, known.offers[0])
    assert said is not None
    (vendor.layout.staged / said.index.path).write_bytes(b"AFINDEX1")
    with pytest.raises(PayloadError, match="was changed"):
        weighing.weigh(vendor.layout, known, known.offers[0])
    (vendor.layout.staged / said.index.path).unlink()
    with pytest.raises(PayloadError, match="is missing"):
        weighing.weigh(vendor.layout, known, known.offers[0])
    (vendor.layout.staged / said.payload.path).unlink()
    with pytest.raises(PayloadError, match="is not there"):
        weighing.weigh(vendor.layout, known, known.offers[0])

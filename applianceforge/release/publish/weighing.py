"""Say how large a bundle is, and how much of it boxes with earlier releases fetch.

A box's running slot is the image of an earlier release, and the index of that release's bundle has
the digests of its blocks. So nothing is read or unpacked again: what is missing, the frames that
hold it and the requests for them are found out as `installation` does on the box.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from applianceforge.model.errors import AccessDeniedError, PayloadError, SettingsError
from applianceforge.release import index
from applianceforge.release.graph import Graph, Offer
from applianceforge.release.index import Index, Run
from applianceforge.release.manifest import Manifest
from applianceforge.release.publish import adding, outlook
from applianceforge.release.publish.layout import Layout
from applianceforge.release.requests import requests_for
from applianceforge.release.reuse import Blocks
from applianceforge.system import files
from applianceforge.system.files import named_errors


@dataclass(frozen=True)
class Fetched:
    """What a box fetches that runs an earlier release, and whose other slot holds nothing of use.

    Attributes:
        origin: The earlier release.
        size_bytes: The index, and the parts of the payload that are asked for.
    """

    origin: Offer
    size_bytes: int


@dataclass(frozen=True)
class Weight:
    """How large a bundle is.

    Attributes:
        slot_bytes: The slot's file system, unpacked.
        payload_bytes: The same, packed.
        index_bytes: The index.
        frames: How many parts of the payload can be fetched alone.
        fetched: For each earlier release along which the payload was cut and from which a hop
            leads to it, the newest first.
    """

    slot_bytes: int
    payload_bytes: int
    index_bytes: int
    frames: int
    fetched: tuple[Fetched, ...]

    @property
    def bundle_bytes(self) -> int:
        """Return what a box fetches that has nothing of it."""
        return self.payload_bytes + self.index_bytes


def weigh(layout: Layout, graph: Graph, offer: Offer) -> Weight:
    """Return how large the bundle of a release is, and how much of it boxes fetch.

    Args:
        layout: Of the repository.
        graph: All its releases, as they are staged.
        offer: The release, with its bundle.

    Raises:
        PayloadError: The bundle was changed or is not whole. Of an earlier release whose index is
            not, or cannot be read, nothing is said.
        WrongBundleError: A manifest is none.
    """
    said = adding.manifest_of(layout, offer)
    if said is None:
        raise PayloadError(
            f"the bundle of release {offer.version} is not there",
            hint="forget what is staged with `release discard`, and add the release again",
        )
    mine = _index(layout, said)
    return Weight(
        said.slot_bytes,
        said.payload.size_bytes,
        said.index.size_bytes,
        len(mine.frames),
        tuple(_fetched(layout, graph, offer, mine, said.index.size_bytes)),
    )


def _fetched(
    layout: Layout, graph: Graph, offer: Offer, mine: Index, index_bytes: int
) -> Iterator[Fetched]:
    for origin, said in adding.cut_along(layout, graph, offer.release):
        if not outlook.is_hop(graph, origin, offer):
            continue
        # The release is staged by then: whatever is wrong with another one fails nothing.
        with suppress(PayloadError, AccessDeniedError, SettingsError):
            had = _index(layout, said)
            yield Fetched(origin, index_bytes + payload_bytes(mine, had))


def payload_bytes(wanted: Index, had: Index) -> int:
    """Return how many bytes of a payload a box asks for.

    Args:
        wanted: The index of the release that it installs.
        had: The index of the release that it runs.
    """
    blocks = Blocks(wanted)
    for zeros in wanted.zeros:
        blocks.note(zeros)
    blocks.look_out()
    for run, _ in blocks.wanted(had.digests):
        blocks.note(run)
    requests = requests_for(
        frame for frame in wanted.frames if blocks.is_missing(Run(frame.first_block, frame.blocks))
    )
    return sum(one.size_bytes for one in requests)


def _index(layout: Layout, said: Manifest) -> Index:
    place = adding.place_of(layout, said.index)
    if place is None:
        raise _not_whole(said.index.path, "is missing")
    with named_errors(place, "read"):
        same = place.stat().st_size == said.index.size_bytes
    content = files.read_plain(place, follow=True) if same else None
    if content is None or hashlib.sha256(content).hexdigest() != said.index.sha256:
        raise _not_whole(str(place), "was changed since it was added")
    return index.decode(content, str(place))


def _not_whole(name: str, what: str) -> PayloadError:
    return PayloadError(
        f"{name} {what}",
        hint="forget what is staged with `release discard`, and add the release again",
    )

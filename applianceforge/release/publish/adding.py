"""Take a slot image into the staged graph: looked at, packed into a bundle, described."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import RepositoryError, WrongBundleError
from applianceforge.preflight.requirements import Release
from applianceforge.release import graph_file, manifest_file, metadata_limits, ordering
from applianceforge.release.graph import Graph, Offer
from applianceforge.release.manifest import Manifest, Part
from applianceforge.release.publish import bundle, staging
from applianceforge.release.publish.layout import Layout, bundle_target
from applianceforge.slots import images
from applianceforge.slots.images import Image
from applianceforge.system import files
from applianceforge.system.effects import Effects
from applianceforge.system.progress import ProgressSink

# More than any disk has: a slot image is not unpacked farther to look at it.
_LARGEST_SLOT_BYTES = 1 << 40
# A box has two slots, so an update finds blocks in two earlier releases at most.
_MOST_REFERENCES = 2
_LARGEST_MANIFEST_BYTES = 1 << 20


@dataclass(frozen=True)
class Addition:
    """What is to be added.

    Attributes:
        slot: The slot image, as it is or compressed by zstd.
        offer: What it is and how it is offered; without its bundle.
        level: zstd's, from 1 to 19.
    """

    slot: Path
    offer: Offer
    level: int = bundle.LEVEL


def require_addable(graph: Graph, offer: Offer) -> None:
    """Let a release pass that this graph can take.

    Raises:
        WrongBundleError: It is of another appliance.
        RepositoryError: It is there already, or its description contradicts itself.
    """
    release = offer.release
    if release.appliance != graph.appliance:
        raise WrongBundleError(
            f"the release {release.name} is for the appliance {release.appliance!r}, and this"
            f" repository for {graph.appliance!r}",
            hint="name this appliance's release, or its own repository",
        )
    if not ordering.is_version(release.version):
        raise RepositoryError(
            f"{release.version[:80]!r} is no version of a release",
            hint="write numbers with dots, such as 2.4.1; before it 2.4.1~rc1, after it 2.4.1+fix1",
        )
    require_new(graph, release)
    if offer.crossing and release.architecture is not Architecture.AMD64:
        raise RepositoryError(
            f"release {release.version} is for {release.architecture.value}, so it cannot be the"
            " crossing to 64 bits",
            hint="leave out --crossing, or name the 64-bit release that carries the migration",
        )
    barriers = {one.version for one in graph.offers if one.barrier}
    for version in offer.replaces:
        if version not in barriers:
            raise RepositoryError(
                f"release {release.version} is to replace {version}, which is no barrier here",
                hint=f"barriers are: {', '.join(sorted(barriers, key=ordering.key)) or 'none'}",
            )


def require_new(graph: Graph, release: Release) -> None:
    """Let a release pass that a graph does not have yet.

    Raises:
        RepositoryError: It has.
    """
    for one in graph.offers:
        same = ordering.compare(one.version, release.version) == 0
        if same and one.architecture is release.architecture:
            raise RepositoryError(
                f"there is a release {one.version} for {one.architecture.value} already",
                hint="give what was changed another version; what was published once stays what it"
                " is. If it is staged only, forget all that is staged: release discard",
            )


def require_same(slot: Path, release: Release) -> str:
    """Look at a slot image, and return the name of its recipe.

    Raises:
        SlotError: It is no slot image.
        WrongBundleError: It is of another version or architecture than the release says, or larger
            than the slots that the release asks for.
    """
    said, size_bytes = images.look_at_image(Image(slot), _LARGEST_SLOT_BYTES)
    found = f"{said.version} for {said.architecture.value}"
    wanted = f"{release.version} for {release.architecture.value}"
    if found != wanted:
        raise WrongBundleError(
            f"{slot} holds release {found}, and the release's file describes {wanted}",
            hint="name the slot image and the release's file of the same build",
        )
    if release.slot_bytes and size_bytes > release.slot_bytes:
        raise WrongBundleError(
            f"{slot} has a file system of {size_bytes} bytes, and the release's file asks for slots"
            f" of {release.slot_bytes}",
            hint="name the slot image and the release's file of the same build",
        )
    return said.name


def add(
    layout: Layout, graph: Graph, addition: Addition, effects: Effects, sink: ProgressSink
) -> Graph:
    """Pack a slot image into a bundle, and stage the graph with it.

    Nothing is staged before all of it is on the disk.

    Raises:
        SlotError: It is no slot image.
        WrongBundleError: Image, release and repository do not belong together.
        RepositoryError: The release is there already, or contradicts itself.
        DiskFullError: No space is left.
    """
    offer, release = addition.offer, addition.offer.release
    require_addable(graph, offer)
    slot_name = require_same(addition.slot, release)
    target = bundle_target(release.appliance, release.version, release.architecture)
    following = replace(graph, offers=(*graph.offers, replace(offer, bundle=target)))
    graph_file.encode(following)  # Packing takes minutes, so what is wrong is said before it.
    references = tuple(_references(layout, graph, release))
    files.make_directory(layout.staged, effects)
    made = bundle.make(
        addition.slot,
        release,
        slot_name,
        references,
        layout.staged,
        effects,
        sink,
        level=addition.level,
    )
    content = manifest_file.encode(made)
    if len(content) > metadata_limits.MANIFEST_BYTES:
        raise RepositoryError(
            f"the manifest would have {len(content)} bytes, and boxes take"
            f" {metadata_limits.MANIFEST_BYTES} at most",
            hint="let the release's file say less: data, extensions, locales",
        )
    path = layout.staged_target(target)
    files.make_directory(path.parent, effects)
    files.write_file(path, content, effects)
    staging.write(layout, following, effects)
    return following


def earlier(graph: Graph, release: Release) -> tuple[Offer, ...]:
    """Return the releases that boxes have when this one comes to them, the newest first."""
    return tuple(
        sorted(
            (
                offer
                for offer in graph.offers
                if offer.bundle and ordering.compare(offer.version, release.version) < 0
            ),
            key=lambda offer: ordering.key(offer.version),
            reverse=True,
        )[:_MOST_REFERENCES]
    )


def _references(layout: Layout, graph: Graph, release: Release) -> Iterator[Path]:
    """Return the payloads of earlier releases, which are slot images compressed by zstd."""
    for _, said in cut_along(layout, graph, release):
        payload = place_of(layout, said.payload)
        if payload is not None:
            yield payload


def cut_along(layout: Layout, graph: Graph, release: Release) -> tuple[tuple[Offer, Manifest], ...]:
    """Return the earlier releases along which a release is cut, with what their bundles hold.

    A bundle of an earlier release only makes an update smaller, so its payload may be gone.
    """
    found = ((one, manifest_of(layout, one)) for one in earlier(graph, release))
    return tuple((one, said) for one, said in found if said is not None)


def manifest_of(layout: Layout, offer: Offer) -> Manifest | None:
    """Return what the bundle of a release holds, staged or served; None if its payload is gone.

    Raises:
        WrongBundleError: The manifest is none.
    """
    parent, _, name = offer.bundle.rpartition("/")
    served = layout.targets / parent
    manifests = [layout.staged_target(offer.bundle)]
    manifests += sorted(served.glob(f"*.{name}")) if served.is_dir() else []
    for path in manifests:
        if not path.exists():
            continue
        with files.named_errors(path, "read"), open(path, "rb") as stream:
            said: Manifest = manifest_file.decode(stream.read(_LARGEST_MANIFEST_BYTES), str(path))
        if place_of(layout, said.payload) is not None:
            return said
    return None


def place_of(layout: Layout, part: Part) -> Path | None:
    """Return where a part of a bundle is, staged or served; None if it is gone."""
    places = (place / part.path for place in (layout.staged, layout.public))
    return next((path for path in places if path.exists()), None)

"""The manifest beside an image: what is in it and what it was made from, as one JSON document.

It holds no date and no name of a machine: the same inputs give the same manifest, byte for byte.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from applianceforge.imaging.package_set import Choice, PackageSet
from applianceforge.imaging.recipe import ImageRecipe

SCHEMA = 1


@dataclass(frozen=True)
class File:
    """A file of the image: its digest and size."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Inputs:
    """What an image was made from, beside its packages: digests.

    Attributes:
        recipe: Of the recipe's file.
        content: Of the overlays and our own package, as they lie in the slot.
        before: Of what was there before the packages were configured.
        extra: Of each overlay that was given beside those of the recipe; content has them too.
    """

    recipe: str
    content: str
    before: str
    extra: tuple[str, ...] = ()


def encode(
    recipe: ImageRecipe, chosen: Choice, inputs: Inputs, signature: int, files: tuple[File, ...]
) -> str:
    """Return the document.

    Args:
        recipe: What was built.
        chosen: Its packages.
        inputs: What else it was made from.
        signature: The disk's.
        files: What belongs to the image.
    """
    document = {
        "schema": SCHEMA,
        "name": recipe.name,
        "appliance": recipe.appliance,
        "title": recipe.title,
        "version": recipe.version,
        "architecture": recipe.architecture.value,
        "epoch_s": chosen.image.epoch_s,
        "disk": {
            "signature": f"{signature:08x}",
            "slot_bytes": recipe.slot_bytes,
            "data_bytes": recipe.data_bytes,
        },
        "files": {one.name: {"sha256": one.sha256, "size_bytes": one.size_bytes} for one in files},
        "inputs": asdict(inputs),
        "image": _set(chosen.image, recipe.security),
        "wheels": [asdict(wheel) for wheel in recipe.wheels],
        "trees": {tree.path: _set(chosen.tree(tree.path), tree.security) for tree in recipe.trees},
    }
    return json.dumps(document, indent=1) + "\n"


def _set(one: PackageSet, wanted: bool) -> dict[str, Any]:
    left_out = wanted and not one.security
    return {
        "suite": one.suite,
        "architecture": one.architecture.value,
        "security_updates": "left out" if left_out else "taken" if one.security else "not wanted",
        "packages": [asdict(package) for package in one.packages],
    }

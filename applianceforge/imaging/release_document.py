"""The RELEASE.json of an image: what a machine must have to take it.

docs/requirements.md describes it. What the recipe requires is there, and what the tree has.
"""

import json
from typing import Any

from applianceforge.imaging.recipe import ImageRecipe
from applianceforge.imaging.tree_facts import TreeFacts
from applianceforge.preflight.release_file import SCHEMA
from applianceforge.preflight.requirements import Kernel, PostgreSQL, Release

# Our disks have a GRUB for the BIOS, and no other.
_FIRMWARE = "bios"


def release_of(recipe: ImageRecipe, facts: TreeFacts, epoch_s: int) -> Release:
    """Return what the release says of itself.

    Args:
        recipe: What was built.
        facts: What is in its tree.
        epoch_s: When it was built: the date of its packages.
    """
    requires = recipe.requires
    there = None
    if facts.postgresql:
        there = PostgreSQL(facts.postgresql, facts.extensions, facts.locales)
    return Release(
        recipe.architecture,
        appliance=recipe.appliance,
        version=recipe.version,
        released_s=epoch_s,
        x86_64_level=requires.x86_64_level,
        memory_bytes=requires.memory_bytes,
        data_bytes=requires.data_bytes,
        slot_bytes=recipe.slot_bytes,
        minimum_version=requires.minimum_version,
        firmware=_FIRMWARE,
        kernel=Kernel(facts.kernel, facts.ia32_emulation),
        postgresql=there,
        last_32_bit=recipe.last_32_bit,
    )


def encode(release: Release) -> bytes:
    """Return the file."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "appliance": release.appliance,
        "version": release.version,
        "architecture": release.architecture.value,
        "released_s": release.released_s,
    }
    requires = {
        "x86_64_level": release.x86_64_level if release.long_mode else 0,
        "memory_bytes": release.memory_bytes,
        "data_bytes": release.data_bytes,
        "slot_bytes": release.slot_bytes,
        "minimum_version": release.minimum_version,
        "firmware": release.firmware,
    }
    document["requires"] = {key: value for key, value in requires.items() if value}
    for key, part in (("kernel", release.kernel), ("postgresql", release.postgresql)):
        if part is not None:
            document[key] = part._asdict()
    if release.last_32_bit is not None:
        last = release.last_32_bit._asdict()
        document["last_32_bit"] = {key: value for key, value in last.items() if value}
    return (json.dumps(document, indent=1) + "\n").encode()

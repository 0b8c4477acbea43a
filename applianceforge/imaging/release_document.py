"""The RELEASE.json of an image: what a machine must have to take it.

docs/requirements.md describes it. What the recipe requires is there, and what the tree has.
"""

import json

from applianceforge.imaging.recipe import ImageRecipe
from applianceforge.imaging.tree_facts import TreeFacts
from applianceforge.preflight import release_file
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
    return (json.dumps(release_file.encode(release), indent=1) + "\n").encode()

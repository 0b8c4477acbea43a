"""What contradicts itself in a recipe, though each of its values is right."""

import re
from collections import Counter

from applianceforge.imaging.recipe import ImageRecipe
from applianceforge.imaging.recipe_table import Problem
from applianceforge.model.architecture import Architecture

# An MBR counts sectors in 32 bits; two slots and the data partition share that.
LARGEST_BYTES = 512 << 30
DIRECTORY = r"[A-Za-z0-9][A-Za-z0-9._/-]*"


def contradictions(recipe: ImageRecipe) -> list[Problem]:
    """Return what is named twice, leads out of the image, or excludes each other."""
    found = []
    groups = {(user.gid, user.group) for user in recipe.users}
    for key, values in (
        ("users.name", [user.name for user in recipe.users]),
        ("users.uid", [str(user.uid) for user in recipe.users]),
        ("users.gid", [str(gid) for gid, _ in groups]),
        ("users.group", [group for _, group in groups]),
        ("packages.include", list(recipe.packages.all)),
        ("overlays", list(recipe.overlays)),
        ("trees.path", [tree.path for tree in recipe.trees]),
        ("modes.path", [mode.path for mode in recipe.modes]),
        ("units.enable", list(recipe.units.enable)),
        ("wheels.name", [wheel.name for wheel in recipe.wheels]),
    ):
        for value, times in Counter(values).items():
            if times > 1:
                found.append(Problem(key, f"has {value} {times} times", "name each once"))
    found += [
        Problem("units.mask", f"has {unit}, which units.enable has too", "choose one of them")
        for unit in sorted(set(recipe.units.enable) & set(recipe.units.mask))
    ]
    for key, paths in (
        ("modes.path", [mode.path for mode in recipe.modes]),
        ("trees.path", [tree.path for tree in recipe.trees]),
        ("remove", list(recipe.remove)),
        ("overlays", list(recipe.overlays)),
        ("packages.before", list(recipe.packages.before)),
        ("data.overlay", [recipe.data_overlay]),
    ):
        found += [
            Problem(key, f"has {path}, which goes up by ..", "name the place itself")
            for path in paths
            if ".." in path.split("/")
        ]
    found += [
        Problem(key, "is the whole image", "name what is below it")
        for key, paths in (
            ("trees.path", [tree.path for tree in recipe.trees]),
            ("remove", list(recipe.remove)),
        )
        for path in paths
        if not path.strip("/*")
    ]
    if 2 * recipe.slot_bytes + recipe.data_bytes > 2 * LARGEST_BYTES:
        found.append(Problem("slot.size", "and data.size make too large a disk", "shrink one"))
    if recipe.architecture is Architecture.I386 and recipe.requires.x86_64_level > 1:
        what = f"is {recipe.requires.x86_64_level}, and architecture is i386"
        found.append(Problem("requires.x86_64_level", what, "leave it out"))
    if recipe.architecture is Architecture.I386 and recipe.last_32_bit is not None:
        what = "is set, and this is a release for machines without long mode itself"
        found.append(Problem("last_32_bit", what, "leave it out"))
    return found


def missing_directories(recipe: ImageRecipe, there: tuple[str, ...]) -> list[Problem]:
    """Return which directories the recipe names, though they do not lie beside it."""
    named = (
        *(("overlays", name) for name in recipe.overlays),
        *(("packages.before", name) for name in recipe.packages.before),
        *([("data.overlay", recipe.data_overlay)] if recipe.data_overlay else []),
    )
    return [
        Problem.unknown(key, f"names the directory {name}, which is not there", name, there)
        for key, name in named
        if re.fullmatch(DIRECTORY, name) and name not in there
    ]

"""Make the file system of the data partition as a new appliance has it."""

from pathlib import Path

from applianceforge.imaging import disk, store
from applianceforge.imaging.content import entries_below, tree_of
from applianceforge.imaging.plan import Owned, Plan, Product
from applianceforge.imaging.recipe import ImageRecipe, error_of
from applianceforge.imaging.recipe_table import Problem
from applianceforge.imaging.slot_image import BELOW_DATA, carry_out
from applianceforge.imaging.stages import Stages

# Goes up when the same inputs make another file system than before.
_SCHEMA = 1
IMAGE = "data.img"


def make_data(recipe: ImageRecipe, directory: Path, epoch_s: int, stages: Stages) -> Path:
    """Return the directory with the data partition's file system, made first if need be.

    Args:
        recipe: Of the image.
        directory: Where the recipe lies.
        epoch_s: The latest date of a file.
        stages: Of this build.

    Raises:
        RecipeError: A path that the recipe names is not there, or the content does not fit.
    """
    content = tree_of(
        entries_below(directory / recipe.data_overlay) if recipe.data_overlay else iter(())
    )
    modes = _modes(recipe)
    parts = (str(_SCHEMA), content.digest, repr(modes), str(recipe.data_bytes), str(epoch_s))
    name = f"data-{recipe.name}-{store.key_of(parts)}"

    def make(target: Path) -> None:
        todo = Plan(
            Product.DATA,
            target / "work",
            (),
            target / IMAGE,
            disk.uuid_of(recipe.name, "data"),
            "data",
            epoch_s,
            f"{recipe.name}.toml",
            size_bytes=recipe.data_bytes,
            modes=modes,
        )
        carry_out(todo, content, (), stages)

    return stages.obtain(name, "make the data partition's file system", make)


def _modes(recipe: ImageRecipe) -> tuple[Owned, ...]:
    """Return the modes of paths on the data partition, with numbers for its owners."""
    users = {user.name: str(user.uid) for user in recipe.users} | {"root": "0"}
    groups = {user.group: str(user.gid) for user in recipe.users} | {"root": "0"}
    found, problems = [], []
    for one in recipe.modes:
        if one.path.startswith(BELOW_DATA):
            user, _, group = one.owner.partition(":")
            for name, known in ((user, users), (group, groups)):
                if not (name in known or name.isdecimal()):
                    what = f"names {name}, who is not in users"
                    problems.append(Problem.unknown("modes.owner", what, name, known))
            owner = f"{users.get(user, user)}:{groups.get(group, group)}"
            found.append(Owned(one.path.removeprefix(BELOW_DATA), one.mode, owner))
    if problems:
        raise error_of(f"{recipe.name}.toml", problems)
    return tuple(found)

"""Hold a recipe against what will be in the image, before the time is spent on making it.

What overlays bring is known before a package is fetched; what packages bring, as soon as they are
installed. The work on the tree checks all of it again, as scripts and links may make more.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import PurePosixPath

from applianceforge.imaging.content import Tree
from applianceforge.imaging.recipe import ImageRecipe, error_of
from applianceforge.imaging.recipe_table import Problem
from applianceforge.slots import layout

_MIB = 1 << 20
_UNITS = ("usr/lib/systemd/system", "lib/systemd/system", "etc/systemd/system")
_SCRIPTS = "etc/init.d"
_GLOB = set("*?[")
_LINK = "l"


def check_content(file: str, recipe: ImageRecipe, content: Tree) -> None:
    """Check what is known without any package.

    Args:
        file: The recipe's name, for messages.
        recipe: What is built.
        content: What goes into the image beside packages.

    Raises:
        RecipeError: All problems are named at once.
    """
    problems = [*_too_large(recipe, content), *_never_started(recipe, content)]
    paths = [entry.path for entry in content.entries]
    problems += [
        Problem("boot.initrd_paths", f"has {place}, which no overlay brings", "leave it out")
        for place in recipe.initrd_paths
        if not any(f"{path}/".startswith(f"{place.strip('/')}/") for path in paths)
    ]
    if problems:
        raise error_of(file, problems)


def _too_large(recipe: ImageRecipe, content: Tree) -> Iterator[Problem]:
    needed = sum(
        len(entry.content) if entry.source is None else entry.source.stat().st_size
        for entry in content.entries
    )
    if needed > recipe.slot_bytes:
        what = f"is {recipe.slot_bytes // _MIB}MiB, but overlays alone have {needed // _MIB}MiB"
        yield Problem("slot.size", what, "make it larger, or take files out")


def _never_started(recipe: ImageRecipe, content: Tree) -> Iterator[Problem]:
    """Find units of overlays that are enabled, and say nothing of when to start."""
    for unit in recipe.units.enable:
        named = {f"{place}/{name}" for place in _UNITS for name in (unit, _template(unit))}
        for entry in content.entries:
            if entry.path in named and not _has_install(entry.read()):
                what = f"has {unit}, which has no [Install] section"
                yield Problem("units.enable", what, f"add one to {entry.path}")


def _has_install(content: bytes) -> bool:
    lines = content.decode(errors="replace").splitlines()
    return any(line.strip() == "[Install]" for line in lines)


def check_tree(file: str, recipe: ImageRecipe, content: Tree, names: bytes) -> None:
    """Check what is known once packages are installed.

    Args:
        file: The recipe's name, for messages.
        recipe: What is built.
        content: What goes into the image beside packages.
        names: What the packages brought: the file `packages.NAMES`.

    Raises:
        RecipeError: All problems are named at once.
    """
    there = _There(content, names)
    problems = [
        *_unknown_units(recipe, there),
        *(
            Problem(
                "modes.path", f"names {one.path}, which is not there", "let an overlay bring it"
            )
            for one in recipe.modes
            if not one.path.startswith(f"{layout.DATA_MOUNT_POINT}/")
            and not _in_a_tree(one.path, recipe)
            and there.lacks(one.path)
        ),
        *(
            Problem("remove", f"has {glob}, which matches nothing", "leave it out")
            for glob in recipe.remove
            if not set(glob) & _GLOB and not _in_a_tree(glob, recipe) and there.lacks(glob)
        ),
    ]
    if problems:
        raise error_of(file, problems)


def _unknown_units(recipe: ImageRecipe, there: "_There") -> Iterator[Problem]:
    known = there.units
    for unit in recipe.units.enable:
        script = f"{_SCRIPTS}/{unit.removesuffix('.service')}"
        if unit not in known and _template(unit) not in known and there.lacks(script):
            what = f"has {unit}, which no package and no overlay brings"
            yield Problem.unknown("units.enable", what, unit, known)


def _template(unit: str) -> str:
    """Return the unit that an instance such as getty@tty1.service is made from."""
    name, _, kind = unit.rpartition(".")
    return f"{name.partition('@')[0]}@.{kind}" if "@" in name else unit


def _in_a_tree(path: str, recipe: ImageRecipe) -> bool:
    return any(f"{path}/".startswith(f"{tree.path}/") for tree in recipe.trees)


class _There:
    """The paths of a tree, with links only as far as it takes to be sure that one is not there."""

    def __init__(self, content: Tree, names: bytes) -> None:
        entries = [one.partition("\t") for one in names.decode(errors="replace").split("\0")]
        self._links = {name[1:]: target for name, _, target in entries if name[:1] == _LINK}
        self._paths = {name[1:] for name, _, _ in entries}
        for entry in content.entries:
            self._paths |= {entry.path, *map(str, PurePosixPath(entry.path).parents)}
            if stat.S_ISLNK(entry.mode):
                self._links[entry.path] = os.fsdecode(entry.content)

    @property
    def units(self) -> frozenset[str]:
        """Return the names of systemd's units."""
        found = (path.rpartition("/") for path in self._paths)
        return frozenset(name for place, _, name in found if place in _UNITS)

    def lacks(self, path: str) -> bool:
        """Return whether a path is certainly not there."""
        words = path.strip("/").split("/")
        # /lib is usr/lib on every Debian of today.
        words[:1] = self._links.get(words[0], words[0]).strip("/").split("/")
        parents = ("/".join(words[:count]) for count in range(1, len(words)))
        if any(parent in self._links for parent in parents):
            return False
        return "/".join(words) not in self._paths

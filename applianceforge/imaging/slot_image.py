"""Make the file system of a slot: packages, overlays, foreign trees and our own package.

Two stages lie between the packages and the slot, so that a change of an overlay costs no more than
it must: the initial RAM disk depends on the packages and on its own settings alone.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID, uuid5

from applianceforge.formats import envblock
from applianceforge.imaging import inside, namespace, plan, roottree, store
from applianceforge.imaging.content import (
    Entry,
    Tree,
    directory_entry,
    entries_below,
    file_entry,
    tree_of,
    write_tar,
)
from applianceforge.imaging.packages import ROOT
from applianceforge.imaging.plan import Owned, Plan
from applianceforge.imaging.recipe import ForeignTree, ImageRecipe, error_of
from applianceforge.imaging.recipe_table import Problem
from applianceforge.imaging.stages import Stages
from applianceforge.model import errors
from applianceforge.model.errors import ForgeError, ProgramFailedError
from applianceforge.slots import layout
from applianceforge.system import programs
from applianceforge.system.programs import Command

# Goes up when the same inputs make another slot than before.
_SCHEMA = 1
IMAGE = "slot.img"
_PACKAGE = Path(__file__).parent.parent
_MODULES = "/usr/lib/python3/dist-packages/applianceforge"
_COMMAND = b"""#!/usr/bin/python3 -I
import sys

from applianceforge.cli.entry import main

sys.exit(main())
"""
# What ends up in the initial RAM disk, or decides what does.
_OF_THE_INITRD = (
    "etc/initramfs-tools/",
    "usr/share/initramfs-tools/",
    "etc/modprobe.d/",
    "etc/modules-load.d/",
    "usr/lib/modprobe.d/",
    "usr/lib/modules-load.d/",
    "etc/udev/",
    "usr/lib/udev/",
    "etc/modules",
    "etc/fstab",
    "etc/e2fsck.conf",
    "etc/default/",
)
_FILE_SYSTEMS = UUID("6f4b6f2c-7c0e-5d5e-9a0c-2f6d1e4a8b37")
_MIB = 1 << 20


@dataclass(frozen=True)
class Inputs:
    """What a slot is made from, beside its packages.

    Attributes:
        content: Overlays, our own package, and what names the release.
        trees: The foreign trees with what identifies their content.
    """

    content: Tree
    trees: tuple[tuple[ForeignTree, str], ...]


def content_of(recipe: ImageRecipe, directory: Path) -> Tree:
    """Gather the files that go into the slot from beside the recipe and from ourselves."""
    return tree_of(_content(recipe, directory))


def _content(recipe: ImageRecipe, directory: Path) -> Iterator[Entry]:
    for place in (layout.BOOT_MOUNT_POINT, layout.DATA_MOUNT_POINT):
        yield directory_entry(place.lstrip("/"))
    yield from entries_below(_PACKAGE, _MODULES.lstrip("/"), lambda name: name != "__pycache__")
    yield file_entry("usr/bin/applianceforge", _COMMAND, 0o755)
    for name in recipe.overlays:
        yield from entries_below(directory / name)
    yield file_entry("etc/applianceforge/release.env", _release(recipe).encode())
    yield file_entry(layout.DESCRIPTION, _description(recipe))


def _release(recipe: ImageRecipe) -> str:
    return (
        f"NAME={recipe.name}\nVERSION={recipe.version}\nARCHITECTURE={recipe.architecture.value}\n"
    )


def _description(recipe: ImageRecipe) -> bytes:
    values = (
        "1",
        recipe.architecture.value,
        recipe.name,
        recipe.version,
        recipe.boot_arguments,
    )
    return envblock.encode(zip(layout.SLOT_VARIABLES, values, strict=True))


def initrd_content(recipe: ImageRecipe, content: Tree) -> Tree:
    """Return the part of the content that the initial RAM disk depends on."""
    places = [f"{place.strip('/')}/" for place in (*_OF_THE_INITRD, *recipe.initrd_paths)]
    return tree_of(
        entry
        for entry in content.entries
        if any(f"{entry.path}/".startswith(place) for place in places)
    )


def make_initrd(
    recipe: ImageRecipe, root: Path, content: Tree, epoch_s: int, stages: Stages
) -> Path:
    """Return the directory with the initial RAM disk, made first if the cache lacks it.

    Args:
        recipe: Of the image.
        root: The stage of its packages.
        content: Of the whole slot.
        epoch_s: The latest date of a file.
        stages: Of this build.
    """
    part = initrd_content(recipe, content)
    name = f"initrd-{recipe.name}-{store.key_of((str(_SCHEMA), root.name, part.digest))}"

    def make(directory: Path) -> None:
        todo = _plan(recipe, directory, root, epoch_s, name)
        _carry_out(todo, part, (), directory, stages)
        (todo.work / inside.KEPT_INITRD).rename(directory / inside.KEPT_INITRD)
        namespace.remove_tree(todo.work, stages.effects)

    return stages.obtain(name, "make the initial RAM disk", make)


def make_slot(
    recipe: ImageRecipe,
    root: Path,
    initrd: Path,
    inputs: Inputs,
    epoch_s: int,
    obtain_tree: Callable[[ForeignTree], Path],
    stages: Stages,
) -> Path:
    """Return the directory with the slot's file system, made first if the cache lacks it.

    Args:
        recipe: Of the image.
        root: The stage of its packages.
        initrd: The stage of its initial RAM disk.
        inputs: What else goes in.
        epoch_s: The latest date of a file.
        obtain_tree: Returns the directory of a foreign tree.
        stages: Of this build.

    Raises:
        RecipeError: A unit, path or owner that the recipe names is not there, or the slot is too
            small.
    """
    parts = (
        str(_SCHEMA),
        root.name,
        initrd.name,
        inputs.content.digest,
        repr([(tree.path, key) for tree, key in inputs.trees]),
        repr((recipe.modes, recipe.units, recipe.remove)),
        str(epoch_s),
    )
    name = f"slot-{recipe.name}-{store.key_of(parts)}"

    def make(directory: Path) -> None:
        todo = replace(
            _plan(recipe, directory, root, epoch_s, name),
            initrd=initrd / inside.KEPT_INITRD,
            image=directory / IMAGE,
        )
        trees = tuple((tree.path, obtain_tree(tree)) for tree, _ in inputs.trees)
        _carry_out(todo, inputs.content, trees, directory, stages)
        namespace.remove_tree(todo.work, stages.effects)

    made = stages.obtain(name, "make the slot's file system", make)
    size_bytes = (made / IMAGE).stat().st_size
    if size_bytes > recipe.slot_bytes:
        what = f"is {recipe.slot_bytes // _MIB}MiB, and its content needs {-(-size_bytes // _MIB)}"
        remedy = f"write at least {-(-size_bytes // _MIB)}MiB, or leave out packages or paths"
        raise error_of(f"{recipe.name}.toml", [Problem("slot.size", what, remedy)])
    return made


def _plan(recipe: ImageRecipe, directory: Path, root: Path, epoch_s: int, name: str) -> Plan:
    below_data = f"{layout.DATA_MOUNT_POINT}/"
    return Plan(
        work=directory / "work",
        tars=(root / ROOT, directory / "content.tar"),
        initrd=None,
        image=None,
        uuid=uuid5(_FILE_SYSTEMS, name),
        label=recipe.name[:16],
        most_bytes=recipe.slot_bytes,
        epoch_s=epoch_s,
        enable=recipe.units.enable,
        mask=recipe.units.mask,
        default_target=recipe.units.default_target,
        modes=tuple(
            Owned(one.path, one.mode, one.owner)
            for one in recipe.modes
            if not one.path.startswith(below_data)
        ),
        remove=recipe.remove,
        compile=(_MODULES,),
        recipe=f"{recipe.name}.toml",
    )


def _carry_out(
    todo: Plan,
    content: Tree,
    trees: tuple[tuple[str, Path], ...],
    directory: Path,
    stages: Stages,
) -> None:
    """Run the plan in the namespace, and raise its error as if it had been ours."""
    namespace.check()
    todo.work.mkdir()
    write_tar(content, directory / "content.tar", todo.epoch_s)
    tars = list(todo.tars)
    for number, (place, tree) in enumerate(trees):
        tar = directory / f"tree{number}.tar"
        write_tar(tree_of(entries_below(tree, place.lstrip("/"))), tar, todo.epoch_s)
        tars.append(tar)
    document, said = directory / "plan.json", directory / "said.json"
    document.write_text(plan.encode(replace(todo, tars=tuple(tars))))
    words = (sys.executable, "-P", "-m", "applianceforge.imaging.inside", str(document))
    command = Command(words, (("PYTHONPATH", str(_PACKAGE.parent)),), name="the work on the tree")
    try:
        programs.run(namespace.enclosed(command), stages.effects, output=said)
    except ProgramFailedError as error:
        raise _error_in(said) or error from error
    for path in (*tars[1:], document, said):
        path.unlink()


def _error_in(said: Path) -> ForgeError | None:
    try:
        content = json.loads(said.read_text())
        kind = getattr(errors, content["kind"])
    except (ValueError, KeyError, AttributeError, OSError):
        return None
    if not (isinstance(kind, type) and issubclass(kind, ForgeError)):
        return None
    return kind(content["message"], hint=content["hint"], evidence=tuple(content["evidence"]))


def foreign_recipe(tree: ForeignTree) -> roottree.Recipe:
    """Return the recipe of a foreign tree."""
    return roottree.Recipe(tree.suite, tree.architecture, tree.packages, locales=tree.locales)

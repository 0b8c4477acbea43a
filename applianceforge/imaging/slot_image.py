"""Make the file system of a slot: packages, overlays, foreign trees and our own package.

Two stages lie between the packages and the slot, so that a change of an overlay costs no more than
it must: the initial RAM disk depends on the packages and on its own settings alone.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID, uuid5

from applianceforge.imaging import namespace, plan, store
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
from applianceforge.imaging.plan import Owned, Plan, Product
from applianceforge.imaging.recipe import ForeignTree, ImageRecipe
from applianceforge.imaging.stages import Stages
from applianceforge.imaging.wheels import MODULES
from applianceforge.model import errors
from applianceforge.model.errors import ForgeError
from applianceforge.slots import description, layout
from applianceforge.slots.description import Description
from applianceforge.system import programs
from applianceforge.system.programs import Command

# Goes up when the same inputs make another slot than before.
_SCHEMA = 2
IMAGE = "slot.img"
FACTS = "facts.json"
INITRD = "initrd.img"
_PACKAGE = Path(__file__).parent.parent
_MODULES = f"/{MODULES}/applianceforge"
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
_LONGEST_LABEL = 16
BELOW_DATA = f"{layout.DATA_MOUNT_POINT}/"


@dataclass(frozen=True)
class Inputs:
    """What a slot is made from, beside its packages.

    Attributes:
        content: Overlays, our own package, and what names the release.
        trees: The foreign trees with what identifies their content.
        wheels: The paths of files of wheels, which lie in the content.
    """

    content: Tree
    trees: tuple[tuple[ForeignTree, str], ...]
    wheels: tuple[str, ...] = ()


def content_of(
    recipe: ImageRecipe,
    directory: Path,
    epoch_s: int,
    extra: tuple[Path, ...] = (),
    wheels: tuple[Entry, ...] = (),
) -> Tree:
    """Gather the files that go into the slot from beside the recipe and from ourselves.

    Args:
        recipe: Of the image.
        directory: Where the recipe lies.
        epoch_s: The date of the packages, which counts as when the image was built.
        extra: Overlays beside those of the recipe, after them.
        wheels: The files of wheels; an overlay may have a better one.
    """
    return tree_of((*wheels, *_content(recipe, directory, epoch_s, extra)))


def _content(
    recipe: ImageRecipe, directory: Path, epoch_s: int, extra: tuple[Path, ...]
) -> Iterator[Entry]:
    for place in (layout.BOOT_MOUNT_POINT, layout.DATA_MOUNT_POINT):
        yield directory_entry(place.lstrip("/"))
    yield from entries_below(_PACKAGE, _MODULES.lstrip("/"), lambda name: name != "__pycache__")
    yield file_entry("usr/bin/applianceforge", _COMMAND, 0o755)
    for overlay in (*(directory / name for name in recipe.overlays), *extra):
        yield from entries_below(overlay)
    yield file_entry("etc/applianceforge/release.env", _release(recipe, epoch_s).encode())
    yield file_entry(layout.DESCRIPTION, _description(recipe))


def _release(recipe: ImageRecipe, epoch_s: int) -> str:
    return (
        f"NAME={recipe.name}\nVERSION={recipe.version}\nARCHITECTURE={recipe.architecture.value}\n"
        f"APPLIANCE={recipe.appliance}\nBUILT_S={epoch_s}\n"
    )


def _description(recipe: ImageRecipe) -> bytes:
    return description.encode(
        Description(recipe.architecture, recipe.name, recipe.version, recipe.boot_arguments)
    )


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
    name = (
        f"initrd-{recipe.architecture.value}-{store.key_of((str(_SCHEMA), root.name, part.digest))}"
    )

    def make(directory: Path) -> None:
        todo = Plan(
            Product.INITRD,
            directory / "work",
            (root / ROOT,),
            directory / INITRD,
            uuid5(_FILE_SYSTEMS, name),
            "",
            epoch_s,
            f"{recipe.name}.toml",
        )
        carry_out(todo, part, (), stages)

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
        RecipeError: A unit, path or owner that the recipe names is not there.
    """
    parts = (
        str(_SCHEMA),
        root.name,
        initrd.name,
        inputs.content.digest,
        repr([(tree.path, key) for tree, key in inputs.trees]),
        repr(inputs.wheels),
        repr((recipe.modes, recipe.units, recipe.remove)),
        str(epoch_s),
    )
    name = f"slot-{recipe.name}-{store.key_of(parts)}"

    def make(directory: Path) -> None:
        todo = Plan(
            Product.SLOT,
            directory / "work",
            (root / ROOT,),
            directory / IMAGE,
            uuid5(_FILE_SYSTEMS, name),
            recipe.name[:_LONGEST_LABEL],
            epoch_s,
            f"{recipe.name}.toml",
            initrd=initrd / INITRD,
            enable=recipe.units.enable,
            mask=recipe.units.mask,
            default_target=recipe.units.default_target,
            modes=tuple(
                Owned(one.path, one.mode, one.owner)
                for one in recipe.modes
                if not one.path.startswith(BELOW_DATA)
            ),
            remove=recipe.remove,
            compile=(_MODULES, *_modules_of(inputs.wheels)),
            wheels=inputs.wheels,
            facts=directory / FACTS,
        )
        trees = tuple((tree.path, obtain_tree(tree)) for tree, _ in inputs.trees)
        carry_out(todo, inputs.content, trees, stages)

    return stages.obtain(name, "make the slot's file system", make)


def _modules_of(wheels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the packages of wheels, and the modules that are in none."""
    below = (path.removeprefix(f"{MODULES}/").split("/") for path in wheels)
    names = {words[0] for words in below if len(words) > 1 or words[0].endswith(".py")}
    return tuple(f"/{MODULES}/{name}" for name in sorted(names) if not name.endswith(".dist-info"))


def carry_out(
    todo: Plan, content: Tree, trees: tuple[tuple[str, Path], ...], stages: Stages
) -> None:
    """Run a plan in the namespace, and raise its error as if it had been ours.

    Args:
        todo: What to do; its `work` is made and removed.
        content: Unpacked after the plan's own tars.
        trees: Unpacked after that: where they go, and where they are.
        stages: Of this build.
    """
    namespace.check()
    directory = todo.work.parent
    todo.work.mkdir()
    packed = [directory / "content.tar"]
    write_tar(content, packed[0], todo.epoch_s)
    for number, (place, tree) in enumerate(trees):
        packed.append(directory / f"tree{number}.tar")
        write_tar(tree_of(entries_below(tree, place.lstrip("/"))), packed[-1], todo.epoch_s)
    document = directory / "plan.json"
    document.write_text(plan.encode(replace(todo, tars=(*todo.tars, *packed))))
    words = (sys.executable, "-P", "-m", "applianceforge.imaging.inside", str(document))
    command = Command(words, (("PYTHONPATH", str(_PACKAGE.parent)),), name="the work on the tree")
    # Its error must have a place even where the disk is full.
    handle = os.memfd_create("said")
    try:
        said = Path(f"/proc/self/fd/{handle}")
        programs.run(namespace.enclosed(command), stages.effects, output=said)
    except ForgeError as error:
        raise _error_in(said) or error from error
    finally:
        os.close(handle)
    for path in (*packed, document):
        path.unlink()
    namespace.remove_tree(todo.work, stages.effects)


def _error_in(said: Path) -> ForgeError | None:
    try:
        content = json.loads(said.read_text())
        kind = getattr(errors, content["kind"])
    except (ValueError, KeyError, AttributeError, OSError):
        return None
    if not (isinstance(kind, type) and issubclass(kind, ForgeError)):
        return None
    return kind(content["message"], hint=content["hint"], evidence=tuple(content["evidence"]))

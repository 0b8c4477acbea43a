"""Build images: from a recipe's name to the files that a machine boots.

    indices -> packages -> root -> initrd --+
       (a lock file stands for the first)   +-> slot -> disk
    overlays, foreign trees, our package ---+

Each arrow is a stage in the cache, named by the digest of what it is made from: what has not
changed is not made again.
"""

from dataclasses import dataclass
from pathlib import Path

from applianceforge.imaging import (
    indices,
    package_set,
    packages,
    recipe,
    roottree,
    slot_image,
    store,
)
from applianceforge.imaging.content import entries_below, tree_of
from applianceforge.imaging.indices import Source
from applianceforge.imaging.package_set import PackageSet
from applianceforge.imaging.recipe import ImageRecipe
from applianceforge.imaging.recipe_table import Problem
from applianceforge.imaging.slot_image import Inputs
from applianceforge.imaging.stages import Stages
from applianceforge.model.errors import LockedError
from applianceforge.system import files
from applianceforge.system.effects import Effects
from applianceforge.system.progress import NoProgress, ProgressSink

RECIPES = Path(__file__).parent.parent.parent / "images"
_CHOSEN = "packages.json"


@dataclass(frozen=True)
class Options:
    """How to build.

    Attributes:
        security: Take Debian's security updates where the recipe asks for them.
        locked: Build exactly what the lock file names.
        refresh: Ask the mirror for newer packages, though the cache has some.
    """

    security: bool = True
    locked: bool = False
    refresh: bool = False


@dataclass(frozen=True)
class BuiltSlot:
    """A slot's file system, and what it was made from.

    Attributes:
        image: The file system.
        recipe: What was built.
        chosen: Its packages.
        security: Whether security updates were looked at, for it and its foreign trees.
        made: The names of the stages that had to be made; nothing if nothing had changed.
    """

    image: Path
    recipe: ImageRecipe
    chosen: PackageSet
    security: bool
    made: tuple[str, ...]


def find_recipe(name: str, directory: Path = RECIPES) -> Path:
    """Return the file of a recipe by its name or its path.

    Raises:
        RecipeError: There is none of that name.
    """
    file = Path(name) if name.endswith(".toml") else directory / f"{name}.toml"
    if not file.is_file():
        known = sorted(path.stem for path in directory.glob("*.toml"))
        problem = Problem.unknown(name, "is no recipe", name, known)
        raise recipe.error_of(str(file.parent), [problem])
    return file


def read_recipe(file: Path) -> ImageRecipe:
    """Read a recipe.

    Raises:
        RecipeError: It is wrong; all problems are named at once.
    """
    with files.named_errors(file, "read"):
        text = file.read_text(encoding="utf-8", errors="replace")
    directories = [
        str(path.relative_to(file.parent)) for path in file.parent.rglob("*") if path.is_dir()
    ]
    found = recipe.decode(text, file.name, directories)
    if found.name != file.stem:
        problem = Problem("name", f"is {found.name!r}", f"write {file.stem!r} as its file")
        raise recipe.error_of(file.name, [problem])
    return found


def build_slot(
    file: Path,
    cache: Path,
    effects: Effects,
    progress: ProgressSink | None = None,
    options: Options = Options(),
) -> BuiltSlot:
    """Return a slot's file system, with only those stages made that the cache lacks.

    Args:
        file: The recipe.
        cache: The store of all stages.
        effects: Told of programs and writes.
        progress: Told of each stage that is made.
        options: How to build.

    Raises:
        RecipeError: The recipe is wrong.
        LockedError: What the lock file names cannot be had, or is not what the recipe asks for.
        ProgramFailedError: Packages cannot be fetched or configured.
        ProgramMissingError: A program is not installed.
        DiskFullError: No space is left.
    """
    file = file.resolve()
    wanted = read_recipe(file)
    stages = Stages(cache.resolve(), effects, progress or NoProgress())
    chosen = choose(file, wanted, stages, options)
    before = tree_of(
        entry for name in wanted.packages.before for entry in entries_below(file.parent / name)
    )
    root = packages.install(wanted, chosen, before, stages)
    content = slot_image.content_of(wanted, file.parent)
    initrd = slot_image.make_initrd(wanted, root, content, chosen.epoch_s, stages)
    trees = tuple((tree, slot_image.foreign_recipe(tree).name) for tree in wanted.trees)
    slot = slot_image.make_slot(
        wanted,
        root,
        initrd,
        Inputs(content, trees),
        chosen.epoch_s,
        lambda tree: roottree.build(
            slot_image.foreign_recipe(tree), stages.cache, effects, stages.progress
        ),
        stages,
    )
    return BuiltSlot(slot / slot_image.IMAGE, wanted, chosen, chosen.security, tuple(stages.made))


def choose(file: Path, wanted: ImageRecipe, stages: Stages, options: Options) -> PackageSet:
    """Return the packages with their versions: by the lock file, by the cache, or by the mirror."""
    if options.locked:
        return _locked(file, wanted)
    source = Source(wanted.suite, wanted.architecture, wanted.security and options.security)
    index = indices.fetch(source, stages.cache, stages.effects, refresh=options.refresh)
    key = store.key_of((source.name, indices.identity(index), *sorted(wanted.packages.all)))
    name = f"choice-{wanted.name}-{key}"

    def make(directory: Path) -> None:
        found = indices.resolve(source, wanted.packages.all, index, stages.effects, file.name)
        (directory / _CHOSEN).write_text(package_set.encode(found))

    chosen = stages.obtain(name, "choose the packages", make) / _CHOSEN
    return package_set.decode(chosen.read_text(), str(chosen))


def _locked(file: Path, wanted: ImageRecipe) -> PackageSet:
    lock = file.with_suffix(".lock")
    again = "write it with `inv image.lock`, or build without --locked"
    if not lock.is_file():
        raise LockedError(f"{lock.name} is not there", hint=again)
    chosen = package_set.decode(lock.read_text(), lock.name)
    missing = sorted(set(wanted.packages.all) - chosen.names)
    if missing:
        raise LockedError(
            f"{lock.name} lacks what the recipe has: {', '.join(missing)}", hint=again
        )
    if (chosen.suite, chosen.architecture) != (wanted.suite, wanted.architecture):
        raise LockedError(f"{lock.name} is of {chosen.suite} for {chosen.architecture}", hint=again)
    return chosen

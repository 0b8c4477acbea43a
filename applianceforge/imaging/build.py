"""Build images: from a recipe to the files that a machine boots.

    indices -> choice -> root -> initrd -----+
       (a lock file stands for it)           +-> slot -+
    overlays, wheels, trees, our own package +         +-> disk
                                                data --+

Each is a stage in the cache, named by the digest of what it is made from: what has not changed is
not made again. The disk alone is made where it is asked for, as whoever boots it changes it.
"""

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from applianceforge.imaging import (
    choice,
    data_image,
    disk,
    expected,
    foreign_tree,
    grub,
    manifest,
    package_set,
    packages,
    recipes,
    release_document,
    sbom,
    slot_image,
    store,
    tree_facts,
    wheels,
)
from applianceforge.imaging.content import Tree, entries_below, tree_of
from applianceforge.imaging.disk import DiskPlan
from applianceforge.imaging.outputs import Identity
from applianceforge.imaging.ovf import Machine
from applianceforge.imaging.package_set import Choice
from applianceforge.imaging.recipe import ForeignTree, ImageRecipe
from applianceforge.imaging.stages import Stages
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import SettingsError
from applianceforge.preflight.requirements import Release
from applianceforge.system import files, sparse
from applianceforge.system.effects import Effects
from applianceforge.system.progress import NoProgress, ProgressSink, StepEnded

# Goes up when the same inputs make another disk than before.
_SCHEMA = 2
_PUBLIC = 0o644
_WITH_SECURITY: frozenset[Architecture] = frozenset()
WITHOUT_SECURITY = frozenset(Architecture)


@dataclass(frozen=True)
class Options:
    """How to build.

    Attributes:
        without_security: The architectures whose security updates are left out.
        locked: Build exactly what the lock file names.
        refresh: Ask the mirror for newer packages, though the cache has some.
        extra: Overlays that go over those of the recipe, such as a vendor's own keys.
    """

    without_security: frozenset[Architecture] = _WITH_SECURITY
    locked: bool = False
    refresh: bool = False
    extra: tuple[Path, ...] = ()


_USUAL = Options()


@dataclass(frozen=True)
class BuiltSlot:
    """A slot's file system, and what it was made from.

    Attributes:
        image: The file system, in the cache: not to be changed.
        recipe: What was built.
        chosen: Its packages.
        inputs: What else it was made from.
        release: What it says of itself.
        made: The names of the stages that had to be made; nothing if nothing had changed.
    """

    image: Path
    recipe: ImageRecipe
    chosen: Choice
    inputs: manifest.Inputs
    release: Release
    made: tuple[str, ...]


@dataclass(frozen=True)
class BuiltImage:
    """An image: a disk, and what goes with it.

    Attributes:
        raw: The disk; whoever boots it may change it, and the next build then writes it anew.
        slot: The slot's file system, which an update carries.
        manifest: What is in it and what it was made from.
        sbom: The same for those who look for weaknesses, as CycloneDX.
        release: What a machine must have to take it: its RELEASE.json.
        identity: What files for hypervisors say of it.
        made: The names of the stages that had to be made; nothing if nothing had changed.
    """

    raw: Path
    slot: Path
    manifest: Path
    sbom: Path
    release: Path
    identity: Identity
    made: tuple[str, ...]


def build_slot(
    file: Path,
    cache: Path,
    effects: Effects,
    progress: ProgressSink | None = None,
    options: Options = _USUAL,
) -> BuiltSlot:
    """Return a slot's file system, with only those stages made that the cache lacks.

    Args:
        file: The recipe.
        cache: The store of all stages.
        effects: Told of programs and writes.
        progress: Told of each stage that is made.
        options: How to build.

    Raises:
        RecipeError: The recipe is wrong, or a wheel is not as it says.
        SettingsError: An overlay of the options is not there, or is a whole repository.
        LockedError: What the lock file names cannot be had, or is not what the recipe asks for.
        ProgramFailedError: Packages cannot be fetched or configured.
        ProgramMissingError: A program is not installed.
        DiskFullError: No space is left.
    """
    stages = Stages(cache.resolve(), effects, progress or NoProgress())
    file = file.resolve()
    return _slot(file, *_wanted(file, stages, options), stages, options)


def _wanted(file: Path, stages: Stages, options: Options) -> tuple[ImageRecipe, Choice]:
    wanted = recipes.read(file)
    for path in options.extra:
        if not path.is_dir():
            raise SettingsError(
                f"the overlay {path} is no directory",
                hint="name a directory whose files go into the image, such as etc/NAME in it",
            )
        if (path / "repository.json").exists() and (path / "overlay").is_dir():
            raise SettingsError(
                f"{path} is a whole repository of releases, and all of it would go into the image",
                hint=f"name what it has for images: {path / 'overlay'}",
            )
    return wanted, _choose(file, wanted, stages, options)


def _slot(
    file: Path, wanted: ImageRecipe, chosen: Choice, stages: Stages, options: Options
) -> BuiltSlot:
    epoch_s = chosen.image.epoch_s
    extra = tuple(path.resolve() for path in options.extra)
    wheel_entries = wheels.entries_of(wanted.wheels, file.name, stages)
    before = _overlay(wanted.packages.before, file.parent)
    content = slot_image.content_of(wanted, file.parent, epoch_s, extra, wheel_entries)
    expected.check_content(file.name, wanted, content)
    root = packages.install(wanted, chosen.image, before, stages)
    expected.check_tree(file.name, wanted, content, (root / packages.NAMES).read_bytes())
    initrd = slot_image.make_initrd(wanted, root, content, epoch_s, stages)

    def obtain(tree: ForeignTree) -> Path:
        return foreign_tree.obtain(tree, chosen.tree(tree.path), stages)

    trees = tuple(
        (tree, foreign_tree.name_of(tree, chosen.tree(tree.path))) for tree in wanted.trees
    )
    paths = tuple(entry.path for entry in wheel_entries)
    inputs = slot_image.Inputs(content, trees, paths)
    slot = slot_image.make_slot(wanted, root, initrd, inputs, epoch_s, obtain, stages)
    disk.require_room(file.name, slot / slot_image.IMAGE, wanted.slot_bytes)
    digests = manifest.Inputs(
        recipes.digest_of(file),
        content.digest,
        before.digest,
        tuple(tree_of(entries_below(path)).digest for path in extra),
    )
    facts = tree_facts.decode((slot / slot_image.FACTS).read_text())
    release = release_document.release_of(wanted, facts, epoch_s)
    image = slot / slot_image.IMAGE
    return BuiltSlot(image, wanted, chosen, digests, release, tuple(stages.made))


def _overlay(names: Iterable[str], beside: Path) -> Tree:
    return tree_of(entry for name in names for entry in entries_below(beside / name))


def _choose(file: Path, wanted: ImageRecipe, stages: Stages, options: Options) -> Choice:
    asked = choice.wanted_by(wanted, options.without_security)
    if options.locked:
        return choice.read_lock(file.with_suffix(".lock"), asked)
    return choice.choose(wanted, asked, stages, refresh=options.refresh)


def write_lock(
    file: Path,
    cache: Path,
    effects: Effects,
    progress: ProgressSink | None = None,
    options: Options = _USUAL,
) -> Path:
    """Write the lock file of a recipe: its packages as the mirror has them now.

    Raises:
        RecipeError: The recipe is wrong, or a package does not exist.
        ProgramFailedError: An index cannot be fetched, or packages cannot be installed together.
    """
    stages = Stages(cache.resolve(), effects, progress or NoProgress())
    wanted = recipes.read(file)
    asked = choice.wanted_by(wanted, options.without_security)
    chosen = choice.choose(wanted, asked, stages, refresh=True)
    lock = file.with_suffix(".lock")
    files.write_file(lock, package_set.encode_choice(chosen).encode(), effects, mode=_PUBLIC)
    return lock


def build(
    file: Path,
    cache: Path,
    directory: Path,
    effects: Effects,
    progress: ProgressSink | None = None,
    options: Options = _USUAL,
) -> BuiltImage:
    """Return an image in a directory; what is there already and has not changed, stays.

    Args:
        file: The recipe.
        cache: The store of all stages.
        directory: Where the image goes: NAME.raw, NAME.slot, NAME.manifest.json, NAME.cdx.json,
            NAME.release.json.
        effects: Told of programs and writes.
        progress: Told of each stage that is made.
        options: How to build.

    Raises:
        ForgeError: As `build_slot` does.
    """
    file, directory = file.resolve(), directory.resolve()
    stages = Stages(cache.resolve(), effects, progress or NoProgress())
    wanted, chosen = _wanted(file, stages, options)
    # Before the packages, which take longest: what is wrong here is told at once.
    data = data_image.make_data(wanted, file.parent, chosen.image.epoch_s, stages)
    built = _slot(file, wanted, chosen, stages, options)
    name = f"disk-{wanted.name}-{_disk_key(built, data)}"
    machine = Machine(wanted.name, wanted.title, wanted.version)
    image = BuiltImage(
        directory / f"{wanted.name}.raw",
        directory / f"{wanted.name}.slot",
        directory / f"{wanted.name}.manifest.json",
        directory / f"{wanted.name}.cdx.json",
        directory / f"{wanted.name}.release.json",
        Identity(machine, built.chosen.image.epoch_s),
        (),
    )
    stamp = directory / f".{wanted.name}.built"
    whole = (image.raw, image.slot, image.manifest, image.sbom, image.release)
    store.make_public_directory(directory, effects)
    # Whoever builds the same at the same time waits, and finds it done.
    with files.held(directory):
        if not _is_there(stamp, name, whole):
            began_s = time.monotonic()
            stages.started(name, "write the disk")
            stamp.unlink(missing_ok=True)
            with store.full_disk_named(directory):
                _write(built, data, image, effects)
            content = json.dumps({"disk": name, "files": _marks(whole)}).encode()
            files.write_file(stamp, content, effects, mode=_PUBLIC)
            used = files.used_bytes(image.raw)
            took_s = time.monotonic() - began_s
            stages.progress.emit(StepEnded(name, took_s, used, 0, str(image.raw)))
    return replace(image, made=tuple(stages.made))


def _disk_key(built: BuiltSlot, data: Path) -> str:
    parts: tuple[str | bytes, ...] = (
        str(_SCHEMA),
        built.image.parent.name,
        data.name,
        built.inputs.recipe,
        *built.inputs.extra,
        grub.configuration(disk.signature_of(built.recipe.name)),
        package_set.encode_choice(built.chosen),
    )
    return store.key_of(parts)


def _marks(whole: Iterable[Path]) -> dict[str, list[int]]:
    found = {}
    for path in whole:
        status = path.stat()
        found[path.name] = [status.st_size, status.st_mtime_ns, status.st_ino]
    return found


def _is_there(stamp: Path, name: str, whole: tuple[Path, ...]) -> bool:
    """Return whether all files are those of the stamp, unchanged since it was written."""
    try:
        found = json.loads(stamp.read_text())
        return bool(found == {"disk": name, "files": _marks(whole)})
    except (OSError, ValueError):
        return False


def _write(built: BuiltSlot, data: Path, image: BuiltImage, effects: Effects) -> None:
    wanted, epoch_s = built.recipe, built.chosen.image.epoch_s
    signature = disk.signature_of(wanted.name)
    core = grub.core_image(effects)
    disk.write(
        DiskPlan(
            wanted.name,
            signature,
            grub.install(core),
            grub.boot_files(signature, core),
            built.image,
            wanted.slot_bytes,
            data / data_image.IMAGE,
            epoch_s,
        ),
        image.raw,
        effects,
    )
    staging = image.slot.with_name(f".{image.slot.name}.new")
    try:
        sparse.create(staging, built.image.stat().st_size, effects, mode=_PUBLIC)
        sparse.copy_into(built.image, staging, 0, effects)
        files.rename(staging, image.slot, effects)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise
    of_slot, of_raw = _file(image.slot), _file(image.raw)
    listed = manifest.encode(wanted, built.chosen, built.inputs, signature, (of_raw, of_slot))
    files.write_file(image.manifest, listed.encode(), effects, mode=_PUBLIC)
    bill = sbom.encode(wanted, built.chosen, of_slot.sha256)
    files.write_file(image.sbom, bill.encode(), effects, mode=_PUBLIC)
    files.write_file(image.release, release_document.encode(built.release), effects, mode=_PUBLIC)


def _file(path: Path) -> manifest.File:
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return manifest.File(path.name, digest, path.stat().st_size)

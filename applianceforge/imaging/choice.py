"""Choose the packages of an image and of its foreign trees: by indices, or by a lock file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from applianceforge.imaging import indices, package_set, store
from applianceforge.imaging.indices import Source
from applianceforge.imaging.package_set import Choice, PackageSet
from applianceforge.imaging.recipe import ImageRecipe
from applianceforge.imaging.stages import Stages
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import LockedError

_CHOSEN = "packages.json"
_AGAIN = "write it with `inv image.lock`, or build without --locked"


@dataclass(frozen=True)
class Wanted:
    """What one package set is chosen for: the image, or the foreign tree at a path."""

    path: str
    source: Source
    packages: tuple[str, ...]


def wanted_by(recipe: ImageRecipe, without_security: frozenset[Architecture]) -> tuple[Wanted, ...]:
    """Return what is asked for: the image's own packages first."""

    def source(suite: str, architecture: Architecture, security: bool) -> Source:
        return Source(suite, architecture, security and architecture not in without_security)

    own = source(recipe.suite, recipe.architecture, recipe.security)
    return (
        Wanted("", own, recipe.packages.all),
        *(
            Wanted(tree.path, source(tree.suite, tree.architecture, tree.security), tree.packages)
            for tree in recipe.trees
        ),
    )


def choose(
    recipe: ImageRecipe, wanted: tuple[Wanted, ...], stages: Stages, *, refresh: bool
) -> Choice:
    """Return the packages that the indices name, which are fetched if the cache lacks them.

    Args:
        recipe: Of the image.
        wanted: What `wanted_by` returned.
        stages: Of this build.
        refresh: Fetch the indices again.

    Raises:
        RecipeError: A package does not exist.
        ProgramFailedError: An index cannot be fetched, or packages cannot be installed together.
    """
    fetched: dict[Source, Path] = {}
    for one in wanted:
        if one.source not in fetched:
            fetched[one.source] = indices.fetch(
                one.source, stages.cache, stages.effects, refresh=refresh
            )
    parts = [
        part
        for one in wanted
        for part in (
            one.path,
            one.source.name,
            indices.identity(fetched[one.source]),
            *sorted(one.packages),
        )
    ]
    name = f"choice-{recipe.name}-{store.key_of(parts)}"

    def resolve(one: Wanted) -> PackageSet:
        return indices.resolve(
            one.source,
            one.packages,
            fetched[one.source],
            stages.effects,
            f"{recipe.name}.toml",
            "trees.packages" if one.path else "packages.include",
            essential=not one.path,
            kernel="" if one.path else recipe.packages.kernel,
        )

    def make(directory: Path) -> None:
        own, *trees = ((one.path, resolve(one)) for one in wanted)
        chosen = Choice(own[1], tuple(trees))
        (directory / _CHOSEN).write_text(package_set.encode_choice(chosen))

    file = stages.obtain(name, "choose the packages", make) / _CHOSEN
    return package_set.decode_choice(file.read_text(), str(file))


def read_lock(lock: Path, wanted: tuple[Wanted, ...]) -> Choice:
    """Return the packages that a lock file names.

    Raises:
        LockedError: It is not there, or not for what the recipe asks for.
    """
    if not lock.is_file():
        raise LockedError(f"{lock.name} is not there", hint=_AGAIN)
    chosen = package_set.decode_choice(lock.read_text(), lock.name)
    problems = tuple(_differences(chosen, wanted))
    if problems:
        raise LockedError(f"{lock.name} {'; it '.join(problems)}", hint=_AGAIN)
    return chosen


def _differences(chosen: Choice, wanted: tuple[Wanted, ...]) -> Iterator[str]:
    sets = {"": chosen.image, **dict(chosen.trees)}
    for path in sorted(sets.keys() - {one.path for one in wanted}):
        yield f"has the foreign tree {path}, which the recipe has not"
    for one in wanted:
        where = f" for {one.path}" if one.path else ""
        locked = sets.get(one.path)
        if locked is None:
            yield f"lacks the foreign tree {one.path}"
            continue
        missing = sorted(set(one.packages) - locked.names)
        if missing:
            yield f"lacks what the recipe has{where}: {', '.join(missing)}"
        if (locked.suite, locked.architecture) != (one.source.suite, one.source.architecture):
            yield f"is of {locked.suite} for {locked.architecture.value}{where}"

"""Unpack the packages of another architecture into a directory, from nothing but their files.

Nothing of them is run. `applianceforge.migrate.tree` runs the programs through their own loader.
"""

from pathlib import Path

from applianceforge.imaging import locales, normalise, package_set, pool, store
from applianceforge.imaging.package_set import PackageSet
from applianceforge.imaging.recipe import ForeignTree
from applianceforge.imaging.stages import Stages
from applianceforge.system import programs
from applianceforge.system.programs import Command

# Goes up when the same packages make another tree than before.
_SCHEMA = 1
_DPKG_DEB = "/usr/bin/dpkg-deb"
# No program reads them, and a tree is there for its programs.
_NOT_NEEDED = tuple(f"usr/share/{name}/*" for name in ("doc", "info", "lintian", "locale", "man"))
_KEPT = "copyright"
_LOCALE_SOURCES = ("usr/share/i18n",)


def name_of(tree: ForeignTree, chosen: PackageSet) -> str:
    """Return the tree's name in the store."""
    key = store.key_of(
        (
            str(_SCHEMA),
            package_set.encode(chosen),
            repr(sorted(tree.locales)),
            repr(tree.exclude_paths),
        )
    )
    return f"foreign-{tree.architecture.value}-{key}"


def obtain(tree: ForeignTree, chosen: PackageSet, stages: Stages) -> Path:
    """Return the directory of a tree, unpacked first if the cache lacks it.

    Raises:
        ProgramFailedError: A package cannot be fetched or unpacked.
        LockedError: The mirror no longer has a package that was chosen.
    """

    def make(directory: Path) -> None:
        files_at = pool.obtain(chosen, stages.cache, stages.effects)
        for package in chosen.packages:
            path = pool.checked(files_at, package)
            words = (_DPKG_DEB, "--extract", str(path), str(directory))
            programs.run(Command(words), stages.effects)
        for locale in tree.locales:
            locales.compile_into(locale, directory, stages.effects)
        normalise.remove(directory, (*_NOT_NEEDED, *tree.exclude_paths))

    title = f"unpack {len(chosen.packages)} packages of {tree.architecture.value}"
    return stages.obtain(name_of(tree, chosen), title, make)

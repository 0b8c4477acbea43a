"""The pool: packages' files as they were fetched, shared by all images and kept between builds."""

import hashlib
import os
import shutil
from pathlib import Path

from applianceforge.imaging import indices, store
from applianceforge.imaging.indices import Source
from applianceforge.imaging.package_set import Package, PackageSet
from applianceforge.model.errors import LockedError, ProgramFailedError
from applianceforge.system.effects import Effects

_NAME = "packages"


def obtain(chosen: PackageSet, cache: Path, effects: Effects) -> Path:
    """Return the pool, with the files of all these packages in it.

    Raises:
        LockedError: The mirror no longer has one of them.
        ProgramFailedError: One cannot be fetched.
    """
    pool = cache / _NAME
    store.make_public_directory(pool, effects)
    with store.alone(cache / f".{_NAME}.lock"):
        missing = [one for one in chosen.packages if not _is_there(pool, one)]
        if missing:
            source = Source(chosen.suite, chosen.architecture, chosen.security)
            index = indices.fetch(source, cache, effects)
            try:
                indices.download(source, missing, index, pool, effects)
            except BaseException:
                # Whole ones need not be fetched again; on a full disk, parts are in the way.
                for one in missing:
                    if not _is_there(pool, one):
                        (pool / one.file).unlink(missing_ok=True)
                raise
        for one in missing:
            if not _is_there(pool, one):
                raise LockedError(
                    f"the mirror's {one.file} is not the one that was chosen",
                    hint="write the lock file anew with `inv image.lock`, or build without"
                    " --locked and with --refresh",
                )
    return pool


def _is_there(pool: Path, package: Package) -> bool:
    path = pool / package.file
    return path.is_file() and path.stat().st_size == package.size_bytes


def checked(pool: Path, package: Package) -> Path:
    """Return the file of a package, after a look at its digest.

    Raises:
        ProgramFailedError: It is damaged; it is removed then.
    """
    path = pool / package.file
    with open(path, "rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != package.sha256:
            path.unlink()
            raise ProgramFailedError(
                f"{path} was not what its index says, and is removed",
                hint="build again: it is fetched anew",
            )
    return path


def place(path: Path, target: Path) -> None:
    """Give a file of the pool another name, without a copy where that is possible."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)

"""Install the packages of an image: a tar of its root directory, from nothing but their files.

mmdebstrap does it in a namespace without a network, from a repository of exactly the packages that
were chosen. So what is installed is what the lock file says, and a mirror that changes meanwhile
changes nothing.
"""

import hashlib
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path

from applianceforge.imaging import namespace, package_set, pool, store
from applianceforge.imaging.content import Tree, write_tar
from applianceforge.imaging.package_set import Package, PackageSet
from applianceforge.imaging.recipe import ImageRecipe, User
from applianceforge.imaging.stages import Stages
from applianceforge.model.errors import (
    DiskFullError,
    ForgeError,
    ProgramFailedError,
    ProgramMissingError,
)
from applianceforge.system import parallel, programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command
from applianceforge.system.progress import StepAdvanced

# Goes up when the same inputs make another root than before.
_SCHEMA = 2
_MMDEBSTRAP = "/usr/bin/mmdebstrap"
_DPKG_DEB = "/usr/bin/dpkg-deb"
_LOOK_EVERY_S = 0.5
ROOT = "root.tar"
# What is in it: one entry after the other, each ended by a zero byte, as `find` writes them.
NAMES = "names"
# Where the stage's directory is seen in the namespace: it is there on every Debian, and empty.
_HERE = "/mnt"
_COMPLAINTS = ("E: ", "dpkg: error", "W: ", "mount: ")
_LINES_BEFORE, _LINES_AFTER = 8, 4


def key_of(recipe: ImageRecipe, chosen: PackageSet, before: Tree) -> str:
    """Digest all that a root directory is made from."""
    return store.key_of(
        (
            str(_SCHEMA),
            package_set.encode(chosen),
            repr(recipe.users),
            repr(recipe.packages.exclude_paths),
            repr(recipe.packages.include_paths),
            before.digest,
        )
    )


def install(
    recipe: ImageRecipe,
    chosen: PackageSet,
    before: Tree,
    stages: Stages,
) -> Path:
    """Return the directory with `ROOT`, made first if the cache lacks it.

    Raises:
        ProgramMissingError: mmdebstrap is not installed, or the user has no ids to map.
        ProgramFailedError: A package cannot be fetched or configured.
        LockedError: The mirror no longer has a package that was chosen.
    """
    key = key_of(recipe, chosen, before)
    name = f"root-{chosen.suite}-{chosen.architecture.value}-{key}"

    def make(directory: Path) -> None:
        if shutil.which(_MMDEBSTRAP) is None:
            raise ProgramMissingError(
                "mmdebstrap is not installed", hint="install it: apt-get install mmdebstrap"
            )
        namespace.check()
        files_at = pool.obtain(chosen, stages.cache, stages.effects)
        work = directory / "work"
        _repository(chosen, files_at, work / "repository", stages.effects)
        _write_users(recipe.users, work)
        write_tar(before, work / "before.tar", chosen.epoch_s)
        command = _command(recipe, chosen, directory)
        _run(command, directory / "log", name, stages)
        _check_installed(chosen, directory / "status")
        namespace.remove_tree(work, stages.effects)
        (directory / "log").unlink()

    return stages.obtain(name, f"install {len(chosen.packages)} packages", make)


def _repository(chosen: PackageSet, files_at: Path, directory: Path, effects: Effects) -> None:
    """Make a repository of exactly these packages, each held against its digest."""
    directory.mkdir(parents=True)

    def place(one: Package) -> str:
        path = pool.checked(files_at, one)
        name = f"{one.sha256}.deb"
        pool.place(path, directory / name)
        said = programs.run(Command((_DPKG_DEB, "--field", str(path))), effects).stdout.decode()
        return (
            f"{said.rstrip()}\nFilename: ./{name}\nSize: {one.size_bytes}\nSHA256: {one.sha256}\n"
        )

    at_once = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(at_once) as workers:
        done = parallel.in_order(workers, place, chosen.packages, most=2 * at_once)
        listed = "\n".join(record for _, record in done).encode()
    (directory / "Packages").write_bytes(listed)
    # mmdebstrap asks apt for the essential packages of the suite by its name.
    (directory / "Release").write_text(
        f"Suite: {chosen.suite}\nCodename: {chosen.suite}\nDate: {formatdate(chosen.epoch_s)}\n"
        f"SHA256:\n {hashlib.sha256(listed).hexdigest()} {len(listed)} Packages\n"
    )


def _write_users(users: tuple[User, ...], work: Path) -> None:
    directory = work / "users"
    directory.mkdir()
    groups = dict.fromkeys((user.group, user.gid) for user in users)
    (directory / "group").write_text("".join(f"{name}:x:{gid}:\n" for name, gid in groups))
    (directory / "passwd").write_text(
        "".join(
            f"{user.name}:*:{user.uid}:{user.gid}::{user.home}:{user.shell}\n" for user in users
        )
    )


def _command(recipe: ImageRecipe, chosen: PackageSet, directory: Path) -> Command:
    work = f"{_HERE}/work"
    hooks = (
        # The build machine's name goes into certificates and settings otherwise.
        "--setup-hook=hostname localhost",
        f'--essential-hook=cat {work}/users/group >>"$1"/etc/group',
        f'--essential-hook=cat {work}/users/passwd >>"$1"/etc/passwd',
        f"--essential-hook=tar-in {work}/before.tar /",
        # The repository is gone tomorrow.
        '--customize-hook=rm -f "$1"/etc/apt/sources.list',
        f"--customize-hook=download /var/lib/dpkg/status {_HERE}/status",
        f'--customize-hook=find "$1" -xdev -printf "%y%P\\t%l\\0" >{_HERE}/{NAMES}',
    )
    words = (
        _MMDEBSTRAP,
        # We are root of our own namespace already.
        "--mode=root",
        "--variant=essential",
        "--format=tar",
        "--skip=check/qemu,output/dev",
        f"--architectures={recipe.architecture.value}",
        f"--include={','.join(recipe.packages.all)}",
        *(f"--dpkgopt=path-exclude={glob}" for glob in recipe.packages.exclude_paths),
        *(f"--dpkgopt=path-include={glob}" for glob in recipe.packages.include_paths),
        *hooks,
        recipe.suite,
        f"{_HERE}/{ROOT}",
        f"deb [trusted=yes] copy:{work}/repository ./",
    )
    command = Command(
        # Neither apt nor mmdebstrap can do with every path, and no path may get into an image.
        ("/bin/sh", "-c", f'mount --bind "$0" {_HERE} && exec "$@"', str(directory), *words),
        environment=(
            ("SOURCE_DATE_EPOCH", str(chosen.epoch_s)),
            ("TMPDIR", work),
            # The initial RAM disk is made later, with the overlays' settings.
            ("INITRD", "No"),
        ),
        name="mmdebstrap",
    )
    return namespace.enclosed(command)


def _run(command: Command, log: Path, key: str, stages: Stages) -> None:
    process = programs.start(
        command, stages.effects, output=Path(os.devnull), errors=log, outlives_us=False
    )
    try:
        while process.poll() is None:
            time.sleep(_LOOK_EVERY_S)
            lines = _lines(log)
            stages.progress.emit(StepAdvanced(key, 0, 0, lines[-1] if lines else ""))
        stages.progress.emit(StepAdvanced(key, 0, 0, _lines(log)[-1] if _lines(log) else ""))
    finally:
        programs.stop(process)
    if process.returncode != 0:
        raise _explain(command, process.returncode, _lines(log), stages.cache)


def _explain(command: Command, status: int, lines: list[str], cache: Path) -> ForgeError:
    """Return the error of mmdebstrap, whose last lines say least."""
    said = [line for line in lines if not line.startswith(("I: ", "Get:", "Setting up"))]
    complaints = [line for line in said if line.startswith(_COMPLAINTS)]
    first = said.index(complaints[0]) if complaints else len(said)
    shown = said[max(0, first - _LINES_BEFORE) : first + _LINES_AFTER]
    full = [line for line in lines if any(mark in line for mark in programs.NO_SPACE)]
    if full:
        return DiskFullError(
            f"no space is left for the packages: {full[0]}",
            hint=f"make room in {cache}, about 2 GB while an image is built, and build again",
            # Much else goes wrong after that.
            evidence=tuple(shown[-_LINES_AFTER:]),
        )
    return programs.failure(command, status, "\n".join(shown or lines).encode())


def _lines(log: Path) -> list[str]:
    said = log.read_text(errors="replace").replace("\r", "\n") if log.is_file() else ""
    return [line.strip() for line in said.splitlines() if line.strip()]


def _check_installed(chosen: PackageSet, status: Path) -> None:
    installed = set()
    for record in status.read_text().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in record.splitlines() if ": " in line)
        if fields.get("Status") == "install ok installed":
            installed.add((fields["Package"], fields["Version"]))
    differing = installed ^ {(one.name, one.version) for one in chosen.packages}
    if differing:
        names = ", ".join(sorted(name for name, _ in differing))
        raise ProgramFailedError(
            f"other packages were installed than were chosen: {names}",
            hint="name them in packages.include, so that apt has no choice",
        )

"""Debian's indices of packages: fetched once, and asked which packages an image consists of.

apt does both, with directories of its own, so that the host's packages and settings do not matter
but for the mirrors and the proxy. apt checks the indices' signature, and by them each package.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from applianceforge.imaging import roottree, store
from applianceforge.imaging.package_set import Package, PackageSet
from applianceforge.imaging.recipe import error_of
from applianceforge.imaging.recipe_table import Problem
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import ForgeError, LockedError, ProgramFailedError
from applianceforge.system import files, programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command

_APT_GET = "/usr/bin/apt-get"
_APT_CACHE = "/usr/bin/apt-cache"
_NOT_THERE = re.compile(r"E: Unable to locate package (\S+)|E: Package '(\S+)' has no installation")
_GONE = re.compile(r"E: (Version '.*' for '.*' was not found|Unable to locate package)")
# An address, the file's name with `:` and `_` quoted, its size, and its digest.
_FETCHED = re.compile(r"^'.*' ([^\s_]+)_([^\s_]+)_(\w+)\.deb (\d+) SHA256:([0-9a-f]{64})$")
_DATE = re.compile(r"^Date: (.+)$", re.MULTILINE)
_EVIDENCE_LINES = 6


@dataclass(frozen=True)
class Source:
    """Which indices: a suite for an architecture, with its security updates or without."""

    suite: str
    architecture: Architecture
    security: bool

    @property
    def name(self) -> str:
        """Return the name in the store."""
        security = "-security" if self.security else ""
        return f"index-{self.suite}{security}-{self.architecture.value}"


def fetch(source: Source, cache: Path, effects: Effects, *, refresh: bool = False) -> Path:
    """Return the directory of the indices, fetched first if the cache lacks it.

    Args:
        source: Which.
        cache: The store.
        effects: Told of programs and writes.
        refresh: Fetch them even if they are there.

    Raises:
        ProgramFailedError: They cannot be fetched.
    """
    if refresh:
        files.remove_tree(cache / source.name, effects)

    def make(directory: Path) -> None:
        for name in ("lists/partial", "archives/partial"):
            (directory / name).mkdir(parents=True)
        (directory / "status").touch()
        mirrors = roottree.find_mirrors(effects)
        tree = roottree.Recipe(source.suite, source.architecture, (), source.security)
        (directory / "sources.list").write_text("\n".join(tree.sources(mirrors)) + "\n")
        try:
            programs.run(_apt(directory, source, _APT_GET, "update", "--error-on=any"), effects)
        except ProgramFailedError as error:
            raise explain(source, error) from error

    return store.obtain(cache, source.name, make, effects)


def identity(index: Path) -> str:
    """Return a digest of the indices: of what their publishers signed."""
    signed = sorted((index / "lists").glob("*_InRelease"))
    return store.key_of(path.read_bytes() for path in signed)


def explain(source: Source, error: ProgramFailedError) -> ForgeError:
    """Return the error that a person can act on for indices that could not be fetched."""
    said = [line for line in error.evidence if line.startswith(("E:", "W:"))]
    evidence = tuple(said[-_EVIDENCE_LINES:])
    what = f"{source.suite} for {source.architecture.value}"
    if any("security" in line for line in said):
        return ProgramFailedError(
            f"the index of the security updates of {what} cannot be fetched",
            hint="build without them: --without-security, and the manifest says so; or name"
            " another mirror of Debian-Security in /etc/apt/sources.list",
            evidence=evidence,
        )
    return ProgramFailedError(
        f"the index of the packages of {what} cannot be fetched",
        hint="check the network and apt's proxy settings on this machine, and that the mirror in"
        " /etc/apt/sources.list has this suite and architecture",
        evidence=evidence or error.evidence,
    )


def _apt(directory: Path, source: Source, *words: str) -> Command:
    # apt finds its own directories through Dir; an absolute path stands for itself.
    settings = {
        "Dir::Etc::SourceList": directory / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State": directory,
        "Dir::State::Lists": directory / "lists",
        "Dir::State::status": directory / "status",
        "Dir::Cache": directory,
        "Dir::Cache::archives": directory / "archives",
        "APT::Architecture": source.architecture.value,
        "APT::Architectures": source.architecture.value,
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
        "APT::Install-Recommends": "false",
        "Acquire::Languages": "none",
        # apt counts itself among the essential packages, which an appliance need not have.
        "pkgCacheGen::ForceEssential": ",",
        "Debug::NoLocking": "true",
    }
    options = [f"--option={key}={value}" for key, value in settings.items()]
    network = [
        (name, os.environ[name]) for name in roottree.NETWORK_VARIABLES if name in os.environ
    ]
    return Command((words[0], *options, *words[1:]), environment=tuple(network))


def resolve(
    source: Source,
    wanted: Iterable[str],
    index: Path,
    effects: Effects,
    file: str,
    key: str,
    *,
    essential: bool,
    kernel: str = "",
) -> PackageSet:
    """Choose the packages: what is wanted, and what that depends on.

    Args:
        source: Whose packages.
        wanted: Their names.
        index: What `fetch` returned.
        effects: Told of programs.
        file: The recipe's name, for messages.
        key: The recipe's key that names them, for messages.
        essential: Take what Debian counts as essential too.
        kernel: The package that the key packages.kernel names, for messages.

    Raises:
        RecipeError: A package does not exist.
        ProgramFailedError: They cannot be installed together.
    """
    names = (*(("?essential",) if essential else ()), *wanted)
    # Not --simulate, which looks at every package of the suite again after each that it installs.
    words = ("install", "--yes", "--print-uris", "--option=Acquire::ForceHash=SHA256")
    command = _apt(index, source, _APT_GET, *words, *names)
    try:
        said = programs.run(command, effects).stdout.decode()
    except ProgramFailedError as error:
        missing = [m[1] or m[2] for line in error.evidence if (m := _NOT_THERE.match(line))]
        if missing:
            keyed = [("packages.kernel" if one == kernel else key, one) for one in missing]
            raise _no_such(source, keyed, index, effects, file) from error
        raise ProgramFailedError(
            f"{file}: the packages in {key} cannot be installed together",
            hint="leave out one of those that apt names",
            evidence=error.evidence,
        ) from error
    return PackageSet(
        source.suite,
        source.architecture,
        source.security,
        _epoch_s(index, source),
        packages_of(said),
    )


def packages_of(said: str) -> tuple[Package, ...]:
    """Return the packages that apt would fetch, which are all, as none is installed.

    Raises:
        ProgramFailedError: Of one it says something else than we know, such as another digest.
    """
    listed = [line for line in said.splitlines() if line.startswith("'")]
    unknown = [line for line in listed if not _FETCHED.match(line)]
    if unknown:
        raise ProgramFailedError(
            "apt names packages in a way that is not known here",
            hint="use a mirror whose index has SHA256 digests, as Debian's has",
            evidence=tuple(unknown[:_EVIDENCE_LINES]),
        )
    found = (
        Package(unquote(m[1]), unquote(m[2]), unquote(m[3]), m[5], int(m[4]))
        for m in map(_FETCHED.match, listed)
        if m
    )
    return tuple(sorted(found, key=lambda one: (one.name, one.version)))


def _no_such(
    source: Source, missing: list[tuple[str, str]], index: Path, effects: Effects, file: str
) -> ForgeError:
    said = programs.run(_apt(index, source, _APT_CACHE, "pkgnames"), effects).stdout.decode()
    known = said.split()
    suite = f"{source.suite} for {source.architecture.value}"
    return error_of(
        file,
        [
            Problem.unknown(key, f"has {name}, which is no package of {suite}", name, known)
            for key, name in missing
        ],
    )


def _epoch_s(index: Path, source: Source) -> int:
    for release in sorted((index / "lists").glob(f"*_dists_{source.suite}_InRelease")):
        match = _DATE.search(release.read_text())
        if match:
            date = datetime.strptime(match[1], "%a, %d %b %Y %H:%M:%S %Z")
            return int(date.replace(tzinfo=UTC).timestamp())
    raise ProgramFailedError(f"the index {index} has no date", hint="remove it and build again")


def download(
    source: Source, packages: Iterable[Package], index: Path, pool: Path, effects: Effects
) -> None:
    """Fetch the files of packages into the pool; apt holds each against the digest of the index.

    Raises:
        LockedError: The mirror has one of them no longer.
        ProgramFailedError: One cannot be fetched.
    """
    words = [f"{one.name}={one.version}" for one in packages]
    command = _apt(index, source, _APT_GET, "download", "--quiet", *words)
    try:
        programs.run(replace(command, directory=pool), effects)
    except ProgramFailedError as error:
        gone = tuple(line for line in error.evidence if _GONE.match(line))
        if not gone:
            raise
        raise LockedError(
            f"the index of {source.suite} for {source.architecture.value} no longer has a package"
            " that was chosen",
            hint="write the lock file anew with `inv image.lock`, or build with --refresh",
            evidence=gone,
        ) from error

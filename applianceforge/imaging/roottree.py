"""Build root trees: the packages of a release for one architecture, unpacked into a directory.

Nothing of the packages is run, so neither root nor a processor of that architecture is needed, and
the host's dpkg learns of no foreign architecture. `applianceforge.migrate.tree` runs the programs.
"""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from applianceforge.imaging import locales, store
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import (
    DiskFullError,
    ForgeError,
    ProgramFailedError,
    ProgramMissingError,
)
from applianceforge.system import files, programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command
from applianceforge.system.progress import (
    NoProgress,
    ProgressSink,
    StepAdvanced,
    StepEnded,
    StepStarted,
)

# Goes up when the same recipe makes another tree than before.
_SCHEMA = 1

_MMDEBSTRAP = "/usr/bin/mmdebstrap"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MAIN_LABEL = "Debian"
_SECURITY_LABEL = "Debian-Security"
_NOT_NEEDED = ("doc", "info", "lintian", "locale", "man")
# apt reads its proxy and certificates from the host's apt.conf, and these where that is silent.
NETWORK_VARIABLES = (
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "all_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
_NO_NETWORK = (
    "Could not resolve",
    "Temporary failure resolving",
    "Unable to connect",
    "Could not connect",
    "Failed to fetch",
    "Connection timed out",
    "Certificate verification failed",
)
_EVIDENCE_LINES = 12
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class Recipe:
    """What a tree is made from.

    Attributes:
        suite: Debian's name of the release, such as "bookworm".
        architecture: Of every package in it.
        packages: What to install; what they depend on comes along, and what is essential.
        security: Take the security updates too. Off by default: not every mirror carries them for
            i386 once a release is old.
        locales: Compiled into the tree, such as "de_DE.UTF-8"; C.UTF-8 is always there.
    """

    suite: str
    architecture: Architecture
    packages: tuple[str, ...]
    security: bool = False
    locales: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the tree's name in the store: readable first, then the digest of it all."""
        parts = (
            str(_SCHEMA),
            self.suite,
            self.architecture.value,
            *sorted(self.packages),
            str(self.security),
            *sorted(self.locales),
        )
        return f"tree-{self.suite}-{self.architecture.value}-{store.key_of(parts)}"

    @property
    def title(self) -> str:
        """Return what a person calls it."""
        return f"{self.suite} {self.architecture.value}: {', '.join(self.packages)}"

    def sources(self, mirrors: "Mirrors") -> tuple[str, ...]:
        """Return the lines of apt's sources.list."""
        signed = f"[signed-by={_KEYRING}]"
        lines = [f"deb {signed} {mirrors.main} {self.suite} main"]
        if self.security:
            lines.append(f"deb {signed} {mirrors.security} {self.suite}-security main")
        return tuple(lines)


@dataclass(frozen=True)
class Mirrors:
    """Where Debian's packages come from, and its security updates: addresses as apt writes them."""

    main: str
    security: str


def mirrors_of(targets: str) -> Mirrors:
    """Choose the mirrors that this system uses itself, so that a local one serves trees as well.

    Args:
        targets: What `apt-get indextargets` says, as lines of address, a bar, and label.

    Raises:
        ProgramFailedError: apt knows of no mirror of Debian.
    """
    known: dict[str, str] = {}
    for line in targets.splitlines():
        address, _, label = line.partition("|")
        known.setdefault(label, address.rstrip("/"))
    if _MAIN_LABEL not in known:
        raise ProgramFailedError(
            "apt knows of no mirror of Debian",
            hint="name one in /etc/apt/sources.list, then run `apt-get update`",
        )
    return Mirrors(known[_MAIN_LABEL], known.get(_SECURITY_LABEL, known[_MAIN_LABEL]))


def find_mirrors(effects: Effects) -> Mirrors:
    """Ask apt for the mirrors of this system.

    Raises:
        ProgramMissingError: There is no apt.
        ProgramFailedError: It fails, or knows of no mirror of Debian.
    """
    words = ("/usr/bin/apt-get", "indextargets", "--format", "$(REPO_URI)|$(LABEL)")
    said = programs.run(Command((*words, "Created-By: Packages")), effects)
    return mirrors_of(said.stdout.decode(errors="replace"))


def build(
    recipe: Recipe, cache_directory: Path, effects: Effects, progress: ProgressSink | None = None
) -> Path:
    """Return the root directory of a tree, built first if the cache lacks it.

    Args:
        recipe: What the tree is made from.
        cache_directory: Where trees are kept, by the digest of their recipe.
        effects: Told of programs and writes.
        progress: Told of a build while it runs; one step, keyed by the tree's name.

    Raises:
        ProgramMissingError: mmdebstrap, or Debian's keyring, is not installed.
        ProgramFailedError: The packages cannot be fetched or unpacked.
        DiskFullError: The tree does not fit.
        AccessDeniedError: The cache may not be written to.
    """
    sink = progress or NoProgress()

    def make(directory: Path) -> None:
        began_s = time.monotonic()
        sink.emit(StepStarted(recipe.name, f"build the tree {recipe.title}", 1, 1, 0))
        _extract(recipe, directory, effects, sink)
        for locale in recipe.locales:
            locales.compile_into(locale, directory, effects)
        used = files.used_bytes(directory)
        sink.emit(StepEnded(recipe.name, time.monotonic() - began_s, used, 0, str(directory)))

    return store.obtain(cache_directory, recipe.name, make, effects)


def command_of(recipe: Recipe, directory: Path, mirrors: Mirrors) -> Command:
    """Return the command that fills `directory` with the recipe's packages."""
    without = (f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _NOT_NEEDED)
    packages = recipe.packages + (("locales",) if recipe.locales else ())
    network = ((name, os.environ[name]) for name in NETWORK_VARIABLES if name in os.environ)
    return Command(
        (
            _MMDEBSTRAP,
            # Chrootless asks for no privilege. Its warning to root is about maintainer scripts
            # that act on the host, and the variant "extract" runs none; for the same reason it
            # does not matter whether this machine can run programs of that architecture.
            "--mode=chrootless",
            "--variant=extract",
            "--skip=check/chrootless,check/qemu",
            "--format=directory",
            f"--architectures={recipe.architecture.value}",
            f"--include={','.join(packages)}",
            *without,
            recipe.suite,
            str(directory),
            *recipe.sources(mirrors),
        ),
        environment=tuple(network),
    )


def _extract(recipe: Recipe, directory: Path, effects: Effects, progress: ProgressSink) -> None:
    if shutil.which(_MMDEBSTRAP) is None:
        raise ProgramMissingError(
            "mmdebstrap is not installed", hint="install it: apt-get install mmdebstrap"
        )
    if not _KEYRING.is_file():
        raise ProgramMissingError(
            f"Debian's keyring {_KEYRING} is not there",
            hint="install it: apt-get install debian-archive-keyring",
        )
    command = command_of(recipe, directory, find_mirrors(effects))
    log = directory.with_name(f"{directory.name}.log")
    log.unlink(missing_ok=True)
    process = programs.start(command, effects, output=Path(os.devnull), errors=log)
    try:
        while process.poll() is None:
            time.sleep(_LOOK_EVERY_S)
            doing = _lines(log)[-1:]
            done = files.used_bytes(directory)
            progress.emit(StepAdvanced(recipe.name, done, 0, doing[0] if doing else ""))
    finally:
        programs.stop(process)
    if process.returncode != 0:
        raise explain(recipe, directory, process.returncode, _lines(log))
    log.unlink(missing_ok=True)
    # As root, mmdebstrap makes device nodes; a tree of programs has no use for them.
    files.remove_tree(directory / "dev", effects)


def _lines(log: Path) -> list[str]:
    if not log.is_file():
        return []
    said = log.read_text(errors="replace").replace("\r", "\n")
    return [line.strip() for line in said.splitlines() if line.strip()]


def explain(recipe: Recipe, directory: Path, status: int, lines: list[str]) -> ForgeError:
    """Return the error that a person can act on for a build that failed.

    Args:
        recipe: What was built.
        directory: Where.
        status: How mmdebstrap ended.
        lines: What it said.
    """
    evidence = tuple(lines[-_EVIDENCE_LINES:])
    if any(mark in line for line in lines for mark in programs.NO_SPACE):
        return DiskFullError(
            f"no space is left in {directory.parent} for the tree {recipe.title}",
            hint="make room there, about 1 GB for each tree while it is built, and build again",
            evidence=evidence,
        )
    if any(mark in line for line in lines for mark in _NO_NETWORK):
        return ProgramFailedError(
            f"the packages of {recipe.suite} for {recipe.architecture.value} cannot be fetched",
            hint="check the network and apt's proxy settings on this machine, then build again"
            + ("; or build without security updates" if recipe.security else ""),
            evidence=evidence,
        )
    return programs.failure(Command(("mmdebstrap",)), status, "\n".join(lines).encode())

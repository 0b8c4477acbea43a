"""Program trees: run the programs of another architecture or release from a directory.

A tree is a root file system in a directory, as mmdebstrap makes it, or "/" for this system. Its
programs are started through the tree's own dynamic loader with the tree's own library directories,
so neither root nor a chroot, a mount or a foreign dpkg architecture is needed, and paths of the
host (data, sockets, work space) keep their names.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from applianceforge.formats import elf
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import ProgramMissingError
from applianceforge.system import files, programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command, User

_HEAD_BYTES = 4096
_TRIPLETS = {Architecture.I386: "i386-linux-gnu", Architecture.AMD64: "x86_64-linux-gnu"}
_LIBRARY_DIRECTORIES = ("lib/{}", "usr/lib/{}", "lib", "usr/lib")
_POSTGRES_VERSIONS = Path("usr/lib/postgresql")
_LOCALES = Path("usr/lib/locale")
_BUILT_INTO_GLIBC = {"C.utf8", "C.UTF-8"}


def read_head(program: Path) -> elf.Elf:
    """Read the head of an ELF program.

    Raises:
        ProgramMissingError: It is not there, or is no ELF program.
        AccessDeniedError: It may not be read.
    """
    if not program.is_file():
        raise ProgramMissingError(
            f"the program {program} is not there",
            hint="name the right program tree in the settings, or install the program into it",
        )
    with files.named_errors(program, "read"), open(program, "rb") as stream:
        return elf.decode(stream.read(_HEAD_BYTES))


@dataclass(frozen=True)
class ProgramTree:
    """A root file system whose programs we run.

    Attributes:
        root: The directory; "/" means this system itself.
    """

    root: Path

    def path(self, program: str) -> Path:
        """Return where a program of the tree lies, given its path inside the tree."""
        return self.root / program.lstrip("/")

    @cached_property
    def postgres_majors(self) -> tuple[int, ...]:
        """Return the PostgreSQL major versions whose server the tree holds, ascending."""
        found = self.root.joinpath(_POSTGRES_VERSIONS).glob("*/bin/postgres")
        names = (path.parent.parent.name for path in found)
        return tuple(sorted(int(name) for name in names if name.isdecimal()))

    def postgres_program(self, major: int, name: str) -> str:
        """Return the path inside the tree of one of PostgreSQL's programs."""
        return f"/{_POSTGRES_VERSIONS}/{major}/bin/{name}"

    def architecture(self, program: str) -> Architecture | None:
        """Return the architecture of a program, from its ELF head."""
        return read_head(self.path(program)).architecture

    def command(
        self,
        program: str,
        *arguments: str,
        user: User | None = None,
        environment: tuple[tuple[str, str], ...] = (),
    ) -> Command:
        """Return the command that runs a program of the tree.

        Args:
            program: The program's path inside the tree, such as "/usr/bin/rrdtool".
            arguments: Its arguments.
            user: See `Command`.
            environment: See `Command`.

        Raises:
            ProgramMissingError: The tree lacks the program or its loader.
        """
        path = self.path(program)
        return Command(
            (*self._prefix(path), str(path), *arguments),
            environment=(*self._environment(), *environment),
            user=user,
            name=path.name,
        )

    def _prefix(self, program: Path) -> tuple[str, ...]:
        """Return the loader and its options, or nothing where the system itself is the tree."""
        head = read_head(program)
        if self.root == Path("/") or not head.interpreter:
            return ()
        # The i386 loader of a tree without merged /usr/lib64 and the like is looked for by name.
        loader = self.path(head.interpreter)
        if not loader.exists() and head.architecture is not None:
            loader = self.root / "lib" / _TRIPLETS[head.architecture] / loader.name
        if not loader.exists():
            raise ProgramMissingError(
                f"the tree {self.root} lacks the loader {head.interpreter} of {program.name}",
                hint="the tree is incomplete: build it again",
            )
        return (str(loader), "--library-path", ":".join(self._libraries(head)))

    def _libraries(self, head: elf.Elf) -> list[str]:
        triplet = _TRIPLETS.get(head.architecture) if head.architecture else None
        names = [
            name.format(triplet) for name in _LIBRARY_DIRECTORIES if triplet or "{" not in name
        ]
        return [str(self.root / name) for name in names if (self.root / name).is_dir()]

    def _environment(self) -> tuple[tuple[str, str], ...]:
        if self.root == Path("/"):
            return ()
        variables = [("FONTCONFIG_SYSROOT", str(self.root)), ("FONTCONFIG_PATH", "/etc/fonts")]
        # LOCPATH hides the host's locale archive, so only a tree with locales of its own sets it.
        if self.has_own_locales:
            variables.append(("LOCPATH", str(self.root / _LOCALES)))
        return tuple(variables)

    @property
    def has_own_locales(self) -> bool:
        """Tell whether the tree's programs use the tree's locales, and not this system's."""
        locales = self.root / _LOCALES
        return (
            self.root != Path("/")
            and locales.is_dir()
            and any(
                entry.is_dir() and entry.name not in _BUILT_INTO_GLIBC
                for entry in locales.iterdir()
            )
        )

    def launchers(self, major: int, directory: Path, effects: Effects) -> "Launchers":
        """Make the directory from which initdb and pg_dumpall find their companions.

        Both look for `postgres` and `pg_dump` beside themselves and start them by name, which only
        works through a script where the program needs its tree's loader.

        Args:
            major: The PostgreSQL major version.
            directory: Made anew; below the work space.
            effects: Told of the writes.
        """
        if self.root == Path("/"):
            return Launchers(self, major, None)
        files.make_directory(directory, effects, mode=0o755)
        directory.chmod(0o755)
        for name in ("postgres", "pg_dump"):
            command = self.command(self.postgres_program(major, name))
            script = f'#!/bin/sh\nexec {" ".join(map(_quoted, command.arguments))} "$@"\n'
            files.write_file(directory / name, script.encode(), effects, mode=0o755)
        for name in ("initdb", "pg_dumpall"):
            original = self.path(self.postgres_program(major, name))
            with files.named_errors(original, "read"):
                content = original.read_bytes()
            files.write_file(directory / name, content, effects, mode=0o755)
        return Launchers(self, major, directory)


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


@dataclass(frozen=True)
class Launchers:
    """PostgreSQL's programs that start other programs of their tree."""

    tree: ProgramTree
    major: int
    directory: Path | None

    def command(self, name: str, *arguments: str, user: User | None = None) -> Command:
        """Return the command that runs `initdb` or `pg_dumpall`."""
        if self.directory is None:
            program = self.tree.postgres_program(self.major, name)
            return self.tree.command(program, *arguments, user=user)
        program = str(self.directory / name)
        # A launcher is an ELF program of the tree in another place: same loader, same libraries.
        model = self.tree.command(self.tree.postgres_program(self.major, name))
        extra = ("-L", str(self.tree.root / f"usr/share/postgresql/{self.major}"))
        return Command(
            (*model.arguments[:-1], program, *(extra if name == "initdb" else ()), *arguments),
            environment=model.environment,
            user=user,
            name=name,
        )


def prove_it_runs(tree: ProgramTree, program: str, effects: Effects) -> str:
    """Run `program --version` and return its first line: proof that this machine can.

    IA32 emulation can be switched off at boot, and then nothing else says so.

    Raises:
        ProgramMissingError: It is not there or cannot run here.
        ProgramFailedError: It ran and failed.
    """
    said = programs.run(tree.command(program, "--version"), effects, timeout_s=60)
    lines = said.stdout.decode(errors="replace").splitlines()
    return lines[0] if lines else ""


def unprivileged(path: Path) -> User | None:
    """Return the owner of a path as the user to run a server as, or None where that is us.

    Servers never run as root; a data directory that root owns gives None, and the server says so.
    """
    status = path.stat()
    if status.st_uid in (os.geteuid(), 0):
        return None
    return User(status.st_uid, status.st_gid)

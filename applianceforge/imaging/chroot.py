"""Run a tree's own programs in it, with the few devices and file systems that they expect.

Only within a namespace of our own: what is mounted here, the host does not see.
"""

from pathlib import Path
from types import TracebackType
from typing import Self

from applianceforge.model.errors import ProgramFailedError
from applianceforge.system import programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command, Output

_CHROOT = "/usr/sbin/chroot"
_MOUNT = "/usr/bin/mount"
_UMOUNT = "/usr/bin/umount"
_DEVICES = ("null", "zero", "full", "random", "urandom")
_UMASK = 0o022
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Chroot:
    """A tree that is ready to run programs of; use it as a context.

    Attributes:
        root: Its directory.
    """

    def __init__(self, root: Path, epoch_s: int, effects: Effects) -> None:
        self.root = root
        self._epoch_s = epoch_s
        self._effects = effects
        self._mounted: list[Path] = []

    def __enter__(self) -> Self:
        for name in _DEVICES:
            target = self.root / "dev" / name
            target.parent.mkdir(exist_ok=True)
            target.touch()
            self._mount(target, "--bind", f"/dev/{name}")
        (self.root / "proc").mkdir(exist_ok=True)
        self._mount(self.root / "proc", "--types=proc", "proc")
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for target in reversed(self._mounted):
            programs.run(Command((_UMOUNT, str(target))), self._effects)
        self._mounted.clear()

    def run(self, *words: str) -> Output:
        """Run a program of the tree, by its path there.

        Raises:
            ProgramFailedError: It is not there, or failed.
        """
        environment = (
            ("PATH", _PATH),
            ("HOME", "/root"),
            ("TMPDIR", "/tmp"),  # noqa: S108 - the tree's own, which nobody else can reach
            ("SOURCE_DATE_EPOCH", str(self._epoch_s)),
            # Its own modules, not ours.
            ("PYTHONPATH", ""),
            ("PYTHONHASHSEED", "0"),
            ("SYSTEMD_OFFLINE", "1"),
        )
        command = Command(
            (_CHROOT, str(self.root), *words), environment, name=Path(words[0]).name, umask=_UMASK
        )
        return programs.run(command, self._effects)

    def _mount(self, target: Path, *words: str) -> None:
        try:
            programs.run(Command((_MOUNT, *words, str(target))), self._effects)
        except ProgramFailedError as error:
            raise ProgramFailedError(
                f"cannot mount {words[-1]} in a namespace of our own",
                hint="a container that builds images must allow mounts in user namespaces",
                evidence=error.evidence,
            ) from error
        self._mounted.append(target)

"""A migration of a test's own: old data, settings, and the real command."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from applianceforge.migrate import run
from applianceforge.migrate.engine import ordered
from applianceforge.migrate.outcome import Outcome
from applianceforge.migrate.preparation import Plan
from applianceforge.migrate.settings import Settings, decode
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.migrate.tree import ProgramTree
from applianceforge.migrate.workspace import Workspace, staging
from applianceforge.system.effects import Effects
from tests.appliance.cache import CHECKOUT
from tests.appliance.legacy import LegacyAppliance

_PATIENCE_S = 120
NOBODY = 65534


@dataclass(frozen=True)
class Said:
    """What the command said, and the status that it ended with."""

    status: int
    out: str
    errors: str

    @property
    def hint(self) -> str:
        """Return what it says is to be done, or nothing."""
        return self.errors.partition("What to do: ")[2].strip()


def command(*arguments: str | Path, as_user: int | None = None) -> list[str]:
    """Return the words of the real command.

    Args:
        as_user: Become this user once everything is imported: the interpreter itself may lie where
            only root can read.
    """
    if as_user is None:
        return [sys.executable, "-m", "applianceforge", *map(str, arguments)]
    become = (
        "import encodings.latin_1, os; from applianceforge.cli import entry, main;"
        f" os.setgroups([]); os.setgid({as_user}); os.setuid({as_user}); entry.main()"
    )
    return [sys.executable, "-c", become, *map(str, arguments)]


def applianceforge(*arguments: str | Path, as_user: int | None = None) -> Said:
    """Run the real command to its end."""
    done = subprocess.run(
        command(*arguments, as_user=as_user),
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Said(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Box:
    """Old data in a place of its own, and where the new data is to go.

    Attributes:
        place: All of it is below.
        old: A copy that may be started and changed.
        native: The target's programs.
        changes: Settings beside the usual ones; None leaves one out.
    """

    place: Path
    old: LegacyAppliance
    native: ProgramTree
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        """Return the work directory."""
        return Path(self._keys["work.directory"])

    @property
    def data(self) -> Path:
        """Return the new data directory."""
        return Path(self._keys.get("target.postgres.data", self.place / "new/data"))

    @property
    def rrd(self) -> Path:
        """Return the new RRDs' directory."""
        return Path(self._keys.get("target.rrd.directory", self.place / "new/rrd"))

    @property
    def workspace(self) -> Workspace:
        """Return the names of a run."""
        return Workspace(self.work, "run")

    @property
    def staged(self) -> Path:
        """Return where the new data directory is made."""
        return staging(self.data)

    @property
    def _keys(self) -> dict[str, Any]:
        usual = {
            "work.directory": str(self.place / "work"),
            "source.tree": str(self.old.tree.root),
            "source.postgres.data": str(self.old.data),
            "source.rrd.directory": str(self.old.rrd),
            "target.tree": str(self.native.root),
            "target.postgres.data": str(self.place / "new/data"),
            "target.rrd.directory": str(self.place / "new/rrd"),
        }
        return {key: value for key, value in (usual | self.changes).items() if value is not None}

    def with_settings(self, **changes: Any) -> "Box":
        """Return the same box with other settings; `__` stands for the dot."""
        dotted = {key.replace("__", "."): value for key, value in changes.items()}
        return replace(self, changes=self.changes | dotted)

    @property
    def text(self) -> str:
        """Return the settings file."""
        return "".join(f"{key} = {_toml(one)}\n" for key, one in self._keys.items())

    @property
    def settings(self) -> Settings:
        """Return the settings."""
        return decode(self.text, "box.toml")

    def around(self, **parts: Any) -> Surroundings:
        """Return surroundings with these settings."""
        return Surroundings(self.settings, **parts)

    def run(self, **parts: Any) -> Outcome:
        """Migrate, in this process."""
        return run.run(self.around(**parts))

    def migrate(self, *arguments: str | Path, as_user: int | None = None) -> Said:
        """Run `applianceforge migrate` with these settings."""
        return applianceforge(*self._migrate(*arguments), as_user=as_user)

    def start(self, *arguments: str | Path) -> "subprocess.Popen[bytes]":
        """Start `applianceforge migrate` and return it running."""
        return subprocess.Popen(
            command(*self._migrate(*arguments)),
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _migrate(self, name: str | Path, *arguments: str | Path) -> list[str | Path]:
        config = self.place / "box.toml"
        config.write_text(self.text)
        return ["migrate", name, "-c", config, *arguments]

    def steps(self) -> list[str]:
        """Return the keys of a run's steps."""
        with planned(self) as plan:
            return [step.key for step, _ in ordered(plan.subjects)]


def _toml(value: Any) -> str:
    """Return a value as TOML: what JSON writes is that too, for texts, numbers and lists."""
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


@contextmanager
def planned(box: Box, effects: Effects | None = None) -> Iterator[Plan]:
    """Plan a run without holding its lock."""
    work = box.workspace
    work.root.mkdir(parents=True, exist_ok=True)
    yield run.plan_run(box.around(effects=effects or Effects()), work)


def is_locked(path: Path) -> bool:
    """Tell whether somebody holds a lock."""
    if not path.exists():
        return False
    with open(path) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def contents(directory: Path) -> dict[str, tuple[bytes, os.stat_result]]:
    """Return every file below a directory, with its status."""
    return {
        str(path.relative_to(directory)): (path.read_bytes(), path.stat())
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }

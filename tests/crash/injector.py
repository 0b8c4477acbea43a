"""Strike a run after its n-th effect, and leave a record that it happened."""

import json
import os
import signal
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from threading import Lock
from typing import NoReturn

from applianceforge.system.effects import Effect
from applianceforge.system.progress import ProgressEvent, StepEnded, StepStarted

_MOST_FILES = 4096


class Blow(Enum):
    """What is struck.

    ALL: every process of the run, its servers among them, as by a power cut.
    ALONE: the run itself; its servers and programs go on without it.
    SOURCE, TARGET: the source's or the target's server; the run goes on.
    INTERRUPT, TERMINATE: nothing is killed; the run is asked to stop.
    """

    ALL = "all"
    ALONE = "alone"
    SOURCE = "source"
    TARGET = "target"
    INTERRUPT = "interrupt"
    TERMINATE = "terminate"


@dataclass(frozen=True)
class Place:
    """The directory of one case; everything that a run of it starts names it or works in it."""

    root: Path

    @property
    def settings(self) -> Path:
        """Return the settings file."""
        return self.root / "settings.toml"

    @property
    def old(self) -> Path:
        """Return the directory of the old data."""
        return self.root / "old"

    @property
    def new(self) -> Path:
        """Return the directory of the new data."""
        return self.root / "new"

    @property
    def work(self) -> Path:
        """Return the work directory."""
        return self.root / "work"

    @property
    def source(self) -> Path:
        """Return the data directory of the source."""
        return self.old / "data"

    @property
    def target(self) -> Path:
        """Return the final data directory of the target."""
        return self.new / "data"

    @property
    def target_rrds(self) -> Path:
        """Return the final directory of the new RRDs."""
        return self.new / "rrd"


@dataclass(frozen=True)
class Recorded:
    """One effect of a run, and the step in which it happened; none before the first."""

    number: int
    kind: str
    subject: str
    step: str


def processes_in(root: Path, spared: int = 0) -> list[int]:
    """Return the living processes that work below a directory or name it, except ourselves."""
    inside = f"{root}/"
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdecimal() or int(entry) in (os.getpid(), spared):
            continue
        try:
            working = Path(f"/proc/{entry}/cwd").readlink()
            words = Path(f"/proc/{entry}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if f"{working}/".startswith(inside) or inside.encode() in words:
            found.append(int(entry))
    return found


def kill_in(root: Path, spared: int = 0) -> int:
    """Kill all processes below a directory, until there is none, and return how many there were."""
    killed: set[int] = set()
    while found := processes_in(root, spared):
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed.add(pid)
    return len(killed)


@dataclass
class Injector:
    """Observes the effects of a run, records each, and strikes after the n-th.

    Attributes:
        place: Of the case.
        record: JSON Lines, one for each effect.
        number: After which effect to strike; 0 is never.
        blow: What to strike.
    """

    place: Place
    record: Path
    number: int = 0
    blow: Blow = Blow.ALL
    _step: str = field(default="")
    _lock: Lock = field(default_factory=Lock)

    def emit(self, event: ProgressEvent) -> None:
        """Learn which step runs; an injector is the run's progress sink, too."""
        if isinstance(event, StepStarted):
            self._step = event.key
        elif isinstance(event, StepEnded):
            self._step = f"after {event.key}"

    def observe(self, effect: Effect) -> None:
        """Record an effect, and strike if it is the one."""
        line = Recorded(effect.number, effect.kind.value, effect.subject, self._step)
        # Effects come from several threads: none is recorded after the one that is the last.
        with self._lock:
            with open(self.record, "a") as stream:
                stream.write(json.dumps(asdict(line)) + "\n")
            if effect.number == self.number:
                self._strike()

    def _strike(self) -> None:
        if self.blow is Blow.INTERRUPT:
            os.kill(os.getpid(), signal.SIGINT)
        elif self.blow is Blow.TERMINATE:
            os.kill(os.getpid(), signal.SIGTERM)
        elif self.blow in (Blow.SOURCE, Blow.TARGET):
            target = self.place.target.with_name(f".{self.place.target.name}.staging")
            killed = kill_in(self.place.source if self.blow is Blow.SOURCE else target)
            self.record.with_suffix(".killed").write_text(str(killed))
        elif self.blow is Blow.ALL:
            _kill_all(self.place.root)
        else:
            os.kill(os.getpid(), signal.SIGKILL)


def _kill_all(root: Path) -> NoReturn:
    """Kill the servers and programs of this run, then the run, which may notice nothing before."""
    if os.fork() == 0:
        run = os.getppid()
        os.closerange(3, _MOST_FILES)  # The lock among them: it shall end with the run.
        os.kill(run, signal.SIGSTOP)
        kill_in(root, spared=run)
        os.kill(run, signal.SIGKILL)
        os._exit(0)
    while True:
        signal.pause()


def read_record(path: Path) -> tuple[Recorded, ...]:
    """Return the effects that a run recorded."""
    if not path.exists():
        return ()
    return tuple(Recorded(**json.loads(line)) for line in path.read_text().splitlines())

"""Cut the power everywhere while a box takes both hops of an update, from 32 bits to the newest.

A box with rows and RRDs takes the whole way once, over HTTP, and all that it writes and flushes is
recorded: two installations, the migration, two first boots. From the record come the disks that
power cuts can leave (crash_states), and each is judged:

- by what GRUB would start: it must be whole, to the byte, and so must every slot that may start;
- a sample: replayed and repaired as Linux does it, then its rows and values, by a server and an
  rrdtool of the architecture whose data is the truth (data_oracle);
- a sample spread over the phases: booted, and left to itself with a server to be reached. It must
  end with the update complete, every row and every value.

Hours of work are kept in a directory: a run that was stopped goes on there.

    python -m tests.vm.update_cuts [DIRECTORY] [--booted N] [--looked N]
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import mmap
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from applianceforge.model.architecture import Architecture
from applianceforge.slots import layout
from applianceforge.slots.layout import Slot
from tests.release import demo
from tests.release.server import Server
from tests.vm import crossing, data_oracle, oracles, power_cuts
from tests.vm.channel import ChannelError
from tests.vm.crash_states import Effort, Kind, Replay, State, epochs, states
from tests.vm.crossing import BOOT_S, Told
from tests.vm.hardware import Disk
from tests.vm.machine import Machine
from tests.vm.oracles import GrubView, System
from tests.vm.update_record import (
    BUS,
    COMPLETE_S,
    INTENT,
    UPDATE,
    Phase,
    Update,
    machine,
    obtain,
)
from tests.vm.write_log import WriteLog

Tell = Callable[[str], None]
EFFORT = Effort(subsets=4, torn=6, prefixes=48)
_MOST_PROBLEMS = 20


# Judging.


@dataclass(frozen=True)
class Chosen:
    """A state that is looked at more closely."""

    number: int
    state: State
    phase: Phase


def choose(update: Update, log: WriteLog, per_phase: int, seed: int) -> tuple[Chosen, ...]:
    """Return states spread evenly over the phases, and there over the kinds, in their order."""
    by_phase: dict[str, dict[Kind, list[Chosen]]] = {phase.name: {} for phase in update.phases}
    phases = update.phases_of(log)
    for number, state in enumerate(states(log, EFFORT)):
        phase = phases[state.epoch]
        kinds = by_phase[phase.name].setdefault(state.kind, [])
        kinds.append(Chosen(number, state, phase))
    draw = random.Random(seed)
    found: list[Chosen] = []
    for these in by_phase.values():
        # Of each kind one, in an order that is drawn, then of each a second one.
        rows = [draw.sample(one, min(per_phase, len(one))) for one in these.values()]
        draw.shuffle(rows)
        mixed = [one for turn in itertools.zip_longest(*rows) for one in turn if one is not None]
        found += mixed[:per_phase]
    return tuple(sorted(found, key=lambda one: one.number))


def judge(
    update: Update,
    looked: Mapping[int, Chosen],
    done: Results,
    tell: Tell,
) -> list[str]:
    """Judge all states by what GRUB would start, and some by their data; return what is wrong."""
    began = time.monotonic()
    kinds: Counter[str] = Counter()
    phases: Counter[str] = Counter()
    wrong: list[str] = []
    with update.recording.opened() as (disk, record_bytes, log):
        systems, phase_of = _systems(), update.phases_of(log)
        wide = GrubView(disk, systems)
        # Until the 32-bit system is overwritten, a processor without long mode starts it.
        narrow = GrubView(
            disk, {Slot.A: systems[Slot.A][:1], Slot.B: systems[Slot.B]}, long_mode=False
        )
        replay = Replay(disk, record_bytes, log, [wide.changed, narrow.changed])
        for number, state in enumerate(states(log, EFFORT)):
            replay.take_on(state)
            phase = phase_of[state.epoch]
            kinds[state.kind.value] += 1
            phases[phase.name] += 1
            problems = wide.problems()
            if phase.goal != "current":
                problems += [f"without long mode: {one}" for one in narrow.problems()]
            wrong += [f"{phase.name}, {state}: {problem}" for problem in problems]
            if number in looked and not done.has("looked", number):
                since = time.monotonic()
                found = oracles.linux_problems(
                    disk, lambda image: data_oracle.problems(image, update.told)
                )
                done.add("looked", number, phase.name, found, time.monotonic() - since)
                tell(f"  state {number}, {phase.name}: {found or 'all rows and values'}")
    tell(
        f"{time.monotonic() - began:.0f} s  {kinds.total()} states ({_counted(kinds)}) of"
        f" {len(log.entries)} entries and {len(epochs(log))} flushes: {len(wrong)} start nothing"
        " whole"
    )
    tell(f"  by phase: {_counted(phases)}")
    tell(f"  {done.count('looked')} replayed, repaired, and their rows and values read")
    return wrong[:_MOST_PROBLEMS] + done.problems("looked")


def plant(update: Update, tell: Tell) -> list[str]:
    """Change the record as bugs would; return which of them were not found."""
    systems, wrong = _systems(), []
    small = replace(EFFORT, subsets=2, torn=2, prefixes=4)
    for title in ("nobody flushes", "activated first"):
        with update.recording.opened() as (disk, record_bytes, log):
            found = oracles.partitions_of(disk)
            if title == "nobody flushes":
                planted = power_cuts.without_flushes(log)
            else:
                boot, slot = found[layout.BOOT_PARTITION], found[Slot.B.partition]
                planted = power_cuts.activated_first(log, boot, slot)
            judged = power_cuts.judge(disk, record_bytes, planted, systems, small)
        tell(f"planted bug, {title}: {len(judged.problems)} of {judged.states} states")
        if not judged.problems:
            wrong.append(f"the planted bug was not found: {title}")
    return wrong


def _systems() -> dict[Slot, list[System]]:
    built = crossing.images("legacy", "migration", "current")
    mapped = {name: power_cuts.mapped(image.slot) for name, image in built.items()}
    return {
        Slot.A: [
            System(Architecture.I386, mapped["legacy"]),
            System(Architecture.AMD64, mapped["current"]),
        ],
        Slot.B: [System(Architecture.AMD64, mapped["migration"])],
    }


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.items())


# Booting.


def boot(
    update: Update,
    chosen: Sequence[Chosen],
    directory: Path,
    server: Server,
    done: Results,
    tell: Tell,
) -> list[str]:
    """Boot states, and let each complete its update by itself; return what is wrong."""
    with update.recording.opened() as (disk, record_bytes, log):
        told = replace(update.told, loader=bytes(disk[0 : crossing.LOADER_BYTES]))
        replay = Replay(disk, record_bytes, log)
        for number, one in enumerate(chosen, 1):
            if done.has("booted", one.number):
                continue
            path = directory / "booted.raw"
            oracles.extract(replay.take_on(one.state), 0, len(disk), path)
            began = time.monotonic()
            try:
                said, problems = _complete(path, one, server, told), []
            except (AssertionError, ChannelError) as error:
                said, problems = "", ["\n".join([str(error), *getattr(error, "__notes__", ())])]
            path.unlink()
            elapsed_s = time.monotonic() - began
            done.add("booted", one.number, one.phase.name, problems, elapsed_s, said)
            tell(
                f"{elapsed_s:6.0f} s  {number} of {len(chosen)}: state {one.number}"
                f" ({one.state.kind.value}, {one.phase.name}): {problems or said}"
            )
    return done.problems("booted")


def _complete(path: Path, one: Chosen, server: Server, told: Told) -> str:
    """Start a disk that a cut left, wait until its update is complete; return what it took."""
    agreed = _agreed(path)
    sent = server.bytes_sent
    with machine(Disk(path, bus=BUS, own=True), f"cut-{one.number}", server) as box:
        box.start()
        by_hand = ""
        until = time.monotonic() + COMPLETE_S
        while not _is_over(box, one.phase.goal):
            assert time.monotonic() < until, f"the update is not complete: {_state(box)}"
            if not agreed and not by_hand and _rests(box):
                # The cut came before the box knew what it had been told: nothing was begun.
                assert one.phase.name.startswith("install"), f"nothing goes on: {_state(box)}"
                by_hand = ", begun anew by hand as nothing had been agreed to"
                box.succeed(f"({UPDATE}) >/dev/null 2>&1 </dev/null &")
            time.sleep(1)
        if one.phase.goal == "legacy":
            assert crossing.psql(box, crossing.DIGEST) == told.rows
            values = box.succeed(crossing.FETCH.format("/data/i386"))
            crossing.same_values(values, told.values)
        else:
            crossing.check_data(box, told)
        boots = len(re.findall(r"Slot [ab] starts", box.console.text()))
        return (
            f"complete after {boots} boots, {(server.bytes_sent - sent) / 1e6:.1f} MB,"
            f" {agreed or 'nothing'} had been noted{by_hand}"
        )


def _agreed(path: Path) -> str:
    """Return how far what was agreed to had come, as a repaired copy of the disk tells."""
    found = ""

    def look(image: Path) -> list[str]:
        nonlocal found
        words = ["/usr/sbin/debugfs", "-R", "cat /forge/update/intent.json", str(image)]
        said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        found = json.loads(said)["phase"] if said else ""
        return []

    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as disk:
        problems = oracles.linux_problems(disk, look)
    assert problems == [], problems
    return found


def _is_over(box: Machine, goal: str) -> bool:
    """Tell whether the box runs a release for good, with nothing left to do."""
    try:
        box.wait_for_agent(timeout_s=BOOT_S)
        done = box.run("applianceforge status --json", timeout_s=120)
        found: dict[str, Any] = json.loads(done.stdout)
        booted = next(slot for slot in found["slots"].values() if slot["booted"])
        over = (found["release"]["name"], booted["good"], done.status) == (goal, True, 0)
        return over and box.run(f"test -e {INTENT}").status != 0 and _is_up(box)
    except (ValueError, KeyError, StopIteration, ChannelError):
        return False  # It is on its way down, or up.


def _is_up(box: Machine) -> bool:
    units = "forge-settle forge-postgresql forge-statistics ssh"
    return box.run(f"systemctl is-active {units}").status == 0


def _rests(box: Machine) -> bool:
    """Tell whether a box is up and waits for nothing."""
    try:
        return _is_up(box) and box.run("systemctl is-system-running").stdout == b"running\n"
    except ChannelError:
        return False


def _state(box: Machine) -> str:
    said = box.run(f"applianceforge status; cat {INTENT} /data/forge/update.json", timeout_s=120)
    return (said.stdout + said.stderr).decode(errors="replace")


# All of it.


class Results:
    """What was found so far, a line of JSON each, so that nothing is done twice."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self._found: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def has(self, what: str, number: int) -> bool:
        return any((one["what"], one["state"]) == (what, number) for one in self._found)

    def add(
        self,
        what: str,
        number: int,
        phase: str,
        problems: Sequence[str],
        elapsed_s: float,
        said: str = "",
    ) -> None:
        fields = {"what": what, "state": number, "phase": phase, "problems": list(problems)}
        fields |= {"elapsed_s": round(elapsed_s, 1), "said": said}
        self._found.append(fields)
        with self._path.open("a") as stream:
            stream.write(json.dumps(fields) + "\n")

    def count(self, what: str) -> int:
        return sum(one["what"] == what for one in self._found)

    def problems(self, what: str) -> list[str]:
        return [
            f"{what}, state {one['state']}, {one['phase']}: {problem}"
            for one in self._found
            if one["what"] == what
            for problem in one["problems"]
        ]


def place() -> Path:
    """Return where recording and results of the present images are kept.

    Raises:
        FileNotFoundError: Nothing is published yet.
    """
    digest = hashlib.sha256((demo.place() / "published.json").read_bytes()).hexdigest()
    return demo.place() / f"cuts-{digest[:16]}"


def run(
    directory: Path | None = None,
    *,
    looked: int = 6,
    booted: int = 3,
    seed: int = 1,
    tell: Tell = print,
) -> list[str]:
    """Record, judge and boot; return what is wrong.

    Args:
        directory: Where recording and results are kept, and found again; by default `place`.
        looked: Of each phase so many states have their data read.
        booted: Of each phase so many are booted.
        seed: Which ones.
        tell: Takes one line after the other.
    """
    with Server(demo.repository(tell)) as server:
        directory = directory or place()
        update = obtain(directory, server, tell)
        done = Results(directory / "results.jsonl")
        with update.recording.opened() as (_, _, log):
            to_look = choose(update, log, looked, seed)
            to_boot = choose(update, log, booted, seed + 1)
        wrong = judge(update, {one.number: one for one in to_look}, done, tell)
        wrong += plant(update, tell)
        wrong += boot(update, to_boot, directory, server, done, tell)
        tell(f"{done.count('booted')} booted, {len(wrong)} wrong")
        return wrong


def main() -> int:
    """Run it on the terminal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--looked", type=int, default=6)
    parser.add_argument("--booted", type=int, default=3)
    arguments = parser.parse_args()
    wrong = run(
        arguments.directory,
        looked=arguments.looked,
        booted=arguments.booted,
        tell=lambda line: print(line, flush=True),
    )
    for problem in wrong:
        print(f"WRONG: {problem}", flush=True)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())

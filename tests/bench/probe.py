"""The probe and `applianceforge check` from a cold start, against bare Python and py-cpuinfo."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

PROBE_BEYOND_BARE_S = 0.010
CHECK_S = 0.100
TIMES_AS_FAST = 50
_ROUNDS = 25
# py-cpuinfo takes more than a second, so it runs in every fifth round only.
_SLOW_EVERY = 5
_VERDICTS = (0, 10, 20, 21, 22, 23, 24, 30)
_PROBE = (
    "from applianceforge.cpuid import native\n"
    "assert any(found.leaves for found in native.ask_all(native.native_code()))"
)
_VERDICT = (
    "from applianceforge.cpuid import probe\nassert probe.long_mode().capability.exit_status != 30"
)
_PY_CPUINFO = "import cpuinfo\nassert cpuinfo.get_cpu_info()['flags']"


@dataclass(frozen=True)
class Way:
    """One kind of process.

    Attributes:
        statuses: How it may end.
        slow: Whether to run it less often.
    """

    name: str
    command: tuple[str, ...]
    statuses: tuple[int, ...] = (0,)
    slow: bool = False


@dataclass(frozen=True)
class Result:
    """How long processes of one kind took, each from its start to its end.

    Attributes:
        beyond_s: What each took beyond the bare Python of the same round, as the machine may be
            slower in another.
    """

    way: Way
    elapsed_s: tuple[float, ...]
    beyond_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """Return the median."""
        return statistics.median(self.elapsed_s)

    @property
    def median_beyond_s(self) -> float:
        """Return the median of what is beyond bare Python."""
        return statistics.median(self.beyond_s)


def run(check: Sequence[str] = (), rounds: int = _ROUNDS) -> list[str]:
    """Measure all in turns, print medians and ratios, and return the promises that were missed.

    Args:
        check: The command of the check, such as (".../bin/applianceforge", "check").
        rounds: How often each kind of process is started.
    """
    python = (sys.executable, "-I", "-c")
    bare = Way("bare Python", (*python, "pass"))
    ways = [
        bare,
        Way("the probe, all routes", (*python, _PROBE)),
        Way("the verdict", (*python, _VERDICT)),
        Way("py-cpuinfo's get_cpu_info", (*python, _PY_CPUINFO), slow=True),
    ]
    if check:
        ways.insert(3, Way("applianceforge check", tuple(check), _VERDICTS))
    results = measure(ways, rounds)
    _print(results)
    promises = _promises({result.way.name: result for result in results})
    for said, kept in promises:
        print(f"{'kept  ' if kept else 'MISSED'}  {said}")
    return [said for said, kept in promises if not kept]


def measure(ways: Sequence[Way], rounds: int) -> list[Result]:
    """Start every kind of process in turns, after one round that warms the caches.

    Args:
        ways: The first is bare Python.
        rounds: How many.
    """
    elapsed: dict[str, list[float]] = {way.name: [] for way in ways}
    beyond: dict[str, list[float]] = {way.name: [] for way in ways}
    bare_s = 0.0
    for number in range(rounds + 1):
        for way in ways:
            if way.slow and number % _SLOW_EVERY:
                continue
            began = time.perf_counter()
            # Straight from the kernel: `subprocess` adds its own time to that of the child.
            child = os.posix_spawn(
                way.command[0],
                way.command,
                os.environ,
                file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
            )
            _, status = os.waitpid(child, 0)
            ended = time.perf_counter()
            if os.waitstatus_to_exitcode(status) not in way.statuses:
                raise subprocess.CalledProcessError(status, way.command)
            if way is ways[0]:
                bare_s = ended - began
            if number:
                elapsed[way.name].append(ended - began)
                beyond[way.name].append(ended - began - bare_s)
    return [Result(way, tuple(elapsed[way.name]), tuple(beyond[way.name])) for way in ways]


def _promises(results: dict[str, Result]) -> list[tuple[str, bool]]:
    probe = results["the probe, all routes"].median_beyond_s
    theirs = results["py-cpuinfo's get_cpu_info"].median_beyond_s
    promises = [
        (
            f"the probe takes {probe * 1e3:.1f} ms beyond bare Python,"
            f" at most {PROBE_BEYOND_BARE_S * 1e3:.0f}",
            probe <= PROBE_BEYOND_BARE_S,
        ),
        (
            f"py-cpuinfo takes {theirs / probe:.0f} times as long, at least {TIMES_AS_FAST}",
            theirs / probe >= TIMES_AS_FAST,
        ),
    ]
    if "applianceforge check" in results:
        check = results["applianceforge check"].median_s
        promises.append(
            (
                f"the check takes {check * 1e3:.0f} ms in all, at most {CHECK_S * 1e3:.0f}",
                check <= CHECK_S,
            )
        )
    return promises


def _print(results: Sequence[Result]) -> None:
    probe = results[1].median_beyond_s
    table = Table(title="From a cold start, each process whole", title_justify="left")
    table.add_column("way")
    for heading in ("median", "fastest", "beyond bare", "times the probe", "runs"):
        table.add_column(heading, justify="right")
    for result in results:
        beyond = result.median_beyond_s
        table.add_row(
            result.way.name,
            f"{result.median_s * 1e3:.1f} ms",
            f"{min(result.elapsed_s) * 1e3:.1f} ms",
            f"{beyond * 1e3:.1f} ms",
            f"{beyond / probe:.1f}" if beyond else "",
            str(len(result.elapsed_s)),
        )
    Console(width=110).print(table)

"""What becomes of the programs of a run that is killed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.appliance.cache import CHECKOUT

_STARTS = """
import sys, time
from applianceforge.system import programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command
command = Command(("/usr/bin/sleep", "60"))
def tell(effect):
    from pathlib import Path
    children = Path("/proc/self/task").glob("*/children")
    print(*(path.read_text() for path in children), flush=True)
if sys.argv[1] == "run":
    programs.run(command, Effects(tell))
else:
    programs.start(command, Effects(tell))
    time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    """Tell whether a process has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.parametrize(("how", "survives"), [("run", False), ("start", True)])
def test_programs_die_with_the_run_and_servers_do_not(how: str, survives: bool) -> None:
    """A program would go on writing where the next run begins anew; servers are found again."""
    words = (sys.executable, "-c", _STARTS, how)
    with subprocess.Popen(words, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert is_alive(pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
    try:
        deadline = time.monotonic() + 5
        while is_alive(pid) and not survives:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert is_alive(pid) == survives
    finally:
        subprocess.run(("kill", "-9", str(pid)), check=False, stderr=subprocess.DEVNULL)

"""A box that nobody touches: its settings allow updates, and it takes all of them by itself.

What its timer starts is started, as the timer would half an hour later; in the middle of the first
installation the power goes. All else is the box's own: the units' enclosures, the boot that goes
on, the restarts in the window. It must end with the newest release, every row and every value.

    python -m tests.vm.unattended
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.release import demo
from tests.release.server import Server
from tests.vm import crossing, story
from tests.vm.chronicle import Chronicle
from tests.vm.crossing import WIDE, Told
from tests.vm.machine import Machine

Tell = Callable[[str], None]
_SETTINGS = b'automatic = true\nwindow = "00:00-00:00"\nretention_days = 0\n'
_TIMER, _UNIT = "forge-update.timer", "forge-update.service"
_HOP_S = 2400.0


def tell(say: Tell) -> list[str]:
    """Tell the story; return what is wrong, which is nothing, or raise.

    Raises:
        AssertionError: It went otherwise than it must.
    """
    with (
        tempfile.TemporaryDirectory(prefix="unattended-") as name,
        Server(demo.repository(say)) as server,
    ):
        chronicle = Chronicle(say, lambda: server.bytes_sent)
        disk, told = story.box_in_the_field(chronicle, Path(name), server, then=_allow)
        with story.machine(disk, WIDE, "unattended", server) as box:
            _all_by_itself(chronicle, box, told, server)
            box.shutdown()
        say(chronicle.table())
    return []


def _all_by_itself(chronicle: Chronicle, box: Machine, told: Told, server: Server) -> None:
    with chronicle.part("boot", "the box starts"):
        story.up(box)
        box.succeed(f"systemctl is-active {_TIMER}")
    with chronicle.part("update", "the power goes while it installs the first release"):
        part_bytes = demo.payload_bytes("migration") // 4
        story.cut_in_the_middle(box, server, f"systemctl start {_UNIT}", part_bytes)
    with chronicle.part("migrate", "it goes on, restarts, migrates its data, serves"):
        _await_start(box, "b", 0)
        crossing.check_crossed(box, told)
        chronicle.note(" ".join(story.version_of(box)))
    with chronicle.part("serve", "the next day it takes the newest release, and serves"):
        before = box.console.text().count("Slot a starts")
        _next_day(box)
        box.succeed(f"systemctl start --no-block {_UNIT}")
        _await_start(box, "a", before)
        story.check_arrived(box, told)
        chronicle.note(" ".join(story.version_of(box)))
    with chronicle.part("serve", "the day after that there is nothing newer"):
        _next_day(box)
        box.succeed(f"systemctl start {_UNIT}")
        box.succeed('grep -q \'"state": "up-to-date"\' /data/forge/update.json')
    chronicle.say("what the box remembers:")
    chronicle.quote(box.succeed("applianceforge history", timeout_s=120))


def _allow(_chronicle: Chronicle, box: Machine, _server: Server) -> None:
    box.copy_to(_SETTINGS, "/data/config/update.toml")
    box.succeed("sync")


def _next_day(box: Machine) -> None:
    """Let the box forget when it looked last: it looks once a day, or once a window."""
    box.succeed("rm -f /data/forge/update/checked")


def _await_start(box: Machine, slot: str, before: int) -> None:
    until = time.monotonic() + _HOP_S
    while box.console.text().count(f"Slot {slot} starts") <= before:
        assert time.monotonic() < until, box.console.tail()
        time.sleep(0.5)


if __name__ == "__main__":
    tell(crossing.say)
    sys.exit(0)

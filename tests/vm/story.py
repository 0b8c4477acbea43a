"""The whole story: a 32-bit box in the field takes every update, and comes out as a 64-bit one.

It has a disk, a processor and one server that it reaches. Nothing is done to it but what its
administrator would do: `applianceforge update --yes`, and a restart. What it held before, it must
hold afterwards, row by row and value by value. On processors without long mode the same command
must say no, why, and what to do, and must not have asked for more than signed metadata.

    python -m tests.vm.story [--picture FILE]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.release import demo
from tests.release.server import Entry, Server
from tests.vm import crossing
from tests.vm.chronicle import Chronicle, amount
from tests.vm.crossing import BOOT_S, WIDE, Told
from tests.vm.hardware import Served
from tests.vm.machine import Machine

Tell = Callable[[str], None]
# What a refused update may move in all, answers' bodies counted.
MOST_REFUSED_BYTES = 64 << 10
_UPDATE_S = 1800.0
_TELL_EVERY_S = 15.0
# Lines of progress, such as `[1/4] Look at what is there: done in 2.0 s`.
_STEP = re.compile(r" *\[\d+/\d+\] ")
_STEP_DONE = re.compile(r": done in ")
_OUTPUT, _STATUS = "/run/story.out", "/run/story.status"


@dataclass(frozen=True)
class Refusal:
    """A processor that cannot take the crossing.

    Attributes:
        processor: As QEMU's -cpu takes it.
        status: How `applianceforge update --yes` must end.
        reason: A part of what it says that is in the way.
        remedy: A part of what it says that is to be done.
    """

    processor: str
    status: int
    reason: str
    remedy: str


REFUSALS = (
    Refusal("coreduo", 22, "cannot run 64-bit systems", "instead of a model such as"),
    Refusal("qemu64,-lm", 20, "hides that this processor is a 64-bit one", "without `-lm`"),
)


@dataclass
class Ended:
    """How an update ended.

    Attributes:
        status: Its exit status.
        said: What it printed.
        entries: What the server sent meanwhile.
        elapsed_s: How long it took in the guest's own time.
    """

    status: int
    said: str
    entries: list[Entry] = field(repr=False)
    elapsed_s: float = 0.0

    @property
    def sent_bytes(self) -> int:
        """Return the bytes of all bodies."""
        return sum(entry.bytes_sent for entry in self.entries)

    @property
    def condensed(self) -> str:
        """Return what it printed, of its progress only how each step ended."""
        lines = self.said.splitlines()
        return "\n".join(line for line in lines if not _STEP.match(line) or _STEP_DONE.search(line))


@contextmanager
def machine(disk: Path, processor: str, name: str, server: Server) -> Iterator[Machine]:
    """Put a disk under a processor, with a way to the server and nowhere else."""
    with crossing.machine(disk, processor, name, served=(Served(server.port),)) as box:
        yield box


def update(box: Machine, server: Server, *words: str, say: Tell = lambda _line: None) -> Ended:
    """Run `applianceforge update` as an administrator would, and wait for its end.

    Args:
        box: The box; it must be up.
        server: What it reaches.
        words: Options of the command.
        say: Told now and then how far it is.
    """
    before = len(server.log)
    command = " ".join(("applianceforge update", *words))
    began = time.monotonic()
    box.succeed(
        f"rm -f {_OUTPUT} {_STATUS}; ({command} >{_OUTPUT} 2>&1; echo $? >{_STATUS}.new;"
        f" mv {_STATUS}.new {_STATUS}) >/dev/null 2>&1 </dev/null &"
    )
    told = began
    while box.execute(f"test -e {_STATUS}", timeout_s=120)[0] != 0:
        now = time.monotonic()
        if now - began > _UPDATE_S:
            raise AssertionError(f"{command} goes on for ever: {_said(box)}")
        if now - told >= _TELL_EVERY_S:
            told = now
            sent = sum(entry.bytes_sent for entry in server.log[before:])
            say(f"  {_progress(box)}{amount(sent)} so far")
        time.sleep(1)
    status = int(box.succeed(f"cat {_STATUS}"))
    return Ended(status, _said(box), server.settled().log[before:], time.monotonic() - began)


def cut_in_the_middle(box: Machine, server: Server, begin: str, middle_bytes: int) -> None:
    """Begin an update, and cut the power when so much of it was sent; start the box again."""
    before = server.bytes_sent
    box.succeed(f"({begin}) >/dev/null 2>&1 </dev/null &")
    until = time.monotonic() + _UPDATE_S
    while server.bytes_sent - before < middle_bytes:
        assert time.monotonic() < until, "the update fetches nothing"
        time.sleep(0.2)
    box.cut_power()
    box.start()


def goes_on(box: Machine) -> None:
    """Wait until what was begun before the box started is installed, by the box's own doing."""
    done = 'grep -q \'"state": "activated"\' /data/forge/update.json'
    box.wait_for_agent(timeout_s=BOOT_S)
    box.wait_until_succeeds(f"{done} || {{ sleep 2; false; }}", timeout_s=_UPDATE_S)


def _said(box: Machine) -> str:
    return box.run(f"cat {_OUTPUT}", timeout_s=120).stdout.decode(errors="replace")


def _progress(box: Machine) -> str:
    """Return how far the update is, as the box tells everybody."""
    done = box.run("cat /data/forge/update.json", timeout_s=120)
    try:
        progress: dict[str, Any] | None = json.loads(done.stdout)["progress"]
    except (ValueError, KeyError):
        return ""
    if not progress:
        return ""
    total = progress["total_bytes"] or 0
    share = f" {100 * progress['done_bytes'] // total} %" if total else ""
    return f"{progress['title']}{share}, "


def up(box: Machine) -> None:
    """Wait until a box serves."""
    for unit in ("forge-settle.service", "forge-postgresql.service"):
        box.wait_for_unit(unit, timeout_s=BOOT_S)


def reboot(box: Machine) -> None:
    """Restart a box as a person does, who waits for it to be up again."""
    box.reboot(timeout_s=BOOT_S)


def version_of(box: Machine) -> tuple[str, str, str]:
    """Return name, version and architecture of the release that runs."""
    found = crossing.status_of(box, 0)["release"]
    return found["name"], found["version"], found["architecture"]


def check_refused(ended: Ended, refusal: Refusal) -> None:
    """Prove that an update was refused for the right reason, before anything was fetched."""
    assert ended.status == refusal.status, f"status {ended.status}: {ended.said}"
    words = " ".join(ended.said.split())
    assert refusal.reason in words, ended.said
    assert refusal.remedy in words, ended.said
    check_small(ended)


def check_small(ended: Ended) -> None:
    """Prove that nothing but signed metadata was asked for, and little of it."""
    paths = [entry.path for entry in ended.entries]
    assert paths, "it never asked the server"
    assert ended.sent_bytes <= MOST_REFUSED_BYTES, f"{ended.sent_bytes} bytes: {paths}"
    fetched = [path for path in paths if path.startswith("bundles/")]
    assert fetched == [], f"it asked for {fetched}"


def check_arrived(box: Machine, told: Told) -> None:
    """Prove that a box runs the newest release with all that it held, and has no way further."""
    up(box)
    assert box.succeed("uname -m").strip() == "x86_64"
    assert version_of(box) == demo.release_of("current")
    found = crossing.status_of(box, 0)
    assert found["epoch"] == "amd64"
    assert found["slots"]["a"]["booted"]
    assert found["slots"]["a"]["good"]
    crossing.check_data(box, told)
    assert crossing.history_of(box).count("settled") >= 2


def tell(say: Tell, picture: Path | None = None) -> list[str]:
    """Tell the whole story; return what is wrong, which is nothing, or raise.

    Args:
        say: Takes one line after the other.
        picture: Where the course of it goes, as SVG.

    Raises:
        AssertionError: It went otherwise than it must.
    """
    repository = demo.repository(say)
    with tempfile.TemporaryDirectory(prefix="story-") as name, Server(repository) as server:
        place = Path(name)
        story = Chronicle(say, lambda: server.bytes_sent)
        disk, told = box_in_the_field(story, place, server)
        for refusal in REFUSALS:
            _refused(story, place, disk, server, refusal)
        _all_the_way(story, disk, told, server)
        say("")
        say(story.table())
        if picture is not None:
            picture.write_text(story.picture("From 32 bits to 64, unattended: one box, one disk"))
            say(f"{picture}: the same as a picture")
    return []


def box_in_the_field(
    story: Chronicle,
    place: Path,
    server: Server,
    then: Callable[[Chronicle, Machine, Server], None] = lambda *_all: None,
) -> tuple[Path, Told]:
    """Return the disk of a 32-bit box that has data, and what it holds.

    Args:
        story: Told of it.
        place: Where the disk goes.
        server: What the box reaches.
        then: Done to the box before it is shut down.
    """
    disk = crossing.new_disk(place)
    with machine(disk, WIDE, "field", server) as box:
        with story.part("boot", "the 32-bit box starts and gets its data"):
            up(box)
            story.note(" ".join(version_of(box)))
            told = crossing.fill(box)
            box.succeed("sync")
        told = Told(told.rows, told.values, box.disk_bytes(0, 0, crossing.LOADER_BYTES))
        story.say(f"  {told.rows.partition('|')[0]} rows and an RRD of two archives are in it")
        then(story, box, server)
        box.shutdown()
    return disk, told


def _refused(story: Chronicle, place: Path, base: Path, server: Server, refusal: Refusal) -> None:
    disk = crossing.layer(base, "qcow2", place / f"{refusal.processor}.qcow2")
    with machine(disk, refusal.processor, f"refused-{refusal.processor}", server) as box:
        with story.part("boot", f"the same box with -cpu {refusal.processor} starts"):
            up(box)
        title = f"applianceforge update --yes, on {refusal.processor}"
        with story.part("refuse", title):
            ended = update(box, server, "--yes")
            story.quote(ended.condensed)
            check_refused(ended, refusal)
            assert version_of(box) == demo.release_of("legacy")
            story.note(f"refused, exit status {ended.status}")
        box.shutdown()
    disk.unlink()


def _all_the_way(story: Chronicle, disk: Path, told: Told, server: Server) -> None:
    with machine(disk, WIDE, "story", server) as box:
        with story.part("boot", f"the box starts with -cpu {WIDE}"):
            up(box)
        for name, slot in (("migration", "b"), ("current", "a")):
            with story.part("update", f"applianceforge update --yes: {name}"):
                ended = update(box, server, "--yes", say=story.say)
                story.quote(ended.condensed)
                assert ended.status == 0, ended.said
                story.note(f"{name} is in slot {slot}, {_share(ended, name)}")
            crosses = name == "migration"
            kind, what = ("migrate", "migrates its data, ") if crosses else ("serve", "")
            with story.part(kind, f"restart: {what}proves itself, serves"):
                reboot(box)
                if crosses:
                    crossing.check_crossed(box, told)
                else:
                    check_arrived(box, told)
                found = version_of(box)
                story.note(f"{' '.join(found)}; rows and values are equal")
        with story.part("serve", "applianceforge update --yes: nothing newer"):
            ended = update(box, server, "--yes")
            story.quote(ended.condensed)
            assert ended.status == 0, ended.said
            check_small(ended)
        story.say("what the box remembers:")
        story.quote(box.succeed("applianceforge history", timeout_s=120))
        box.shutdown()


def short(say: Tell) -> None:
    """Tell the short form: one crossing by an update, and what a 32-bit processor makes of it.

    Raises:
        AssertionError: It went otherwise than it must.
    """
    coreduo = REFUSALS[0]
    with (
        tempfile.TemporaryDirectory(prefix="story-") as name,
        Server(demo.repository(say)) as server,
    ):
        story = Chronicle(say, lambda: server.bytes_sent)
        disk, told = box_in_the_field(story, Path(name), server, then=_take_the_migration)
        # Another disk, as the next one is started from this one.
        other = crossing.layer(disk, "qcow2", Path(name) / "other.qcow2")
        with machine(other, coreduo.processor, "refused", server) as box:
            with story.part("refuse", "under a 32-bit processor it stays as it was"):
                box.wait_for_console_text("Slot a starts", timeout_s=BOOT_S)
                crossing.check_still_old(box, told, "no-long-mode")
            with story.part("refuse", "and the update is refused there"):
                check_refused(update(box, server, "--yes"), coreduo)
                crossing.check_still_old(box, told, "no-long-mode")
        other.unlink()
        _crosses(story, disk, told, server)
        say(story.table())


def _crosses(story: Chronicle, disk: Path, told: Told, server: Server) -> None:
    with machine(disk, WIDE, "crossing", server) as box:
        with story.part("migrate", "under a 64-bit processor it crosses"):
            box.wait_for_console_text("Slot b starts", timeout_s=BOOT_S)
            crossing.check_crossed(box, told)
        with story.part("serve", "and once more, from the 64-bit release alone"):
            reboot(box)
            crossing.check_crossed(box, told)
            box.shutdown()
    with (
        machine(disk, REFUSALS[0].processor, "crossed-refused", server) as box,
        story.part("refuse", "under the 32-bit one it then accepts nothing"),
    ):
        box.wait_for_console_text("Slot a starts", timeout_s=BOOT_S)
        crossing.check_refused(box)
        box.shutdown()
    with (
        machine(disk, WIDE, "crossed-again", server) as box,
        story.part("serve", "and under the 64-bit one it serves again"),
    ):
        crossing.check_crossed(box, told)


def _take_the_migration(story: Chronicle, box: Machine, server: Server) -> None:
    before, whole = server.bytes_sent, demo.payload_bytes("migration")
    with story.part("update", "applianceforge update --yes: migration, and the power goes"):
        cut_in_the_middle(box, server, "applianceforge update --yes", whole // 4)
    with story.part("update", "the box starts, and goes on by itself"):
        goes_on(box)
        share = f"{100 * (server.bytes_sent - before) / whole:.0f} % of its {amount(whole)}"
        story.note(f"migration is in slot b, {share} fetched in all")


def _share(ended: Ended, name: str) -> str:
    """Return how much of a payload was fetched."""
    whole = demo.payload_bytes(name)
    return f"{100 * ended.sent_bytes / whole:.0f} % of its {amount(whole)} fetched"


def main() -> int:
    """Tell the story on the terminal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    problems = tell(lambda line: print(line, flush=True), arguments.picture)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())

"""The crossing: a 32-bit appliance takes the migration release and comes out as a 64-bit one.

Real images, the real boot loader, real data; each scene is a disk that is put under a processor and
left to itself. `scene` is what happens between a copy of the disk and the checks.

    python -m tests.vm.crossing SCENE...      one or more of SCENES; by default all
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from applianceforge.imaging.build import BuiltImage
from tests.release import demo
from tests.vm.hardware import Disk, Hardware, Served
from tests.vm.machine import Machine

NARROW, WIDE = "coreduo", "qemu64"
DISK_BYTES = 6 << 30
_MEMORY_MIB = 768
_CORES = 2
# A boot by software on a busy machine; the migration is a part of it.
BOOT_S = 900.0
_WRITE_S = 1200.0
ROWS = 2000
DIGEST = "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY id)) FROM public.crossing t"
# How values become text, wherever it is asked: the gateway's database has settings of its own.
_PINNED = "-c TimeZone=UTC -c DateStyle=ISO,YMD -c extra_float_digits=3"
_FILL = f"""CREATE TABLE public.crossing AS SELECT id, md5(id::text) AS word, sqrt(id) AS root,
 now() - id * interval '1 minute' AS at, repeat(chr(8364), id % 7) AS euros
 FROM generate_series(1, {ROWS}) id"""
RRD = "crossing.rrd"
_RRD_BEGAN, _RRD_STEP_S, _RRD_VALUES = 1_700_000_000, 60, 600
FETCH = (
    f"rrdtool fetch {{}}/rrd/{RRD} AVERAGE --start {_RRD_BEGAN + _RRD_STEP_S}"
    f" --end {_RRD_BEGAN + _RRD_STEP_S * (_RRD_VALUES - 1)}"
)
# sector 0 and the core image: up to the first partition.
LOADER_BYTES = 2048 * 512


@dataclass(frozen=True)
class Told:
    """What the old appliance held, as itself says."""

    rows: str
    values: str
    loader: bytes


@dataclass(frozen=True)
class Prepared:
    """A disk whose 32-bit system has the migration release in its other slot, to start next."""

    disk: Path
    told: Told


def say(text: str) -> None:
    """Say what goes on, with the time."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def images(*names: str) -> dict[str, BuiltImage]:
    """Return images of recipes, built first where that is needed."""
    return demo.images(*names)


def layer(base: Path, kind: str, place: Path, size_bytes: int | None = None) -> Path:
    """Make a disk that begins as another one is, and return it."""
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", kind, str(place)]
    subprocess.run([*words, *([str(size_bytes)] if size_bytes else [])], check=True)
    return place


def new_disk(place: Path) -> Path:
    """Return the disk of a box in the field, as it came from its vendor, larger than the image."""
    return layer(images("legacy")["legacy"].raw, "raw", place / "field.qcow2", DISK_BYTES)


@contextmanager
def machine(
    disk: Path,
    processor: str,
    name: str,
    *,
    second: Path | None = None,
    served: tuple[Served, ...] = (),
) -> Iterator[Machine]:
    """Put a disk under a processor and switch it on; what is written stays on the disk."""
    disks = [Disk(disk, format="qcow2", own=True)]
    if second is not None:
        disks.append(Disk(second))
    network = "e1000" if served else None
    hardware = Hardware(
        tuple(disks), processor, _MEMORY_MIB, _CORES, network=network, served=served
    )
    with Machine(hardware, name=name, watch=False) as box:
        box.start()
        yield box


def psql(box: Machine, question: str) -> str:
    """Ask the database of a box."""
    program = "/usr/lib/postgresql/15/bin/psql -h /run/postgresql -U postgres -d gateway"
    return box.succeed(f'PGOPTIONS="{_PINNED}" {program} -AtXc "{question}"').strip()


def prepare(place: Path) -> Prepared:
    """Start the 32-bit appliance, give it data, write the migration release, let it start next."""
    disk = new_disk(place)
    with machine(disk, WIDE, "prepare", second=images("migration")["migration"].slot) as box:
        box.wait_for_unit("forge-settle.service", timeout_s=BOOT_S)
        box.wait_for_unit("forge-postgresql.service", timeout_s=BOOT_S)
        say("the 32-bit appliance is up")
        assert box.succeed("uname -m").strip() == "i686"
        told = fill(box)
        say("it has its data; the migration release is written into slot b")
        image = box.device(1)
        said = box.succeed(f"applianceforge slot write --progress none {image}", timeout_s=_WRITE_S)
        say(said.strip())
        say(box.succeed("applianceforge slot activate", timeout_s=120).strip())
        box.succeed("sync")
        told = Told(told.rows, told.values, box.disk_bytes(0, 0, LOADER_BYTES))
        box.shutdown()
    return Prepared(disk, told)


def fill_statement() -> str:
    """Return the SQL that makes the rows."""
    return _FILL.replace("\n", "")


def rrd_commands(directory: Path) -> tuple[tuple[str, ...], ...]:
    """Return the words for rrdtool that make the values below a directory."""
    values = (
        f"{_RRD_BEGAN + number * _RRD_STEP_S}:{number * 1.1 if number % 9 else 'U'}"
        for number in range(1, _RRD_VALUES)
    )
    path = str(directory / RRD)
    made = ("create", path, "--start", str(_RRD_BEGAN), "--step", str(_RRD_STEP_S))
    archives = ("RRA:AVERAGE:0.5:1:1000", "RRA:AVERAGE:0.5:10:1000")
    return (*made, "DS:one:GAUGE:120:U:U", *archives), ("update", path, *values)


def fill(box: Machine) -> Told:
    """Give the 32-bit appliance rows and values, and return what itself says of them."""
    box.succeed("systemctl stop forge-statistics")
    psql(box, fill_statement())
    place = Path("/data/i386/rrd")
    for words in rrd_commands(place):
        box.succeed(shlex.join(("rrdtool", *words)))
    box.succeed(f"chown statistics: {place / RRD}")
    return Told(psql(box, DIGEST), box.succeed(FETCH.format("/data/i386")), b"")


def same_values(found: str, told: str) -> None:
    """Compare what two rrdtools say, of which the 32-bit one prints ten digits."""
    pairs = [line.split() for line in found.splitlines() if ":" in line]
    before = [line.split() for line in told.splitlines() if ":" in line]
    assert len(pairs) == len(before) > _RRD_VALUES / 2
    for (when, value), (was_when, was) in zip(pairs, before, strict=True):
        assert when == was_when
        same = value == was or abs(float(value) - float(was)) <= 1e-9 * abs(float(was))
        assert same, f"{when} {value} instead of {was}"
    assert sum("nan" in one[1] for one in before) < len(before) / 2


def status_of(box: Machine, status: int) -> dict[str, Any]:
    """Return what `applianceforge status --json` says, which must end with this status."""
    done = box.run("applianceforge status --json", timeout_s=120)
    text = done.stdout.decode()
    assert done.status == status, f"status {done.status}: {text}{done.stderr.decode()}"
    found: dict[str, Any] = json.loads(text)
    return found


def history_of(box: Machine) -> list[str]:
    """Return the events of its history."""
    text = box.succeed("cat /data/forge/history.jsonl 2>/dev/null || true")
    return [json.loads(line)["event"] for line in text.splitlines()]


def ports_of(box: Machine) -> set[int]:
    """Return the ports that are open to the outside."""
    said = json.loads(box.succeed("nft --json list set inet forge open_tcp"))
    (found,) = [one["set"] for one in said["nftables"] if "set" in one]
    return set(found.get("elem", []))


def check_crossed(box: Machine, told: Told) -> None:
    """Prove that a box has crossed, with all its data, and serves."""
    box.wait_for_unit("forge-settle.service", timeout_s=BOOT_S)
    assert box.succeed("uname -m").strip() == "x86_64"
    found = status_of(box, 0)
    assert found["release"]["architecture"] == found["epoch"] == "amd64"
    assert found["slots"]["b"] | {"tries": 0} == {
        "booted": True,
        "primary": True,
        "bootable": True,
        "tries": 0,
        "good": True,
    }
    assert found["slots"]["a"]["good"], "there is no way back"
    assert found["way_back_until"] > 0
    check_data(box, told)
    assert {"migrated", "settled", "crossed"} <= set(history_of(box))


def check_data(box: Machine, told: Told) -> None:
    """Prove that a 64-bit box has all its data, under the boot loader of old, and serves."""
    assert psql(box, DIGEST) == told.rows
    same_values(box.succeed(FETCH.format("/data/amd64")), told.values)
    box.succeed("systemctl is-active forge-postgresql forge-statistics ssh")
    assert 25 in ports_of(box)
    assert box.succeed("cat /data/forge/epoch").strip() == "amd64"
    # The boot loader is the 32-bit release's, byte for byte.
    assert box.disk_bytes(0, 0, LOADER_BYTES) == told.loader


def check_still_old(box: Machine, told: Told, word: str) -> dict[str, Any]:
    """Prove that a box serves as the 32-bit appliance that it was, and says why."""
    box.wait_for_unit("forge-settle.service", timeout_s=BOOT_S)
    assert box.succeed("uname -m").strip() == "i686"
    box.wait_for_unit("forge-postgresql.service", timeout_s=BOOT_S)
    found = status_of(box, 67)
    assert found["failure"]["reason"] == word
    assert found["failure"]["slot"] == "b"
    assert found["epoch"] == "i386"
    assert found["services"]["open"]
    assert psql(box, DIGEST) == told.rows
    same_values(box.succeed(FETCH.format("/data/i386")), told.values)
    assert 25 in ports_of(box)
    assert "fell-back" in history_of(box)
    return found


# The scenes: each is given a copy of the prepared disk.


def crossing(disk: Path, told: Told) -> None:
    """Under a 64-bit processor it crosses; under a 32-bit one it then refuses to serve."""
    with machine(disk, WIDE, "crossing") as box:
        box.wait_for_console_text("Slot b starts", timeout_s=BOOT_S)
        check_crossed(box, told)
        say("it has crossed")
        # And once more, from the 64-bit release alone.
        box.reboot(timeout_s=BOOT_S)
        check_crossed(box, told)
        box.shutdown()
    say("it has crossed for good")
    with machine(disk, NARROW, "crossed-refused") as box:
        box.wait_for_console_text("Slot a starts", timeout_s=BOOT_S)
        check_refused(box)
        box.shutdown()
    with machine(disk, WIDE, "crossed-again") as box:
        check_crossed(box, told)


def check_refused(box: Machine) -> None:
    """Prove that a crossed disk under a 32-bit processor accepts nothing, and says why."""
    box.wait_for_unit("forge-settle.service", timeout_s=BOOT_S)
    assert box.succeed("uname -m").strip() == "i686"
    found = status_of(box, 66)
    assert found["services"]["reason"] == "epoch-amd64"
    assert found["failure"]["reason"] == "no-long-mode"
    for unit in ("forge-gate", "forge-postgresql", "forge-statistics"):
        box.fail(f"systemctl is-active {unit}")
    assert 25 not in ports_of(box)
    assert "was migrated to 64 bits" in box.succeed("cat /run/motd.d/forge")
    box.wait_for_console_text("services of this appliance are shut", timeout_s=60)
    box.fail("test -e /data/forge/source-used")
    assert "refused" in history_of(box)


def refusal(disk: Path, told: Told) -> None:
    """Under a 32-bit processor it stays what it is, by itself, and says why."""
    with machine(disk, NARROW, "refusal") as box:
        box.wait_for_console_text("Slot a starts", timeout_s=BOOT_S)
        check_still_old(box, told, "no-long-mode")


def _in_slot_b(disk: Path, script: str) -> None:
    """Change the new system before it starts, as something that its maker got wrong would be."""
    with machine(disk, NARROW, "spoil") as box:
        box.wait_for_unit("forge-settle.service", timeout_s=BOOT_S)
        box.succeed(f"mkdir -p /run/b && mount -t ext4 {box.device(0)}3 /run/b")
        box.succeed(script)
        box.succeed("umount /run/b; sync")
        box.shutdown()


_ARGUMENTS = """python3 - <<'PYTHON'
from pathlib import Path
from applianceforge.formats import envblock
path = Path("/run/b/boot/slot.env")
old = path.read_bytes()
arguments = envblock.decode(old)["args"] + " {}"
changed = envblock.changed(old, {{"args": arguments}})
assert changed is not None
with path.open("r+b") as stream:  # In place: the file system of a slot is full.
    stream.write(changed)
PYTHON
"""


def panic(disk: Path, told: Told) -> None:
    """A kernel that panics is started three times, and given up."""
    _in_slot_b(disk, _ARGUMENTS.format("rdinit=/nowhere"))
    with machine(disk, WIDE, "panic") as box:
        box.wait_for_console_text("Kernel panic", timeout_s=BOOT_S)
        box.wait_for_console_text("Slot a starts", timeout_s=BOOT_S)
        assert box.console.text().count("Slot b starts") == 3
        check_still_old(box, told, "no-tries")


def hang(disk: Path, told: Told) -> None:
    """An init that hangs is ended by the watchdog, three times, and given up."""
    # It reads from the console for ever.
    _in_slot_b(disk, _ARGUMENTS.format("init=/bin/cat forge.watchdog=30"))
    with machine(disk, WIDE, "hang") as box:
        box.wait_for_console_text("Slot a starts", timeout_s=2 * BOOT_S)
        assert box.console.text().count("Slot b starts") == 3
        check_still_old(box, told, "no-tries")


def failure(disk: Path, told: Told) -> None:
    """A migration that cannot succeed goes back at once, and tells what stood in its way."""
    with machine(disk, NARROW, "spoil") as box:
        box.wait_for_unit("forge-settle.service", timeout_s=BOOT_S)
        box.succeed("head -c 4096 /dev/urandom >/data/i386/rrd/torn.rrd")
        box.shutdown()
    with machine(disk, WIDE, "failure") as box:
        box.wait_for_console_text("Slot b starts", timeout_s=BOOT_S)
        box.wait_for_console_text("the migration cannot succeed", timeout_s=BOOT_S)
        box.wait_for_console_text("Slot a starts", timeout_s=BOOT_S)
        assert box.console.text().count("Slot b starts") == 1
        word = json.loads(_last(box, "/data/forge/history.jsonl", "migration-ended"))["reason"]
        found = check_still_old(box, told, word)
        assert "torn.rrd" in json.dumps(found["failure"])
        box.succeed("test ! -e /data/amd64/postgresql")


def _last(box: Machine, path: str, word: str) -> str:
    box.wait_for_agent(timeout_s=BOOT_S)
    box.wait_until_succeeds(f"grep -q {word} {path}", timeout_s=BOOT_S)
    return box.succeed(f"grep {word} {path} | tail -n 1")


CUTS = 20


def cuts(disk: Path, told: Told) -> None:
    """The power goes twenty times in the middle of the migration; in the end it is finished."""
    for number in range(1, CUTS + 1):
        with machine(disk, WIDE, f"cut-{number}") as box:
            box.wait_for_console_text("Slot b starts", timeout_s=BOOT_S)
            # Each a little later in the migration than the one before, as far as it goes on.
            box.wait_for_console_text(r"\[ *\d+/\d+\] ", timeout_s=BOOT_S)
            time.sleep(number * 0.7)
            steps = box.console.text().count("/")
            box.cut_power()
        say(f"cut {number} of {CUTS} ({steps} signs of progress in this boot)")
    with machine(disk, WIDE, "after-the-cuts") as box:
        check_crossed(box, told)
        lines = box.succeed("cat /data/forge/work/boots.jsonl").splitlines()
        begun = sum(json.loads(line)["event"] == "begun" for line in lines)
        say(f"finished after {begun} boots")
        assert begun >= 2, "no cut came in the middle of the migration"


LATER = "after the crossing"
_BACK_S = 1800.0


def back(disk: Path, told: Told) -> None:
    """A person goes back to 32 bits: the data of the crossing serves, what came in is archived."""
    with machine(disk, WIDE, "back") as box:
        box.wait_for_console_text("Slot b starts", timeout_s=BOOT_S)
        check_crossed(box, told)
        floor = json.loads(box.succeed("cat /data/forge/floor"))
        assert floor["architecture"] == "amd64"
        say("it has crossed; rows and values come in")
        psql(
            box,
            f"INSERT INTO public.crossing SELECT n, '{LATER}' FROM generate_series(9001, 9025) n",
        )
        box.succeed(f"rrdtool update /data/amd64/rrd/{RRD} {_RRD_BEGAN + 1000 * _RRD_STEP_S}:5")

        looked = json.loads(
            box.succeed("applianceforge migrate back --check --json", timeout_s=_BACK_S)
        )
        assert looked["way_back"]
        assert looked["slot"] == "a"
        assert "gateway.public.crossing" in _more(looked["news"])
        refused = box.run("applianceforge migrate back", timeout_s=_BACK_S)
        assert refused.status == 82, refused
        check_serves(box)

        done = json.loads(
            box.succeed("applianceforge migrate back --yes --json", timeout_s=_BACK_S)
        )
        assert done["news"]["exact"]
        assert _more(done["news"])["gateway.public.crossing"] == 25
        assert done["news"]["rrds"]["updated"] >= 1
        place = done["archive"]["path"]
        say(f"{done['archive']['rows']} rows are in {place}")
        box.fail("systemctl is-active forge-postgresql", "systemctl is-active forge-statistics")
        assert ports_of(box) == set()
        assert box.succeed(f"stat -c %a {place} {place}/manifest.json").split() == ["700", "600"]
        box.reboot(timeout_s=BOOT_S)

        box.wait_for_console_text("Slot a starts", timeout_s=BOOT_S)
        check_went_back(box, told, place)
        box.reboot(timeout_s=BOOT_S)
        check_went_back(box, told, place)
        again = box.run("applianceforge migrate back --yes", timeout_s=_BACK_S)
        assert again.status == 83, again


def _more(news: dict[str, Any]) -> dict[str, int]:
    """Return how many rows more each table has that grew."""
    return {
        one["name"]: one["now"] - (one["then"] or 0)
        for one in news["tables"]
        if one["change"] in ("more", "new")
    }


def check_serves(box: Machine) -> None:
    """Prove that its services are up and its ports open."""
    box.succeed("systemctl is-active forge-postgresql forge-statistics ssh")
    assert 25 in ports_of(box)


def check_went_back(box: Machine, told: Told, place: str) -> None:
    """Prove that a box serves as 32-bit with the data of the crossing, and has the archive."""
    box.wait_for_unit("forge-settle.service", timeout_s=BOOT_S)
    assert box.succeed("uname -m").strip() == "i686"
    box.wait_for_unit("forge-postgresql.service", timeout_s=BOOT_S)
    box.wait_for_unit("forge-statistics.service", timeout_s=BOOT_S)
    check_serves(box)
    assert box.succeed("cat /data/forge/epoch").strip() == "i386"
    box.succeed("test -e /data/forge/source-used && test ! -e /data/forge/floor")
    assert psql(box, DIGEST) == told.rows
    same_values(box.succeed(FETCH.format("/data/i386")), told.values)
    assert "went-back" in history_of(box)
    # Any machine reads the archive, this one too.
    dump = f"{place}/databases/gateway"
    program = "/usr/lib/postgresql/15/bin/pg_restore"
    rows = box.succeed(
        f"{program} --data-only --table=crossing --file=- {dump} | grep -c '{LATER}'"
    )
    assert int(rows) == 25
    box.succeed(f"test -s {place}/rrd/{RRD}.zst")


SCENES: dict[str, Callable[[Path, Told], None]] = {
    "refusal": refusal,
    "crossing": crossing,
    "failure": failure,
    "panic": panic,
    "hang": hang,
    "cuts": cuts,
    "back": back,
}


def run(*names: str, place: Path | None = None) -> None:
    """Play scenes, each on a copy of the prepared disk.

    Args:
        names: Of SCENES; by default all.
        place: Where the prepared disk is kept, and found again.
    """
    with tempfile.TemporaryDirectory(prefix="crossing-") as temporary:
        directory = place or Path(temporary)
        prepared = _prepared(directory)
        for name in names or tuple(SCENES):
            copy = layer(prepared.disk, "qcow2", Path(temporary) / f"{name}.qcow2")
            say(f"{name}: {SCENES[name].__doc__}")
            began = time.monotonic()
            SCENES[name](copy, prepared.told)
            say(f"{name}: as it should be, in {time.monotonic() - began:.0f} s")
            copy.unlink()


def _prepared(place: Path) -> Prepared:
    told = place / "told.json"
    if told.exists():
        fields = json.loads(told.read_text())
        loader = (place / "loader").read_bytes()
        return Prepared(place / "field.qcow2", Told(fields["rows"], fields["values"], loader))
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    made = prepare(place)
    (place / "loader").write_bytes(made.told.loader)
    told.write_text(json.dumps({"rows": made.told.rows, "values": made.told.values}))
    return made


if __name__ == "__main__":
    run(*sys.argv[1:])

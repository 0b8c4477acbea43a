"""A box that has crossed with real data, from which a test may go back."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from applianceforge.formats.bootenv import KNOWN_GOOD, Environment
from applianceforge.migrate.back import GoingBack
from applianceforge.migrate.back_services import Tools
from applianceforge.migrate.boot_slots import marks_of
from applianceforge.migrate.postgres.server import Server
from applianceforge.migrate.tree import ProgramTree
from applianceforge.model.architecture import Architecture
from applianceforge.slots import selector
from applianceforge.slots.layout import ENVIRONMENT_COPIES, GOOD_MARKER, Slot
from applianceforge.system import programs
from applianceforge.system.effects import Effects
from tests.appliance import cluster
from tests.appliance.legacy import LegacyAppliance
from tests.migrate.appliances import FRESH, OVERLAY, Appliance, appliance
from tests.slots.slot_images import slot_image

RRD_UPDATES = 5
_STEP_S = 60
# As systemctl does, where no manager is ours: it says what it is asked to do.
_SYSTEMCTL = """#!/bin/sh
verb=$1
shift
if [ "$verb" = show ]; then
    for unit; do
        case $unit in --*) continue ;; esac
        state=active
        [ -e "{root}/state/$unit" ] && state=$(cat "{root}/state/$unit")
        printf 'Id=%s\\nActiveState=%s\\n\\n' "$unit" "$state"
    done
    exit 0
fi
echo "$verb $*" >>{root}/ran
[ ! -e "{root}/fails-$verb" ]
"""


@dataclass(frozen=True)
class Crossed:
    """A box in its 64-bit release, after a migration; the 32-bit one is in slot a.

    Attributes:
        box: The appliance.
        old_tree: The i386 programs.
        new_tree: The amd64 programs.
    """

    box: Appliance
    old_tree: ProgramTree
    new_tree: ProgramTree

    @property
    def root(self) -> Path:
        """Return its root directory."""
        return self.box.root

    def data(self, architecture: str) -> Path:
        """Return a cluster's data directory."""
        return self.root / "data" / architecture / "postgresql"

    def back(self, effects: Effects | None = None) -> GoingBack:
        """Return what `migrate back` carries out."""
        effects = effects or Effects()
        return GoingBack(
            places=self.box.places,
            marks=marks_of(self.box.places, effects),
            device=self.root / "slots/a",
            tool="test",
            tools=Tools(
                (str(self.root / "bin/systemctl"),), (str(self.root / "bin/nft"), "--file")
            ),
            effects=effects,
        )

    @contextmanager
    def serving(self, architecture: str) -> Iterator[Server]:
        """Run the server of one of the clusters, as its service does."""
        tree = self.old_tree if architecture == "i386" else self.new_tree
        with cluster.serving(tree, 15, self.data(architecture), Effects()) as server:
            yield server

    def rows(self, architecture: str, query: str) -> list[tuple[object, ...]]:
        """Ask one of the clusters."""
        with self.serving(architecture) as server, server.session("mail") as session:
            return session.rows(query)

    def execute(self, architecture: str, *statements: str) -> None:
        """Change one of the clusters."""
        with self.serving(architecture) as server, server.session("mail") as session:
            for statement in statements:
                session.execute(statement)

    def update_rrd(self, architecture: str) -> Path:
        """Update one RRD as a statistics daemon does, and return its path below its directory."""
        directory = self.root / "data" / architecture / "rrd"
        path = min(directory.rglob("*.rrd"))
        tree = self.old_tree if architecture == "i386" else self.new_tree
        said = programs.run(tree.command("/usr/bin/rrdtool", "last", str(path)), Effects())
        last = int(said.stdout)
        info = programs.run(tree.command("/usr/bin/rrdtool", "info", str(path)), Effects())
        sources = info.stdout.decode().count("].index = ")
        values = ":".join(["7"] * sources)
        updates = [f"{last + n * _STEP_S}:{values}" for n in range(1, RRD_UPDATES + 1)]
        programs.run(tree.command("/usr/bin/rrdtool", "update", str(path), *updates), Effects())
        return path.relative_to(directory)

    @property
    def ran(self) -> list[str]:
        """Return what systemd was asked to do."""
        path = self.root / "ran"
        return path.read_text().splitlines() if path.exists() else []

    def starts(self, *, long_mode: bool = True) -> Slot | None:
        """Return the slot that the boot loader takes, and let it be the one that runs."""
        directory = self.root / "boot/loader"
        first, second = ((directory / name).read_bytes() for name in ENVIRONMENT_COPIES)
        marker = (directory / GOOD_MARKER).read_bytes()
        archs = {Slot.A: Architecture.I386, Slot.B: Architecture.AMD64}
        slot = selector.choose(first, second, marker, archs, long_mode).slot
        if slot is not None:
            self.box.release("i386" if slot is Slot.A else "amd64", slot.value)
            self.box.start_anew(slot.value)
        return slot

    def gate(self) -> str:
        """Run the gate as the unit does, and return what it says."""
        surroundings = {"FORGE_ROOT": str(self.root), "PATH": os.environ["PATH"]}
        script = OVERLAY / "usr/lib/applianceforge/gate"
        subprocess.run(["/bin/sh", str(script)], env=surroundings, capture_output=True, check=False)
        return self.box.places.gate.read_text().strip()

    def boots(self, *, long_mode: bool = True) -> str:
        """Start the box as its units do, and return whose data it serves; "" if none."""
        (self.root / "loaded").unlink(missing_ok=True)
        slot = self.starts(long_mode=long_mode)
        assert slot is not None
        epoch = self.box.places.epoch.read_text().strip()
        if slot is Slot.B and epoch != "amd64":
            assert self.box.migration().carry_out().verdict.status == 0
        word = self.gate()
        assert self.box.settling().carry_out().verdict.status == 0
        if word != "open" or self.box.rules != ["ports-open"]:
            return ""
        return "i386" if slot is Slot.A else "amd64"


def crossed(place: Path, old: LegacyAppliance, native: ProgramTree) -> Crossed:
    """Make a box, migrate it, and settle it."""
    box = appliance(place, old.tree.root, native.root)
    copy = old.copy_to(place / "data/i386")
    copy.data.rename(place / "data/i386/postgresql")
    assert box.migration().carry_out().verdict.status == 0
    box.write("run/forge/gate", "open\n")
    assert box.settling().carry_out().ports == "open"
    return equipped(Crossed(box, old.tree, native))


def equipped(made: Crossed) -> Crossed:
    """Give a box the parts that going back asks for."""
    root = made.root
    made.box.write("bin/systemctl", _SYSTEMCTL.format(root=root))
    (root / "bin/systemctl").chmod(0o755)
    put_into_slot_a(made, Architecture.I386)
    (root / "loaded").unlink(missing_ok=True)
    return made


def put_into_slot_a(made: Crossed, architecture: Architecture) -> None:
    """Let slot a hold a release of this architecture."""
    building = made.root / "building"
    building.mkdir()
    (made.root / "slots").mkdir(exist_ok=True)
    slot_image(building, architecture).replace(made.root / "slots/a")
    shutil.rmtree(building)


def copy_of(made: Crossed, place: Path, *, light: bool = False) -> Crossed:
    """Return a copy of a box in another place.

    Args:
        made: What is copied.
        place: Where to; a directory that is there.
        light: Leave out what the clusters hold, for what never starts a server.
    """
    if light:
        shutil.copytree(
            made.root,
            place,
            ignore=shutil.ignore_patterns("base", "pg_wal", "imported"),
            dirs_exist_ok=True,
        )
    else:
        subprocess.run(["cp", "--archive", "--reflink=auto", f"{made.root}/.", place], check=True)
    box = Appliance(place)
    for path in (box.places.settings, place / "bin/systemctl", place / "bin/nft"):
        path.write_text(path.read_text().replace(str(made.root), str(place)))
    return Crossed(box, made.old_tree, made.new_tree)


def bare(place: Path) -> Crossed:
    """Return a box that says of itself that it has crossed, without any data."""
    box = appliance(place)
    box.set_environment(Environment(9, "b", KNOWN_GOOD, KNOWN_GOOD))
    box.write("data/forge/epoch", "amd64\n")
    return equipped(Crossed(box, ProgramTree(Path("/")), ProgramTree(Path("/"))))


def installed_again(made: Crossed) -> None:
    """Let the migration release be in slot b once more, and start next."""
    made.box.set_environment(Environment(20, "b", KNOWN_GOOD, FRESH))

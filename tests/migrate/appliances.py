"""The root directory of an appliance, without the machine: real data, and no kernel."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from applianceforge.formats import bootenv
from applianceforge.formats.bootenv import KNOWN_GOOD, Environment, SlotVariables
from applianceforge.migrate.boot import BootMigration
from applianceforge.migrate.boot_settle import Settling, Tools
from applianceforge.migrate.boot_slots import loader, marks_of
from applianceforge.migrate.settings import decode
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.slots.layout import ENVIRONMENT_COPIES, GOOD_MARKER
from applianceforge.slots.places import BootPlaces, read_release
from applianceforge.system.effects import Effect, Effects
from tests.appliance.cache import CHECKOUT

OVERLAY = CHECKOUT / "images" / "overlay-forge"
FRESH = SlotVariables(True, 2, False)
_CUT = 9
_TOML = """schema = 1
[work]
directory = "{work}"
[source]
tree = "{old_tree}"
[source.postgres]
data = "{root}/data/i386/postgresql"
[source.rrd]
directory = "{root}/data/i386/rrd"
[target]
tree = "{new_tree}"
[target.postgres]
data = "{root}/data/amd64/postgresql"
[target.rrd]
directory = "{root}/data/amd64/rrd"
"""


@dataclass(frozen=True)
class Appliance:
    """A box that has just started its migration release from slot b, for the first time.

    Attributes:
        root: Its root directory.
    """

    root: Path

    @property
    def places(self) -> BootPlaces:
        """Return its paths."""
        return BootPlaces(self.root)

    @property
    def work(self) -> Path:
        """Return the work directory of its migration."""
        return self.root / "data/forge/work"

    @property
    def environment(self) -> Environment:
        """Return the boot environment as GRUB takes it."""
        return loader(self.places, Effects()).read()

    def set_environment(self, environment: Environment) -> None:
        """Let the boot environment be this one."""
        directory = self.root / "boot/loader"
        directory.mkdir(parents=True, exist_ok=True)
        for name in ENVIRONMENT_COPIES:
            (directory / name).write_bytes(bootenv.encode(environment))
        (directory / GOOD_MARKER).write_bytes(bootenv.encode_marker("a"))

    def write(self, path: str, text: str) -> None:
        """Write a file of the appliance."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def release(self, architecture: str, slot: str) -> None:
        """Let this release run from this slot."""
        name = {"i386": "legacy", "amd64": "migration"}[architecture]
        self.write(
            "etc/applianceforge/release.env",
            f"NAME={name}\nVERSION=1.0.0\nARCHITECTURE={architecture}\n",
        )
        self.write("proc/cmdline", f"root=PARTUUID=1 ro forge.slot={slot} quiet\n")

    def start_anew(self, slot: str) -> None:
        """Forget what is gone with the power, and take a try as GRUB does."""
        for name in ("gate", "proved"):
            (self.root / "run/forge" / name).unlink(missing_ok=True)
        (self.root / "proc/cmdline").write_text(f"forge.slot={slot}\n")

    def migration(self, effects: Effects | None = None, **parts: Any) -> BootMigration:
        """Return what the boot unit carries out."""
        effects = effects or Effects()
        path = self.places.settings
        around = Surroundings(decode(path.read_text(), str(path)), effects, **parts)
        marks = marks_of(self.places, effects)
        return BootMigration(around, self.places, marks, read_release(self.places), "this-boot")

    def settling(self, effects: Effects | None = None, patience_s: float = 0) -> Settling:
        """Return what the settle step carries out; its services are up unless `units` says so."""
        effects = effects or Effects()
        tools = Tools(
            (str(self.root / "bin/systemctl"), "show"),
            (str(self.root / "bin/nft"), "--file"),
            patience_s,
        )
        marks = marks_of(self.places, effects)
        release = read_release(self.places)
        return Settling(self.places, marks, release, tools, effects, time.time)

    def units(self, *states: str) -> None:
        """Let the services be in these states, the last ones when they are asked again."""
        for number, state in enumerate(states):
            self.write(f"units/{number}", state)

    @property
    def rules(self) -> list[str]:
        """Return which rules were loaded, in their order."""
        path = self.root / "loaded"
        return path.read_text().split() if path.exists() else []

    @property
    def history(self) -> list[dict[str, Any]]:
        """Return the lines of the history."""
        path = self.places.history
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# Programs that do as systemctl and nft do, where neither a manager nor a network is ours.
_SYSTEMCTL = """#!/bin/sh
cd {root}/units
state=$(cat 0)
[ -e 1 ] && mv 1 0
shift
for unit; do printf 'Id=%s\\nActiveState=%s\\n' "$unit" "${{state% *}}"
case $state in *queued) echo Job=7;; esac
echo; done
"""
_NFT = """#!/bin/sh
basename "$2" .nft >>{root}/loaded
"""


def appliance(root: Path, old_tree: Path = Path("/"), new_tree: Path = Path("/")) -> Appliance:
    """Make the root directory of a box that starts its migration release for the first time."""
    made = Appliance(root)
    made.release("amd64", "b")
    made.set_environment(Environment(4, "b", KNOWN_GOOD, FRESH))
    made.write("data/forge/epoch", "i386\n")
    for name in ("forge", ""):
        (root / "data" / name).chmod(0o711)
    text = _TOML.format(work=made.work, root=root, old_tree=old_tree, new_tree=new_tree)
    made.write("etc/applianceforge/migrate.toml", text)
    for path in (OVERLAY / "etc/applianceforge").iterdir():
        made.write(f"etc/applianceforge/{path.name}", path.read_text())
    for name, text in (("systemctl", _SYSTEMCTL), ("nft", _NFT)):
        made.write(f"bin/{name}", text.format(root=root))
        (root / "bin" / name).chmod(0o755)
    made.units("active")
    return made


def cut_at(number: int, run: Callable[[Effects], object]) -> None:
    """Run something in a process of its own, and let the power go right after its n-th effect.

    Raises:
        AssertionError: It did not come so far.
    """
    child = os.fork()
    if child == 0:

        def observe(effect: Effect) -> None:
            if effect.number == number:
                os._exit(_CUT)

        try:
            run(Effects(observe))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == _CUT, "the power did not go"

"""Settle a release: mark it good, raise the epoch, open the ports, in that order.

Every boot completes what a cut left undone, so each of the three is done when it is not yet done:

    not good        the services must come up first; if they do not, the slot is marked bad
    good            the release may serve; GRUB takes no more tries
    epoch raised    the 64-bit data is the truth, and a 32-bit release keeps its services shut; the
                    version floor, which is written just before, counts from that write on
    ports open      only now is anything accepted: an automatic fallback before loses nothing
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from applianceforge.migrate import boot_services
from applianceforge.migrate.boot_slots import Marks
from applianceforge.migrate.boot_verdict import ABORTED, BACK, PROVED, Verdict
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import ForgeError, SettingsError
from applianceforge.slots import floor, history, reasons
from applianceforge.slots.history import Happening, History, Past
from applianceforge.slots.places import BootPlaces, Release, read_epoch, write_epoch
from applianceforge.system import files, programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command

SERVICES = "services"
# What happens while services stay shut, and changes nothing about that.
_BETWEEN = ("settled", "update")
OPEN = "open"
_PAUSE_S = 1.0
_PUBLIC = 0o644


@dataclass(frozen=True)
class Tools:
    """The programs of the system that runs, and how long its services may take.

    Attributes:
        show: Prints the states of the units that are named after it.
        load_rules: Loads the file of rules that is named after it.
    """

    show: tuple[str, ...] = boot_services.SHOW
    load_rules: tuple[str, ...] = ("/usr/sbin/nft", "--file")
    patience_s: float = 600.0


@dataclass(frozen=True)
class Settled:
    """What came of it.

    Attributes:
        verdict: 0, or 76 with the reason for which the slot was marked bad.
        message: Which services, for example.
        ports: Which rules were loaded.
    """

    verdict: Verdict
    message: str = ""
    ports: str = ""


@dataclass
class Settling:
    """The last step of a boot."""

    places: BootPlaces
    marks: Marks
    release: Release
    tools: Tools
    effects: Effects
    clock: Callable[[], float]
    _history: History = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Know whom to tell."""
        self._history = History(
            self.places, self.release, self.marks.booted, self.effects, self.clock
        )

    def carry_out(self) -> Settled:
        """Do what is not done yet; see the module.

        Raises:
            ForgeError: The boot environment or the epoch cannot be written, or the ports not be
                opened.
        """
        gate = self._gate()
        if not self.marks.is_good():
            reason, message = self._why_not(gate)
            if reason:
                return self._give_up(reason, message)
            self.marks.mark_good()
            self._history.add(Happening.SETTLED)
        if gate == OPEN:
            self._raise_epoch()
        self._tell_fall_back()
        self._tell_refusal(gate)
        return Settled(Verdict(PROVED), ports=self._open_ports(gate))

    def _gate(self) -> str:
        with files.named_errors(self.places.gate, "read"):
            return self.places.gate.read_text().strip() if self.places.gate.exists() else ""

    def _why_not(self, gate: str) -> tuple[str, str]:
        """Return why the slot is not to be marked good: a word and a sentence; or nothing."""
        if self.places.abort.exists():
            return ABORTED, reasons.explain(ABORTED).sentence
        if gate != OPEN:
            word = gate or SERVICES
            return word, reasons.explain(word).sentence if gate else "forge-gate.service failed"
        return self._wait_for_services()

    def _wait_for_services(self) -> tuple[str, str]:
        units = boot_services.listed(self.places)
        deadline = time.monotonic() + self.tools.patience_s
        while True:
            down = boot_services.not_up(units, self.effects, self.tools.show)
            if not down:
                return "", ""
            coming = any(state in boot_services.COMING for state in down.values())
            if not coming or time.monotonic() > deadline:
                return SERVICES, boot_services.in_words(down)
            time.sleep(_PAUSE_S)

    def _give_up(self, reason: str, message: str) -> Settled:
        self._history.add(Happening.GIVEN_UP, reason=reason, message=message)
        self.marks.mark_bad(reason)
        with contextlib.suppress(ForgeError):
            files.remove_tree(self.places.abort, self.effects)
        return Settled(Verdict(BACK, reason), message)

    def _raise_epoch(self) -> None:
        """Make this release's data the truth, if that is what a migration has just proved."""
        epoch = read_epoch(self.places)
        if epoch is self.release.architecture or self._proved() is not self.release.architecture:
            return
        floor.write(self.places, self.release, self.effects)
        write_epoch(self.places, self.release.architecture, self.effects)
        self._history.add(Happening.CROSSED)

    def _proved(self) -> Architecture | None:
        """Return the architecture whose data was proved in this boot."""
        with files.named_errors(self.places.proved, "read"):
            text = self.places.proved.read_text().strip() if self.places.proved.exists() else ""
        return Architecture(text) if text in {one.value for one in Architecture} else None

    def _tell_fall_back(self) -> None:
        """Note once why the other slot was given up."""
        text = self.marks.reason()
        slot, word = reasons.split(text)
        if slot is not self.marks.booted.other:
            word = ""
        line = f"{self.marks.generation()} {text}\n".encode()
        if not text or self._told() == line:
            return
        if word:
            self._history.add(
                Happening.FELL_BACK,
                reason=word,
                message=reasons.explain(word).sentence,
                hint=reasons.explain(word).remedy,
            )
        files.write_file(self.places.told, line, self.effects, mode=_PUBLIC)

    def _told(self) -> bytes:
        """Return which reason was told; nothing where no file is: it is told again, and kept."""
        try:
            return files.read_plain(self.places.told) or b""
        except SettingsError:
            return b""

    def _past(self) -> tuple[Past, ...]:
        """Return the history; none where no file is: that is no reason to end a boot."""
        try:
            return history.read(self.places)
        except SettingsError:
            return ()

    def _tell_refusal(self, gate: str) -> None:
        """Note that the services are shut, if that is new."""
        if gate in (OPEN, ""):
            return
        told = [one for one in self._past() if not one.event.startswith(_BETWEEN)]
        last = told[-1] if told else None
        if last is None or (last.event, last.reason) != (Happening.REFUSED.value, gate):
            self._history.add(
                Happening.REFUSED, reason=gate, message=reasons.explain(gate).sentence
            )

    def _open_ports(self, gate: str) -> str:
        own = read_epoch(self.places) is self.release.architecture
        name = "open" if gate == OPEN and own else "refused"
        rules: Path = self.places.ruleset(name)
        programs.run(Command((*self.tools.load_rules, str(rules))), self.effects)
        return name

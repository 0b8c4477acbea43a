"""Let nothing in while a person goes back: shut the ports, stop the services, and undo both."""

from dataclasses import dataclass, field
from types import TracebackType

from applianceforge.migrate import boot_services
from applianceforge.model.errors import ForgeError, ProgramFailedError
from applianceforge.slots.places import BootPlaces
from applianceforge.system import programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command
from applianceforge.system.signals import deferred

# Whoever goes back may be connected by it, and it takes no data.
_STAYS_UP = ("ssh.", "ssh@", "sshd.", "sshd@")
_GONE = ("inactive", "failed")


@dataclass(frozen=True)
class Tools:
    """The programs of the system that runs.

    Attributes:
        systemctl: Starts and stops units, and starts the machine again.
        load_rules: Loads the file of rules that is named after it.
    """

    systemctl: tuple[str, ...] = ("/usr/bin/systemctl",)
    load_rules: tuple[str, ...] = ("/usr/sbin/nft", "--file")


@dataclass
class Outside:
    """The ports and the services; a block in which both are shut.

    Attributes:
        stays_shut: Leave them shut at the end of the block: the machine is to start again.
    """

    places: BootPlaces
    tools: Tools
    effects: Effects
    stays_shut: bool = False
    _stopped: tuple[str, ...] = field(default=(), init=False)

    def __enter__(self) -> "Outside":
        """Shut the ports, then stop what accepts data.

        Raises:
            ForgeError: That failed; all is as before.
        """
        try:
            self._shut()
        except BaseException:
            self._open()
            raise
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Start the services and open the ports, unless they are to stay shut.

        Raises:
            ProgramFailedError: They do not come up again.
        """
        if self.stays_shut:
            return
        try:
            self._open()
        except ForgeError as failed:
            before = (f"before that: {error.message}",) if isinstance(error, ForgeError) else ()
            raise ProgramFailedError(
                f"the services could not be started again: {failed.message}",
                hint="nothing was changed: restart the machine, and it serves as before:"
                " `systemctl reboot`",
                evidence=(*before, *failed.evidence),
            ) from failed

    def restart(self) -> None:
        """Start the machine again."""
        self._run(*self.tools.systemctl, "reboot")

    def _shut(self) -> None:
        units = tuple(
            unit for unit in boot_services.listed(self.places) if not unit.startswith(_STAYS_UP)
        )
        show = (*self.tools.systemctl, *boot_services.SHOW[1:])
        down = boot_services.not_up(units, self.effects, show)
        self._stopped = tuple(unit for unit in units if down.get(unit, "") not in _GONE)
        self._rules("shut")
        if self._stopped:
            self._run(*self.tools.systemctl, "stop", *self._stopped)

    def _open(self) -> None:
        # Ctrl-C does not leave a box shut that has to be open.
        with deferred():
            try:
                if self._stopped:
                    self._run(*self.tools.systemctl, "start", *self._stopped)
            finally:
                self._rules("open")

    def _rules(self, name: str) -> None:
        self._run(*self.tools.load_rules, str(self.places.ruleset(name)))

    def _run(self, *words: str) -> None:
        programs.run(Command(words), self.effects)

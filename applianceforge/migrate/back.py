"""Take a box that has crossed back to its 32-bit release and the data of the crossing.

A person's command. Nothing that decides is changed until the archive of the 64-bit data is proved
and the person has said yes; until then every failure, Ctrl-C and power cut leaves the 64-bit box as
it was. Then there are two writes that decide, the epoch and one sector of the boot environment:

    epoch   64-bit slot   starts   what the box does
    amd64   good          64-bit   it serves the 64-bit data: not begun
    i386    good          64-bit   the migration finds all published, the settle step raises the
                                   epoch before a port is open: it serves the 64-bit data, and the
                                   command may be given again
    i386    bad           32-bit   it serves the data of the crossing: done
    amd64   bad           32-bit   its services stay shut. Never on the disk: the epoch comes first

So nothing has to be completed at the next boot. Under a processor that has lost its 64-bit mode the
second line starts 32-bit too, and serves the data of the crossing, as the person wanted. What the
migration made is out of date as soon as the 32-bit gate lets anything on (`source-used`): a later
migration begins anew.
"""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from applianceforge.migrate import archive, back_counts, back_news, back_way
from applianceforge.migrate.back_news import News
from applianceforge.migrate.back_services import Outside, Tools
from applianceforge.migrate.back_way import Way
from applianceforge.migrate.boot_slots import Marks, loader
from applianceforge.migrate.exporting import ExportOptions, export
from applianceforge.migrate.lock import only_run
from applianceforge.migrate.operation import opened
from applianceforge.migrate.surroundings import Surroundings
from applianceforge.migrate.workspace import staging
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import (
    BootEnvironmentError,
    ForgeError,
    NotConfirmedError,
    SettingsError,
)
from applianceforge.slots import floor, states
from applianceforge.slots.history import Happening, History
from applianceforge.slots.places import BootPlaces, read_epoch, read_release, write_epoch
from applianceforge.slots.states import State
from applianceforge.system import files
from applianceforge.system.effects import Effects
from applianceforge.system.progress import Counter, NoProgress, ProgressSink
from applianceforge.system.signals import deferred

WORD = "went-back"
SCHEMA = 1
_RESTART = "restart the machine: `systemctl reboot`. Whichever release starts then, serves"


@dataclass(frozen=True)
class Archived:
    """What was archived before the question.

    Attributes:
        path: Of the archive.
        rows: In all its tables.
        size_bytes: Of all its files.
        news: What came in since the crossing.
    """

    path: Path
    rows: int
    size_bytes: int
    news: News


def _checked(out: Path) -> Path:
    """Return the name of an archive that a person gave.

    Raises:
        SettingsError: It is taken, or lies nowhere.
    """
    if out.exists():
        raise SettingsError(f"{out} is already there", hint="name an archive that is not there yet")
    if not out.parent.is_dir():
        raise SettingsError(
            f"there is no directory {out.parent}", hint="make it, or mount what it lies on"
        )
    return out


Confirm = Callable[[Way, Archived], bool]


@dataclass
class GoingBack:
    """One way back.

    Attributes:
        places: Of the appliance.
        marks: The slot that runs.
        device: The partition of the other slot.
        tool: Name and version of this program, for the archive's manifest.
    """

    places: BootPlaces
    marks: Marks
    device: Path
    tool: str
    tools: Tools = field(default_factory=Tools)
    effects: Effects = field(default_factory=Effects)
    sink: ProgressSink = field(default_factory=NoProgress)
    clock: Callable[[], float] = field(default=lambda: datetime.now(UTC).timestamp())

    def look(self) -> Way:
        """Return the way back.

        Raises:
            NoWayBackError: There is none, and why.
        """
        return back_way.look(self.places, self.marks, self.device, self.effects)

    def news(self, way: Way) -> News:
        """Return what came in since, as far as it can be counted while the box serves.

        Raises:
            ForgeError: It cannot be counted.
        """
        counts = back_counts.rows_now(self._around(way), way)
        return back_news.from_counts(way.proved, counts, back_counts.rrds_now(way))

    def carry_out(self, confirm: Confirm, out: Path | None = None) -> Archived:
        """Archive what the 64-bit release holds, ask, and go back; the caller restarts the box.

        The services stay stopped and the ports shut afterwards.

        Args:
            confirm: Asks the person.
            out: The archive's name; by default one of today below /data/forge/archive.

        Raises:
            NoWayBackError: There is none, and why.
            NotConfirmedError: The person did not say yes. All is as before, but the archive stays.
            ForgeError: It failed. All is as before, unless the hint says to restart.
        """
        way = self.look()
        archive_path = self._default() if out is None else _checked(out.absolute())
        with (
            only_run(self.places.forge / "back.lock", back_counts.OPERATION),
            Outside(self.places, self.tools, self.effects) as outside,
        ):
            back_counts.check_old(self._around(way), way)
            archived = self._archive(way, archive_path)
            if not confirm(way, archived):
                raise NotConfirmedError(
                    "nobody said yes, so this box stays with its 64-bit release",
                    hint=f"the archive {archived.path} is whole; remove it if nobody needs it",
                )
            with opened(self._around(way), back_counts.OPERATION):
                # Nothing may have changed meanwhile: an update, or `migrate clean`.
                self.look()
                self._decide(outside)
            self._tell(archived)
        return archived

    def restart(self) -> None:
        """Start the machine again."""
        Outside(self.places, self.tools, self.effects).restart()

    def _around(self, way: Way) -> Surroundings:
        return Surroundings(way.settings, self.effects, self.sink, self.clock)

    def _default(self) -> Path:
        now = datetime.fromtimestamp(self.clock(), UTC)
        return self.places.forge / "archive" / f"back-{now:%Y%m%d-%H%M%S}"

    @property
    def _intent(self) -> Path:
        """Return the file that names the archive which is being made, for after a power cut."""
        return self.places.forge / "back.json"

    def _archive(self, way: Way, out: Path) -> Archived:
        """Make the archive, and prove that the disk holds what was written."""
        self._remove_unfinished()
        files.make_directory(out.parent, self.effects)
        note = {"schema": SCHEMA, "time": self.clock(), "archive": str(out)}
        files.write_file(self._intent, json.dumps(note).encode(), self.effects)
        around = self._around(way)
        try:
            export(
                replace(around, settings=back_counts.of_the_new(way.settings)),
                ExportOptions(out),
                self.tool,
                restart=True,
            )
        except BaseException:
            with contextlib.suppress(ForgeError):
                self._remove_unfinished()
            raise
        files.remove_tree(self._intent, self.effects)
        contents = archive.read_manifest(out)
        archive.check(out, contents, Counter("back.check", self.sink), out)
        cluster = contents.cluster
        now = cluster.inventory if cluster is not None else None
        return Archived(
            path=out,
            rows=now.rows if now is not None else 0,
            size_bytes=sum(one.size_bytes for one in contents.files),
            news=back_news.from_inventories(way.proved, now, back_counts.rrds_now(way)),
        )

    def _remove_unfinished(self) -> None:
        """Remove what an attempt that was cut has made of its archive, by its name."""
        content = files.read_plain(self._intent)
        if content is None:
            return
        try:
            note: dict[str, Any] = json.loads(content)
            path = Path(note["archive"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SettingsError(
                f"{self._intent} is damaged: it does not name the archive that was being made",
                hint="remove it, and unfinished archives below /data/forge/archive",
            ) from error
        if path.is_absolute() and path.name:
            files.remove_tree(staging(path), self.effects)
        files.remove_tree(self._intent, self.effects)

    def _decide(self, outside: Outside) -> None:
        """Do both writes that decide; see the module.

        Raises:
            ForgeError: The second could not be done, and the first was undone; or `outside` stays
                shut, and a restart decides.
        """
        with deferred():
            outside.stays_shut = True
            try:
                write_epoch(self.places, Architecture.I386, self.effects)
                self.marks.mark_bad(WORD)
            except ForgeError as error:
                if not self._is_marked(error):
                    self._undo(error)
                    outside.stays_shut = False
                    raise
            # What counts no more: whether it is removed decides nothing.
            with contextlib.suppress(ForgeError):
                floor.remove(self.places, self.effects)

    def _undo(self, error: ForgeError) -> None:
        """Let the 64-bit data be the truth as before.

        Raises:
            BootEnvironmentError: That cannot be written; the next boot does it.
        """
        try:
            if read_epoch(self.places) is not Architecture.AMD64:
                write_epoch(self.places, Architecture.AMD64, self.effects)
        except ForgeError as failed:
            raise BootEnvironmentError(
                f"this box could not go back: {error.message}",
                hint=_RESTART,
                evidence=(failed.message,),
            ) from error

    def _is_marked(self, error: ForgeError) -> bool:
        """Tell whether the slot was marked bad although that ended with an error.

        Raises:
            BootEnvironmentError: Nobody knows.
        """
        try:
            found = loader(self.places, self.effects).read()
        except ForgeError as unread:
            raise BootEnvironmentError(
                f"nobody knows which release starts next: {error.message}",
                hint=_RESTART,
                evidence=(unread.message,),
            ) from error
        return states.state_of(found, self.marks.booted) is State.NOT_BOOTABLE

    def _tell(self, archived: Archived) -> None:
        release = read_release(self.places)
        told = History(self.places, release, self.marks.booted, self.effects, self.clock)
        told.add(
            Happening.WENT_BACK,
            reason=WORD,
            message=f"what the 64-bit release held is archived in {archived.path}",
            rows=archived.rows,
        )

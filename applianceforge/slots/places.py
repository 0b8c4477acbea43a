"""Where the parts of an appliance that boot together find what they tell each other.

/data/forge/epoch          the architecture whose data is the truth
/data/forge/status.json    0644, how far a migration is, and how the last one ended
/data/forge/history.jsonl  0644, what happened to this box
/data/forge/told           which reason of the boot environment is in the history already
/data/forge/work/boots.jsonl  0600, how each boot of a migration ended, and what showed it
/data/forge/source-used    a 32-bit release may have changed its data since it was migrated
/data/forge/abort          a person asked for the end of the migration
/run/forge/gate            "open", or why the services of this boot are shut
/run/forge/proved          the architecture whose data was proved in this boot
"""

from dataclasses import dataclass
from pathlib import Path

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import SettingsError
from applianceforge.system import files
from applianceforge.system.effects import Effects

# In the directory of our own state.
SOURCE_USED = "source-used"
_PUBLIC = 0o644
_PASS_THROUGH = 0o711


@dataclass(frozen=True)
class Release:
    """What runs: its name, version and architecture.

    Attributes:
        appliance: The product; "" where the image is too old to say so, as in the next one.
        built_s: The date of its packages, seconds since 1970; 0 if not said.
    """

    name: str
    version: str
    architecture: Architecture
    appliance: str = ""
    built_s: int = 0


@dataclass(frozen=True)
class BootPlaces:
    """The paths of one appliance.

    Attributes:
        root: Its root directory; another than "/" is for looking at one that is not running.
    """

    root: Path = Path("/")

    @property
    def forge(self) -> Path:
        """Return the directory of our own state."""
        return self.root / "data/forge"

    @property
    def epoch(self) -> Path:
        """Return the file that names the architecture whose data is the truth."""
        return self.forge / "epoch"

    @property
    def status(self) -> Path:
        """Return what the first page of the web administration reads."""
        return self.forge / "status.json"

    @property
    def history(self) -> Path:
        """Return the history of the box, JSON Lines."""
        return self.forge / "history.jsonl"

    @property
    def told(self) -> Path:
        """Return the file with the reason that is in the history already."""
        return self.forge / "told"

    @property
    def source_used(self) -> Path:
        """Return the mark that the old data may have changed."""
        return self.forge / SOURCE_USED

    @property
    def abort(self) -> Path:
        """Return the mark that the migration is to end."""
        return self.forge / "abort"

    @property
    def record(self) -> Path:
        """Return the record of the migration's boots; only root may read it."""
        return self.forge / "work/boots.jsonl"

    @property
    def gate(self) -> Path:
        """Return the file that says whether services may accept data in this boot."""
        return self.root / "run/forge/gate"

    @property
    def proved(self) -> Path:
        """Return the file that names the architecture whose data was proved in this boot."""
        return self.root / "run/forge/proved"

    @property
    def release(self) -> Path:
        """Return the file that names the release."""
        return self.root / "etc/applianceforge/release.env"

    @property
    def services(self) -> Path:
        """Return the list of services that must be up."""
        return self.root / "etc/applianceforge/services"

    @property
    def settings(self) -> Path:
        """Return the migration's settings."""
        return self.root / "etc/applianceforge/migrate.toml"

    def ruleset(self, name: str) -> Path:
        """Return a set of rules for the ports: "shut", "open" or "refused"."""
        return self.root / f"etc/applianceforge/ports-{name}.nft"


def read_release(places: BootPlaces) -> Release:
    """Return the release that runs.

    Raises:
        SettingsError: This is no appliance of ours, or its file is damaged.
    """
    with files.named_errors(places.release, "read"):
        text = places.release.read_text(errors="replace")
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    try:
        architecture = Architecture(fields["ARCHITECTURE"])
        return Release(
            fields["NAME"],
            fields["VERSION"],
            architecture,
            fields.get("APPLIANCE", ""),
            int(fields.get("BUILT_S", "0")),
        )
    except (KeyError, ValueError) as error:
        raise SettingsError(
            f"{places.release} names no release: {error}",
            hint="write the slot again: the build puts NAME, VERSION and ARCHITECTURE there",
        ) from error


def read_epoch(places: BootPlaces) -> Architecture | None:
    """Return the architecture whose data is the truth; None where no file says so.

    Raises:
        SettingsError: The file says something else, or is none.
        AccessDeniedError: It may not be read.
    """
    content = files.read_plain(places.epoch)
    if content is None:
        return None
    text = content.decode(errors="replace").strip()
    try:
        return Architecture(text)
    except ValueError as error:
        raise SettingsError(
            f"{places.epoch} says {text[:20]!r} instead of i386 or amd64",
            hint="write the one into it that served last, and start again",
        ) from error


def write_epoch(places: BootPlaces, architecture: Architecture, effects: Effects) -> None:
    """Name the architecture whose data is the truth, durably."""
    files.make_directory(places.forge, effects, mode=_PASS_THROUGH)
    files.write_file(places.epoch, f"{architecture.value}\n".encode(), effects, mode=_PUBLIC)

"""Where the update of an appliance keeps what it knows.

/etc/applianceforge/update.toml   the vendor's settings
/data/config/update.toml          the administrator's, which count key by key
/etc/applianceforge/root.json     the root of trust, as the image was built with
/data/config/machine-id           which appliance this is, for shares of the fleet
/data/forge/update.json           0644, how far an update is, and how the last one ended
/data/forge/update/               0700
    metadata/                     signed metadata as it was seen last
    manifest.json, index          of the bundle that is being installed
    intent.json                   what a person, or the timer, agreed to
    checked                       when the timer looked for releases last
    lock                          held while an update works
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class UpdatePlaces:
    """The paths of one appliance.

    Attributes:
        root: Its root directory.
    """

    root: Path = Path("/")

    @property
    def settings(self) -> tuple[Path, Path]:
        """Return the vendor's settings and the administrator's."""
        return self.root / "etc/applianceforge/update.toml", self.root / "data/config/update.toml"

    @property
    def trusted_root(self) -> Path:
        """Return the root of trust that the image was built with."""
        return self.root / "etc/applianceforge/root.json"

    @property
    def machine_id(self) -> Path:
        """Return the file with the number of this machine."""
        return self.root / "data/config/machine-id"

    @property
    def status(self) -> Path:
        """Return what anybody may read of the update."""
        return self.root / "data/forge/update.json"

    @property
    def directory(self) -> Path:
        """Return the directory of what only root may read."""
        return self.root / "data/forge/update"

    @property
    def metadata(self) -> Path:
        """Return the directory of the signed metadata."""
        return self.directory / "metadata"

    @property
    def manifest(self) -> Path:
        """Return the manifest of the bundle that is being installed."""
        return self.directory / "manifest.json"

    @property
    def index(self) -> Path:
        """Return the index of the bundle that is being installed."""
        return self.directory / "index"

    @property
    def intent(self) -> Path:
        """Return what was agreed to."""
        return self.directory / "intent.json"

    @property
    def checked(self) -> Path:
        """Return when the timer looked for releases last."""
        return self.directory / "checked"

    @property
    def lock(self) -> Path:
        """Return the lock."""
        return self.directory / "lock"

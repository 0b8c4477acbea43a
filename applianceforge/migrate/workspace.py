"""Where a run keeps what: the names below the work directory and beside the targets."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    """The paths of one work directory.

    Attributes:
        root: The work directory (0711: servers, which run as their own user, pass through it).
    """

    root: Path

    @property
    def lock(self) -> Path:
        """Return the file whose lock makes a run the only one."""
        return self.root / "lock"

    @property
    def journal(self) -> Path:
        """Return the journal, JSON Lines."""
        return self.root / "journal.jsonl"

    @property
    def status(self) -> Path:
        """Return what `migrate status` reads."""
        return self.root / "status.json"

    @property
    def outcome(self) -> Path:
        """Return the result of a finished run, as JSON."""
        return self.root / "outcome.json"

    @property
    def report(self) -> Path:
        """Return the result of a finished run, as one HTML page."""
        return self.root / "report.html"

    @property
    def archive(self) -> Path:
        """Return the portable files on their way from source to target."""
        return self.root / "archive"

    @property
    def inventories(self) -> Path:
        """Return the directory of the inventories of both sides."""
        return self.root / "inventories"

    @property
    def logs(self) -> Path:
        """Return the directory of what programs said."""
        return self.root / "logs"

    def sockets(self, side: str) -> Path:
        """Return the private directory of a server's socket and pipes; `side` names the server."""
        return self.root / "run" / side

    def launchers(self, side: str) -> Path:
        """Return the directory of a tree's launchers."""
        return self.root / "launchers" / side


def staging(final: Path) -> Path:
    """Return the name under which new data is made, beside its final name."""
    return final.with_name(f".{final.name}.staging")

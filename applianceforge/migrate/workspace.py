"""Where an operation keeps what: the names below the work directory and beside the targets."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    """The paths of one operation in a work directory.

    Attributes:
        work: The work directory (0711: servers, which run as their own user, pass through it).
        operation: "run", "export", "import" or "verify"; each has a directory of its own.
    """

    work: Path
    operation: str

    @property
    def root(self) -> Path:
        """Return the operation's own directory."""
        return self.work / self.operation

    @property
    def lock(self) -> Path:
        """Return the file whose lock makes an operation the only one."""
        return self.work / "lock"

    @property
    def status(self) -> Path:
        """Return what `migrate status` reads."""
        return self.work / "status.json"

    @property
    def journal(self) -> Path:
        """Return the journal, JSON Lines."""
        return self.root / "journal.jsonl"

    @property
    def outcome(self) -> Path:
        """Return the result of a finished operation, as JSON."""
        return self.root / "outcome.json"

    @property
    def report(self) -> Path:
        """Return the result of a finished operation, as one HTML page."""
        return self.root / "report.html"

    @property
    def archive(self) -> Path:
        """Return the portable files on their way from source to target."""
        return self.root / "archive"

    @property
    def inventories(self) -> Path:
        """Return the directory of the inventories of both sides."""
        return self.root / "inventories"

    def log(self, side: str) -> Path:
        """Return the log of a server."""
        return self.root / "logs" / f"{side}.log"

    def sockets(self, side: str) -> Path:
        """Return the private directory of a server's socket and pipes."""
        return self.root / side

    def launchers(self, side: str) -> Path:
        """Return the directory of a tree's launchers."""
        return self.root / "launchers" / side


def staging(final: Path) -> Path:
    """Return the name under which new data is made, beside its final name."""
    return final.with_name(f".{final.name}.staging")

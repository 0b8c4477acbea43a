"""Where trees and appliances are kept, so that each is built once."""

import os
import stat
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent.parent
_OF_THE_SYSTEM = Path("/var/cache/applianceforge")


def directory() -> Path:
    """Return the cache: APPLIANCEFORGE_CACHE, or `.cache` in the checkout where that will do.

    As root, servers run as an unprivileged user, who must be able to reach the programs and the
    data; a checkout below /root is closed to them, and the cache is then the system's.
    """
    named = os.environ.get("APPLIANCEFORGE_CACHE")
    if named:
        return Path(named).resolve()
    if os.geteuid() == 0 and not open_to_all(CHECKOUT):
        return _OF_THE_SYSTEM
    return CHECKOUT / ".cache"


def open_to_all(path: Path) -> bool:
    """Return whether every user may go through `path` and all directories above it."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in (path, *path.parents))

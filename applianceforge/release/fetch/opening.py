"""Open the source that the settings or a person names: a URL, a directory, a USB stick."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from applianceforge.model.errors import SettingsError
from applianceforge.release.fetch.addresses import address
from applianceforge.release.fetch.child_source import ChildSource, command
from applianceforge.release.fetch.directory_source import DirectorySource
from applianceforge.release.fetch.limits import HttpSettings, Limits
from applianceforge.release.fetch.source import Source
from applianceforge.system.effects import Effects
from applianceforge.system.programs import User

# Who talks to the server, if we are root.
FETCHING_USER = "forge-update"


@contextmanager
def open_source(
    url_or_path: str,
    proxy: str = "",
    user: str = FETCHING_USER,
    *,
    effects: Effects | None = None,
    ca_file: str = "",
    limits: Limits | None = None,
) -> Iterator[Source]:
    """Open a source of a repository's files for the block.

    Args:
        url_or_path: `http://`, `https://` or `file://` and so on, or the path of a directory.
        proxy: For the first two; "" is none.
        user: Who talks to the server, if we are root and there is such a user; otherwise we do.
        effects: Told of the process that is started.
        ca_file: Who may vouch for an HTTPS server; "" is the system's certificates.
        limits: How long a server may take.

    Raises:
        SettingsError: It is no address of HTTP, or no directory.
    """
    if "\0" in url_or_path:
        raise SettingsError(
            "the repository is no address and no path: it has a NUL in it",
            hint="name it again: applianceforge update --from",
        )
    if "://" not in url_or_path or url_or_path.startswith("file:///"):
        yield DirectorySource(Path(url_or_path.removeprefix("file://")))
        return
    address(url_or_path, "repository")
    if proxy:
        address(proxy, "proxy")
    settings = HttpSettings(url_or_path, proxy, ca_file, limits or Limits())
    source = ChildSource(settings, effects or Effects(), command(user_of(user)))
    try:
        yield source
    finally:
        source.close()


def user_of(name: str) -> User | None:
    """Return a user, if we are root and there is one; None is ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return User(entry.pw_uid, entry.pw_gid)

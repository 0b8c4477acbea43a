"""Run programs as root of a namespace of their own: no privilege is needed, no network is there.

In it we are root, and the 65535 other ids are those that /etc/subuid and /etc/subgid give us. So
files of every owner can be made and packages be configured, as a plain user, wherever the user may
write. Root needs no user namespace. What is mounted in it is gone with the last process in it.

Source: unshare(1) of util-linux 2.38, user_namespaces(7).
"""

import contextlib
import os
import pwd
from dataclasses import replace
from pathlib import Path

from applianceforge.model.errors import ProgramFailedError, ProgramMissingError
from applianceforge.system import files, programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command

_UNSHARE = "/usr/bin/unshare"
_PUBLIC_UMASK = 0o022
_SUBORDINATES = (Path("/etc/subuid"), Path("/etc/subgid"))
_MAP = Path("/usr/bin/newuidmap")


def enclosed(command: Command) -> Command:
    """Return the command that runs `command` as root of its own namespaces."""
    mapped = () if os.geteuid() == 0 else ("--map-root-user", "--map-auto")
    words = ("--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", *mapped)
    return replace(
        command,
        arguments=(_UNSHARE, *words, "--", *command.arguments),
        name=command.label,
        umask=_PUBLIC_UMASK,
    )


def check() -> None:
    """Make sure that this user may have such namespaces.

    Raises:
        ProgramMissingError: What maps the ids is not installed.
        ProgramFailedError: The user has no ids to map.
    """
    if os.geteuid() == 0:
        return
    if not _MAP.exists():
        raise ProgramMissingError(
            f"{_MAP} is not there, and only root can do without it",
            hint="install it: apt-get install uidmap",
        )
    names = {str(os.geteuid())}
    with contextlib.suppress(KeyError):
        names.add(pwd.getpwuid(os.geteuid()).pw_name)
    for file in _SUBORDINATES:
        lines = file.read_text().splitlines() if file.exists() else []
        if not any(line.split(":")[0] in names for line in lines):
            raise ProgramFailedError(
                f"{file} gives the user {max(names)} no ids for the files of an image",
                hint="as root, run: usermod --add-subuids 100000-165535"
                f" --add-subgids 100000-165535 {max(names)}",
            )


def remove_tree(path: Path, effects: Effects) -> None:
    """Remove a directory whose files may be of any of the namespace's users."""
    if os.geteuid() != 0 and path.exists():
        words = ("/usr/bin/rm", "--recursive", "--force", "--one-file-system", "--", str(path))
        programs.run(enclosed(Command(words)), effects)
    files.remove_tree(path, effects)

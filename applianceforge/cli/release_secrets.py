"""Passphrases and PINs: from files or descriptors that options name, or from the terminal.

Never from the command line or the environment, which others can read.
"""

import getpass
import os
from pathlib import Path

from applianceforge.model.errors import SigningKeyError
from applianceforge.system.files import named_errors

_LARGEST_BYTES = 4096
_HINT = "name a file with --passphrase-file [KEY=]FILE, such as /dev/fd/3, or use a terminal"


class Passphrases:
    """The secrets of keys, each asked for once.

    Args:
        named: Where they are: `FILE` for all keys, or `KEY=FILE` for one.
    """

    def __init__(self, named: tuple[str, ...]) -> None:
        self._known: dict[str, str] = {}
        self._files: dict[str, Path] = {}
        for one in named:
            key, equals, path = one.partition("=")
            self._files[key if equals else ""] = Path(path if equals else one)

    def ask(self, name: str, what: str) -> str:
        """Return the secret of a key.

        Args:
            name: The key.
            what: What it is, such as "passphrase"; one that is "new ..." is asked for twice.

        Raises:
            SigningKeyError: There is neither a file nor a terminal, or it was given in two ways.
        """
        source = name if name in self._files else ""
        if source in self._files:
            # A descriptor can be read once, and a file may be of all keys.
            if source not in self._known:
                self._known[source] = _first_line(self._files[source])
            return self._known[source]
        known = f"{name}:"
        if known not in self._known:
            self._known[known] = _from_terminal(name, what)
        return self._known[known]


def _first_line(path: Path) -> str:
    with named_errors(path, "read"), open(path, "rb") as stream:
        line = stream.readline(_LARGEST_BYTES)
    try:
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SigningKeyError(f"{path} holds no text as its first line", hint=_HINT) from None


def _from_terminal(name: str, what: str) -> str:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError as error:
        raise SigningKeyError(
            f"the {what} of the key {name} is needed, and there is no terminal to ask for it",
            hint=_HINT,
        ) from error
    secret = getpass.getpass(f"{what.capitalize()} of the key {name}: ")
    if what.startswith("new ") and getpass.getpass("Once more: ") != secret:
        raise SigningKeyError(
            f"the two passphrases for {name} differ", hint="run the same command again"
        )
    return secret

"""What a vendor's images say of the repository: the update settings, made from the example."""

from __future__ import annotations

import json
from pathlib import Path

from applianceforge.model.errors import RepositoryError, SettingsError
from applianceforge.release import graph_file
from applianceforge.release.fetch.addresses import address
from applianceforge.release.update import settings
from applianceforge.system.files import named_errors

_HINT = "give --url as https://HOST/PATH/, and --channel as one word in small letters"
_EXAMPLE = Path(__file__).with_name("example.toml")


def encode(repository: str, channel: str) -> bytes:
    """Return `update.toml` for the images.

    Args:
        repository: Where boxes find it: a URL, or a path.
        channel: Which releases they are offered.

    Raises:
        RepositoryError: A value cannot be.
    """
    with named_errors(_EXAMPLE, "read"):
        lines = _EXAMPLE.read_text().splitlines()
    wanted = {"repository": repository, "channel": channel}
    for number, line in enumerate(lines):
        key = line.partition(" = ")[0]
        if key in wanted:
            # A TOML string is written as in JSON: control characters as escapes.
            lines[number] = f"{key} = {json.dumps(wanted.pop(key), ensure_ascii=False)}"
    assert not wanted
    text = "\n".join(lines) + "\n"
    try:
        settings.decode([("update.toml", text)])
        # What no box could use is told here, and not by each box.
        if "://" in repository and not repository.startswith("file:///"):
            address(repository, "repository")
        if not graph_file.is_channel(channel):
            raise SettingsError(f"{channel!r} cannot be a channel", hint=_HINT)
    except SettingsError as error:
        raise RepositoryError(error.message, hint=_HINT) from error
    return text.encode()

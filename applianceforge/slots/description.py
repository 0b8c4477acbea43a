"""What a slot says of itself: `boot/slot.env`, which GRUB reads too.

A GRUB environment block with schema (1), arch (i386 or amd64), name, version, and args, the
kernel's arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

from applianceforge.formats import envblock
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import SlotError

SCHEMA = 1
_HINT = "it is no slot image of this toolkit, or a damaged one: build or fetch it again"


@dataclass(frozen=True)
class Description:
    """What a slot says of itself.

    Attributes:
        architecture: What processor it needs.
        name: Of the release's recipe.
        version: Of the release.
        arguments: The kernel's, beside those that GRUB adds.
    """

    architecture: Architecture
    name: str
    version: str
    arguments: str = ""


def encode(description: Description) -> bytes:
    """Return the file.

    Raises:
        ValueError: It does not fit into a block.
    """
    return envblock.encode(
        (
            ("schema", str(SCHEMA)),
            ("arch", description.architecture.value),
            ("name", description.name),
            ("version", description.version),
            ("args", description.arguments),
        )
    )


def decode(data: bytes, what: str) -> Description:
    """Return what the file says.

    Args:
        data: The file.
        what: What messages call it.

    Raises:
        SlotError: It is none, or of a newer schema.
    """
    variables = envblock.decode(data)
    schema, arch = variables.get("schema", ""), variables.get("arch", "")
    if schema != str(SCHEMA):
        if schema.isascii() and schema.isdigit():
            raise SlotError(
                f"{what} is of schema {schema[:20]}, and this program knows {SCHEMA}",
                hint="a newer release knows it",
            )
        raise SlotError(f"{what} is no description of a slot", hint=_HINT)
    known = {architecture.value: architecture for architecture in Architecture}
    if arch not in known:
        raise SlotError(f"{what} names the architecture {arch[:20]!r}", hint=_HINT)
    name, version = variables.get("name", ""), variables.get("version", "")
    return Description(known[arch], name, version, variables.get("args", ""))

"""What is done to a tree in the namespace: the document that goes there.

The work in the namespace is a program of its own, `applianceforge.imaging.inside`, for only a new
process can enter it. This is its one argument, as JSON.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID


@dataclass(frozen=True)
class Owned:
    """A path with its mode and its owner's name and group."""

    path: str
    mode: int
    owner: str


@dataclass(frozen=True)
class Plan:
    """What to do, from two tars to a file system or an initial RAM disk.

    Attributes:
        work: An empty directory of ours.
        tars: Unpacked in this order.
        initrd: Copied to boot/initrd.img; without it, one is made there.
        image: The file system that is made; without it, the initial RAM disk is kept in `work`.
        uuid: Of the file system.
        label: Of the file system.
        most_bytes: The size of the partition that it goes to.
        epoch_s: The latest date of a file.
        enable: Units.
        mask: Units.
        default_target: A unit, or "".
        modes: Of paths that an overlay brings.
        remove: Globs.
        compile: Directories of Python modules, which are compiled.
        recipe: The recipe's name, for messages.
    """

    work: Path
    tars: tuple[Path, ...]
    initrd: Path | None
    image: Path | None
    uuid: UUID
    label: str
    most_bytes: int
    epoch_s: int
    enable: tuple[str, ...]
    mask: tuple[str, ...]
    default_target: str
    modes: tuple[Owned, ...]
    remove: tuple[str, ...]
    compile: tuple[str, ...]
    recipe: str


def encode(plan: Plan) -> str:
    """Return the document."""
    return json.dumps(asdict(plan), default=str)


def decode(text: str) -> Plan:
    """Decode the document, which only this version of the package wrote."""
    content: dict[str, Any] = json.loads(text)
    initrd, image = content.pop("initrd"), content.pop("image")
    return Plan(
        work=Path(content.pop("work")),
        tars=tuple(Path(path) for path in content.pop("tars")),
        initrd=Path(initrd) if initrd else None,
        image=Path(image) if image else None,
        uuid=UUID(content.pop("uuid")),
        modes=tuple(Owned(**one) for one in content.pop("modes")),
        enable=tuple(content.pop("enable")),
        mask=tuple(content.pop("mask")),
        remove=tuple(content.pop("remove")),
        compile=tuple(content.pop("compile")),
        **content,
    )

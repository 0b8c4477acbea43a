"""What is done to a tree in the namespace: the document that goes there.

The work in the namespace is a program of its own, `applianceforge.imaging.inside`, for only a new
process can enter it. This is its one argument, as JSON.
"""

import json
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID


class Product(Enum):
    """What is made of a tree."""

    INITRD = "initrd"
    SLOT = "slot"
    DATA = "data"


@dataclass(frozen=True)
class Owned:
    """A path with its mode and its owner's name and group."""

    path: str
    mode: int
    owner: str


@dataclass(frozen=True)
class Plan:
    """What to do, from tars to a file system or an initial RAM disk.

    Attributes:
        product: What is made.
        work: An empty directory of ours.
        tars: Unpacked in this order.
        target: The file that is made.
        initrd: The initial RAM disk of a slot.
        uuid: Of the file system.
        label: Of the file system.
        size_bytes: Of the file system; None is as small as may be.
        epoch_s: The latest date of a file.
        enable: Units.
        mask: Units.
        default_target: A unit, or "".
        modes: Of paths that an overlay brings.
        remove: Globs.
        compile: Directories of Python modules, and modules, which are compiled.
        wheels: Paths, which no package of Debian may have.
        facts: The file for what the tree has, of a slot.
        recipe: The recipe's name, for messages.
    """

    product: Product
    work: Path
    tars: tuple[Path, ...]
    target: Path
    uuid: UUID
    label: str
    epoch_s: int
    recipe: str
    initrd: Path | None = None
    size_bytes: int | None = None
    enable: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    default_target: str = ""
    modes: tuple[Owned, ...] = ()
    remove: tuple[str, ...] = ()
    compile: tuple[str, ...] = ()
    wheels: tuple[str, ...] = ()
    facts: Path | None = None


def encode(plan: Plan) -> str:
    """Return the document."""
    return json.dumps(asdict(plan) | {"product": plan.product.value}, default=str)


def decode(text: str) -> Plan:
    """Decode the document, which only this version of the package wrote."""
    content: dict[str, Any] = json.loads(text)
    initrd, facts = content.pop("initrd"), content.pop("facts")
    return Plan(
        product=Product(content.pop("product")),
        work=Path(content.pop("work")),
        tars=tuple(Path(path) for path in content.pop("tars")),
        target=Path(content.pop("target")),
        initrd=Path(initrd) if initrd else None,
        facts=Path(facts) if facts else None,
        uuid=UUID(content.pop("uuid")),
        modes=tuple(Owned(**one) for one in content.pop("modes")),
        enable=tuple(content.pop("enable")),
        mask=tuple(content.pop("mask")),
        remove=tuple(content.pop("remove")),
        compile=tuple(content.pop("compile")),
        wheels=tuple(content.pop("wheels")),
        **content,
    )

"""Bring what was signed to where it is served, whole and in order, whenever the power goes.

All files of a change are written into `outgoing/` first, then `outgoing/order.json`: from then on
the change will happen. It is carried out line by line; a run that was cut is carried out again from
its first line, and each line that was done already changes nothing. The files that a client asks
for by digest or version come first, and the one that it asks for by name, `timestamp.json`, after
all that it leads to: a client sees the old state or the new one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from applianceforge.model.errors import RepositoryError
from applianceforge.release.publish.layout import Layout, require_no_key_served
from applianceforge.system import files
from applianceforge.system.effects import Effects
from applianceforge.system.files import named_errors

SCHEMA = 1
_PUBLIC_FILE = 0o644
_PUBLIC_DIRECTORY = 0o755
_HINT = "restore the repository from a copy that was made before"


@dataclass(frozen=True)
class Change:
    """What is to become of a repository; all paths are below its directory.

    Attributes:
        doing: What it is, in words.
        moves: Files that are there, and where they go; first of all.
        files: Where a file is to be, and its content; in this order.
        removes: What is of no use any more; last.
    """

    doing: str
    moves: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()
    removes: tuple[str, ...] = ()


def send(layout: Layout, change: Change, effects: Effects) -> None:
    """Carry out a change, durably: when the power goes it has not begun, or `resume` ends it.

    Raises:
        DiskFullError: No space is left.
    """
    files.remove_tree(layout.outgoing, effects)
    files.make_directory(layout.outgoing, effects)
    lines = []
    for number, (target, content) in enumerate(change.files):
        files.write_file(layout.outgoing / str(number), content, effects)
        lines.append({"from": f"outgoing/{number}", "to": target})
    order = {
        "schema": SCHEMA,
        "doing": change.doing,
        "moves": [{"from": source, "to": target} for source, target in change.moves],
        "files": lines,
        "removes": list(change.removes),
    }
    files.write_file(layout.outgoing / "order.json", json.dumps(order).encode(), effects)
    resume(layout, effects)


def pending(layout: Layout) -> str:
    """Return what a run that was cut was doing and must still end; "" if there is nothing.

    Raises:
        RepositoryError: It cannot be read.
        SigningKeyError: There is a private key among what is served.
    """
    require_no_key_served(layout)
    order = _order(layout)
    return "" if order is None else str(order["doing"])


def resume(layout: Layout, effects: Effects) -> str:
    """End what a run that was cut had begun, and return what it was doing; "" for nothing.

    Raises:
        RepositoryError: What is needed for it is gone.
        SigningKeyError: There is a private key among what is served.
        DiskFullError: No space is left.
    """
    require_no_key_served(layout)
    order = _order(layout)
    if order is None:
        return ""
    for line in order["moves"]:
        _move(layout, line["from"], line["to"], effects)
    for line in order["files"]:
        _place(layout, line["from"], line["to"], effects)
    for path in order["removes"]:
        files.remove_tree(layout.directory / path, effects)
    # From here on it is done; what else lies there, the next change removes.
    files.remove_tree(layout.outgoing / "order.json", effects)
    return str(order["doing"])


def _order(layout: Layout) -> dict[str, Any] | None:
    path = layout.outgoing / "order.json"
    if not path.exists():
        return None
    with named_errors(path, "read"):
        content = path.read_bytes()
    try:
        order = json.loads(content)
        if order["schema"] != SCHEMA:
            raise ValueError(f"schema {order['schema']}")
        lines: Sequence[Any] = (*order["moves"], *order["files"])
        for one in (*(text for line in lines for text in line.values()), *order["removes"]):
            if one.startswith("/") or ".." in one.split("/"):
                raise ValueError(f"a path outside: {one}")
        return dict(order) | {"doing": str(order["doing"])}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RepositoryError(f"{path} cannot be read: {error}", hint=_HINT) from None


def _move(layout: Layout, source: str, target: str, effects: Effects) -> None:
    path, goal = layout.directory / source, layout.directory / target
    if not path.exists():
        if goal.exists():
            return
        raise RepositoryError(f"{path} is missing, which is to be published", hint=_HINT)
    files.make_directory(goal.parent, effects, mode=_PUBLIC_DIRECTORY)
    with named_errors(path, "change the mode of"):
        path.chmod(_PUBLIC_FILE)
    files.rename(path, goal, effects)


def _place(layout: Layout, source: str, target: str, effects: Effects) -> None:
    path, goal = layout.directory / source, layout.directory / target
    if not path.exists():
        raise RepositoryError(f"{path} is missing, which is to be published", hint=_HINT)
    with named_errors(path, "read"):
        content = path.read_bytes()
    with named_errors(goal, "read"):
        if goal.exists() and goal.read_bytes() == content:
            return
    files.make_directory(goal.parent, effects, mode=_PUBLIC_DIRECTORY)
    files.write_file(goal, content, effects, mode=_PUBLIC_FILE)

"""Texts that people read, as they were when someone last read them through.

A text that changes fails its test. To take the new one: APPLIANCEFORGE_SNAPSHOTS=write, then read
the difference in git.
"""

import os
from pathlib import Path

_DIRECTORY = Path(__file__).parent / "data" / "snapshots"


def same(name: str, text: str) -> None:
    """Assert that a text is as recorded in data/snapshots/NAME.txt."""
    path = _DIRECTORY / f"{name}.txt"
    if os.environ.get("APPLIANCEFORGE_SNAPSHOTS") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"{path} is missing; write it and read it"
    assert text == path.read_text(encoding="utf-8")

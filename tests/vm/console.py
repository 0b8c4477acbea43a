"""Watch what a guest says on its serial console, and read its text screen.

The log is QEMU's own; it is only ever read here. A line that matches `BAD` ends the test at once,
unless the test allows it: who waits for a service after a panic would wait in vain.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

BAD = (
    r"Kernel panic",
    r"\bOops\b",
    r"\bBUG:",
    r"general protection fault",
    r"You are in emergency mode",
    r"You are in rescue mode",
    r"EXT[234]-fs.*\berror\b",
    r"I/O error",
    r"Buffer I/O error",
    r"\bhung_task\b|blocked for more than \d+ seconds",
    r"Out of memory: Killed process",
    r"soft lockup",
    r"rcu.*detected stalls",
    r"Unable to mount root fs",
    r"segfault at",
)
_BAD = re.compile("|".join(f"(?:{pattern})" for pattern in BAD))
# What terminals are told: colours, the cursor's place.
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[()][0-9A-Za-z]|[=>78cM])")
SCREEN_COLUMNS, SCREEN_ROWS = 80, 25
SCREEN_ADDRESS = 0xB8000
SCREEN_BYTES = SCREEN_COLUMNS * SCREEN_ROWS * 2


def decode_screen(memory: bytes) -> str:
    """Return the text of a screen in VGA text mode: a character and a colour for each place.

    Raises:
        ValueError: It has another size.
    """
    if len(memory) != SCREEN_BYTES:
        raise ValueError(f"a screen has {SCREEN_BYTES} bytes, this has {len(memory)}")
    text = memory[::2].decode("cp437").replace("\0", " ")
    rows = [text[start : start + SCREEN_COLUMNS] for start in range(0, len(text), SCREEN_COLUMNS)]
    return "\n".join(row.rstrip() for row in rows).rstrip("\n")


class Console:
    """The serial log of one machine, over all its starts.

    Args:
        log: Written by QEMU.
        allowed: Regular expressions; a bad line that matches one is let through.
    """

    def __init__(self, log: Path, allowed: Sequence[str] = ()) -> None:
        self.log = log
        self._allowed = [re.compile(pattern) for pattern in allowed]
        self._read_bytes = 0
        self._half_line = ""

    def text(self) -> str:
        """Return all that was said, without what only terminals understand."""
        if not self.log.exists():
            return ""
        text = self.log.read_bytes().decode(errors="replace")
        return _ESCAPES.sub("", text.replace("\r", ""))

    def tail(self, count: int = 30) -> str:
        """Return the last lines."""
        return "\n".join([line for line in self.text().splitlines() if line.strip()][-count:])

    def allow(self, *patterns: str) -> None:
        """Let bad lines that match through from now on."""
        self._allowed += [re.compile(pattern) for pattern in patterns]

    def bad_lines(self) -> list[str]:
        """Return the bad lines since the last call; whole lines only."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as stream:
            stream.seek(self._read_bytes)
            part = stream.read()
        if not part:
            return []
        self._read_bytes += len(part)
        text = self._half_line + part.decode(errors="replace")
        whole, _, self._half_line = text.rpartition("\n")
        return wrong_lines(_ESCAPES.sub("", whole), self._allowed)


def wrong_lines(text: str, allowed: Sequence[re.Pattern[str]] = ()) -> list[str]:
    """Return the lines that tell of a failure and are not allowed."""
    return [
        line.strip()
        for line in text.splitlines()
        if _BAD.search(line) and not any(pattern.search(line) for pattern in allowed)
    ]

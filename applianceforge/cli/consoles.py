"""Write to every console of the machine: the screen, and the serial line if there is one."""

import contextlib
import io
import os
from pathlib import Path

_ACTIVE = Path("/sys/class/tty/console/active")
_DEVICES = Path("/dev")


class Consoles(io.TextIOBase):
    """A text stream to all consoles that the kernel writes to.

    A console that does not take what is written is left out: the work must not wait for it.
    """

    def __init__(self, active: Path = _ACTIVE, devices: Path = _DEVICES) -> None:
        """Find the consoles; where there are none, what is written goes nowhere."""
        names = active.read_text().split() if active.exists() else []
        # tty0 is whichever screen is in front; what belongs to the boot is on the first.
        self._paths = [devices / ("tty1" if name == "tty0" else name) for name in names]

    def writable(self) -> bool:
        """Return that text may be written."""
        return True

    def write(self, text: str) -> int:
        """Write to each console, as much as it takes at once."""
        for path in self._paths:
            with contextlib.suppress(OSError):
                flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
                handle = os.open(path, flags)
                try:
                    os.write(handle, text.replace("\n", "\r\n").encode(errors="replace"))
                finally:
                    os.close(handle)
        return len(text)

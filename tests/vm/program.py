"""Find the programs of QEMU."""

from __future__ import annotations

import shutil


def find(name: str) -> str:
    """Return the path of a program.

    Raises:
        FileNotFoundError: It is not installed; says what to install.
    """
    path = shutil.which(name)
    if path is None:
        package = "qemu-utils" if name == "qemu-img" else "qemu-system-x86"
        raise FileNotFoundError(f"there is no {name} here: apt-get install {package}")
    return path

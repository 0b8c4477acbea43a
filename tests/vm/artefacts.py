"""Keep what is needed to understand a failed test of a virtual machine."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

from tests.appliance import cache

VARIABLE = "APPLIANCEFORGE_ARTEFACTS"
KEEP_DISKS = "APPLIANCEFORGE_KEEP_DISKS"
_KEPT_COUNT = 20
_OURS = re.compile(r"\d{8}-\d{6}-")


def directory() -> Path:
    """Return where artefacts are kept: $APPLIANCEFORGE_ARTEFACTS, or vm-failed in the cache."""
    named = os.environ.get(VARIABLE)
    return Path(named).resolve() if named else cache.directory() / "vm-failed"


def keep(name: str, texts: dict[str, str], files: list[Path], disks: list[Path]) -> list[Path]:
    """Copy artefacts to a directory of their own; return their paths.

    Args:
        name: Of the machine.
        texts: What to write, by the file's name.
        files: What to copy; those that are not there are left out.
        disks: What to copy if $APPLIANCEFORGE_KEEP_DISKS is 1, for they are large.
    """
    above = directory()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    target = above / f"{time.strftime('%Y%m%d-%H%M%S')}-{plain}-{os.getpid()}"
    while target.exists():
        target = target.with_name(target.name + "+")
    target.mkdir(parents=True)
    kept = []
    for file, text in texts.items():
        path = target / file
        path.write_text(text)
        kept.append(path)
    if os.environ.get(KEEP_DISKS) == "1":
        files = [*files, *disks]
    for original in files:
        if original.exists():
            path = target / original.name
            shutil.copyfile(original, path)
            kept.append(path)
    # Only what this made, and never in a directory that a person named.
    if VARIABLE not in os.environ:
        ours = sorted(path for path in above.iterdir() if _OURS.match(path.name))
        for old in ours[:-_KEPT_COUNT]:
            shutil.rmtree(old, ignore_errors=True)
    return kept

"""What a finished tree has that its release's file names: kernel, PostgreSQL, locales.

They are looked up in the tree, so that the file cannot promise what is not there.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from applianceforge.system import files

_LOCALE = "usr/bin/locale"


@dataclass(frozen=True)
class TreeFacts:
    """What is in a tree.

    Attributes:
        kernel: The kernel's release, as `uname -r` says it.
        ia32_emulation: Whether it runs 32-bit programs: "yes", "no", or "option" if it must be
            started with ia32_emulation=on.
        postgresql: The major version of PostgreSQL; 0 if there is none.
        extensions: Of PostgreSQL, that can be created.
        locales: Of the C library, as `locale -a` says them.
    """

    kernel: str
    ia32_emulation: str = "yes"
    postgresql: int = 0
    extensions: tuple[str, ...] = ()
    locales: tuple[str, ...] = ()


def gather(root: Path, kernel: str, run: Callable[..., bytes]) -> TreeFacts:
    """Look at a tree, before anything is removed from it.

    Args:
        root: Its directory.
        kernel: The kernel's release.
        run: Runs a program of the tree and returns what it says.
    """
    majors = [int(path.parent.name) for path in root.glob("usr/lib/postgresql/[0-9]*/bin")]
    major = max(majors, default=0)
    controls = root.glob(f"usr/share/postgresql/{major}/extension/*.control")
    said = run(f"/{_LOCALE}", "-a").decode() if (root / _LOCALE).exists() else ""
    return TreeFacts(
        kernel,
        _ia32_emulation(root / f"boot/config-{kernel}"),
        major,
        # One with two hyphens is for a single version of the extension.
        tuple(sorted(path.stem for path in controls if "--" not in path.stem)),
        tuple(sorted(said.split())),
    )


def _ia32_emulation(config: Path) -> str:
    if not config.is_file():
        return "yes"
    with files.named_errors(config, "read"):
        lines = config.read_text(errors="replace").splitlines()
    # An i386 kernel has no such option, and runs them anyway.
    if "CONFIG_64BIT=y" in lines and "CONFIG_IA32_EMULATION=y" not in lines:
        return "no"
    return "option" if "CONFIG_IA32_EMULATION_DEFAULT_DISABLED=y" in lines else "yes"


def encode(facts: TreeFacts) -> str:
    """Return the facts as JSON, for the cache."""
    return json.dumps(asdict(facts), indent=1) + "\n"


def decode(text: str) -> TreeFacts:
    """Decode the facts, which only this version of the package wrote."""
    content: dict[str, Any] = json.loads(text)
    content["extensions"] = tuple(content["extensions"])
    content["locales"] = tuple(content["locales"])
    return TreeFacts(**content)

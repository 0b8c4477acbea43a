"""What building an image costs beside mmdebstrap, and what a slot's bytes are spent on."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from applianceforge.imaging import build
from applianceforge.system.effects import Effects
from applianceforge.system.progress import ProgressEvent, StepAdvanced, StepEnded
from tests.appliance import cache

NOTHING_CHANGED_S = 0.5
OVERLAY_CHANGED_S = 20.0
BESIDE_MMDEBSTRAP_S = 30.0
_ROUNDS = 5
_ROWS = 25
_SUCCESS = re.compile(r"I: success in ([0-9.]+) seconds")
_ROOT = Path(build.__file__).parent.parent.parent
_DRIVER = """
import sys
from pathlib import Path
from applianceforge.imaging import build
from applianceforge.system.effects import Effects
made = build.build(
    *(Path(word) for word in sys.argv[1:]), Effects(), None, build.Options(build.WITHOUT_SECURITY)
).made
assert not made, made
"""


@dataclass
class Timed:
    """Note how long each stage took, and mmdebstrap in it."""

    stages: dict[str, float] = field(default_factory=dict)
    mmdebstrap_s: float = 0.0

    def emit(self, event: ProgressEvent) -> None:
        """Note what the event says."""
        if isinstance(event, StepEnded):
            self.stages[event.key.partition("-")[0]] = event.elapsed_s
        elif isinstance(event, StepAdvanced) and (match := _SUCCESS.match(event.item)):
            self.mmdebstrap_s = float(match[1])


def run(name: str = "legacy", *, compress: bool = True) -> list[str]:
    """Measure the building of an image, print it all, and return the promises that were missed.

    Args:
        name: Of the recipe.
        compress: Pack the slot with zstd -19 too, which takes minutes.
    """
    console = Console()
    place = Path(os.environ.get("TMPDIR", "/var/tmp"))
    with tempfile.TemporaryDirectory(prefix="bench-image-", dir=place) as directory:
        base = Path(directory)
        for part in ("images", "applianceforge"):
            shutil.copytree(_ROOT / part, base / part, symlinks=True)
        recipe, store = base / "images" / f"{name}.toml", base / "cache"
        shared = cache.directory()
        store.mkdir()
        if (shared / "packages").is_dir():  # Fetching them is the network's time, not ours.
            shutil.copytree(shared / "packages", store / "packages")
        options = build.Options(build.WITHOUT_SECURITY)
        timed = Timed()

        def built() -> tuple[build.BuiltImage, float]:
            began_s = time.monotonic()
            image = build.build(recipe, store, base / "out", Effects(), timed, options)
            return image, time.monotonic() - began_s

        _, whole_s = built()
        assert timed.mmdebstrap_s, "mmdebstrap did not say how long it took"
        slot_s = sum(timed.stages[stage] for stage in ("choice", "root", "initrd", "slot"))
        beside_s = slot_s - timed.mmdebstrap_s
        for stage, elapsed_s in timed.stages.items():
            console.print(f"  {stage:8} {elapsed_s:6.1f} s")
        nothing_s = min(_nothing_changed(recipe, store, base / "out") for _ in range(_ROUNDS))
        overlay = base / "images" / build.read_recipe(recipe).overlays[0]
        (overlay / "etc/changed").write_text("once")
        timed.stages.clear()
        image, overlay_s = built()
        assert "root" not in timed.stages, "a change of an overlay installed packages again"
        assert "slot" in timed.stages, "a change of an overlay made no new slot"
        console.print(f"{name}: {whole_s:.1f} s from nothing but the packages' files")
        promises = (
            ("beside mmdebstrap, for a slot", beside_s, BESIDE_MMDEBSTRAP_S),
            ("a file of an overlay changed", overlay_s, OVERLAY_CHANGED_S),
            ("nothing changed, a whole process", nothing_s, NOTHING_CHANGED_S),
        )
        for what, elapsed_s, limit_s in promises:
            console.print(f"  {what}: {elapsed_s:.2f} s (limit {limit_s:g})")
        _show_sizes(image.slot, compress, console)
        return [what for what, elapsed_s, limit_s in promises if elapsed_s > limit_s]


def _nothing_changed(recipe: Path, store: Path, out: Path) -> float:
    words = [sys.executable, "-c", _DRIVER, str(recipe), str(store), str(out)]
    began_s = time.monotonic()
    subprocess.run(words, check=True, cwd=_ROOT)
    return time.monotonic() - began_s


def _show_sizes(slot: Path, compress: bool, console: Console) -> None:
    with tempfile.TemporaryDirectory(prefix="slot-", dir=slot.parent) as name:
        root = Path(name)
        words = ["/usr/sbin/debugfs", "-R", f"rdump / {root}", str(slot)]
        subprocess.run(words, check=True, capture_output=True)
        sizes = {
            str(path.relative_to(root)): path.stat().st_size
            for path in root.rglob("*")
            if path.is_file() and not path.is_symlink()
        }
        owners = _owners(root)
    by_package: Counter[str] = Counter()
    by_place: Counter[str] = Counter()
    for path, size in sizes.items():
        by_package[owners.get(path, "(no package)")] += size
        by_place["/".join(path.split("/")[:3]) if path.count("/") > 2 else path] += size
    total = sum(sizes.values())
    console.print(f"{slot.name}: {slot.stat().st_size:,} bytes, files {total:,}")
    if compress:
        words = ["/usr/bin/zstd", "-19", "-T0", "--quiet", "--stdout", str(slot)]
        with tempfile.TemporaryFile(dir=slot.parent) as target:
            subprocess.run(words, stdout=target, check=True)
            packed = os.fstat(target.fileno()).st_size
        console.print(f"  packed with zstd -19: {packed:,} bytes")
    table = Table("package", "bytes", "place", "bytes")
    pairs = zip(by_package.most_common(_ROWS), by_place.most_common(_ROWS), strict=False)
    for (package, package_bytes), (where, place_bytes) in pairs:
        table.add_row(package, f"{package_bytes:,}", where, f"{place_bytes:,}")
    console.print(table)


def _owners(root: Path) -> dict[str, str]:
    """Return whose package each path is, by dpkg's lists; links to directories are resolved."""
    found = {}
    for listed in (root / "var/lib/dpkg/info").glob("*.list"):
        package = listed.stem.partition(":")[0]
        for line in listed.read_text().splitlines():
            first, _, rest = line.strip("/").partition("/")
            top = root / first
            merged = f"{top.readlink()}/{rest}" if top.is_symlink() else f"{first}/{rest}"
            found[merged] = package
    return found

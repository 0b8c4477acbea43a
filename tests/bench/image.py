"""What building an image costs beside mmdebstrap, and what a slot's bytes are spent on."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from applianceforge.imaging import build, recipes
from tests.appliance import cache

NOTHING_CHANGED_S = 0.5
OVERLAY_CHANGED_S = 20.0
BESIDE_MMDEBSTRAP_S = 30.0
_ROUNDS = 5
_ROWS = 25
_ROOT = Path(build.__file__).parent.parent.parent
# A process of its own, with a copy of the checkout: whoever works on it meanwhile changes nothing.
_DRIVER = """
import json, re, sys
from pathlib import Path
from applianceforge.imaging import build
from applianceforge.system.effects import Effects
from applianceforge.system.progress import StepAdvanced, StepEnded
stages = {}
class Timed:
    def emit(self, event):
        if isinstance(event, StepEnded):
            stages[event.key.partition("-")[0]] = event.elapsed_s
        elif isinstance(event, StepAdvanced):
            said = re.match("I: success in ([0-9.]+) seconds", event.item)
            if said:
                stages["mmdebstrap"] = float(said[1])
places = (Path(word) for word in sys.argv[1:])
build.build(*places, Effects(), Timed(), build.Options(build.WITHOUT_SECURITY))
print(json.dumps(stages))
"""


def _build(base: Path, name: str) -> tuple[dict[str, float], float]:
    """Build in a process of its own; return what each stage took, and the whole process."""
    places = (base / "images" / f"{name}.toml", base / "cache", base / "out")
    began_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _DRIVER, *(str(place) for place in places)],
        env={**os.environ, "PYTHONPATH": str(base)},
        cwd=base,
        stdout=subprocess.PIPE,
        check=True,
    )
    elapsed_s = time.monotonic() - began_s
    stages: dict[str, float] = json.loads(done.stdout)
    return stages, elapsed_s


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
        shared, store = cache.directory() / "packages", base / "cache/packages"
        if shared.is_dir():  # Fetching them is the network's time, not ours.
            shutil.copytree(shared, store)
        stages, whole_s = _build(base, name)
        mmdebstrap_s = stages.pop("mmdebstrap")
        slot_s = sum(stages[stage] for stage in ("choice", "root", "initrd", "slot"))
        beside_s = slot_s - mmdebstrap_s
        for stage, elapsed_s in stages.items():
            console.print(f"  {stage:8} {elapsed_s:6.1f} s")
        again = [_build(base, name) for _ in range(_ROUNDS)]
        assert not any(stages for stages, _ in again), "something was made again for nothing"
        nothing_s = min(elapsed_s for _, elapsed_s in again)
        recipe = recipes.read(base / "images" / f"{name}.toml")
        (base / "images" / recipe.overlays[0] / "etc/changed").write_text("once")
        stages, overlay_s = _build(base, name)
        assert "root" not in stages, "a change of an overlay installed packages again"
        assert "slot" in stages, "a change of an overlay made no new slot"
        console.print(f"{name}: {whole_s:.1f} s from nothing but the packages' files")
        promises = (
            ("beside mmdebstrap, for a slot", beside_s, BESIDE_MMDEBSTRAP_S),
            ("a file of an overlay changed", overlay_s, OVERLAY_CHANGED_S),
            ("nothing changed, a whole process", nothing_s, NOTHING_CHANGED_S),
        )
        for what, elapsed_s, limit_s in promises:
            console.print(f"  {what}: {elapsed_s:.2f} s (limit {limit_s:g})")
        _show_sizes(base / "out" / f"{name}.slot", compress, console)
        return [what for what, elapsed_s, limit_s in promises if elapsed_s > limit_s]


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

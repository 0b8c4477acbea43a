"""What an update costs: its bytes, its time beside zstd and dd, and its memory."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from applianceforge.preflight.requirements import Release
from applianceforge.release import manifest_file
from applianceforge.release.manifest import Manifest
from applianceforge.release.publish import bundle
from applianceforge.slots import images
from applianceforge.slots.images import Image
from applianceforge.system.effects import Effects
from applianceforge.system.progress import NoProgress
from tests.appliance import cache
from tests.bench import image as bench_of_images
from tests.slots.power import new_ground

LEAST_RATE = 0.60
MOST_MEMORY_BYTES = 96 << 20
MOST_FETCHED = 0.15
_ROUNDS = 7
_SPARE_BYTES = 4 << 20
_PACKAGE = "less"
_ANCHOR = '"ca-certificates",'
_ROOT = Path(bundle.__file__).parents[3]

# A process of its own: its memory is that of an update, with all that the command has loaded.
_DRIVER = """
import json, re, sys, time
from pathlib import Path
import applianceforge.release.update.applying
from applianceforge.release import index, manifest_file
from applianceforge.release.update import installation
from applianceforge.release.fetch.directory_source import DirectorySource
from applianceforge.slots.disk import BootDisk
from applianceforge.slots.environment import Loader
from applianceforge.slots.layout import Slot
from applianceforge.system.effects import Effects
from applianceforge.system.progress import NoProgress, StepEnded
repository, name, target, ground, *running = (Path(word) for word in sys.argv[1:])
manifest = manifest_file.decode((repository / name).read_bytes(), "manifest")
decoded = index.decode((repository / manifest.index.path).read_bytes(), "index")
disk = BootDisk(Slot.A, ground, running[0] if running else None, target)
steps = {}
class Timed:
    def emit(self, event):
        if isinstance(event, StepEnded):
            steps[event.key] = event.elapsed_s
began_s = time.monotonic()
installed = installation.install(
    disk, Loader(ground, Effects()), manifest, decoded, DirectorySource(repository), Effects(),
    Timed(),
)
elapsed_s = time.monotonic() - began_s
# Not what getrusage says: that counts who started us, too.
most_kib = re.search("VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]
print(json.dumps({
    "elapsed_s": elapsed_s,
    "processor_s": time.process_time(),
    "memory_bytes": int(most_kib) << 10,
    "fetched_bytes": installed.fetched_bytes,
    "copied_bytes": installed.copied_bytes,
    "steps": steps,
}))
"""
_REFERENCE = 'zstd -dcq "$1" | dd of="$2" bs=1M iflag=fullblock conv=fsync,notrunc status=none'


@dataclass(frozen=True)
class _Taken:
    """What an installation took."""

    elapsed_s: float
    processor_s: float
    memory_bytes: int
    fetched_bytes: int
    copied_bytes: int
    steps: dict[str, float]


def run(name: str = "legacy", level: int = bundle.LEVEL, rounds: int = _ROUNDS) -> list[str]:
    """Measure an update between two builds, print it, and return the promises that were missed.

    Args:
        name: Of the recipe.
        level: zstd's, of the payload.
        rounds: How often each installation is measured; the best counts, as for zstd and dd.
    """
    console = Console()
    place = Path(os.environ.get("TMPDIR", "/var/tmp"))
    with tempfile.TemporaryDirectory(prefix="bench-update-", dir=place) as directory:
        base = Path(directory)
        first, second = _two_builds(base, name)
        repository = base / "repository"
        began_s = time.monotonic()
        manifest = _bundle(second, first, repository, level)
        packed_s = time.monotonic() - began_s
        payload, index = manifest.payload.size_bytes, manifest.index.size_bytes
        console.print(
            f"{second.name}: {manifest.slot_bytes:,} bytes, packed by zstd -{level} {payload:,},"
            f" index {index:,}, in {packed_s:.0f} s"
        )
        return [
            *_bytes(base, repository, manifest, first, console),
            *_rates(base, repository, manifest, rounds, console),
        ]


def _two_builds(base: Path, name: str) -> tuple[Path, Path]:
    """Build a recipe, and again with another version, one more package and some other files."""
    for part in ("images", "applianceforge"):
        shutil.copytree(_ROOT / part, base / part, symlinks=True)
    shared = cache.directory() / "packages"
    if shared.is_dir():
        shutil.copytree(shared, base / "cache/packages")
    found = []
    for number in (1, 2):
        if number == 2:
            _change(base / "images", name)
        bench_of_images._build(base, name)
        found.append(base / f"{number}.slot")
        (base / "out" / f"{name}.slot").rename(found[-1])
        shutil.rmtree(base / "out")
    return found[0], found[1]


def _change(recipes: Path, name: str) -> None:
    recipe, shared = recipes / f"{name}.toml", recipes / "shared/gateway.toml"
    changed = recipe.read_text().replace('version = "', 'version = "9.')
    assert changed != recipe.read_text()
    recipe.write_text(changed)
    changed = shared.read_text().replace(_ANCHOR, f'{_ANCHOR}\n    "{_PACKAGE}",')
    assert changed != shared.read_text()
    shared.write_text(changed)
    recipe.with_suffix(".lock").unlink(missing_ok=True)
    (recipes / "overlay/etc/changed").write_text("A file that was not there before.\n")
    texts = [path for path in sorted((recipes / "overlay").rglob("*")) if path.is_file()]
    for path in texts[:3]:
        with open(path, "a") as stream:
            stream.write("# Changed in the second release.\n")


def _bundle(image: Path, reference: Path, repository: Path, level: int) -> Manifest:
    described, _ = images.look_at_image(Image(image), image.stat().st_size)
    release = Release(described.architecture, "gateway", described.version)
    manifest = bundle.make(
        *(image, release, described.name, (reference,), repository, Effects(), NoProgress()),
        level=level,
    )
    (repository / "manifest.json").write_bytes(manifest_file.encode(manifest))
    return manifest


def _bytes(
    base: Path, repository: Path, manifest: Manifest, first: Path, console: Console
) -> list[str]:
    target = _empty(base / "target", manifest)
    taken = _install(base, repository, first, target)
    payload = manifest.payload.size_bytes
    share = (taken.fetched_bytes + manifest.index.size_bytes) / payload
    console.print(
        f"update from the build before: {taken.fetched_bytes:,} bytes of the payload and the index"
        f" are {share:.1%} of the payload (limit {MOST_FETCHED:.0%});"
        f" {taken.copied_bytes:,} copied; {taken.elapsed_s:.2f} s"
    )
    return ["bytes of an update"] if share > MOST_FETCHED else []


def _rates(
    base: Path, repository: Path, manifest: Manifest, rounds: int, console: Console
) -> list[str]:
    """Measure an installation that fetches everything, in turn with zstd and dd.

    Neither looks for something to copy. What it costs to look through a running slot that has
    nothing of the release is measured beside it; no two releases are like that.
    """
    running = base / "running"
    running.write_bytes(os.urandom(manifest.slot_bytes))
    references, taken, looked = [], [], []
    for _ in range(rounds):
        target = _empty(base / "target", manifest)
        began_s = time.monotonic()
        payload = repository / manifest.payload.path
        words = ["sh", "-c", _REFERENCE, "sh", str(payload), str(target)]
        subprocess.run(words, check=True)
        references.append(time.monotonic() - began_s)
        target = _empty(base / "target", manifest)
        taken.append(_install(base, repository, None, target))
        target = _empty(base / "target", manifest)
        looked.append(_install(base, repository, running, target))
    best = min(taken, key=lambda one: one.elapsed_s)
    reference_s = min(references)
    rate = reference_s / best.elapsed_s
    memory = max(one.memory_bytes for one in (*taken, *looked))
    console.print(
        f"all of it: {manifest.slot_bytes / best.elapsed_s / 1e6:.0f} MB/s in {best.elapsed_s:.2f}"
        f" s ({best.processor_s:.2f} s of processors), zstd and dd"
        f" {manifest.slot_bytes / reference_s / 1e6:.0f} MB/s in {reference_s:.2f} s: {rate:.0%}"
        f" (limit {LEAST_RATE:.0%})"
    )
    console.print("  " + ", ".join(f"{key} {step_s:.2f} s" for key, step_s in best.steps.items()))
    in_vain_s = min(one.elapsed_s for one in looked)
    console.print(
        f"all of it, after looking through a slot of noise: {in_vain_s:.2f} s,"
        f" {reference_s / in_vain_s:.0%} of zstd and dd"
    )
    console.print(f"memory: {memory / (1 << 20):.0f} MiB (limit {MOST_MEMORY_BYTES >> 20})")
    missed = ["rate of an installation"] if rate < LEAST_RATE else []
    return [*missed, *(["memory"] if memory > MOST_MEMORY_BYTES else [])]


def _empty(target: Path, manifest: Manifest) -> Path:
    """Make a slot that was never written."""
    target.unlink(missing_ok=True)
    with open(target, "wb") as stream:
        stream.truncate(manifest.slot_bytes + _SPARE_BYTES)
    os.sync()
    return target


def _install(base: Path, repository: Path, running: Path | None, target: Path) -> _Taken:
    shutil.rmtree(base / "boot", ignore_errors=True)
    ground = new_ground(base / "boot").directory
    places = (repository, "manifest.json", target, ground, *([running] if running else []))
    done = subprocess.run(
        [sys.executable, "-c", _DRIVER, *map(str, places)],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return _Taken(**json.loads(done.stdout))

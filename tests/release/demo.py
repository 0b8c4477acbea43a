"""A vendor's repository for demonstrations and tests: keys, three releases, and a server.

Everything is made by the commands that a vendor runs, which are printed. Keys and repository stay
in the cache: the images carry the root of trust of these keys, so other keys would be other images.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from applianceforge.imaging import build, recipes
from applianceforge.imaging.build import BuiltImage
from applianceforge.model.architecture import Architecture
from applianceforge.system.effects import Effects
from tests.appliance import cache
from tests.appliance.lines import Lines
from tests.release.server import Server
from tests.vm.hardware import Served

Tell = Callable[[str], None]
APPLIANCE = "gateway"
# The oldest first: each is packed so that a box with the one before fetches little.
NAMES = ("legacy", "migration", "current")
# Where a virtual machine finds the server; see `tests.vm.hardware.Served`.
URL = Served(0).url
PORT = 8464
_OPTIONS = {
    "legacy": ("--title", "32-bit, what is in the field"),
    "migration": ("--title", "64-bit, takes the data along", "--crossing", "--barrier"),
    "current": ("--title", "64-bit, where every box ends"),
}
# A vendor leaves it out, and waits: it is packed once, and fetched by every box.
_LEVEL = "3"
# A demonstration does not wait a week before it overwrites the way back.
_SETTINGS = """# Of the demonstration.
schema = 1
repository = "{url}"
channel = "stable"
retention_days = 0
"""


def place() -> Path:
    """Return the directory of keys and repository."""
    return cache.directory() / "story"


def overlays(tell: Tell = print) -> tuple[Path, ...]:
    """Return what goes over the recipes: the root of trust, and where the server is.

    The keys are made first if there are none.
    """
    directory, settings = place(), place() / "settings"
    if not _empty().exists():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        new = directory / "repository.new"
        words = ("--appliance", APPLIANCE, "--url", URL, "--keys", str(directory / "keys"))
        _forge(tell, "release", "init", str(new), *words)
        new.rename(_empty())
    path = settings / "etc/applianceforge/update.toml"
    content = _SETTINGS.format(url=URL)
    if not path.exists() or path.read_text() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return _empty() / "overlay", settings


def _empty() -> Path:
    """Return the repository as it is without releases, with the root that images are built with."""
    return place() / "repository.empty"


def images(*names: str, directory: Path | None = None) -> dict[str, BuiltImage]:
    """Return images of recipes for the demonstration, built first where that is needed.

    Args:
        names: Of the recipes.
        directory: Where they go; by default where all that boots them looks.
    """
    options = build.Options(
        without_security=frozenset({Architecture.I386}), extra=overlays(_on_stderr)
    )
    target = directory or cache.directory() / "crossing"
    return {
        name: build.build(
            recipes.find(name), cache.directory(), target, Effects(), Lines(), options
        )
        for name in names
    }


def repository(tell: Tell = print) -> Path:
    """Return the directory that is served: three releases, published, their metadata fresh."""
    built = images(*NAMES)
    directory, stamp = place() / "repository", place() / "published.json"
    wanted = {name: _identity(image) for name, image in built.items()}
    if not stamp.exists() or json.loads(stamp.read_text()) != wanted:
        # What was published once stays what it is, so changed images make a new repository; with
        # the same keys, which the images trust.
        stamp.unlink(missing_ok=True)
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(_empty(), directory, symlinks=True)
        for name in NAMES:
            image = built[name]
            words = ("release", "add", str(directory), "--slot", str(image.slot))
            _forge(tell, *words, *_OPTIONS[name], "--level", _LEVEL)
        _forge(tell, "release", "publish", str(directory), "--keys", str(place() / "keys"))
    else:
        # A signature of last week has expired by now.
        keys = str(place() / "keys/online")
        _forge(tell, "release", "publish", str(directory), "--renew", "--keys", keys)
    stamp.write_text(json.dumps(wanted))
    return directory / "public"


def _identity(image: BuiltImage) -> str:
    digest: str = json.loads(image.manifest.read_text())["files"][image.slot.name]["sha256"]
    return digest


def release_of(name: str) -> tuple[str, str, str]:
    """Return the name, version and architecture of a recipe's release."""
    recipe = recipes.read(recipes.find(name))
    return recipe.name, recipe.version, recipe.architecture.value


def payload_bytes(name: str) -> int:
    """Return the size of the payload of a release that is published."""
    _, version, architecture = release_of(name)
    targets = place() / "repository/public/targets/bundles"
    found = sorted(
        targets.glob(f"*.{APPLIANCE}-{version}-{architecture}.json"),
        key=lambda path: path.stat().st_mtime,
    )
    return int(json.loads(found[-1].read_text())["payload"]["size_bytes"])


def serve(port: int = PORT, tell: Tell = print) -> None:
    """Serve the demonstration's repository on the loopback until Ctrl-C.

    Args:
        port: Of the loopback.
        tell: Takes one line after the other.
    """
    public = repository(tell)
    with Server(public, port=port, log_file=sys.stdout) as server:
        tell(f"{public} is served at {server.url}; Ctrl-C ends it.")
        tell("Each line from here on is an answer. To see a box take all of it: inv story")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            tell("")


def _on_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _forge(tell: Tell, *words: str) -> str:
    """Run a command as a vendor would, and show it."""
    tell(f"$ applianceforge {shlex.join(words)}")
    done = subprocess.run(
        [sys.executable, "-m", "applianceforge", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines():
        tell(f"  {line}")
    if done.returncode != 0:
        raise AssertionError(f"applianceforge {shlex.join(words)} ended with {done.returncode}")
    return done.stdout

"""Build an image twice, as differently as one machine allows, and compare every byte.

Others are: the user (root, and a plain user with subordinate ids), the path of checkout and cache,
the umask, the time zone, the locale, the order and the dates of the checkout's files. The packages
are the same by a lock file.
"""

import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from applianceforge.imaging import build
from applianceforge.imaging.outputs import Output
from applianceforge.system.effects import Effects
from applianceforge.system.programs import User
from applianceforge.system.progress import ProgressSink
from tests.appliance import cache
from tests.imaging import builds, differences

_ROOT = Path(build.__file__).parent.parent.parent
_TAKEN = ("applianceforge", "images")
# The packages and what they are named by; nothing that was made of them.
_SHARED = ("packages",)
_DYING_S = 3.0
_DRIVER = """
import sys
from pathlib import Path
from applianceforge.imaging import build, outputs
from applianceforge.model.architecture import Architecture
from applianceforge.system.effects import Effects
options = build.Options(frozenset(Architecture), locked=True)
place = Path(sys.argv[3])
made = build.build(*(Path(word) for word in sys.argv[1:]), Effects(), None, options)
name = made.identity.machine.name
outputs.write_all(list(outputs.Output), made.raw, place, name, made.identity, Effects())
"""


@dataclass(frozen=True)
class Way:
    """One way to build."""

    name: str
    place: Path
    umask: int
    environment: tuple[tuple[str, str], ...]
    user: User | None
    reverse: bool


def run(name: str = "legacy", progress: ProgressSink | None = None) -> list[str]:
    """Build an image in two ways and return how the results differ; nothing if they do not.

    Args:
        name: Of the recipe.
        progress: Told of the choice of packages.
    """
    shared = cache.directory()
    place = Path(os.environ.get("TMPDIR", "/var/tmp"))
    with tempfile.TemporaryDirectory(prefix="reproduce-", dir=place) as directory:
        base = Path(directory)
        base.chmod(0o755)
        ways = (
            Way("one", base / "one", 0o022, (("TZ", "UTC"), ("LANG", "C.UTF-8")), None, False),
            Way(
                "other",
                base / "another place/for the same",
                0o077,
                (("TZ", "Asia/Kathmandu"), ("LANG", "de_DE.UTF-8"), ("LC_ALL", "tr_TR.UTF-8")),
                builds.plain_user(),
                True,
            ),
        )
        for way in ways:
            _prepare(way)
        options = build.Options(build.WITHOUT_SECURITY)
        recipe = ways[0].place / "images" / f"{name}.toml"
        lock = build.write_lock(recipe, shared, Effects(), progress, options)
        shutil.copy(lock, ways[1].place / "images")
        for way in ways:
            _fill(way, shared)
        found = _interrupt(ways[1], name)
        for way in ways:
            _build(way, name)
        return found + _compare(name, *(way.place / "out" for way in ways))


def _prepare(way: Way) -> None:
    """Copy the checkout, its files in another order and with other dates."""
    for part in _TAKEN:
        found = [path for path in (_ROOT / part).rglob("*") if "__pycache__" not in path.parts]
        for path in sorted(found, reverse=way.reverse):
            target = way.place / path.relative_to(_ROOT)
            if path.is_dir() and not path.is_symlink():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target, follow_symlinks=False)
                if way.reverse and not target.is_symlink():
                    target.chmod(target.stat().st_mode & 0o700)
                    os.utime(target, (time.time() - 1e6, time.time() - 1e6))


def _fill(way: Way, shared: Path) -> None:
    """Give a way the files of the packages, so that they are fetched once."""
    store = way.place / "cache"
    store.mkdir()
    for name in _SHARED:
        if (shared / name).is_dir():
            shutil.copytree(shared / name, store / name)
    if way.user is not None:
        for path in (way.place, *way.place.rglob("*")):
            os.chown(path, way.user.uid, way.user.gid, follow_symlinks=False)
        for parent in way.place.parents:
            if parent.owner() == "root" and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
        way.place.chmod(0o700)


def _interrupt(way: Way, name: str) -> list[str]:
    """Kill a build in the middle of the packages, as a power cut would, and look what is left."""
    store = way.place / "cache"
    with _start(way, name) as process:
        while not list(store.glob(".root-*.new/work/mmdebstrap.*/usr/bin/dpkg")):
            time.sleep(0.1)
            if process.poll() is not None:
                return ["the build ended before it could be interrupted"]
        process.kill()
    time.sleep(_DYING_S)
    found = [f"a killed build left {path.name}" for path in store.glob("root-*")]
    if way.user is not None:
        found += [f"a killed build left running: {words}" for words in _running(way.user)]
    return found


def _ids_of(user: User) -> frozenset[int]:
    name = pwd.getpwuid(user.uid).pw_name
    lines = (line.split(":") for line in Path("/etc/subuid").read_text().splitlines())
    (first, count) = next((int(line[1]), int(line[2])) for line in lines if line[0] == name)
    return frozenset((user.uid, *range(first, first + count)))


def _running(user: User) -> Iterable[str]:
    """Return the command lines of what runs as a user, or as one of its subordinates."""
    ids = _ids_of(user)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid in ids:
                yield (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue


def _build(way: Way, name: str) -> None:
    began_s = time.monotonic()
    with _start(way, name) as process:
        status = process.wait()
    assert status == 0, f"the build ended with status {status}"
    who = "ourselves" if way.user is None else f"user {way.user.uid}"
    print(f"{way.name}: built as {who} in {time.monotonic() - began_s:.0f} s", flush=True)


def _start(way: Way, name: str) -> subprocess.Popen[bytes]:
    # Our own Python may lie where that user may not look; imaging needs no package beside it.
    python = sys.executable if way.user is None else "/usr/bin/python3"
    words = [way.place / "images" / f"{name}.toml", way.place / "cache", way.place / "out"]
    return subprocess.Popen(
        [python, "-c", _DRIVER, *(str(word) for word in words)],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(way.place),
            "PYTHONPATH": str(way.place),
            "PYTHONDONTWRITEBYTECODE": "1",
            **dict(way.environment),
        },
        user=None if way.user is None else way.user.uid,
        group=None if way.user is None else way.user.gid,
        extra_groups=None if way.user is None else [],
        umask=way.umask,
        cwd=way.place,
    )


def _compare(name: str, one: Path, other: Path) -> list[str]:
    found = []
    for suffix in ("slot", *(one.value for one in Output), "manifest.json", "cdx.json"):
        paths = [directory / f"{name}.{suffix}" for directory in (one, other)]
        digests = [_digest(path) for path in paths]
        print(f"{name}.{suffix}: {digests[0]}", flush=True)
        if digests[0] != digests[1]:
            found.append(f"{name}.{suffix} differs: {digests[0]} and {digests[1]}")
            found += _reasons(suffix, paths)
    return found


def _digest(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _reasons(suffix: str, paths: list[Path]) -> Iterable[str]:
    if suffix == "slot":
        return differences.of_file_systems(*paths)
    return differences.of_bytes(*paths)

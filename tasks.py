"""What a developer does: `inv --list` shows all of it."""

import os
import shlex
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task
from rich.console import Console

from applianceforge.imaging import build, outputs, recipes, show, show_picture, zipapp
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import ForgeError, exit_status_of
from applianceforge.preflight.render import printable
from applianceforge.system.effects import Effects
from applianceforge.system.files import make_directory
from tests import fuzz_dumps, fuzz_rrd
from tests.appliance import cache, legacy
from tests.appliance.demo import prepare
from tests.appliance.lines import Lines
from tests.bench import disk as bench_of_disks
from tests.bench import image as bench_of_images
from tests.bench import migrate as bench
from tests.bench import probe, scanner
from tests.bench import update as bench_of_updates
from tests.crash import every
from tests.imaging import reproduce
from tests.release import demo as demo_of_releases
from tests.vm import processors, stories
from tests.vm import run as machine
from tests.vm import story as story_of_a_box

_INTERRUPTED = 130
_PYTHON_DIRECTORY = Path(sys.executable).parent
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


def _bytes_of(text: str) -> int:
    """Return the number of bytes that "200MB" means."""
    upper = text.upper()
    for unit, factor in _UNITS.items():
        number = upper.removesuffix(unit).strip()
        if number != upper and number.replace(".", "", 1).isdecimal():
            return round(float(number) * factor)
    if upper.isdecimal():
        return int(upper)
    raise Exit(f"{text!r} is no size; write it like 200MB", code=2)


def _exit_of(error: ForgeError) -> Exit:
    """Return the end of a task for an error: what is wrong, what shows it, what to do."""
    said = "\n".join(printable(line) for line in (error.message, *error.evidence, error.hint))
    return Exit(said, code=exit_status_of(error))


@task(
    name="legacy",
    help={
        "size": "of the databases' content, such as 5MB, 200MB, 1GB",
        "seed": "what all content follows from",
        "major": "PostgreSQL's major version: 15 (Debian 12) or 13 (Debian 11)",
        "security": "take Debian's security updates for i386 too, where the mirror has them",
    },
)
def fixture_legacy(
    _context: Context, size: str = "200MB", seed: int = 1, major: int = 15, security: bool = False
) -> None:
    """Build the 32-bit appliance that tests and benchmarks migrate, or find it in the cache."""
    if major not in legacy.MAJORS:
        raise Exit(f"there is no appliance of PostgreSQL {major}", code=2)
    if security:
        os.environ["APPLIANCEFORGE_SECURITY"] = "1"
    try:
        appliance = legacy.legacy(_bytes_of(size), seed=seed, major=major, progress=Lines())
    except ForgeError as error:
        raise _exit_of(error) from error
    facts = appliance.facts()
    print(f"programs   {appliance.tree.root}")
    print(f"cluster    {appliance.data}")
    print(f"           PostgreSQL {major}, {facts.database_bytes / 1e6:.0f} MB on disk")
    for database, rows in sorted(facts.rows.items()):
        print(f"           {rows:>12,} rows in {database}")
    print(f"RRDs       {appliance.rrd}")
    print(f"           {facts.rrd_count} files, {facts.rrd_bytes / 1e6:.1f} MB")
    print(f"proof      {facts.proof}")
    print(f"built in   {facts.built_s} s, by seed {seed}")


@task(name="where")
def fixture_where(_context: Context) -> None:
    """Print the cache's directory; whatever is in it may be removed, and is built again."""
    directory: Path = cache.directory()
    print(directory)


fixture = Collection("fixture", fixture_legacy, fixture_where)


def _programs(name: str) -> str:
    """Return the path of a program of this environment."""
    return shlex.quote(str(_PYTHON_DIRECTORY / name))


def _run(context: Context, *words: str) -> None:
    """Run a command in the foreground, with the terminal if there is one; its status is ours."""
    command = " ".join(words)
    done = context.run(command, pty=sys.stdout.isatty(), warn=True, in_stream=False)
    if done is None or done.exited != 0:
        raise Exit("", code=1 if done is None else done.exited)


@task(
    help={
        "size": "of the databases' content, such as 5MB, 200MB, 1GB",
        "seed": "what all content follows from",
        "report": "where the HTML report goes",
    }
)
def demo(
    context: Context, size: str = "200MB", seed: int = 1, report: str = "demo-report.html"
) -> None:
    """Take a real 32-bit appliance's data to 64 bits, prove it equal, and show it."""
    try:
        settings = prepare(_bytes_of(size), seed)
    except ForgeError as error:
        raise _exit_of(error) from error
    except KeyboardInterrupt as error:
        raise Exit("stopped; what was built is kept, run it again", code=_INTERRUPTED) from error
    command = _programs("applianceforge")
    _run(context, command, "check")
    where = ("-c", shlex.quote(str(settings)))
    _run(
        context,
        command,
        "migrate",
        "run",
        *where,
        "--report",
        shlex.quote(str(Path(report).resolve())),
    )
    print(f"""
Everything is in {settings.parent}: old/, new/, and the settings. Go on with
  {command} migrate verify -c {settings}
  {command} migrate status -c {settings}
  {command} migrate clean --dry-run -c {settings}
To remove all that was built for it: rm -r {cache.directory()}""")


@task(name="default", default=True, help={"arguments": "what pytest gets, such as '-k rrd -x'"})
def test_default(context: Context, arguments: str = "") -> None:
    """Run all tests but the long ones."""
    _run(context, _programs("pytest"), arguments)


@task(name="crash", help={"limit": "at most this many effects, spread evenly; 0 is every one"})
def test_crash(_context: Context, limit: int = 0) -> None:
    """Kill a migration after every one of its effects, resume it, compare the end states."""
    raise Exit("", code=every.run_all(limit or None))


_FUZZERS = {"rrd": fuzz_rrd.main, "dumps": fuzz_dumps.main}


@task(
    name="fuzz",
    help={
        "what": f"which decoders: {', '.join(_FUZZERS)}",
        "seconds": "how long",
        "seed": "where to begin",
    },
)
def test_fuzz(_context: Context, what: str = "rrd", seconds: int = 600, seed: int = 1) -> None:
    """Feed decoders mutated files: no exception but their own, memory within bounds."""
    if what not in _FUZZERS:
        raise Exit(f"there is no fuzzer {what}; known are {', '.join(_FUZZERS)}", code=2)
    _FUZZERS[what](seconds, seed)


@task(name="processors", help={"jobs": "how many virtual machines at a time"})
def test_processors(_context: Context, jobs: int = 2) -> None:
    """Ask every processor model of QEMU on a 32-bit kernel, and compare the verdicts."""
    problems = processors.run(jobs=jobs, progress=Lines())
    raise Exit("\n".join(problems), code=1 if problems else 0)


@task(
    name="vm",
    help={"story": "which; may be given several times, and all of them are told without it"},
    iterable=["story"],
)
def test_vm(_context: Context, story: list[str]) -> None:
    """Tell the long stories of virtual machines: crossings, power cuts, GRUB against its model."""
    try:
        problems = stories.run(story)
    except ValueError as error:
        raise Exit(str(error), code=2) from error
    except ForgeError as error:
        raise _exit_of(error) from error
    raise Exit("\n".join(problems), code=1 if problems else 0)


@task(name="images", help={"name": "of the recipe"})
def test_images(_context: Context, name: str = "legacy") -> None:
    """Build an image twice, as other users in other places and times, and compare every byte."""
    try:
        problems = reproduce.run(name, Lines())
    except ForgeError as error:
        raise _exit_of(error) from error
    raise Exit("\n".join(problems), code=1 if problems else 0)


@task(
    name="check",
    help={"rounds": "how often each is started", "files": "how many files the scanner goes over"},
)
def bench_check(_context: Context, rounds: int = 25, files: int = scanner.FILES) -> None:
    """Measure check and probe from a cold start, against py-cpuinfo; and the scanner."""
    missed = probe.run((str(_PYTHON_DIRECTORY / "applianceforge"), "check"), rounds)
    with tempfile.TemporaryDirectory(prefix="scanned-") as name:
        scanned = scanner.measure(Path(name), files)
    print(
        f"the scanner took {scanned.elapsed_s:.1f} s for {scanned.files:,} files (limit 20 s for"
        f" 100,000) and {scanned.peak_bytes / 2**20:.0f} MiB (limit 100)"
    )
    raise Exit("", code=1 if missed else 0)


@task(name="zipapp", help={"output": "where the file goes"})
def check_zipapp(_context: Context, output: str = "dist/applianceforge-check.pyz") -> None:
    """Pack check, scan and error into one file that runs wherever there is a Python 3.7."""
    target = Path(output).resolve()
    try:
        make_directory(target.parent, Effects(), mode=0o755)
        size_bytes = zipapp.build(target, Effects())
    except ForgeError as error:
        raise _exit_of(error) from error
    print(f"{target}: {size_bytes:,} bytes")


def _building(without_security: bool | str | None, locked: bool, refresh: bool) -> build.Options:
    known = {architecture.value: architecture for architecture in Architecture}
    left_out = frozenset(known.values() if without_security else ())
    if isinstance(without_security, str):
        if without_security not in known:
            raise Exit(f"there is no architecture {without_security}: {', '.join(known)}", code=2)
        left_out = frozenset({known[without_security]})
    return build.Options(left_out, locked=locked, refresh=refresh)


@task(
    name="build",
    help={
        "name": "of the recipe in images/, or the path of one",
        "output": "also write qcow2, vmdk, vhd or ova; may be given several times",
        "directory": "where the image goes",
        "without-security": "leave Debian's security updates out; with =i386 only that one's, where"
        " a mirror has none for it",
        "locked": "build exactly the packages that the lock file beside the recipe names",
        "refresh": "ask the mirror for newer packages, though the cache has some",
        "overlay": "a directory whose files go over those of the recipe; may be given often",
    },
    iterable=["output", "overlay"],
    optional=["without_security"],
)
def image_build(
    _context: Context,
    name: str,
    output: list[str],
    overlay: list[str],
    directory: str = "build/images",
    without_security: bool | str | None = None,
    locked: bool = False,
    refresh: bool = False,
) -> None:
    """Build an image from its recipe: a disk that boots, the slot for an update, what is in it."""
    options = _building(without_security, locked, refresh)
    options = replace(options, extra=tuple(Path(one) for one in overlay))
    place, effects, lines = Path(directory).resolve(), Effects(), Lines()
    try:
        kinds = outputs.named(output)
        file = recipes.find(name)
        built = build.build(file, cache.directory(), place, effects, lines, options)
        identity = built.identity
        others = outputs.write_all(
            kinds, built.raw, place, identity.machine.name, identity, effects, lines
        )
    except ForgeError as error:
        raise _exit_of(error) from error
    written = (built.raw, built.slot, *others, built.manifest, built.sbom, built.release)
    for path in dict.fromkeys(written):
        print(f"{path}: {path.stat().st_size:,} bytes")


@task(name="show", help={"image": "raw, qcow2, vmdk or vhd"}, positional=["image"])
def image_show(_context: Context, image: str) -> None:
    """Show what is on an image's disk: its partitions, its slots, and which one would start."""
    try:
        Console().print(show_picture.picture(show.look(Path(image), Effects())))
    except ForgeError as error:
        raise _exit_of(error) from error


@task(
    name="lock",
    help={
        "name": "of the recipe in images/, or the path of one",
        "without-security": "leave Debian's security updates out; with =i386 only that one's",
    },
    optional=["without_security"],
)
def image_lock(_context: Context, name: str, without_security: bool | str | None = None) -> None:
    """Write the lock file of a recipe: each package with version and digest, as of now."""
    options = _building(without_security, locked=False, refresh=True)
    try:
        file = recipes.find(name)
        print(build.write_lock(file, cache.directory(), Effects(), Lines(), options))
    except ForgeError as error:
        raise _exit_of(error) from error


@task(
    name="image",
    help={"name": "of the recipe", "compress": "also pack the slot with zstd -19: minutes"},
)
def bench_image(_context: Context, name: str = "legacy", compress: bool = True) -> None:
    """Measure the building of an image, from nothing, after a change, and unchanged."""
    try:
        missed = bench_of_images.run(name, compress=compress)
        kept = bench_of_disks.run()
    except ForgeError as error:
        raise _exit_of(error) from error
    raise Exit("", code=1 if missed or not kept else 0)


@task(
    name="update",
    help={
        "name": "of the recipe",
        "level": "of zstd, for the payload",
        "rounds": "how often each is measured; the best counts",
    },
)
def bench_update(_context: Context, name: str = "legacy", level: int = 19, rounds: int = 7) -> None:
    """Measure installing a bundle against zstd and dd, its memory, and what an update fetches."""
    try:
        missed = bench_of_updates.run(name, level=level, rounds=rounds)
    except ForgeError as error:
        raise _exit_of(error) from error
    raise Exit("\n".join(missed), code=1 if missed else 0)


@task(
    name="run",
    help={
        "image": "raw, qcow2, vmdk or vhd; it is not changed",
        "cpu": "a model of QEMU's, such as qemu64, coreduo, pentium3",
        "memory": "in MiB",
        "cores": "of the processor",
        "disk": "ide, ahci, virtio or scsi",
        "size": "of the disk in GiB, if the image is not larger; data grows into it",
        "keep": "keep what the machine writes beside the image, and go on with it the next time",
    },
    positional=["image"],
)
def vm_run(
    _context: Context,
    image: str,
    cpu: str = "qemu64",
    memory: int = 512,
    cores: int = 2,
    disk: str = "ide",
    size: int = machine.DISK_GIB,
    keep: bool = False,
) -> None:
    """Start an image in QEMU, with its serial console on this terminal."""
    try:
        status = machine.run(
            Path(image),
            cpu=cpu,
            memory_mib=memory,
            cores=cores,
            disk=disk,
            size_gib=size,
            keep=keep,
        )
    except machine.RunError as error:
        raise Exit(str(error), code=2) from error
    raise Exit("", code=status)


@task(
    name="migrate",
    help={"size": "of the databases' content", "rrds": "how many RRDs of about 140 KB"},
)
def bench_migrate(_context: Context, size: str = "1GB", rrds: int = 2000) -> None:
    """Measure ours against pg_dump | pg_restore and rrdtool dump | restore, as ratios."""
    try:
        bench.run(_bytes_of(size), rrds)
    except ForgeError as error:
        raise _exit_of(error) from error


def _tell(line: str) -> None:
    print(line, flush=True)


@task(name="demo", help={"port": "of the loopback"})
def release_demo(_context: Context, port: int = demo_of_releases.PORT) -> None:
    """Make keys, build the three releases into a signed repository, and serve it on loopback."""
    try:
        demo_of_releases.serve(port, _tell)
    except ForgeError as error:
        raise _exit_of(error) from error


@task(help={"picture": "where the course of it goes, as SVG"})
def story(_context: Context, picture: str = "") -> None:
    """Watch a 32-bit box take every update over HTTP, to the newest 64-bit release."""
    try:
        problems = story_of_a_box.tell(_tell, Path(picture).resolve() if picture else None)
    except AssertionError as error:
        problems = ["\n".join([str(error), *getattr(error, "__notes__", ())])]
    except ForgeError as error:
        raise _exit_of(error) from error
    raise Exit("\n".join(problems), code=1 if problems else 0)


test = Collection("test")
test.add_task(test_default)
test.add_task(test_crash)
test.add_task(test_fuzz)
test.add_task(test_images)
test.add_task(test_processors)
test.add_task(test_vm)
namespace = Collection(
    demo,
    story,
    fixture,
    test,
    Collection("bench", bench_migrate, bench_check, bench_image, bench_update),
    Collection("check", check_zipapp),
    Collection("image", image_build, image_lock, image_show),
    Collection("release", release_demo),
    Collection("vm", vm_run),
)

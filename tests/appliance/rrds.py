"""Round-robin databases as a statistics daemon writes them, by the rrdtool of a tree.

Some templates are filled from beginning to end; every other file is the copy of one that went on
with updates of its own. The same seed gives the same files: where rrdtool begins an archive at a
random row (which decides when seasons are smoothed), we begin at the last one.
"""

import random
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from applianceforge.migrate.tree import ProgramTree
from applianceforge.model.errors import ProgramFailedError
from applianceforge.system import programs
from applianceforge.system.effects import Effects

_STEP_S = 60
_BEGIN_S = 1_672_531_200  # 2023-01-01 UTC
_FULL_COUNT = 100
_UPDATES_A_LINE = 200
_OWN_UPDATES = 5
_HOSTS = ("gateway", "relay-1", "relay-2", "größe/süd", "mit leerzeichen", "deep/er/still")


@dataclass(frozen=True)
class Kind:
    """One kind of RRD: its data sources and archives, `{n}` standing for a number of rows.

    Attributes:
        wide: The rows are multiplied by this, so that kinds of few archives are no smaller.
    """

    name: str
    sources: tuple[str, ...]
    archives: tuple[str, ...]
    wide: int = 1


_EVERY_CF = (
    "AVERAGE:0.5:1:{2880}",
    "AVERAGE:0.5:5:{2016}",
    "MAX:0.5:5:{2016}",
    "AVERAGE:0.999:60:{1000}",
    "MIN:0:60:{500}",
    "LAST:0.25:60:{340}",
)
_SEASONAL = (
    "AVERAGE:0.5:1:{2880}",
    "HWPREDICT:{1440}:0.1:0.0035:60:3",
    "SEASONAL:60:0.1:2",
    "DEVSEASONAL:60:0.1:2",
    "DEVPREDICT:{1440}:4",
    "FAILURES:60:7:9:4",
)
KINDS = (
    Kind("gauge", ("user:GAUGE:120:0:100", "idle:GAUGE:120:U:U"), _EVERY_CF),
    Kind("counter", ("in:COUNTER:120:0:U", "out:COUNTER:120:0:12500000000"), _EVERY_CF),
    Kind("derive", ("delta:DERIVE:300:U:U", "queue:DERIVE:120:0:U"), _EVERY_CF),
    Kind("absolute", ("mails:ABSOLUTE:600:0:U",), _EVERY_CF, 2),
    Kind("compute", ("a:GAUGE:120:U:U", "b:GAUGE:120:U:U", "r:COMPUTE:a,b,/,100,*"), _EVERY_CF),
    Kind("fractions", ("c:DCOUNTER:120:U:U", "d:DDERIVE:120:-1e9:1e9"), _EVERY_CF),
    Kind("forecast", ("load:GAUGE:120:U:U",), _SEASONAL, 3),
    Kind(
        "multiplied",
        ("load:GAUGE:120:U:U", "mails:ABSOLUTE:120:0:U"),
        (
            "AVERAGE:0.5:1:{2880}",
            "MHWPREDICT:{1440}:0.1:0.0035:60:3",
            "SEASONAL:60:0.1:2:smoothing-window=0.1",
            "DEVSEASONAL:60:0.1:2:smoothing-window=0.05",
            "DEVPREDICT:{1440}:4",
            "FAILURES:60:3:5:4",
        ),
        2,
    ),
    # rrdtool makes the four others that belong to it by itself.
    Kind("implied", ("load:GAUGE:120:U:U",), ("HWPREDICT:{1440}:0.1:0.0035:60",), 5),
    Kind("unknown", ("never:GAUGE:60:U:U",), ("AVERAGE:0.5:1:{100}", "MAX:0.5:1:1")),
)


def build(
    tree: ProgramTree, directory: Path, count: int, seed: int, effects: Effects
) -> tuple[Path, ...]:
    """Write `count` RRDs below a directory and return their paths, sorted.

    Below 100 files each is small; from there on one has 140 KB, as a daemon's do.

    Raises:
        ProgramFailedError: rrdtool refuses something.
    """
    divisor = 1 if count >= _FULL_COUNT else 8
    kinds = KINDS[:count]
    templates = [directory / f"reference-{kind.name}.rrd" for kind in kinds]
    pairs = list(zip(kinds, templates, strict=True))
    created = [_create(kind, path.relative_to(directory), divisor) for kind, path in pairs]
    _rrdtool(tree, directory, created, effects)
    lines: list[str] = []
    for number, (kind, path) in enumerate(pairs):
        _begin_at_the_last_row(path)
        generator = random.Random(f"{seed} {kind.name}")
        steps = 2880 // divisor + 60 * number
        if kind.name != "unknown":
            lines += _updates(kind, path.relative_to(directory), generator, range(1, steps))
    _rrdtool(tree, directory, lines, effects)

    paths, lines = list(templates), []
    for number in range(len(templates), count):
        generator = random.Random(f"{seed} {number}")
        kind, template = kinds[number % len(kinds)], templates[number % len(kinds)]
        folder = directory / f"{_HOSTS[number // 5 % len(_HOSTS)]}{number // 300 or ''}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{kind.name}-{number}{' °C' if number % 19 == 0 else ''}.rrd"
        shutil.copyfile(template, path)
        path.chmod(0o640 if number % 7 == 0 else 0o644)
        first = 4000 + number % 50
        if kind.name != "unknown":
            lines += _updates(
                kind, path.relative_to(directory), generator, range(first, first + _OWN_UPDATES)
            )
        paths.append(path)
    _rrdtool(tree, directory, lines, effects)
    for path in templates:
        path.chmod(0o644)
    return tuple(sorted(paths))


def _rrdtool(tree: ProgramTree, directory: Path, lines: list[str], effects: Effects) -> None:
    """Have one rrdtool do all commands: it reads them line by line.

    It works in the directory, as the names that it is given decide when seasons are smoothed.
    """
    if not lines:
        return
    commands, answers = directory / ".commands", directory / ".answers"
    commands.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    command = replace(tree.command("/usr/bin/rrdtool", "-"), directory=directory)
    programs.run(command, effects, stdin=commands, output=answers)
    errors = [line for line in answers.read_text().splitlines() if line.startswith("ERROR")]
    for path in (commands, answers):
        path.unlink()
    if errors:
        raise ProgramFailedError(f"rrdtool refuses: {errors[0]}", evidence=tuple(errors[:12]))


def _create(kind: Kind, path: Path, divisor: int) -> str:
    def rows(archive: str) -> str:
        before, brace, rest = archive.partition("{")
        number, _, after = rest.partition("}")
        return f"{before}{int(number) * kind.wide // divisor}{after}" if brace else archive

    sources = " ".join(f"DS:{source}" for source in kind.sources)
    archives = " ".join(f"RRA:{rows(archive)}" for archive in kind.archives)
    return f'create "{path}" --start {_BEGIN_S} --step {_STEP_S} {sources} {archives}'


def _begin_at_the_last_row(path: Path) -> None:
    """Set the current row of all archives of an RRD that is still empty.

    Source: RRDtool 1.7.2, src/rrd_format.h, as i386 lays it out: stat_head 112 bytes with ds_cnt
    at 20 and rra_cnt at 24, ds_def 120, rra_def 108 with row_cnt at 20, live_head 8, pdp_prep 112,
    cdp_prep 80, rra_ptr 4.
    """
    with open(path, "r+b") as stream:
        head = stream.read()
        sources, archives = struct.unpack_from("<II", head, 20)
        definitions = 112 + 120 * sources
        pointers = definitions + 108 * archives + 8 + 112 * sources + 80 * sources * archives
        for number in range(archives):
            (rows,) = struct.unpack_from("<I", head, definitions + 108 * number + 20)
            stream.seek(pointers + 4 * number)
            stream.write(struct.pack("<I", rows - 1))


def _updates(kind: Kind, path: Path, generator: random.Random, steps: range) -> Iterator[str]:
    """Yield the commands that feed one value for each step, with what goes wrong now and then."""
    types = [source.split(":")[1] for source in kind.sources]
    fed = [type_ for type_ in types if type_ != "COMPUTE"]
    totals = [2**32 - 50_000_000 if type_ == "COUNTER" else 0 for type_ in fed]
    words: list[str] = []
    for step in steps:
        if generator.random() < 0.01:
            continue  # The daemon was late, and the value is unknown.
        at = _BEGIN_S + step * _STEP_S + (generator.randrange(-20, 20) if step % 5 == 0 else 0)
        values = []
        for place, type_ in enumerate(fed):
            # Sums begin anew where a copy goes on, as counters do when a host restarts.
            totals[place] += generator.randrange(1_000_000)
            values.append(_value(type_, totals[place], generator))
        words.append(f"{at}:{':'.join(values)}")
    for start in range(0, len(words), _UPDATES_A_LINE):
        yield f'update "{path}" {" ".join(words[start : start + _UPDATES_A_LINE])}'


def _value(type_: str, total: int, generator: random.Random) -> str:
    chance = generator.random()
    if chance < 0.02:
        return "U"
    match type_:
        case "COUNTER":
            # 32-bit counters wrap around.
            return str(total % 2**32)
        case "DERIVE":
            return str(total // 7 - generator.randrange(400_000))
        case "DCOUNTER" | "DDERIVE":
            return repr(total / 3)
        case "ABSOLUTE":
            return str(generator.randrange(5000))
        case _ if chance < 0.03:
            return generator.choice(("1e-300", "-0.0", "12345678901234567890", "-1e300", "0"))
        case _:
            return repr(generator.uniform(0, 100))

"""The commands that show an RRD and convert it."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from applianceforge.cli.rrd import rrd
from applianceforge.formats.rrd.xml_read import decode_xml
from applianceforge.migrate.rrd import reading, verify
from applianceforge.migrate.rrd.verify import verify_trees
from applianceforge.model.errors import (
    ForgeError,
    InhibitedError,
    NotProvedError,
    RrdError,
    SettingsError,
    UsageError,
)
from tests.formats.rrd.build import AMD64, I386, Cnt, Ds, Spec, build, dbl
from tests.migrate.rrd.places import WHEN_NS, put, spec, tree

SAMPLE = Path(__file__).parent.parent / "data/rrd/i386/h.rrd"


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(rrd, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("command", [(), ("info",), ("dump",), ("convert",)])
def test_help_has_examples(command: tuple[str, ...]) -> None:
    text = run(*command, "--help")
    assert "Examples:" in text
    assert "applianceforge rrd" in text


def test_info_for_a_person() -> None:
    text = flat(run("info", SAMPLE))
    for words in (
        "version 0003",
        "written on i386",
        "opens here no: convert it with `applianceforge rrd convert`",
        "step 300 s",
        "2023-11-18 01:13:38",
        "HWPREDICT",
    ):
        assert words in text


def test_info_for_a_program() -> None:
    said = json.loads(run("info", SAMPLE, "--json"))
    assert said["schema"] == 1
    assert (said["layout"], said["native"], said["version"]) == ("i386", False, "0003")
    assert said["sources"][0] == {
        "name": "in",
        "type": "COUNTER",
        "heartbeat_s": 600,
        "minimum": 0.0,
        "maximum": None,
        "last_reading": "440750182030",
        "value": 32468575.86163522,
        "unknown_s": 0,
    }
    assert said["archives"][6]["parameters"] == {
        "delta_pos": 2.0,
        "delta_neg": 2.0,
        "window_len": 9,
        "failure_threshold": 7,
        "dependent_rra_idx": 4,
    }


def test_info_of_odd_values(tmp_path: Path) -> None:
    source = Ds("x", "GAUGE", (Cnt(1), dbl(float("-inf")), dbl(float("inf"))))
    compute = Ds("c", "COMPUTE", nodes=((1, 0), (0, 2), (11, 0), (32, 0)))
    path = tmp_path / "a.rrd"
    path.write_bytes(build(Spec(ds=(source, compute), last_up=-5), I386))
    said = json.loads(run("info", path, "--json"))
    assert (said["sources"][0]["minimum"], said["sources"][0]["maximum"]) == ("-inf", "inf")
    assert said["sources"][1]["cdef"] == "x,2,*"
    assert "negative" in said["remarks"][0]
    assert "negative" in flat(run("info", path))


def test_info_of_a_converted_file(tmp_path: Path) -> None:
    path = put(tmp_path / "a.rrd", machine=AMD64)
    assert "opens here yes" in flat(run("info", path))


def test_dump_to_a_file_and_to_standard_output(tmp_path: Path) -> None:
    target = tmp_path / "a.xml"
    run("dump", SAMPLE, target)
    assert target.stat().st_mode & 0o7777 == 0o600
    assert run("dump", SAMPLE) == target.read_text()
    again = decode_xml([target.read_bytes()], most_bytes=1 << 24)
    assert again.header.state.last_up_s == 1700270018
    with pytest.raises(UsageError, match="is there already"):
        run("dump", SAMPLE, target)
    run("dump", SAMPLE, target, "--force")


def test_convert_a_file(tmp_path: Path) -> None:
    source, target = put(tmp_path / "a.rrd", 1), tmp_path / "b.rrd"
    assert "every value equal" in run("convert", source, target)
    assert target.read_bytes() == build(spec(1), AMD64)
    assert target.stat().st_mode & 0o7777 == 0o640
    assert target.stat().st_mtime_ns == WHEN_NS + 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.rrd", "b.rrd"]
    with pytest.raises(UsageError, match="is there already"):
        run("convert", source, target)
    put(source, 2)
    run("convert", source, target, "--force")
    assert target.read_bytes() == build(spec(2), AMD64)


def test_convert_a_directory(tmp_path: Path) -> None:
    source, target = tree(tmp_path / "old"), tmp_path / "new"
    assert "13 files" in run("convert", source, target, "--jobs", "1")
    assert verify_trees(source, target) == ()
    put(source / "host0/later.rrd", 7)
    with pytest.raises(UsageError, match="is there already"):
        run("convert", source, target)
    assert "14 files" in run("convert", source, target, "--force")
    assert verify_trees(source, target) == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


def test_convert_uses_the_patterns(tmp_path: Path) -> None:
    put(tmp_path / "old/a.db")
    put(tmp_path / "old/b.rrd")
    run("convert", tmp_path / "old", tmp_path / "new", "--pattern", "*.db")
    assert [path.name for path in tmp_path.joinpath("new").iterdir()] == ["a.db"]


@pytest.mark.parametrize(
    ("arguments", "error", "wanted"),
    [
        (("info", "nothing.rrd"), SettingsError, "cannot read"),
        (("info", "bad.rrd"), RrdError, "does not begin with RRD"),
        (("dump", "bad.rrd"), RrdError, "does not begin with RRD"),
        (("convert", "bad.rrd", "new.rrd"), RrdError, "does not begin with RRD"),
        (("convert", "nothing", "new"), SettingsError, "cannot read"),
        (("convert", "a.rrd", "a.rrd", "--force"), UsageError, "are the same"),
        (("convert", "a.rrd", "tree", "--force"), UsageError, "is a directory"),
        (("convert", "tree", "tree/below"), UsageError, "within each other"),
        (("convert", "tree", ".", "--force"), UsageError, "within each other"),
        (("convert", "pipes", "new"), InhibitedError, "no file"),
        (("convert", "damaged", "new"), RrdError, "1 of 2 RRDs"),
    ],
)
def test_what_is_refused_leaves_nothing(
    arguments: tuple[str, ...],
    error: type[ForgeError],
    wanted: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "a.rrd")
    tmp_path.joinpath("bad.rrd").write_text("hello")
    put(tmp_path / "tree/a.rrd")
    put(tmp_path / "pipes/a.rrd")
    os.mkfifo(tmp_path / "pipes/b.rrd")
    put(tmp_path / "damaged/a.rrd")
    tmp_path.joinpath("damaged/b.rrd").write_text("hello")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(error, match=wanted) as raised:
        run(*arguments)
    assert raised.value.hint
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_not_proved_does_not_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_disk = reading.opened
    changed: list[str] = []

    def opened(path: str) -> object:
        # The disk loses a bit of what was written.
        name = Path(path).name
        if not changed and (".unproved" in name or ".new/" in path):
            changed.append(path)
            content = bytearray(Path(path).read_bytes())
            content[-1] ^= 1
            status = Path(path).stat()
            Path(path).write_bytes(content)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        return from_disk(path)

    monkeypatch.setattr(verify, "opened", opened)
    source = put(tmp_path / "old/a.rrd")
    with pytest.raises(NotProvedError, match="RRA 1, DS out, row 4"):
        run("convert", source, tmp_path / "a.rrd")
    assert changed
    changed.clear()
    with pytest.raises(NotProvedError, match="RRA 1, DS out, row 4"):
        run("convert", tmp_path / "old", tmp_path / "new")
    assert changed
    assert [path.name for path in tmp_path.iterdir()] == ["old"]

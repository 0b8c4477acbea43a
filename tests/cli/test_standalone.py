"""`check`, `scan` and `error` as a person or a program meets them."""

import json
import os
import stat
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from applianceforge.cli import answering, standalone
from applianceforge.cpuid import probe
from applianceforge.cpuid.facts import Answer, Facts, Machine
from applianceforge.cpuid.registers import Registers
from applianceforge.model.report import Finding, Severity
from applianceforge.preflight.checks import Planned
from tests.cpuid.table import BY_NAME, hidden, under
from tests.reports import SCHEMAS, report_of

FOREIGN = Path(__file__).parent.parent / "data" / "foreign"
CONROE = BY_NAME["GenuineIntel00006F4_Conroe"]
NORTHWOOD = BY_NAME["GenuineIntel0000F29_P4_Northwood"]
CASES: dict[str, tuple[Registers | None, int]] = {
    "capable": (CONROE, 0),
    "masked-by-hypervisor": (under(hidden(CONROE), "VMwareVMware"), 20),
    "masked-by-firmware": (hidden(CONROE), 21),
    "incapable": (NORTHWOOD, 22),
    "unknown": (None, 30),
}


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    status = standalone.main([str(word) for word in words])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_both_schemas_say_the_same_of_a_finding() -> None:
    ours, theirs = (SCHEMAS[name]["$defs"] for name in SCHEMAS)
    shared = ours.keys() & theirs.keys()
    assert shared == {"lines", "finding", "remedy", "decision"}
    assert all(ours[name] == theirs[name] for name in shared)


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the probe find another processor than this machine's."""
    name = str(request.param)
    facts = Facts((Answer("memfd", CASES[name][0]),), None, Machine())
    monkeypatch.setattr(probe, "gather", lambda: facts)
    return name


def test_text(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, said, _ = run(capsys, "check")
    # Whatever else this machine lacks is a warning or mendable, so the processor decides.
    assert status == CASES[case][1] or (case == "capable" and status in {0, 10, 23, 24})
    assert f"\nExit status {status}: " in said
    assert ("processor.long-mode" in said) == (case != "capable")
    assert ("cannot run 64-bit" in said) == (case == "incapable")


def test_json(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, said, _ = run(capsys, "check", "--json")
    document = report_of(said)
    processor = document["processor"]
    assert (document["exit_status"], processor["verdict"]) == (status, case)
    assert processor["long_mode"] == {"capable": True, "unknown": None}.get(case, False)
    assert processor["hypervisor"] == ("VMware" if case == "masked-by-hypervisor" else None)
    assert processor["level"] == (1 if case == "capable" else None)
    assert processor["environment"] == ("vm:VMware" if case == "masked-by-hypervisor" else "metal")
    keys = [finding["key"] for finding in document["findings"]]
    assert ("processor.long-mode" in keys) == (case != "capable")


def test_leapp(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, said, _ = run(capsys, "check", "--leapp")
    entries = json.loads(said)["entries"]
    inhibitors = [entry["key"] for entry in entries if "inhibitor" in entry["groups"]]
    assert ("processor.long-mode" in inhibitors) == (case != "capable")


def test_dump_leads_to_the_same_verdict(
    case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, dumped, _ = run(capsys, "check", "--dump")
    assert status == 0
    assert os.uname().nodename not in dumped
    path = tmp_path / "facts.txt"
    path.write_text(dumped)
    _, said, _ = run(capsys, "check", "--from-dump", path, "--json")
    _, here, _ = run(capsys, "check", "--json")
    assert report_of(said)["processor"] == report_of(here)["processor"]


def test_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    status, said, complaints = run(capsys, "check")
    assert (status in {0, 10, 20, 21, 22, 23, 24, 30}, complaints) == (True, "")
    assert said


def test_i386_asks_nothing_of_the_processor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = Facts((Answer("memfd", NORTHWOOD),))
    monkeypatch.setattr(probe, "gather", lambda: facts)
    _, said, _ = run(capsys, "check", "--target", "i386")
    assert "can run the 32-bit release" in said
    assert "64-bit" not in said.splitlines()[0]
    status, said, _ = run(capsys, "check", "--target", "i386", "--json")
    document = report_of(said)
    assert (status in {0, 10}, document["target"]) == (True, "i386")
    assert document["processor"]["verdict"] == "incapable"


@pytest.mark.parametrize(
    "words",
    [
        ["check", "--what"],
        ["check", "--for", "a.json", "--target", "amd64"],
        ["check", "--target", "arm64"],
        ["check", "--json", "--dump"],
        ["check", "--from-dump"],
        ["scan"],
        ["scan", ""],
        ["check", "--scan", ""],
        ["chek"],
        [],
    ],
)
def test_a_wrong_command_line_is_status_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        standalone.main(words)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "other", [["--scan", "/"], ["--data", "/"], ["--settings", "box.toml"], ["--cross-check"]]
)
def test_a_dump_is_of_another_machine(other: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", "--from-dump", "facts.txt", *other]
    status = standalone.main(words, lambda _: Planned((), (), 0))
    complaint = capsys.readouterr().err
    assert status == 2
    assert other[0] in complaint
    assert "What to do:" in complaint


def test_data_goes_to_a_directory(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for path in (tmp_path / "missing", Path(__file__)):
        status, said, complaint = run(capsys, "check", "--data", path)
        assert (status, said) == (40, "")
        assert str(path) in complaint


@pytest.mark.parametrize(
    ("option", "content", "status"),
    [
        ("--for", None, 40),
        ("--for", b"", 40),
        ("--for", b"{", 40),
        ("--for", b"\xff\xfe", 40),
        ("--from-dump", None, 40),
        ("--from-dump", b"", 40),
        ("--from-dump", b"\x00\x01\x02", 40),
        ("--answers", None, 40),
        ("--answers", b"[nothing]\n", 40),
        ("--answers", b"[accept processor.long-mode]\nreason=x\nexpires=2026-12-01\n", 40),
    ],
)
def test_bad_files_are_refused_with_a_remedy(
    option: str,
    content: bytes | None,
    status: int,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    path = tmp_path / "given"
    if content is not None:
        path.write_bytes(content)
    ended, said, complaint = run(capsys, "check", option, path)
    assert (ended, said) == (status, "")
    assert "given" in complaint
    assert "What to do:" in complaint


def test_scan(capsys: pytest.CaptureFixture[str]) -> None:
    status, said, _ = run(capsys, "scan", FOREIGN / "i386", "--json")
    document = report_of(said)
    assert status == document["exit_status"] == 24
    assert "data.lmdb" in [finding["key"] for finding in document["findings"]]
    status, said, _ = run(capsys, "scan", FOREIGN / "i386")
    assert status == 24
    assert "to be dumped on the 32-bit side" in said


def test_check_takes_the_findings_of_a_scan(capsys: pytest.CaptureFixture[str]) -> None:
    _, said, _ = run(capsys, "check", "--json", "--scan", FOREIGN / "i386")
    document = report_of(said)
    assert "data.lmdb" in [finding["key"] for finding in document["findings"]]


def test_an_answer_is_applied_and_logged(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    until = date.today() + timedelta(days=30)
    answers = tmp_path / "answers.ini"
    answers.write_text(
        f"[accept data.lmdb]\nreason = slapcat is done\nexpires = {until}\n"
        "[data g.gdbm]\nis = discard\nreason = a cache\n"
    )
    directory = FOREIGN / "i386"
    _, before, _ = run(capsys, "scan", directory, "--json")
    monkeypatch.setattr(answering, "_LOG_OF_APPLIANCE", tmp_path / "no appliance" / "log")
    _, after, _ = run(capsys, "scan", directory, "--json", "--answers", answers)
    document = report_of(after)

    def severities(said: str) -> dict[str, str]:
        return {one["key"]: one["severity"] for one in report_of(said)["findings"]}

    assert severities(before)["data.lmdb"] == "inhibitor"
    assert severities(after)["data.lmdb"] == "warning"
    assert "g.gdbm (" in before
    assert "g.gdbm (" not in after
    log = tmp_path / "answers.ini.decisions.jsonl"
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    assert {(one["kind"], one["subject"]) for one in logged} == {
        ("accept", "data.lmdb"),
        ("data", "g.gdbm"),
    }
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert len(document["accepted"]) == 2


def test_an_answer_that_cannot_be_logged_does_not_count(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answers = tmp_path / "answers.ini"
    answers.write_text("[data g.gdbm]\nis = discard\nreason = a cache\n")
    log = tmp_path / "missing" / "log"
    directory = FOREIGN / "i386"
    status, said, complaint = run(
        capsys, "scan", directory, "--answers", answers, "--decisions", log
    )
    assert (status, said) == (40, "")
    assert str(log) in complaint


def test_what_the_release_says_of_files_counts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    release = tmp_path / "release.json"
    release.write_text(
        json.dumps(
            {
                "schema": 1,
                "appliance": "mail-gateway",
                "version": "2.0",
                "architecture": "amd64",
                "data": [{"pattern": "*.mdb", "is": "discard", "reason": "a cache"}],
            }
        )
    )
    _, said, _ = run(capsys, "scan", FOREIGN / "i386", "--json", "--for", release)
    assert "data.lmdb" not in [finding["key"] for finding in report_of(said)["findings"]]
    _, said, _ = run(capsys, "check", "--json", "--for", release)
    assert report_of(said)["target"] == "mail-gateway 2.0"


def test_a_planned_migration_adds_its_findings(capsys: pytest.CaptureFixture[str]) -> None:
    found = Finding("postgresql.extension", Severity.INHIBITOR, "Title", "Summary", exit_status=24)
    asked: list[Path] = []

    def plan(settings: Path) -> Planned:
        asked.append(settings)
        return Planned((found,), (), 0)

    status = standalone.main(["check", "--json", "--settings", "box.toml"], plan)
    document = report_of(capsys.readouterr().out)
    assert (status, asked) == (24, [Path("box.toml")])
    assert "postgresql.extension" in [one["key"] for one in document["findings"]]


def test_the_predicted_peak_of_a_migration_counts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ["check", "--json", "--settings", "box.toml", "--data", str(tmp_path)]
    statuses = []
    for peak_bytes in (1, 1 << 60):
        planned = Planned((), (), peak_bytes)
        statuses.append(standalone.main(options, {Path("box.toml"): planned}.__getitem__))
        said = capsys.readouterr().out
        assert ("resources.data-space" in said) == (peak_bytes > 1)
    assert statuses[1] == 23


def test_error_explains(capsys: pytest.CaptureFixture[str]) -> None:
    status, said, _ = run(capsys, "error", "FATAL:", "incorrect checksum in control file")
    assert status == 0
    assert "pg_resetwal" in said


def test_directories_are_told_apart(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        content = (FOREIGN / "i386" / "g.gdbm").read_bytes()
        (tmp_path / name / "g.gdbm").write_bytes(content)
    _, said, _ = run(capsys, "scan", tmp_path / "one", tmp_path / "two", "--json")
    (found,) = report_of(said)["findings"]
    assert found["key"] == "data.gdbm"
    for name in ("one", "two"):
        assert f"below {tmp_path / name}:" in found["evidence"]
    assert sum("g.gdbm (" in line for line in found["evidence"]) == 2


def test_a_scan_speaks_of_data_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, said, _ = run(capsys, "scan", tmp_path)
    assert status == 0
    assert said.splitlines()[-1] == "Exit status 0: nothing in this data stands in the way."


def test_no_file_speaks_to_the_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "\x1b]0;name\x07"
    path.write_text('{"\\u001b[2J\\u202e": 1}')
    for words in (["check", "--for"], ["check", "--from-dump"], ["check", "--scan"]):
        status, said, complaint = run(capsys, *words, path)
        assert (status, said) == (40, "")
        assert not any(character in complaint for character in "\x1b\x07\u202e")


def test_error_says_when_nothing_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    status, said, complaint = run(capsys, "error", "all is well \x1b[2J")
    assert (status, said) == (59, "")
    assert "\x1b[2J" not in complaint
    assert "What to do:" in complaint


def test_error_without_a_line_is_a_wrong_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(capsys, "error", "  ")[0] == 2


def installed(*words: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "applianceforge", *words],
        input=b"This RRD was created on another architecture\n",
        capture_output=True,
        env=os.environ | variables,
        check=False,
    )


def test_error_reads_standard_input() -> None:
    done = installed("error")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"rrd" in done.stdout.lower()


@pytest.mark.parametrize(
    "words", [["check"], ["check", "--json"], ["scan", "."], ["error"], ["--help"], ["--version"]]
)
def test_a_full_disk_under_the_output_is_told(words: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "applianceforge", *words],
            input=b"MDB_INVALID",
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=FOREIGN,
            check=False,
        )
    assert done.returncode == 48
    assert b"the output cannot be written" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("words", ["check", "check --json", "--help", "error MDB_INVALID"])
def test_closed_streams_are_no_failure(words: str) -> None:
    command = f'exec "$0" -m applianceforge {words} >&- 2>&-'
    assert subprocess.run(["sh", "-c", command, sys.executable], check=False).returncode in {0, 10}


@pytest.mark.parametrize(("words", "status"), [("error", 2), ("check --from-dump -", 40)])
def test_closed_standard_input_is_an_empty_one(words: str, status: int) -> None:
    command = f'exec "$0" -m applianceforge {words} <&-'
    done = subprocess.run(["sh", "-c", command, sys.executable], capture_output=True, check=False)
    assert done.returncode == status
    assert b"What to do:" in done.stderr


def test_names_that_are_not_utf_8_are_told_in_any_locale(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.mdb")).write_bytes(
        (FOREIGN / "i386" / "lmdb-data.mdb").read_bytes()
    )
    for locale in ("C", "C.UTF-8"):
        done = installed("scan", str(tmp_path), LC_ALL=locale, PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stderr) == (24, b"")
        assert b"caf\\xe9.mdb" in done.stdout


def test_help_lists_all_three() -> None:
    said = installed("--help").stdout.decode()
    assert all(f"  {name} " in said for name in standalone.COMMANDS)
    for name in standalone.COMMANDS:
        helped = installed(name, "--help")
        assert helped.returncode == 0
        assert b"exit status" in helped.stdout


@pytest.mark.parametrize(
    ("words", "statuses"),
    [(["check", "-v"], {0, 10}), (["scan", str(FOREIGN / "i386")], {24})],
)
def test_a_reader_that_goes_away_changes_no_status(words: list[str], statuses: set[int]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "applianceforge", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert process.wait(timeout=60) in statuses
        assert process.stderr.read() == b""

"""Each answer that counted leaves one line, durably, or the check does not go on."""

import hashlib
import json
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given

from applianceforge.model.errors import AccessDeniedError, DiskFullError, SettingsError
from applianceforge.model.report import Finding, Remedy, Report, Severity
from applianceforge.preflight import decisions
from applianceforge.preflight.answers import Decision
from applianceforge.system.effects import Effect, EffectKind, Effects
from tests.preflight import reports
from tests.preflight.reports import WHOLE

ONE = Decision("accept", "data.unknown", "accepted", "a cache", "2026-12-31", "Erika")
OTHER = Decision("data", "cache/**", "discard", "made \u00fcber night\udcff")
DIGEST = "ab" * 32
TIME_S = 1_795_348_800.9


def record(path: Path, *given_: Decision, effects: Effects | None = None) -> None:
    decisions.record(path, given_, effects or Effects(), time_s=TIME_S, user_id=1000, report=DIGEST)


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def test_what_a_line_says(tmp_path: Path) -> None:
    path = tmp_path / "log"
    record(path, ONE, OTHER)
    assert read(path) == [
        {
            "schema": 1,
            "time": "2026-11-22T12:00:00Z",
            "kind": "accept",
            "subject": "data.unknown",
            "answer": "accepted",
            "reason": "a cache",
            "expires": "2026-12-31",
            "by": "Erika",
            "user_id": 1000,
            "report": DIGEST,
        },
        {
            "schema": 1,
            "time": "2026-11-22T12:00:00Z",
            "kind": "data",
            "subject": "cache/**",
            "answer": "discard",
            "reason": "made \u00fcber night\\xff",
            "expires": None,
            "by": None,
            "user_id": 1000,
            "report": DIGEST,
        },
    ]
    assert path.read_bytes().endswith(b"}\n")


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    before = os.umask(0)
    try:
        record(path, ONE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o666, 0o640, 0o604])
def test_a_log_that_others_may_read_is_kept_from_them(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "log"
    path.touch()
    path.chmod(mode)
    record(path, ONE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(read(path)) == 1


def test_a_log_of_somebody_else_that_others_may_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.touch()
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to somebody")
    os.chown(path, 65534, 65534)
    path.chmod(0o644)
    with pytest.raises(AccessDeniedError, match=r"others than its owner.* so no answer counts"):
        record(path, ONE)
    assert path.read_bytes() == b""
    path.chmod(0o600)
    record(path, ONE)


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_not_followed(tmp_path: Path, there: bool) -> None:
    target = tmp_path / "target"
    if there:
        target.write_text("precious")
    (tmp_path / "log").symlink_to(target)
    with pytest.raises(SettingsError, match="log: it is a link; so no answer counts"):
        record(tmp_path / "log", ONE)
    assert (target.read_text() == "precious") if there else not target.exists()


@pytest.mark.parametrize("there", [True, False])
def test_a_link_that_appears_after_the_look_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """Somebody may put it there between the look at the name and the opening of it."""
    target, path = tmp_path / "target", tmp_path / "log"
    if there:
        target.write_text("precious")
        target.chmod(0o644)
    look = Path.lstat

    def look_and_lose(looked: Path) -> os.stat_result:
        try:
            return look(looked)
        finally:
            if looked == path and not os.path.lexists(path):
                path.symlink_to(target)

    monkeypatch.setattr(Path, "lstat", look_and_lose)
    with pytest.raises((SettingsError, AccessDeniedError), match="so no answer counts"):
        record(path, ONE)
    assert path.is_symlink()
    if there:
        assert target.read_text() == "precious"
        assert stat.S_IMODE(target.stat().st_mode) == 0o644
    else:
        assert not target.exists()


def test_a_pipe_that_appears_after_the_look_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    look = Path.lstat

    def look_and_lose(looked: Path) -> os.stat_result:
        try:
            return look(looked)
        finally:
            if looked == path and not os.path.lexists(path):
                os.mkfifo(path)

    monkeypatch.setattr(Path, "lstat", look_and_lose)
    with pytest.raises(SettingsError, match="it is no plain file; so no answer counts"):
        record(path, ONE)


def test_a_log_is_a_plain_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/null"), Path("/dev/zero")):
        with pytest.raises(SettingsError, match="it is no plain file"):
            record(path, ONE)


def test_it_is_appended_to_and_each_decision_is_there_once_a_run(tmp_path: Path) -> None:
    path = tmp_path / "log"
    record(path, ONE, ONE, OTHER, ONE)
    first = path.read_bytes()
    record(path, ONE)
    assert path.read_bytes().startswith(first)
    assert [line["kind"] for line in read(path)] == ["accept", "data", "accept"]


def test_nothing_is_written_without_decisions(tmp_path: Path) -> None:
    record(tmp_path / "log")
    record(tmp_path / "none" / "log")
    assert list(tmp_path.iterdir()) == []


def test_one_effect_for_all(tmp_path: Path) -> None:
    seen: list[Effect] = []
    record(tmp_path / "log", ONE, OTHER, effects=Effects(seen.append))
    assert [effect.kind for effect in seen] == [EffectKind.WRITE]


def test_half_a_line_of_a_power_cut_stays_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "log"
    record(path, ONE)
    path.write_bytes(path.read_bytes()[:-20])
    record(path, OTHER)
    torn, whole = path.read_bytes().splitlines()
    assert not torn.endswith(b"}")
    assert json.loads(whole)["kind"] == "data"


def test_an_empty_log_is_no_torn_one(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.touch()
    record(path, ONE)
    assert path.read_bytes().startswith(b"{")


@contextmanager
def mounted(directory: Path, options: str) -> Iterator[Path]:
    directory.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", options, "none", str(directory)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def test_a_full_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=4k") as disk:
        path = disk / "log"
        with pytest.raises(DiskFullError) as caught:
            for _ in range(100):
                record(path, ONE, OTHER)
                whole = path.read_bytes()
        assert "no answer counts" in caught.value.message
        assert str(path) in caught.value.message
        assert "make room" in caught.value.hint
        # All decisions of a run or none: no half of them stays.
        assert path.read_bytes() == whole
        assert len(read(path)) % 2 == 0


def test_a_read_only_file_system(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "ro") as disk:
        with pytest.raises(AccessDeniedError) as caught:
            record(disk / "log", ONE)
        assert "no answer counts" in caught.value.message
        assert "run the check without the answer file" in caught.value.hint


@pytest.mark.parametrize("name", ["none/log", ".", "file/log"])
def test_a_path_that_is_wrong(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="no answer counts"):
        record(tmp_path / name, ONE)


def test_a_log_that_may_not_be_written(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.touch(0o400)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(AccessDeniedError, match="no answer counts"):
            record(path, ONE)
    finally:
        os.seteuid(before)


def test_the_digest_is_of_all_that_findings_say() -> None:
    finding = Finding("a.b", Severity.INFO, "t", "s\udcff", ("e",), (Remedy("r", "c", "v"),), 24)
    line = b'["a.b","info","t","s\\udcff",["e"],[["r","c","v"]],24]\n'
    assert decisions.digest(Report((finding,))) == hashlib.sha256(line).hexdigest()
    others = [
        finding._replace(key="a.c"),
        finding._replace(severity=Severity.WARNING),
        finding._replace(title="u"),
        finding._replace(summary="u"),
        finding._replace(evidence=("e", "")),
        finding._replace(remedies=()),
        finding._replace(exit_status=23),
    ]
    digests = {decisions.digest(Report((other,))) for other in (finding, *others)}
    assert len(digests) == 8
    assert decisions.digest(WHOLE) != decisions.digest(Report(reversed(WHOLE.findings)))


@given(reports.reports)
def test_any_report_has_a_digest(report: Report) -> None:
    assert len(decisions.digest(report)) == 64


@given(reports.decisions)
def test_any_decision_is_one_line(decision: Decision) -> None:
    line = decisions.encode(decision, time_s=0, user_id=0, report=DIGEST)
    assert b"\n" not in line
    assert json.loads(line)["kind"] == decision.kind

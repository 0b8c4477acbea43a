"""The client of QEMU's protocol against a peer that says what the test wants."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.vm.qmp import Event, Qmp, QmpError

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 22}}, "capabilities": []}}
Answering = Callable[[dict[str, Any]], list[Any]]


def connect(answering: Answering, log: Path | None = None, greeting: Any = GREETING) -> Qmp:
    """Return a client whose peer sends what `answering` returns; None ends the connection."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs, theirs.makefile("rb") as lines:
            theirs.sendall(json.dumps(greeting).encode() + b"\r\n")
            for line in lines:
                request = json.loads(line)
                if request["execute"] == "qmp_capabilities":
                    answers = [{"return": {}, "id": request["id"]}]
                else:
                    answers = answering(request)
                for answer in answers:
                    if answer is None:
                        return
                    theirs.sendall(json.dumps(answer).encode() + b"\r\n")

    threading.Thread(target=serve, daemon=True).start()
    return Qmp(ours, log)


def test_answer_and_version() -> None:
    qmp = connect(lambda request: [{"return": request["arguments"], "id": request["id"]}])
    assert qmp.version["major"] == 7
    assert qmp.command("echo", {"a": 1}) == {"a": 1}
    qmp.close()


def test_events_between_are_kept_in_order() -> None:
    events = [{"event": "STOP"}, {"event": "RESET", "data": {"guest": True}}]
    qmp = connect(lambda request: [*events, {"return": {}, "id": request["id"]}, events[0]])
    qmp.command("cont")
    assert qmp.wait_for_event("RESET", timeout_s=5) == Event("RESET", {"guest": True})
    assert qmp.wait_for_event("STOP", timeout_s=5).name == "STOP"
    assert qmp.events() == []
    qmp.close()


def test_refusal_is_an_error_with_its_words() -> None:
    refusal = {"class": "GenericError", "desc": "no such drive"}
    qmp = connect(lambda request: [{"error": refusal, "id": request["id"]}])
    with pytest.raises(QmpError, match="eject: GenericError: no such drive"):
        qmp.command("eject")
    qmp.close()


def test_late_answer_is_not_taken_for_another() -> None:
    def answering(request: dict[str, Any]) -> list[Any]:
        if request["execute"] == "slow":
            return []
        late = {"return": "late", "id": request["id"] - 1}
        return [late, {"return": "right", "id": request["id"]}]

    qmp = connect(answering)
    with pytest.raises(QmpError, match=r"slow: no answer within 0\.05 s"):
        qmp.command("slow", timeout_s=0.05)
    assert qmp.command("quick") == "right"
    qmp.close()


def test_end_of_qemu_is_told_after_what_it_said() -> None:
    qmp = connect(lambda _: [{"event": "SHUTDOWN"}, None])
    with pytest.raises(QmpError, match="QEMU is gone"):
        qmp.command("quit")
    assert [event.name for event in qmp.events()] == ["SHUTDOWN"]
    with pytest.raises(QmpError, match="gone"):
        qmp.events()
    qmp.close()


def test_event_that_does_not_come() -> None:
    qmp = connect(lambda _: [])
    with pytest.raises(QmpError, match="the event RESET did not come"):
        qmp.wait_for_event("RESET", timeout_s=0.05)
    qmp.close()


@pytest.mark.parametrize("greeting", [[], {"hello": 1}, "QMP"])
def test_another_server_is_not_spoken_to(greeting: Any) -> None:
    with pytest.raises(QmpError, match=r"no (greeting|message) of QEMU"):
        connect(lambda _: [], greeting=greeting)


def test_log_has_both_sides(tmp_path: Path) -> None:
    qmp = connect(lambda request: [{"return": {}, "id": request["id"]}], tmp_path / "log")
    qmp.command("stop")
    qmp.close()
    said = (tmp_path / "log").read_text()
    assert '> {"execute": "stop"' in said
    assert "< " in said

"""Progress as people and programs see it."""

import json
import re
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from applianceforge.cli.progress import (
    JsonProgress,
    LineProgress,
    LiveProgress,
    Running,
    choose,
)
from applianceforge.system.progress import (
    Counter,
    ProgressEvent,
    StepAdvanced,
    StepEnded,
    StepStarted,
)

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
HOSTILE = "dump \x1b[31m<script> [bold]größe[/bold] \u202e\udc80"


@dataclass
class Clock:
    """A clock that goes on when it is told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Terminal:
    """A terminal of some width, and what was written to it."""

    width: int = 80
    file: StringIO = field(default_factory=StringIO)

    @property
    def console(self) -> Console:
        return Console(
            file=self.file, force_terminal=True, width=self.width, height=24, highlight=False
        )

    @property
    def written(self) -> str:
        return self.file.getvalue()

    @property
    def text(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.written)


def started(total_bytes: int = 100_000_000, title: str = "dump the database mail") -> StepStarted:
    return StepStarted("dump", title, 3, 12, total_bytes)


def advance(sink: Any, clock: Clock, seconds: int, bytes_per_s: int, item: str = "") -> None:
    for second in range(1, seconds + 1):
        clock.now += 1
        sink.emit(StepAdvanced("dump", second * bytes_per_s, second * 10, item))


def drawn(width: int, total_bytes: int, bytes_per_s: int, title: str = "dump mail") -> list[str]:
    """Return the lines of the running step after 20 seconds."""
    clock, terminal = Clock(), Terminal(width)
    live = LiveProgress(terminal.console, clock)
    live.emit(started(total_bytes, title))
    advance(live, clock, 20, bytes_per_s, "public.message_2023_07")
    terminal.console.print(live._shown())
    return terminal.text.splitlines()


def test_running_step_has_share_amount_rate_rows_time_left_and_item() -> None:
    text = "\n".join(drawn(80, 100_000_000, 1_000_000))
    for words in (
        "[ 3/12] dump mail",
        "20.0 s",
        "20%",
        "20.0 MB of 100.0 MB",
        "1.0 MB/s",
        "200 rows",
        "1 min 20 s left",
        "public.message_2023_07",
    ):
        assert words in text, words


def test_unknown_total_has_neither_share_nor_time_left() -> None:
    text = "\n".join(drawn(80, 0, 1_000_000))
    assert "20.0 MB, 1.0 MB/s" in text
    assert "%" not in text
    assert "left" not in text


def test_exceeded_prediction_is_said_and_nothing_is_promised() -> None:
    text = "\n".join(drawn(80, 10_000_000, 1_000_000))
    assert "20.0 MB, more than the 10.0 MB predicted" in text
    assert "%" not in text
    assert "left" not in text


@pytest.mark.parametrize("width", [1, 5, 12, 20, 40, 64, 80, 200])
def test_no_line_is_wider_than_the_terminal_and_the_display_does_not_jump(width: int) -> None:
    lines = drawn(width, 100_000_000, 1_000_000, "a title that is much too long " * 4)
    assert all(len(line) <= width for line in lines)
    assert width < 20 or len(lines) == 4


def test_rate_is_that_of_the_last_seconds() -> None:
    clock = Clock()
    running = Running(started(), clock())
    for second in range(1, 61):
        clock.now += 1
        per_s = 1_000_000 if second <= 40 else 100_000
        done = min(second, 40) * 1_000_000 + max(0, second - 40) * 100_000
        running.advance(StepAdvanced("dump", done, 0, ""), clock())
        if second > 55:
            assert running.bytes_per_s(clock()) == pytest.approx(per_s, rel=0.01)


def test_work_that_stalls_slows_down() -> None:
    clock = Clock()
    running = Running(started(), clock())
    for second in range(1, 21):
        clock.now += 1
        running.advance(StepAdvanced("dump", second * 1_000_000, 0, ""), clock())
    before = running.left_s(clock())
    clock.now += 60
    after = running.left_s(clock())
    assert before is not None
    assert after is not None
    assert after > 5 * before


def test_finished_steps_stay_as_lines_and_the_cursor_comes_back() -> None:
    terminal, clock = Terminal(), Clock()
    with LiveProgress(terminal.console, clock) as live:
        live.emit(started())
        advance(live, clock, 5, 1_000_000)
        live.emit(StepEnded("dump", 5.0, 5_000_000, 50, "fine"))
    assert re.search(r"✓ dump the database mail +5\.0 s +5\.0 MB +1\.0 MB/s\n", terminal.text)
    assert terminal.written.index(HIDE) < terminal.written.rindex(SHOW)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_interruption_names_the_step_and_gives_the_cursor_back(error: type[BaseException]) -> None:
    terminal, clock = Terminal(), Clock()
    with pytest.raises(error), LiveProgress(terminal.console, clock) as live:
        live.emit(started())
        advance(live, clock, 5, 1_000_000)
        raise error
    assert re.search(r"✗ dump the database mail +stopped after 5\.0 s", terminal.text)
    assert terminal.written.rindex(SHOW) > terminal.written.rindex(HIDE)


def test_hostile_titles_and_items_are_inert_on_a_terminal() -> None:
    terminal, clock = Terminal(200), Clock()
    with LiveProgress(terminal.console, clock) as live:
        live.emit(started(title=HOSTILE))
        live.emit(StepAdvanced("dump", 1, 1, HOSTILE))
        terminal.console.print(live._shown())
    shown = r"\x1b[31m<script> [bold]größe[/bold] \u202e\udc80"
    assert terminal.text.count(shown) >= 2
    assert "\x1b[31m<" not in terminal.written


def test_events_of_another_step_are_ignored() -> None:
    terminal = Terminal()
    live = LiveProgress(terminal.console, Clock())
    for event in (StepAdvanced("x", 1, 1, "item"), StepEnded("x", 1.0, 1, 1, "")):
        live.emit(event)
    assert terminal.written == ""


def test_plain_lines_come_at_start_and_end_and_every_ten_seconds() -> None:
    stream, clock = StringIO(), Clock()
    lines = LineProgress(stream, clock)
    lines.emit(started())
    advance(lines, clock, 35, 1_000_000, "public.message")
    lines.emit(StepEnded("dump", 35.0, 35_000_000, 350, "fine"))
    assert stream.getvalue().splitlines() == [
        "[ 3/12] dump the database mail ...",
        "[ 3/12] dump the database mail: 10%, 10.0 MB of 100.0 MB, 100 rows, 1.0 MB/s,"
        " 1 min 30 s left, public.message",
        "[ 3/12] dump the database mail: 20%, 20.0 MB of 100.0 MB, 200 rows, 1.0 MB/s,"
        " 1 min 20 s left, public.message",
        "[ 3/12] dump the database mail: 30%, 30.0 MB of 100.0 MB, 300 rows, 1.0 MB/s,"
        " 1 min 10 s left, public.message",
        "[ 3/12] dump the database mail: done in 35.0 s, 35.0 MB, 1.0 MB/s",
    ]


def documents(stream: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_have_all_fields_and_at_most_two_advances_a_second() -> None:
    stream, clock = StringIO(), Clock()
    sink = JsonProgress(stream, clock, lambda: 1_700_000_000.0)
    sink.emit(started())
    for tick in range(1, 101):
        clock.now += 0.1
        sink.emit(StepAdvanced("dump", tick * 100_000, tick, "public.message"))
    sink.emit(StepEnded("dump", 10.0, 10_000_000, 100, "fine"))
    found = documents(stream)
    assert [one["event"] for one in found] == ["started", *["advanced"] * (len(found) - 2), "ended"]
    assert 17 <= len(found) - 2 <= 20
    assert found[-2] | {"bytes": 0, "elapsed_s": 0, "left_s": 0, "rows": 0} == {
        "schema": 1,
        "time": "2023-11-14T22:13:20.000+00:00",
        "event": "advanced",
        "key": "dump",
        "title": "dump the database mail",
        "number": 3,
        "of": 12,
        "bytes": 0,
        "total_bytes": 100_000_000,
        "rows": 0,
        "rate": 1_000_000,
        "left_s": 0,
        "item": "public.message",
        "elapsed_s": 0,
    }
    assert found[-2]["left_s"] == pytest.approx(90, abs=2)
    assert found[-1]["detail"] == "fine"
    assert found[-1]["bytes"] == 10_000_000
    assert found[0]["left_s"] is None


def test_hostile_names_survive_json() -> None:
    stream = StringIO()
    JsonProgress(stream, Clock()).emit(started(title=HOSTILE))
    assert stream.getvalue().isascii()
    assert documents(stream)[0]["title"] == HOSTILE


class Broken(StringIO):
    """A stream whose reader went away."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("make", [LineProgress, JsonProgress])
def test_reader_that_went_away_does_not_stop_the_work(
    make: Callable[[StringIO], LineProgress | JsonProgress],
) -> None:
    make(Broken()).emit(started())


@pytest.mark.parametrize("make", [LineProgress, JsonProgress])
def test_many_threads_write_whole_lines(
    make: Callable[[StringIO, Clock], LineProgress | JsonProgress],
) -> None:
    stream = StringIO()
    clock = Clock()
    sink = make(stream, clock)
    sink.emit(started())
    counter = Counter("dump", sink)

    def work() -> None:
        for _ in range(200):
            clock.now += 1
            counter.advance(add_bytes=1, add_rows=1, item="x" * 50)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink.emit(StepEnded("dump", 1.0, counter.done_bytes, counter.done_rows, ""))
    lines = stream.getvalue().splitlines()
    starts = "{" if make is JsonProgress else "[ 3/12]"
    assert len(lines) > 10
    assert all(line.startswith(starts) for line in lines)


def test_live_display_and_workers_do_not_wait_for_each_other() -> None:
    """The thread that draws and those that emit take two locks; a deadlock would end in `join`."""
    terminal = Terminal()
    with LiveProgress(terminal.console) as live:

        def work(key: str) -> None:
            for _ in range(100):
                live.emit(StepStarted(key, key, 1, 1, 10))
                live.emit(StepAdvanced(key, 5, 1, "item"))
                live.emit(StepEnded(key, 1.0, 10, 1, ""))
                live._live.refresh()

        threads = [threading.Thread(target=work, args=(key,), daemon=True) for key in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)
            assert not thread.is_alive()


def test_choice(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def chosen(kind: Any) -> str:
        with choose(kind) as sink:
            event: ProgressEvent = started(title="a title")
            sink.emit(event)
            return type(sink).__name__

    assert chosen("none") == "NoProgress"
    assert capsys.readouterr() == ("", "")
    assert chosen("json") == "JsonProgress"
    assert capsys.readouterr().out.startswith("{")
    for kind in ("auto", "plain"):
        assert chosen(kind) == "LineProgress"
        out, err = capsys.readouterr()
        assert (out, err) == ("", "[ 3/12] a title ...\n")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert chosen("auto") == "LiveProgress"
    out, err = capsys.readouterr()
    assert out == ""
    assert "a title" in err
    monkeypatch.setenv("TERM", "dumb")
    assert chosen("auto") == "LineProgress"


def test_results_on_standard_output_pass_by_the_live_display(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal = Terminal()
    with LiveProgress(terminal.console), nullcontext(sys.stdout) as stdout:
        print("result", file=stdout)
    assert capsys.readouterr().out == "result\n"
    assert "result" not in terminal.text

"""The source in a process of its own: what it may, and what it cannot make us believe."""

from __future__ import annotations

import os
import pwd
import signal
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from applianceforge.model.errors import (
    ForgeError,
    NetworkError,
    PayloadError,
    ServerAnswerError,
    SettingsError,
)
from applianceforge.release.fetch import frames
from applianceforge.release.fetch.child_source import ChildSource, clean, command
from applianceforge.release.fetch.directory_source import DirectorySource
from applianceforge.release.fetch.frames import Frame, FrameError
from applianceforge.release.fetch.limits import HttpSettings, Limits
from applianceforge.release.fetch.opening import open_source, user_of
from applianceforge.release.fetch.source import MissingFileError, Source
from applianceforge.system import programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command, User
from tests.release.server import Fault, Kind, Server

SIZE = 500_000
# More than any pipe holds.
LARGE = 16 << 20
QUICK = Limits(
    connect_s=5.0,
    read_s=1.0,
    rate_bytes_s=2000.0,
    window_s=1.0,
    outage_s=0.3,
    first_outage_s=0.3,
    first_pause_s=0.05,
)
# Of a process that says nothing, we know it sooner.
SHORT = Limits(
    connect_s=0.1, read_s=0.1, window_s=0.1, rate_bytes_s=1e6, outage_s=0.1, first_outage_s=0.1,
    redirects=0, longest_pause_s=0.1,
)  # fmt: skip
SECRET = "sesame"
NOBODY = 65534
SYSTEM_PYTHON = Path("/usr/bin/python3")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "file").write_bytes(bytes(i % 253 for i in range(SIZE)))
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(LARGE)
    with Server(tmp_path) as running:
        yield running


@pytest.fixture
def source(server: Server) -> Iterator[ChildSource]:
    opened = ChildSource(HttpSettings(server.url, limits=QUICK), Effects())
    yield opened
    opened.close()


def whole(source: Source, path: str = "file", at: int = 0, size: int | None = None) -> bytes:
    return b"".join(source.fetch(path, SIZE, at, size))


def test_files_and_parts(server: Server, source: ChildSource) -> None:
    content = (server.directory / "file").read_bytes()
    assert whole(source) == content
    first = source.pid
    assert whole(source, at=1000, size=70_000) == content[1000:71_000]
    assert whole(source, at=SIZE - 1) == content[-1:]
    assert source.pid == first
    assert server.connections == 1
    assert source.received_bytes == SIZE + 70_001
    assert source.server_date_s is not None


def test_what_is_read_for_nothing_is_counted(server: Server, source: ChildSource) -> None:
    server.faults(Fault(Kind.NO_RANGE))
    whole(source, at=300_000, size=1000)
    source.close()
    whole(source, at=300_000, size=1000)
    assert source.received_bytes >= 602_000


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(Kind.STATUS, number=404), MissingFileError),
        (Fault(Kind.REDIRECT, text="http://elsewhere.invalid/"), ServerAnswerError),
        (Fault(Kind.SLOW, number=20), NetworkError),
        (Fault(Kind.ENDLESS), PayloadError),
        (Fault(Kind.GARBAGE), ServerAnswerError),
    ],
    ids=lambda value: value.kind.value if isinstance(value, Fault) else None,
)
def test_errors_come_through(
    server: Server, source: ChildSource, fault: Fault, error: type[ForgeError]
) -> None:
    server.faults(fault)
    with pytest.raises(error) as caught:
        whole(source)
    assert server.happened(fault.kind) >= 1
    assert caught.value.hint
    server.faults()
    assert len(whole(source)) == SIZE


def test_the_process_is_killed_in_the_middle(source: ChildSource) -> None:
    chunks = source.fetch("large", LARGE)
    next(chunks)
    assert source.pid is not None
    os.kill(source.pid, signal.SIGKILL)
    with pytest.raises(NetworkError, match="status -9"):
        b"".join(chunks)
    assert len(whole(source)) == SIZE


def test_a_file_that_was_not_read_to_its_end(source: ChildSource) -> None:
    left = source.fetch("large", LARGE)
    next(left)
    assert whole(source, at=10, size=10) == bytes(range(10, 20))
    with pytest.raises(RuntimeError, match="another file"):
        next(left)
    dropped = source.fetch("large", LARGE)
    next(dropped)
    del dropped
    assert len(whole(source)) == SIZE


def test_no_process_is_left(server: Server) -> None:
    with open_source(server.url, limits=QUICK) as source:
        whole(source)
        assert isinstance(source, ChildSource)
        pid = source.pid
    assert pid is not None
    assert not Path(f"/proc/{pid}").exists()


def test_it_dies_with_us(server: Server, tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import os, signal
        from applianceforge.release.fetch.opening import open_source
        with open_source({server.url!r}) as source:
            b"".join(source.fetch("file", {SIZE}))
            print(source.pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    owner = programs.start(
        Command((sys.executable, "-c", script), directory=Path(__file__).parents[2]),
        Effects(),
        errors=tmp_path / "errors",
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    assert owner.wait() == -signal.SIGKILL
    programs.stop(owner)
    status = Path(f"/proc/{pid}/status")
    for _ in range(200):
        # Whoever inherits it may take a while to collect it.
        if not status.exists() or "State:\tZ" in status.read_text():
            return
        os.sched_yield()
        programs.run(Command(("/bin/sleep", "0.05")), Effects())
    pytest.fail("the fetching process outlived its owner")


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: rest.strip() for key, _, rest in (line.partition(":") for line in lines)}


@as_root
def test_what_it_may_and_knows(server: Server) -> None:
    """As another user, with the system's Python as on an appliance."""
    if not SYSTEM_PYTHON.exists():
        pytest.skip("no Python that another user may run")
    package = Path(__file__).parents[2]
    libraries = next(one for one in sys.path if one.endswith("site-packages"))
    ours = command(User(NOBODY, NOBODY))
    started = replace(
        ours,
        arguments=(str(SYSTEM_PYTHON), *ours.arguments[1:]),
        environment=(("PYTHONPATH", f"{package}:{libraries}"),),
    )
    proxy = f"http://someone:{SECRET}@127.0.0.1:{server.port}"
    settings = HttpSettings("http://repository.invalid/", proxy, limits=QUICK)
    source = ChildSource(settings, Effects(), started)
    try:
        assert len(whole(source)) == SIZE
        assert source.pid is not None
        status = _status(source.pid)
        assert status["Uid"].split() == [str(NOBODY)] * 4
        assert status["Gid"].split() == [str(NOBODY)] * 4
        assert status["Groups"] == ""
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
        place = Path(f"/proc/{source.pid}")
        for name in ("cmdline", "environ"):
            assert SECRET.encode() not in (place / name).read_bytes()
        assert SECRET not in str(started)
        links = {
            number: str((place / "fd" / number).readlink()) for number in os.listdir(place / "fd")
        }
        others = [one for number, one in links.items() if int(number) > 2]
        assert all(one.startswith("socket:") for one in others), links
        limits = (place / "limits").read_text()
        assert "Max file size             0                    0" in limits
        assert "Max core file size        0                    0" in limits
    finally:
        source.close()


def test_as_whom_it_runs() -> None:
    root = os.geteuid() == 0
    daemon = pwd.getpwnam("daemon")
    assert user_of("daemon") == (User(daemon.pw_uid, daemon.pw_gid) if root else None)
    assert user_of("no-such-user-here") is None


# -- A process that lies. Each script stands in its place.

_BEGIN = """
import os, struct, sys, time, json
def said(kind, body): return struct.pack(">BI", kind, len(body)) + body
def say(data): sys.stdout.buffer.write(data); sys.stdout.buffer.flush()
def rest(): time.sleep(60)
"""


def frame(kind: int, body: str) -> str:
    return f"say(said({kind}, {body})); rest()"


LIES = {
    "ends at once": ("pass", "status 0"),
    "ends with an error": ("sys.exit('\\x1b[31mno \\x07' + 'x' * 9000)", "status 1"),
    "is killed": ("os.kill(os.getpid(), 9)", "status -9"),
    "says nothing": ("rest()", "says nothing"),
    "shuts its mouth": ("os.close(1); os.close(2); rest()", "says nothing"),
    "sends bytes": ("say(b'HTTP/1.1 200 OK\\r\\n\\r\\n'); rest()", "nonsense"),
    "a frame of a gigabyte": ("say(struct.pack('>BI', 3, 1 << 30)); rest()", "nonsense"),
    "a frame of another kind": (frame(9, "b''"), "nonsense"),
    "settings back": (frame(1, "b'{}'"), "nonsense"),
    "data of no bytes": (frame(3, "b''"), "nonsense"),
    "more than was asked for": (
        "[say(said(3, bytes(65536))) for _ in range(9)]; rest()",
        "nonsense",
    ),
    "half a frame": ("say(struct.pack('>BI', 3, 500) + b'x')", "status 0"),
    "an end that is not JSON": (frame(4, "b'{'"), "nonsense"),
    "an end that is a list": (frame(4, "b'[]'"), "nonsense"),
    "an end of deep JSON": (frame(4, "b'[' * 60000"), "nonsense"),
    "an error without a name": (frame(5, 'b\'{"error": "root", "message": "m"}\''), "nonsense"),
    "an error without words": (frame(5, 'b\'{"error": "network"}\''), "nonsense"),
    "an error with odd words": (
        frame(5, 'b\'{"error": "network", "message": [1]}\''),
        "nonsense",
    ),
    "drop by drop": (
        "\nfor b in struct.pack('>BI', 3, 5000): say(bytes([b])); time.sleep(0.2)\nrest()",
        "says nothing",
    ),
    "it talks on the other pipe": (
        "\nwhile True: sys.stderr.write('x' * 60000); sys.stderr.flush()",
        "says nothing",
    ),
}


def _liar(script: str) -> Command:
    return Command((sys.executable, "-c", _BEGIN + script), name="the liar")


@pytest.mark.parametrize("name", LIES)
def test_a_process_that_lies(name: str) -> None:
    script, says = LIES[name]
    # It takes the interpreter a while to start, so only who is silent gets little time.
    limits = SHORT if says == "says nothing" else QUICK
    settings = HttpSettings("http://h.invalid/", f"http://n:{SECRET}@p.invalid", limits=limits)
    source = ChildSource(settings, Effects(), _liar(script))
    with pytest.raises(NetworkError, match=says) as caught:
        whole(source)
    error = caught.value
    assert error.hint
    assert all(one.isprintable() and len(one) <= 600 for one in error.evidence)
    assert source.pid is None


def test_an_end_before_all_is_there() -> None:
    source = ChildSource(
        HttpSettings("http://h.invalid/", limits=QUICK), Effects(),
        _liar("say(said(3, b'12345') + said(4, b'{}')); rest()"),
    )  # fmt: skip
    with pytest.raises(NetworkError, match="nonsense"):
        whole(source, size=6)
    assert source.pid is None


@pytest.mark.parametrize(
    "numbers",
    ['{"received_bytes": -5, "server_date_s": NaN}', '{"received_bytes": 1e99}', "{}",
     '{"received_bytes": true, "server_date_s": "now"}', '{"server_date_s": Infinity}'],
)  # fmt: skip
def test_numbers_that_cannot_be(numbers: str) -> None:
    source = ChildSource(
        HttpSettings("http://h.invalid/", limits=QUICK), Effects(),
        _liar(f"say(said(3, b'12345') + said(4, {numbers.encode()!r})); rest()"),
    )  # fmt: skip
    assert whole(source) == b"12345"
    assert source.received_bytes == 5
    assert source.server_date_s is None
    source.close()


def test_words_are_cleaned() -> None:
    words = '{"error": "answer", "message": "a\\u001b[2Jb\\nc", "hint": "\\u202e"}'
    source = ChildSource(
        HttpSettings("http://h.invalid/", limits=QUICK), Effects(),
        _liar(f"say(said(5, {words.encode()!r})); rest()"),
    )  # fmt: skip
    with pytest.raises(ServerAnswerError) as caught:
        whole(source)
    assert caught.value.message == "a [2Jb c"
    assert caught.value.hint
    source.close()
    assert clean("x" * 5000) == "x" * 600
    assert clean(None) == ""


def test_passwords_do_not_come_back_in_what_it_said() -> None:
    proxy = f"http://n:{SECRET}@p.invalid"
    source = ChildSource(
        HttpSettings("http://h.invalid/", proxy, limits=QUICK), Effects(),
        _liar(f"sys.exit('failed for {proxy}')"),
    )  # fmt: skip
    with pytest.raises(NetworkError) as caught:
        whole(source)
    assert caught.value.evidence
    assert SECRET not in repr((caught.value, caught.value.hint, caught.value.evidence))


def test_a_program_that_is_not_there() -> None:
    source = ChildSource(
        HttpSettings("http://h.invalid/"), Effects(), Command(("/nowhere/python",))
    )
    with pytest.raises(ForgeError, match="/nowhere/python"):
        whole(source)
    source.close()


# -- Frames


@pytest.mark.parametrize("kind", Frame)
def test_frames_round_trip(kind: Frame) -> None:
    data = frames.encode_fields(kind, {"a": "ä\n", "b": None})
    position = 0

    def exactly(size: int) -> bytes:
        nonlocal position
        position += size
        return data[position - size : position]

    got, body = frames.read(exactly)
    assert got is kind
    assert frames.decode_fields(body) == {"a": "ä\n", "b": None}
    assert position == len(data)


def test_frames_are_small() -> None:
    with pytest.raises(FrameError):
        frames.encode(Frame.DATA, bytes(65537))
    with pytest.raises(FrameError):
        frames.decode_head(b"\x03\x00\x01\x00\x01")
    with pytest.raises(FrameError):
        frames.decode_head(b"\x00\x00\x00\x00\x01")


# -- Opening


def test_a_directory_needs_no_process(tmp_path: Path) -> None:
    for name in (str(tmp_path), f"file://{tmp_path}"):
        with open_source(name) as source:
            assert isinstance(source, DirectorySource)


@pytest.mark.parametrize("name", ["ftp://h/", "file://h/x", "http://", "/nowhere/at/all", "s3://x"])
def test_what_cannot_be_opened(name: str) -> None:
    with pytest.raises(SettingsError), open_source(name):
        pass


def test_a_proxy_that_is_none() -> None:
    with pytest.raises(SettingsError, match="proxy"), open_source("http://h/", "socks5://p"):
        pass

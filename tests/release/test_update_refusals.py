"""Every reason not to update: told with its remedy and its status, before anything is changed.

Over HTTP, with the bytes that the server sent counted: at most 64 KiB, and none of a payload.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest

from applianceforge.cpuid import facts as cpuid
from applianceforge.formats.bootenv import KNOWN_GOOD, NOT_BOOTABLE, Environment, SlotVariables
from applianceforge.model.errors import (
    AlreadyRunningError,
    BootDiskError,
    BootEnvironmentError,
    ForgeError,
    NetworkError,
    NotConfirmedError,
    NoWayError,
    RetentionError,
    ServerAnswerError,
    SettingsError,
    SignatureError,
    SlotError,
    WrongBundleError,
    WrongClockError,
)
from applianceforge.release.update.lock import only_update
from applianceforge.slots.layout import Slot
from tests.cpuid.table import facts, hidden, named
from tests.migrate.test_boot_settle import SCHEMA
from tests.release.server import Fault, Kind, Server
from tests.release.updating import (
    AMD64,
    I386,
    Maker,
    UpdatedBox,
    crossed_box,
    updated_box,
    usual_releases,
)
from tests.release.vendor import Vendor

MOST_BYTES = 64 << 10
TIB = 1 << 40


@dataclass(frozen=True)
class Before:
    """What must not change: what starts, and what both slots hold."""

    box: UpdatedBox
    content: dict[str, bytes]

    @classmethod
    def of(cls, box: UpdatedBox) -> Before:
        """Remember."""
        return cls(box, cls._look(box))

    @staticmethod
    def _look(box: UpdatedBox) -> dict[str, bytes]:
        paths = [box.device(slot) for slot in Slot]
        paths += sorted((box.root / "boot/loader").iterdir())
        return {str(path): path.read_bytes() for path in paths}

    def check(self) -> None:
        """Nothing changed."""
        assert self._look(self.box) == self.content
        assert self.box.agreed is None
        assert self.box.restarts == 0


def check_little_was_sent(server: Server) -> None:
    assert server.settled().bytes_sent <= MOST_BYTES
    assert not any("payload" in entry.path or ".index" in entry.path for entry in server.log)


@dataclass
class Said:
    """What a refused update says."""

    status: int
    text: str


def refused(
    box: UpdatedBox, server: Server, capsys: pytest.CaptureFixture[str], **asked: Any
) -> Said:
    """Run an update that a finding forbids."""
    before = Before.of(box)
    status = box.person(**asked)
    before.check()
    check_little_was_sent(server)
    assert any(entry.path.endswith("graph.json") for entry in server.settled().log), "nobody asked"
    return Said(status, " ".join(capsys.readouterr().out.split()))


def fails(
    box: UpdatedBox,
    kind: type[ForgeError],
    server: Server | None = None,
    act: Callable[[UpdatedBox], object] = lambda box: box.person(),
) -> ForgeError:
    """Run an update that ends with a named error, which has a remedy."""
    before = Before.of(box)
    with pytest.raises(kind) as caught:
        act(box)
    before.check()
    if server is not None:
        check_little_was_sent(server)
    assert caught.value.hint
    return caught.value


# The machine.

YONAH = named("_Yonah")
CONROE = named("Conroe")


@pytest.mark.parametrize(
    ("processor", "status", "remedy"),
    [
        (facts(YONAH), 22, "Replace the machine"),
        (facts(hidden(CONROE)), 21, "firmware"),
        (
            facts(hidden(CONROE), machine=cpuid.Machine("QEMU")),
            20,
            "virsh edit",
        ),
        (
            facts(hidden(CONROE), machine=cpuid.Machine("VMware, Inc.")),
            20,
            "64-bit guest",
        ),
        (cpuid.Facts(()), 30, "modprobe cpuid"),
    ],
    ids=["real 32-bit", "firmware", "qemu", "vmware", "unknown"],
)
def test_a_processor_that_cannot(
    tmp_path: Path,
    maker: Maker,
    server: Server,
    capsys: pytest.CaptureFixture[str],
    processor: cpuid.Facts,
    status: int,
    remedy: str,
) -> None:
    box = updated_box(tmp_path, maker, processor, server.url)
    said = refused(box, server, capsys)
    assert said.status == status
    assert remedy in said.text
    assert f"Exit status {status}" in said.text
    assert box.status["state"] == "refused"
    assert box.status["result"]["status"] == status
    # However often, it is in the history once.
    assert box.unattended() == status
    assert box.person(yes=False) == status
    assert box.events == ["update-refused"]
    jsonschema.Draft202012Validator(SCHEMA).validate(box.appliance.history[0])
    assert box.appliance.history[0]["status"] == status


@pytest.mark.parametrize(
    ("requires", "key"),
    [
        ({"memory_bytes": TIB}, "resources.memory"),
        ({"x86_64_level": 4}, "processor.level"),
    ],
)
def test_a_release_that_requires_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], requires: dict[str, Any], key: str
) -> None:
    vendor = Vendor(tmp_path / "vendor")
    vendor.create()
    maker = Maker(vendor)
    maker.add("1.0.0", I386)
    maker.add("2.0.0", AMD64, crossing=True, requires=requires)
    vendor.publish()
    with Server(maker.public) as server:
        box = updated_box(tmp_path / "box", maker, facts(CONROE), server.url)
        box.appliance.write("proc/meminfo", "MemTotal: 1048576 kB\n")
        said = refused(box, server, capsys)
    assert key in said.text
    assert said.status in (20, 22, 23)


def cut_slot(box: UpdatedBox, less_bytes: int) -> int:
    """Let the other slot be smaller than the release by so much; return its size."""
    size_bytes = box.maker.slot("2.0.0", AMD64).stat().st_size - less_bytes
    with open(box.device(Slot.B), "r+b") as stream:
        stream.truncate(size_bytes)
    return size_bytes


@pytest.mark.parametrize("changes", [True, False], ids=["update", "check"])
def test_a_slot_that_is_too_small(
    tmp_path: Path,
    maker: Maker,
    server: Server,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    changes: bool,
) -> None:
    box = updated_box(tmp_path, maker, repository=server.url)
    size_bytes = cut_slot(box, 4096)

    def ask(*_: object, **__: object) -> bool:
        raise AssertionError("it asked")

    monkeypatch.setattr(click, "confirm", ask)
    said = refused(box, server, capsys, changes=changes, yes=False)
    assert said.status == 23
    assert "Slot b is too small for the release" in said.text
    assert "vendor's current image" in said.text
    assert f"{size_bytes} bytes" in said.text
    assert (box.status["state"], box.status["result"]["key"]) == ("refused", "resources.slot")
    assert box.events == ["update-refused"]


def test_a_slot_that_is_too_small_is_told_by_the_command(tmp_path: Path, maker: Maker) -> None:
    box = updated_box(tmp_path, maker)
    cut_slot(box, 4096)
    for options in (["--check"], ["--dry-run"], ["--yes"], ["--unattended"]):
        said = box.update(*options)
        assert said.status == 23, (options, said)
        assert "Slot b is too small for the release" in said.out
        assert "What is done to install" not in said.out
    document = json.loads(box.update("--check", "--json").out)
    (found,) = [one for one in document["findings"] if one["severity"] == "inhibitor"]
    assert (found["key"], document["state"]) == ("resources.slot", "refused")
    assert found["remedies"]


def test_a_slot_that_is_just_large_enough(tmp_path: Path, maker: Maker) -> None:
    box = updated_box(tmp_path, maker)
    cut_slot(box, 0)
    assert box.person() == 0
    assert box.holds(Slot.B, "2.0.0", AMD64)


# The way.


def test_a_release_that_nobody_has(
    tmp_path: Path, maker: Maker, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    box = updated_box(tmp_path, maker, repository=server.url)
    said = refused(box, server, capsys, wanted="9.9.9")
    assert said.status == 78
    assert "9.9.9" in said.text
    assert "What to do:" in said.text


def test_a_withdrawn_release(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maker = usual_releases(tmp_path / "vendor")
    maker.vendor.repository().withdraw("2.0.0", AMD64, "it loses the spool")
    maker.vendor.publish()
    with Server(maker.public) as server:
        box = updated_box(tmp_path / "box", maker, repository=server.url)
        said = refused(box, server, capsys, wanted="2.0.0")
        assert said.status == 78
        assert "it loses the spool" in said.text


def test_a_repository_of_another_appliance(tmp_path: Path, maker: Maker, server: Server) -> None:
    box = updated_box(tmp_path, maker, repository=server.url)
    path = box.root / "etc/applianceforge/release.env"
    path.write_text(path.read_text().replace("APPLIANCE=gateway", "APPLIANCE=router"))
    assert "'router'" in fails(box, WrongBundleError, server).message


# The way back.


def kept_box(root: Path, maker: Maker, published_s: float, url: str = "") -> UpdatedBox:
    """Return a box that has crossed, and keeps the way back for seven days."""
    box = crossed_box(root, maker, url)
    box.appliance.write(
        "etc/applianceforge/migrate.toml", 'schema = 1\n[work]\ndirectory = "/data/forge/work"\n'
    )
    line = f'{{"schema": 1, "number": 1, "time": {published_s}, "event": "published", "step": ""}}'
    box.appliance.write("data/forge/work/run/journal.jsonl", line + "\n")
    return box


def test_the_second_hop_waits_for_the_retention(
    tmp_path: Path, maker: Maker, server: Server
) -> None:
    now = time.time()
    box = kept_box(tmp_path, maker, now - 6.9 * 86400, server.url)
    error = fails(box, RetentionError, server)
    assert "the way back and is kept until" in error.message
    assert "retention_days = 0" in error.hint
    assert box.status["state"] == "waiting"
    # Neither a version that is named nor the timer gets around it.
    fails(box, RetentionError, server, lambda box: box.person(wanted="3.0.0"))
    box.settings(automatic=True, window="00:00-00:00")
    before = Before.of(box)
    assert box.unattended() == 0
    before.check()
    assert box.person(changes=False) == 0


def test_the_retention_ends(tmp_path: Path, maker: Maker) -> None:
    box = kept_box(tmp_path, maker, time.time() - 7.1 * 86400)
    assert box.person() == 0
    assert box.holds(Slot.A, "3.0.0", AMD64)


def test_a_retention_of_nothing(tmp_path: Path, maker: Maker) -> None:
    box = kept_box(tmp_path, maker, time.time())
    box.settings(retention_days=0)
    assert box.person() == 0
    assert box.choose().slot is Slot.A


@pytest.mark.parametrize("gone", ["journal", "half of it", "epoch"])
def test_a_way_back_of_which_nobody_knows_until_when(
    gone: str, tmp_path: Path, maker: Maker
) -> None:
    box = kept_box(tmp_path, maker, time.time() - 8 * 86400)
    journal = box.root / "data/forge/work/run/journal.jsonl"
    if gone == "half of it":
        journal.write_bytes(journal.read_bytes()[:40])
    else:
        (journal if gone == "journal" else box.root / "data/forge/epoch").unlink()
    error = fails(box, RetentionError)
    assert "damaged or gone" in error.message
    assert error.hint.startswith("if you never want to go back")
    box.settings(retention_days=0)
    assert box.person() == 0


def test_a_longer_retention(tmp_path: Path, maker: Maker) -> None:
    box = kept_box(tmp_path, maker, time.time() - 7.1 * 86400)
    box.settings(retention_days=30)
    fails(box, RetentionError)


def test_a_slot_that_is_no_way_back_any_more_is_overwritten(tmp_path: Path, maker: Maker) -> None:
    box = kept_box(tmp_path, maker, time.time())
    box.appliance.set_environment(Environment(9, "b", NOT_BOOTABLE, KNOWN_GOOD))
    assert box.person() == 0


# The state of the appliance.


def test_a_slot_that_is_not_good_yet(tmp_path: Path, maker: Maker, server: Server) -> None:
    box = crossed_box(tmp_path, maker, server.url)
    trial = SlotVariables(True, 2, False)
    box.appliance.set_environment(Environment(9, "b", KNOWN_GOOD, trial))
    assert "not marked good yet" in fails(box, SlotError, server).message
    assert server.log == []


def test_a_migration_that_is_under_way(tmp_path: Path, maker: Maker, server: Server) -> None:
    box = crossed_box(tmp_path, maker, server.url)
    box.appliance.write("data/forge/epoch", "i386\n")
    (box.root / "run/forge/gate").unlink()
    assert "being migrated" in fails(box, NoWayError, server).message
    assert server.log == []


@pytest.mark.parametrize("gate", ["epoch-amd64", "epoch-lost", ""])
def test_services_that_are_shut(tmp_path: Path, maker: Maker, server: Server, gate: str) -> None:
    box = updated_box(tmp_path, maker, repository=server.url)
    box.appliance.write("run/forge/gate", gate)
    assert "are shut" in fails(box, NoWayError, server).message
    assert server.log == []


def test_another_update(tmp_path: Path, maker: Maker, server: Server) -> None:
    box = updated_box(tmp_path, maker, repository=server.url)
    box.person(changes=False)
    with only_update(box.places.lock):
        error = fails(box, AlreadyRunningError)
    assert "process" in error.message
    assert "applianceforge status" in error.hint
    assert box.person(changes=False) == 0


def test_a_boot_environment_that_is_lost(tmp_path: Path, maker: Maker) -> None:
    box = updated_box(tmp_path, maker)
    for name in ("env1", "env2"):
        (box.root / "boot/loader" / name).write_bytes(b"")
    fails(box, BootEnvironmentError)


def test_a_machine_that_is_no_appliance(tmp_path: Path, maker: Maker) -> None:
    box = updated_box(tmp_path, maker)
    (box.root / "proc/cmdline").write_text("quiet\n")
    fails(box, BootDiskError)
    said = replace(box).update("--check")
    assert said.status == 62


# The repository.


def test_no_repository(tmp_path: Path, maker: Maker) -> None:
    box = updated_box(tmp_path, maker)
    box.appliance.write("etc/applianceforge/update.toml", "schema = 1\n")
    assert "no repository" in fails(box, SettingsError).message
    # The timer of a box that nobody set up is no failure.
    assert box.unattended() == 0


def test_no_root_of_trust(tmp_path: Path, maker: Maker) -> None:
    box = updated_box(tmp_path, maker)
    (box.root / "etc/applianceforge/root.json").unlink()
    assert "root.json" in fails(box, SettingsError).message


def test_settings_that_are_wrong(tmp_path: Path, maker: Maker) -> None:
    box = updated_box(tmp_path, maker)
    box.appliance.write("data/config/update.toml", "autmatic = true\n")
    assert "did you mean automatic?" in fails(box, SettingsError).message


def test_a_clock_before_the_system_was_built(tmp_path: Path, maker: Maker, server: Server) -> None:
    box = updated_box(tmp_path, maker, repository=server.url)

    def early(box: UpdatedBox) -> object:
        return box.session(lambda one: one.look(*_source(one)), clock=lambda: 86400.0)

    fails(box, WrongClockError, server, early)
    assert server.log == []


def _source(session: Any) -> tuple[Any]:
    return (session.source().__enter__(),)


def test_a_server_that_is_away(tmp_path: Path, maker: Maker, server: Server) -> None:
    box = updated_box(tmp_path, maker, repository=server.url)
    with server.away():
        fails(box, NetworkError)
    assert box.status["result"]["status"] == 69
    # It is no news for the history.
    assert box.events == []
    assert box.person() == 0


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(Kind.CHANGE, "*timestamp.json", at_bytes=200), SignatureError),
        (Fault(Kind.CHANGE, "*graph.json", at_bytes=20), SignatureError),
        (Fault(Kind.CHANGE, "*/bundles/*.json", at_bytes=20), SignatureError),
        (Fault(Kind.STATUS, "*graph.json", number=404), ServerAnswerError),
        (Fault(Kind.REDIRECT, "*timestamp.json", text="http://127.0.0.2/"), ServerAnswerError),
    ],
    ids=lambda one: one.path if isinstance(one, Fault) else one.__name__,
)
def test_a_repository_that_is_not_to_be_trusted(
    tmp_path: Path, maker: Maker, server: Server, fault: Fault, kind: type[ForgeError]
) -> None:
    box = updated_box(tmp_path, maker, repository=server.url)
    server.faults(fault)
    fails(box, kind, server)
    assert server.happened(fault.kind)
    assert box.status["state"] == "failed"
    # Once, however often the timer comes.
    with pytest.raises(kind):
        box.unattended()
    assert box.events == ["update-failed"]


# The person.


def test_nobody_agreed(tmp_path: Path, maker: Maker, server: Server) -> None:
    box = updated_box(tmp_path, maker, repository=server.url)
    fails(box, NotConfirmedError, server, lambda box: box.person(yes=False))
    said = box.update()
    assert said.status == 82
    assert "--yes" in said.hint
    assert "2.0.0 (amd64)" in said.out

"""The power goes after each effect of a command: boxes see the old state or the new one."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tuf.api.exceptions import UnsignedMetadataError

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import RepositoryError
from applianceforge.release.publish import outgoing
from applianceforge.release.publish import status as repository_status
from applianceforge.release.publish.expiry import Role
from applianceforge.release.publish.layout import Layout
from applianceforge.release.publish.outgoing import Change
from applianceforge.system.effects import Effects
from tests.release.vendor import CutError, Seen, Vendor, cutting

_MOST_EFFECTS = 200

Command = Callable[[Vendor, Effects], object]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    """A vendor with a release that is served, and changes that are staged."""
    vendor = Vendor(tmp_path_factory.mktemp("vendor"))
    vendor.create()
    vendor.add("1.0.0", Architecture.I386)
    vendor.publish()
    vendor.add("2.0.0", crossing=True)
    vendor.repository().withdraw("1.0.0", None, "it loses mail")
    return vendor


def _publish(vendor: Vendor, effects: Effects) -> object:
    return vendor.publish(effects, sign_root=True)


def _renew(vendor: Vendor, effects: Effects) -> object:
    return vendor.renew(effects)


def _rotate(role: Role) -> Command:
    def command(vendor: Vendor, effects: Effects) -> object:
        return vendor.rotate(role, effects=effects)

    return command


def _copy(vendor: Vendor, place: Path) -> Vendor:
    shutil.copytree(vendor.place / "repo", place / "repo")
    shutil.copytree(vendor.keys, place / "keys")
    return Vendor(place)


def _same(one: Seen, other: Seen) -> bool:
    """Compare what two boxes see; a command that is run again may sign once more."""
    return one.graph == other.graph and one.root == other.root


@pytest.mark.parametrize(
    ("command", "again"),
    [
        pytest.param(_publish, 0, id="publish"),
        # Whoever renews, renews: what a cut run had signed may be old by now.
        pytest.param(_renew, 1, id="renew"),
        *(pytest.param(_rotate(role), 0, id=f"rotate-{role.value}") for role in Role),
    ],
)
def test_a_cut_anywhere(command: Command, again: int, prepared: Vendor, tmp_path: Path) -> None:
    whole = _copy(prepared, tmp_path / "whole")
    old = whole.box("before").look()
    counted = Effects()
    command(whole, counted)
    new = whole.box("after").look()
    assert old.timestamp < new.timestamp or old.root < new.root
    assert 5 < counted.count < _MOST_EFFECTS
    begun = 0
    for number in range(1, counted.count):
        vendor = _copy(prepared, tmp_path / f"{number}")
        follower = vendor.box("follower")
        assert follower.look() == old
        with pytest.raises(CutError):
            command(vendor, cutting(number))
        # A box that was there before, and one that comes now.
        for seen in (follower.look(), vendor.box("new").look()):
            assert seen.graph in (old.graph, new.graph)
            assert seen.root in (old.root, new.root)
            assert seen.timestamp in (old.timestamp, new.timestamp)
        was_begun = bool(outgoing.pending(vendor.layout))
        begun += was_begun
        command(vendor, Effects())
        seen = follower.look()
        assert _same(seen, new), number
        assert new.timestamp <= seen.timestamp <= new.timestamp + again
        assert seen == vendor.box("later").look()
        assert not outgoing.pending(vendor.layout)
        shutil.rmtree(vendor.place)
    # Some cuts were before the change was certain, and some after it.
    assert 0 < begun < counted.count - 1


def test_a_cut_while_a_release_is_added(prepared: Vendor, tmp_path: Path) -> None:
    old = prepared.box("adding").look()
    whole = _copy(prepared, tmp_path / "whole")
    counted = Effects()
    wanted = whole.add("2.1.0", effects=counted).changed
    assert 3 < counted.count < _MOST_EFFECTS
    for number in range(1, counted.count):
        vendor = _copy(prepared, tmp_path / f"{number}")
        with pytest.raises(CutError):
            vendor.add("2.1.0", effects=cutting(number))
        # What was staged before is still staged, and can be published.
        other = _copy(vendor, tmp_path / f"{number}-published")
        other.publish()
        graph = other.box("box").look().graph
        assert [one.version for one in graph.offers] == ["1.0.0", "2.0.0"]
        assert vendor.box("box").look() == old
        assert vendor.add("2.1.0").changed == wanted
        vendor.publish()
        assert len(vendor.box("box").look().graph.offers) == 3
        shutil.rmtree(vendor.place)
        shutil.rmtree(other.place)


def test_a_cut_while_a_repository_is_made(tmp_path: Path) -> None:
    counted = Effects()
    Vendor(tmp_path / "whole").create(effects=counted)
    resumed = 0
    for number in range(1, counted.count):
        vendor = Vendor(tmp_path / f"{number}")
        with pytest.raises(CutError):
            vendor.create(effects=cutting(number))
        if vendor.layout.directory.exists() and outgoing.pending(vendor.layout):
            resumed += 1
            if not vendor.layout.state.exists():
                with pytest.raises(RepositoryError, match="was cut off while it was made"):
                    repository_status.look(vendor.layout, 0)
            assert vendor.publish().resumed == "init"
        else:
            # Keys that were written belong to nothing: the message of `init` says so.
            shutil.rmtree(vendor.keys, ignore_errors=True)
            if not vendor.layout.state.exists():
                vendor.create()
        assert vendor.box("box").look().graph.offers == ()
    assert 0 < resumed < counted.count


def test_without_the_former_key_a_cut_is_ended_by_the_next_run(
    prepared: Vendor, tmp_path: Path
) -> None:
    """A lost online key cannot sign the step between, so boxes fail there until it is ended."""
    shutil.rmtree(tmp_path)
    whole = _copy(prepared, tmp_path)
    whole.key_file("timestamp-1").unlink()
    counted = Effects()
    outcome = whole.rotate(Role.TIMESTAMP, effects=counted)
    assert not outcome.seamless
    refused = 0
    for number in range(1, counted.count):
        shutil.rmtree(tmp_path)
        vendor = _copy(prepared, tmp_path)
        vendor.key_file("timestamp-1").unlink()
        with pytest.raises(CutError):
            vendor.rotate(Role.TIMESTAMP, effects=cutting(number))
        try:
            vendor.box("box").look()
        except UnsignedMetadataError:
            refused += 1
        vendor.rotate(Role.TIMESTAMP)
        assert vendor.box("box").look().root == 2
    assert refused > 0


def test_a_cut_in_the_run_that_ends_what_was_cut(prepared: Vendor, tmp_path: Path) -> None:
    """Every run gets one effect farther than the one before it, or begins anew."""
    vendor = _copy(prepared, tmp_path / "box")
    old = vendor.box("follower").look()
    cuts = 0
    for number in range(1, _MOST_EFFECTS):
        try:
            vendor.publish(cutting(number))
        except CutError:
            cuts += 1
            vendor.box("follower").look()
        else:
            break
    assert cuts > 5
    assert vendor.box("follower").look().targets == old.targets + 1


@pytest.mark.parametrize(
    "order",
    [
        b"",
        b"[]",
        b"{}",
        b'{"schema": 2, "doing": "x", "moves": [], "files": [], "removes": []}',
        b'{"schema": 1, "doing": "x", "moves": [], "files": [], "removes": ["../x"]}',
        b'{"schema": 1, "doing": "x", "moves": [{"from": "/etc/x", "to": "y"}], "files": [],'
        b' "removes": []}',
        b'{"schema": 1, "doing": "x", "moves": [], "files": [{"from": 1}], "removes": []}',
    ],
)
def test_an_order_that_is_none_is_not_followed(order: bytes, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.outgoing.mkdir()
    (layout.outgoing / "order.json").write_bytes(order)
    with pytest.raises(RepositoryError, match=r"order\.json cannot be read"):
        outgoing.resume(layout, Effects())


def test_an_order_whose_files_are_gone(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    change = Change("publish", (("staged/a", "public/a"),), (("public/b", b"b"),))
    with pytest.raises(RepositoryError, match="staged/a is missing"):
        outgoing.send(layout, change, Effects())
    (tmp_path / "staged").mkdir()
    (tmp_path / "staged/a").write_bytes(b"a")
    (layout.outgoing / "0").rename(tmp_path / "kept")
    with pytest.raises(RepositoryError, match="outgoing/0 is missing"):
        outgoing.resume(layout, Effects())
    (tmp_path / "kept").rename(layout.outgoing / "0")
    assert outgoing.resume(layout, Effects()) == "publish"
    assert (tmp_path / "public/a").read_bytes() == b"a"
    assert (tmp_path / "public/b").read_bytes() == b"b"
    outgoing.send(layout, replace(change, moves=()), Effects())

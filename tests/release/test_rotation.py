"""Keys are replaced, and boxes that slept meanwhile follow."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from applianceforge.model.errors import SigningKeyError
from applianceforge.release.publish import keys
from applianceforge.release.publish import layout as repository_layout
from applianceforge.release.publish import state as repository_state
from applianceforge.release.publish.expiry import Role
from applianceforge.release.publish.keys import KeyPlaces
from applianceforge.release.publish.rotation import Rotation
from applianceforge.release.publish.status import look
from tests.release.vendor import NUMBERS, THRESHOLDS, Vendor, no_secrets


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    made = Vendor(tmp_path)
    made.create()
    return made


def _names(vendor: Vendor, role: Role) -> tuple[str, ...]:
    return next(one.names for one in look(vendor.layout, time.time()).keys if one.role is role)


def test_four_roots_in_a_row(vendor: Vendor) -> None:
    sleeper, awake = vendor.box("sleeper"), vendor.box("awake")
    assert sleeper.look().root == awake.look().root == 1
    for version in range(2, 6):
        old = _names(vendor, Role.ROOT)
        assert vendor.rotate(Role.ROOT).seamless
        assert not set(old) & set(_names(vendor, Role.ROOT))
        for name in old:
            vendor.key_file(name).unlink()
        assert awake.look().root == version
    assert _names(vendor, Role.ROOT) == ("root-13", "root-14", "root-15")
    assert sleeper.look().root == 5
    # One that has never looked, from the first root on; and one with the newest from the overlay.
    assert vendor.box("new").look() == sleeper.look()
    shipped = vendor.box("shipped")
    shipped.root = (vendor.layout.directory / repository_layout.ROOT_OVERLAY).read_bytes()
    assert shipped.look() == sleeper.look()
    assert "metadata/2.root.json" not in shipped.asked
    vendor.publish(sign_root=True)
    assert sleeper.look().root == 6


@pytest.mark.parametrize("role", list(Role))
def test_all_keys_of_a_role(role: Role, vendor: Vendor) -> None:
    box, sleeper = vendor.box("box"), vendor.box("sleeper")
    box.look(), sleeper.look()
    for number in range(2, 5):
        outcome = vendor.rotate(role)
        assert outcome.seamless
        assert len(outcome.made) == NUMBERS[role]
        assert all(
            key.path is not None and key.path.stat().st_mode & 0o777 == 0o600
            for key in outcome.made
        )
        assert box.look().root == number
        vendor.renew()
        box.look()
    assert len(_names(vendor, role)) == NUMBERS[role]
    vendor.add("1.0.0")
    vendor.publish()
    assert sleeper.look() == box.look()
    assert len(sleeper.look().graph.offers) == 1


def test_roles_one_after_the_other(vendor: Vendor) -> None:
    sleeper = vendor.box("sleeper")
    sleeper.look()
    for role in (Role.TIMESTAMP, Role.ROOT, Role.TARGETS, Role.SNAPSHOT, Role.ROOT):
        vendor.rotate(role)
    assert sleeper.look().root == 6


@pytest.mark.parametrize(
    ("role", "lost"),
    [
        (Role.ROOT, "root-1"),
        (Role.ROOT, "root-3"),
        (Role.TARGETS, "targets-1"),
        (Role.TARGETS, "targets-2"),
        (Role.SNAPSHOT, "snapshot-1"),
        (Role.TIMESTAMP, "timestamp-1"),
    ],
)
def test_a_lost_key_is_replaced(role: Role, lost: str, vendor: Vendor) -> None:
    box = vendor.box("box")
    box.look()
    vendor.key_file(lost).unlink()
    outcome = vendor.rotate(role, lost)
    assert lost not in _names(vendor, role)
    assert len(_names(vendor, role)) == NUMBERS[role]
    # What only the lost key could have signed is what a box may stumble over, for a moment.
    assert outcome.seamless is role.offline
    vendor.publish(sign_root=True)
    assert box.look() == vendor.box("new").look()
    assert box.look().root == 3


def test_two_of_three_root_keys_are_enough_and_one_is_not(vendor: Vendor) -> None:
    vendor.key_file("root-1").unlink()
    vendor.publish(sign_root=True)
    assert vendor.box("box").look().root == 2
    vendor.key_file("root-2").unlink()
    seen = vendor.box("box").look()
    with pytest.raises(SigningKeyError, match=r"2 keys of root must sign, and 1 did") as caught:
        vendor.publish(sign_root=True)
    assert "root-1, root-2 are not at hand" in caught.value.message
    with pytest.raises(SigningKeyError, match="former root must sign, and 1 did") as caught:
        vendor.rotate(Role.ROOT, "root-1", "root-2")
    assert "new repository" in caught.value.hint.replace("\n", " ")
    assert vendor.box("box").look() == seen
    # Nothing was made for nothing.
    assert not vendor.key_file("root-4").exists()
    vendor.publish()


def test_a_threshold_of_targets(tmp_path: Path) -> None:
    vendor = Vendor(tmp_path)
    vendor.create({**NUMBERS, Role.TARGETS: 3}, {**THRESHOLDS, Role.TARGETS: 2})
    vendor.key_file("targets-2").rename(tmp_path / "elsewhere.pem")
    vendor.add("1.0.0")
    vendor.publish()
    assert len(vendor.box("box").look().graph.offers) == 1
    kept = vendor.key_file("targets-3").rename(tmp_path / "kept.pem")
    with pytest.raises(SigningKeyError, match="2 keys of targets must sign, and 1 did"):
        vendor.publish()
    # Two people, each with a key of theirs.
    stick = tmp_path / "stick"
    stick.mkdir()
    kept.rename(stick / "targets-3.pem")
    places = KeyPlaces((vendor.keys, stick), no_secrets)
    vendor.repository().publish(places, time.time())
    assert vendor.box("box").look().targets == 3


def test_more_keys_and_another_threshold(vendor: Vendor) -> None:
    box = vendor.box("box")
    box.look()
    vendor.rotate(Role.TARGETS, add=1, threshold=2)
    assert _names(vendor, Role.TARGETS) == ("targets-1", "targets-2", "targets-3")
    assert box.look().targets == 2
    vendor.rotate(Role.TARGETS, "targets-1", add=0)
    assert _names(vendor, Role.TARGETS) == ("targets-2", "targets-3")
    vendor.key_file("targets-3").unlink()
    with pytest.raises(SigningKeyError):
        vendor.publish()
    assert vendor.rotate(Role.TARGETS, "targets-3", add=1).seamless is False
    assert _names(vendor, Role.TARGETS) == ("targets-2", "targets-4")
    assert box.look() == vendor.box("new").look()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Rotation(Role.ROOT, remove=("root-9",)), "root-9 is no key of root"),
        (Rotation(Role.ROOT, remove=("targets-1",)), "targets-1 is no key of root"),
        (Rotation(Role.ROOT, remove=("root-1", "root-2")), "1 key, of which 2 must sign"),
        (Rotation(Role.ROOT, threshold=4), "3 keys, of which 4 must sign"),
        (Rotation(Role.ROOT, threshold=0), "3 keys, of which 0 must sign"),
        (Rotation(Role.TIMESTAMP, remove_all=True), "0 keys, of which 1 must sign"),
    ],
)
def test_what_cannot_be(wanted: Rotation, message: str, vendor: Vendor) -> None:
    seen = vendor.box("box").look()
    with pytest.raises(SigningKeyError, match=message) as caught:
        vendor.repository().rotate(wanted, vendor.places, time.time())
    assert caught.value.hint
    assert vendor.box("box").look() == seen


def test_a_new_repository_with_a_threshold_that_cannot_be_met(tmp_path: Path) -> None:
    vendor = Vendor(tmp_path)
    with pytest.raises(SigningKeyError, match="3 keys, of which 4 must sign"):
        vendor.create(thresholds={Role.ROOT: 4})
    assert not vendor.keys.exists()


def test_one_key_for_two_roles(vendor: Vendor) -> None:
    other = Vendor(vendor.place / "other")
    key = keys.make(other.keys, Role.ROOT, 1)
    made = tuple(
        replace(key, entry=replace(key.entry, role=role, name=f"{role.value}-1")) for role in Role
    )
    state = repository_state.new("gateway", {})
    with pytest.raises(SigningKeyError, match="named twice"):
        other.repository().create(state, made, {}, time.time())
    taken = vendor.repository().rotate(
        Rotation(Role.ROOT, (lambda _: key,)), vendor.places, time.time()
    )
    again = replace(key, entry=replace(key.entry, name="targets-3", role=Role.TARGETS))
    assert taken.published.root.signed.version == 2
    with pytest.raises(SigningKeyError, match="one of this repository's already"):
        vendor.repository().rotate(
            Rotation(Role.TARGETS, (lambda _: again,)), vendor.places, time.time()
        )


def test_keys_that_a_cut_rotation_left_are_not_written_over(vendor: Vendor) -> None:
    left = vendor.key_file("root-4")
    left.write_bytes(b"left over")
    vendor.rotate(Role.ROOT, "root-1")
    assert left.read_bytes() == b"left over"
    assert _names(vendor, Role.ROOT) == ("root-2", "root-3", "root-5")

"""A vendor's repository, as the real client sees it."""

import hashlib
import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
import zstandard

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import (
    AlreadyRunningError,
    DiskFullError,
    PayloadError,
    RepositoryError,
    SettingsError,
    SignatureError,
    SigningKeyError,
    SlotError,
    WrongBundleError,
    WrongClockError,
)
from applianceforge.preflight.requirements import Release
from applianceforge.release import manifest_file
from applianceforge.release.fetch.directory_source import DirectorySource
from applianceforge.release.graph import Graph, Offer
from applianceforge.release.publish import adding, staging
from applianceforge.release.publish import layout as repository_layout
from applianceforge.release.publish import state as repository_state
from applianceforge.release.publish import status as repository_status
from applianceforge.release.publish.adding import Addition
from applianceforge.release.publish.expiry import DAY_S, Role, State
from applianceforge.release.publish.keys import KeyPlaces
from applianceforge.release.publish.layout import Layout
from applianceforge.release.publish.repository import Repository
from applianceforge.release.publish.staging import Wish
from applianceforge.release.update.trust import Trust
from applianceforge.slots.images import Image
from applianceforge.system.effects import Effects
from applianceforge.system.progress import NoProgress
from tests.release.vendor import APPLIANCE, Vendor, no_secrets


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    made = Vendor(tmp_path)
    made.create()
    return made


def _versions(graph: Graph) -> list[str]:
    return [offer.version for offer in graph.offers]


def test_the_way_of_a_release(vendor: Vendor) -> None:
    box = vendor.box("box")
    assert box.look().graph == Graph(APPLIANCE)
    vendor.add("1.0.0", Architecture.I386)
    assert box.look().graph == Graph(APPLIANCE)
    outcome = vendor.publish()
    assert len(outcome.changed) == 1
    seen = box.look()
    assert _versions(seen.graph) == ["1.0.0"]
    assert (seen.root, seen.targets, seen.snapshot, seen.timestamp) == (1, 2, 2, 2)
    vendor.add("2.0.0", crossing=True, share_percent=5)
    vendor.publish()
    # A box that was there before, and one that is new, see the same.
    assert box.look() == vendor.box("new").look()
    vendor.repository().offer("2.0.0", None, Wish(share_percent=100, by_request=True))
    vendor.repository().withdraw("1.0.0", Architecture.I386, "it loses mail")
    assert [one.withdrawn for one in box.look().graph.offers] == ["", ""]
    vendor.publish()
    first, second = box.look().graph.offers
    assert first.withdrawn == "it loses mail"
    assert (second.share_percent, second.by_request, second.crossing) == (100, True, True)
    vendor.repository().withdraw("1.0.0", None, "")
    vendor.publish()
    assert box.look().graph.offers[0].withdrawn == ""


def test_a_bundle_is_what_its_manifest_says(vendor: Vendor) -> None:
    vendor.add("1.0.0")
    vendor.publish()
    target = vendor.box("box").look().graph.offers[0].bundle
    assert target == "bundles/gateway-1.0.0-amd64.json"
    manifest = vendor.box("box").manifest(target)
    for part in (manifest.index, manifest.payload):
        content = (vendor.layout.public / part.path).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (part.size_bytes, part.sha256)
    image = b"".join(Image(vendor.layout.public / manifest.payload.path).chunks())
    assert image == (vendor.place / "1.0.0-amd64/slot").read_bytes()
    assert not vendor.layout.staged_graph.exists()
    assert not (vendor.layout.staged / "bundles").exists()


def test_an_earlier_release_makes_a_bundle_that_shares_its_blocks(vendor: Vendor) -> None:
    vendor.add("1.0.0", Architecture.I386)
    vendor.add("1.1.0", Architecture.I386)
    vendor.publish()
    # Staged and published ones alike; the newest two that are older.
    vendor.add("1.2.0", Architecture.I386)
    vendor.add("3.0.0")
    graph = staging.read(vendor.layout, Graph(APPLIANCE))
    found = adding.earlier(graph, Release(Architecture.AMD64, APPLIANCE, "2.0.0"))
    assert [one.version for one in found] == ["1.2.0", "1.1.0"]
    places = list(
        adding._references(vendor.layout, graph, Release(Architecture.AMD64, APPLIANCE, "2.0.0"))
    )
    assert [place.parent.parent.name for place in places] == ["staged", "public"]
    assert b"".join(Image(places[0]).chunks()) == (vendor.place / "1.2.0-i386/slot").read_bytes()


def test_renewing_takes_the_online_keys_alone(vendor: Vendor) -> None:
    box = vendor.box("box")
    before = box.look()
    vendor.add("1.0.0")
    outcome = vendor.renew()
    seen = box.look()
    assert (seen.timestamp, seen.snapshot) == (before.timestamp + 1, before.snapshot + 1)
    assert seen.targets == before.targets
    # What is staged stays staged.
    assert seen.graph == before.graph
    assert outcome.published.graph == before.graph
    assert vendor.layout.staged_graph.exists()


def test_publishing_nothing_new_makes_it_valid_anew(tmp_path: Path) -> None:
    vendor = Vendor(tmp_path)
    now_s = time.time()
    vendor.create(now_s=now_s - 100 * DAY_S, days={Role.TIMESTAMP: 101, Role.SNAPSHOT: 101})
    terms = repository_status.look(vendor.layout, now_s).terms
    assert [round(one.left_days(now_s)) for one in terms] == [265, 80, 1, 1]
    vendor.publish(sign_root=True)
    status = repository_status.look(vendor.layout, now_s)
    assert [round(one.left_days(now_s)) for one in status.terms] == [365, 180, 101, 101]
    assert vendor.box("box").look().root == 2
    root = (vendor.layout.metadata / "2.root.json").read_bytes()
    assert (vendor.layout.directory / repository_layout.ROOT_OVERLAY).read_bytes() == root


def test_what_a_client_with_older_metadata_needs_stays(vendor: Vendor) -> None:
    for version in ("1.0.0", "1.1.0"):
        vendor.add(version)
        vendor.publish()
    vendor.repository().withdraw("1.0.0", None, "old")
    vendor.publish()
    names = {path.name for path in vendor.layout.metadata.iterdir()}
    assert {f"{number}.targets.json" for number in range(1, 5)} <= names
    assert len(list(vendor.layout.targets.glob("*.graph.json"))) == 4
    assert len(list((vendor.layout.public / "bundles").iterdir())) == 4


@pytest.mark.parametrize(
    ("days", "state", "remedies"),
    [
        (0, State.VALID, []),
        (5, State.ENDS_SOON, [Role.SNAPSHOT, Role.TIMESTAMP]),
        (8, State.EXPIRED, [Role.SNAPSHOT, Role.TIMESTAMP]),
        (170, State.EXPIRED, [Role.TARGETS, Role.SNAPSHOT, Role.TIMESTAMP]),
        (310, State.EXPIRED, [Role.ROOT, Role.TARGETS, Role.SNAPSHOT, Role.TIMESTAMP]),
    ],
)
def test_status_warns_before_anything_ends(
    days: int, state: State, remedies: list[Role], vendor: Vendor
) -> None:
    now_s = time.time() + days * DAY_S
    status = repository_status.look(vendor.layout, now_s)
    assert status.state is state
    wrong = [one for one in status.terms if one.state(now_s) is not State.VALID]
    assert [one.role for one in wrong] == remedies
    assert all("KEYS" in repository_status.remedy(one) for one in wrong)
    assert repository_status.look(vendor.layout, time.time(), 1000).state is State.ENDS_SOON


def test_discarding_forgets_what_is_staged(vendor: Vendor) -> None:
    vendor.add("1.0.0")
    assert vendor.repository().discard()
    assert not vendor.repository().discard()
    vendor.publish()
    assert vendor.box("box").look().graph == Graph(APPLIANCE)
    vendor.add("1.0.0")
    vendor.publish()
    assert _versions(vendor.box("box").look().graph) == ["1.0.0"]


def _offer(version: str = "2.0.0", appliance: str = APPLIANCE, **more: object) -> Offer:
    architecture = more.pop("architecture", Architecture.AMD64)
    slot_bytes = more.pop("slot_bytes", 0)
    release = Release(architecture, appliance, version, slot_bytes=slot_bytes)  # type: ignore[arg-type]
    return Offer(release, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("offer", "error", "message"),
    [
        (_offer(appliance="router"), WrongBundleError, "for the appliance 'router'"),
        (_offer("1.0.0"), RepositoryError, "there is a release 1.0.0"),
        (_offer("1.0"), RepositoryError, "there is a release 1.0.0"),
        (_offer("1.0.0", architecture=Architecture.I386), WrongBundleError, "describes 1.0.0"),
        (_offer("3.0.0"), WrongBundleError, "describes 3.0.0 for amd64"),
        (_offer(slot_bytes=1 << 20), WrongBundleError, "slots of 1048576"),
        (_offer("two"), RepositoryError, "no version"),
        (_offer("../2"), RepositoryError, "no version"),
        (_offer(replaces=("0.9",)), RepositoryError, "replace 0.9"),
        (
            _offer(architecture=Architecture.I386, crossing=True),
            RepositoryError,
            "cannot be the crossing",
        ),
    ],
)
def test_what_does_not_belong_here_is_not_staged(
    offer: Offer, error: type[Exception], message: str, vendor: Vendor
) -> None:
    vendor.add("1.0.0")
    vendor.publish()
    with pytest.raises(error, match=message) as caught:
        vendor.repository().add(Addition(vendor.slot("2.0.0"), offer), NoProgress())
    assert caught.value.hint  # type: ignore[attr-defined]
    assert not vendor.layout.staged_graph.exists()


def test_what_is_no_slot_image_is_not_staged(vendor: Vendor) -> None:
    for content in (b"", b"nothing", b"\x28\xb5\x2f\xfdtorn"):
        path = vendor.place / "image"
        path.write_bytes(content)
        with pytest.raises(SlotError):
            vendor.repository().add(Addition(path, _offer()), NoProgress())
    with pytest.raises(SettingsError, match="No such file"):
        vendor.repository().add(Addition(vendor.place / "nowhere", _offer()), NoProgress())
    whole = vendor.slot("2.0.0")
    packed = zstandard.ZstdCompressor().compress(whole.read_bytes())
    (vendor.place / "torn.zst").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SlotError):
        vendor.repository().add(Addition(vendor.place / "torn.zst", _offer()), NoProgress())
    assert not vendor.layout.staged_graph.exists()
    (vendor.place / "whole.zst").write_bytes(packed)
    vendor.repository().add(Addition(vendor.place / "whole.zst", _offer()), NoProgress())
    vendor.publish()
    assert _versions(vendor.box("box").look().graph) == ["2.0.0"]


@pytest.mark.parametrize(
    "wish", [Wish(share_percent=101), Wish(share_percent=-1), Wish(channels=("a b",))]
)
def test_a_wish_that_cannot_be(wish: Wish, vendor: Vendor) -> None:
    vendor.add("1.0.0")
    with pytest.raises(RepositoryError):
        vendor.repository().offer("1.0.0", None, wish)


def test_a_version_of_both_architectures(vendor: Vendor) -> None:
    vendor.add("1.0.0", Architecture.I386)
    vendor.add("1.0.0", Architecture.AMD64)
    vendor.repository().offer("1.0.0", Architecture.I386, Wish(share_percent=7))
    vendor.repository().withdraw("1.0.0", None, "both are bad")
    vendor.publish()
    offers = vendor.box("box").look().graph.offers
    assert {(one.architecture.value, one.share_percent) for one in offers} == {
        ("i386", 7),
        ("amd64", 100),
    }
    assert {one.withdrawn for one in offers} == {"both are bad"}
    with pytest.raises(RepositoryError, match="no release 4"):
        vendor.repository().withdraw("4", None, "why")


def test_a_release_that_is_dropped(vendor: Vendor) -> None:
    for version in ("1.0.0", "1.1.0"):
        vendor.add(version, barrier=version == "1.1.0")
    vendor.publish()
    with pytest.raises(RepositoryError, match="is a barrier"):
        vendor.repository().drop("1.1.0", None)
    assert vendor.repository().drop("1.0.0", None).changed == ("1.0.0 (amd64): dropped",)
    with pytest.raises(RepositoryError, match=r"there is a release 1\.0\.0"):
        vendor.add("1.0.0")
    outcome = vendor.publish()
    assert set(outcome.published.targets.signed.targets) == {
        "graph.json",
        "bundles/gateway-1.1.0-amd64.json",
    }
    assert _versions(vendor.box("box").look().graph) == ["1.1.0"]
    # What a box fetches that looked before is there still.
    assert len(list((vendor.layout.public / "bundles").iterdir())) == 4


def test_what_would_be_too_large_for_boxes_is_not_signed(vendor: Vendor) -> None:
    vendor.add("1.0.0")
    graph = staging.read(vendor.layout, Graph(APPLIANCE))
    first = graph.offers[0]
    said = vendor.layout.staged_target(first.bundle)
    manifest = manifest_file.decode(said.read_bytes(), first.bundle)
    offers = []
    for number in range(300):
        release = first.release._replace(version=f"1.{number}.0")
        target = first.bundle.replace("1.0.0", release.version)
        offers.append(replace(first, release=release, bundle=target))
        content = manifest_file.encode(replace(manifest, release=release))
        vendor.layout.staged_target(target).write_bytes(content)
    staging.write(vendor.layout, replace(graph, offers=tuple(offers)), Effects())
    seen = vendor.box("box").look()
    with pytest.raises(RepositoryError, match="boxes take 32768 at most") as caught:
        vendor.publish()
    assert "release drop" in caught.value.hint
    assert vendor.box("box").look() == seen
    for number in range(200, 300):
        vendor.repository().drop(f"1.{number}.0", None)
    vendor.publish()
    assert len(vendor.box("box").look().graph.offers) == 200


def test_the_appliance_itself_trusts_it(vendor: Vendor) -> None:
    root = (vendor.layout.directory / repository_layout.ROOT_OVERLAY).read_bytes()
    vendor.add("1.0.0")
    vendor.publish()
    for role in Role:
        vendor.rotate(role)
    source = DirectorySource(vendor.layout.public)
    trust = Trust(vendor.place / "cache", root, source, time.time, Effects(), appliance=APPLIANCE)
    trust.refresh()
    offer = trust.graph().offers[0]
    assert offer.version == "1.0.0"
    manifest = trust.manifest(offer)
    size_bytes = manifest.payload.size_bytes
    content = b"".join(source.fetch(manifest.payload.path, size_bytes))
    assert hashlib.sha256(content).hexdigest() == manifest.payload.sha256
    ends_s = vendor.renew().published.timestamp.signed.expires.timestamp()
    trust.refresh()
    assert trust.expires_s() == ends_s


def test_a_repository_is_made_once(vendor: Vendor) -> None:
    other = Vendor(vendor.place / "other")
    other.place.mkdir()
    (other.place / "repo").symlink_to(vendor.layout.directory)
    with pytest.raises(RepositoryError, match="holds a repository already"):
        other.create()
    assert not other.keys.exists()
    with pytest.raises(SigningKeyError, match="never overwritten"):
        Vendor(vendor.place).create()


def test_where_no_repository_is(tmp_path: Path) -> None:
    nowhere = Repository(Layout(tmp_path / "none"), Effects())
    with pytest.raises(RepositoryError, match="is no directory"):
        nowhere.discard()
    with pytest.raises(RepositoryError, match="holds no repository"):
        Repository(Layout(tmp_path), Effects()).discard()
    with pytest.raises(RepositoryError, match="holds no repository"):
        repository_status.look(Layout(tmp_path), 0)


def test_a_state_file_that_is_wrong(vendor: Vendor) -> None:
    good = json.loads(vendor.layout.state.read_bytes())
    wrong: list[object] = [
        [],
        good | {"schema": 2},
        good | {"schema": "1"},
        good | {"appliance": "../x"},
        good | {"roles": {}},
        good | {"keys": [{"name": "../x", "role": "root", "id": "a", "uri": "file:x"}]},
        good | {"keys": [{"name": "x", "role": "boss", "id": "a", "uri": "file:x"}]},
    ]
    for document in wrong:
        with pytest.raises(RepositoryError):
            repository_state.decode(json.dumps(document).encode())
    with pytest.raises(RepositoryError):
        repository_state.decode(b"\xff")
    decoded = repository_state.decode(json.dumps(good).encode())
    assert repository_state.decode(repository_state.encode(decoded)) == decoded
    for name in ("", "Gateway", "a/b", "-x", "x" * 65):
        with pytest.raises(RepositoryError):
            repository_state.new(name, {})
    with pytest.raises(RepositoryError):
        repository_state.new("x", {Role.ROOT: 0})


def test_one_command_at_a_time(vendor: Vendor) -> None:
    with (
        repository_layout.only_command(vendor.layout),
        pytest.raises(AlreadyRunningError, match="another command is at work"),
    ):
        vendor.publish()
    # Looking needs no lock.
    with repository_layout.only_command(vendor.layout):
        repository_status.look(vendor.layout, time.time())
    vendor.publish()


def test_renewing_waits_for_another_command(vendor: Vendor) -> None:
    held, done = Event(), Event()

    def other() -> None:
        with repository_layout.only_command(vendor.layout):
            held.set()
            done.wait(60)

    with ThreadPoolExecutor() as pool:
        holding = pool.submit(other)
        assert held.wait(60)
        renewing = pool.submit(vendor.renew)
        with pytest.raises(AlreadyRunningError):
            vendor.publish()
        assert not renewing.done()
        done.set()
        holding.result()
        assert renewing.result().published.timestamp.signed.version == 2


def test_what_somebody_changed_is_not_signed(vendor: Vendor) -> None:
    vendor.add("1.0.0")
    vendor.publish()
    graph = max(vendor.layout.targets.glob("*.graph.json"), key=lambda path: path.stat().st_mtime)
    for path in (
        graph,
        vendor.layout.metadata / "2.targets.json",
        vendor.layout.metadata / "2.snapshot.json",
        vendor.layout.metadata / "timestamp.json",
        vendor.layout.metadata / "1.root.json",
    ):
        before = path.read_bytes()
        for found, other in ((b"amd64", b"AMD64"), (b"version", b"versiom"), (b"2026", b"3026")):
            if found not in before:
                continue
            path.write_bytes(before.replace(found, other))
            with pytest.raises((SignatureError, RepositoryError)):
                vendor.publish()
        path.write_bytes(b"{}")
        with pytest.raises((SignatureError, RepositoryError)):
            vendor.publish()
        path.unlink()
        with pytest.raises(RepositoryError):
            vendor.publish()
        path.write_bytes(before)
    vendor.publish()


def test_a_staged_bundle_that_changed_is_not_published(vendor: Vendor) -> None:
    vendor.add("1.0.0")
    payload = next((vendor.layout.staged / "bundles").glob("*.payload.zst"))
    content = payload.read_bytes()
    seen = vendor.box("box").look()
    for wrong in (content[:-1], content[:-1] + bytes([content[-1] ^ 1])):
        payload.write_bytes(wrong)
        with pytest.raises(PayloadError, match="was changed"):
            vendor.publish()
    payload.unlink()
    with pytest.raises(PayloadError, match="is missing"):
        vendor.publish()
    assert vendor.box("box").look() == seen
    payload.write_bytes(content)
    vendor.publish()
    assert _versions(vendor.box("box").look().graph) == ["1.0.0"]


def test_a_clock_that_went_back_signs_nothing(vendor: Vendor) -> None:
    seen = vendor.box("box").look()
    for earlier_s in (time.time() - 2 * 3600, 0.0):
        with pytest.raises(WrongClockError, match="stands before"):
            vendor.repository().renew(vendor.places, earlier_s)
        with pytest.raises(WrongClockError):
            vendor.repository().publish(vendor.places, earlier_s)
    for command in (vendor.repository().renew, vendor.repository().publish):
        command(vendor.places, time.time() - 60)
    seen = vendor.box("box").look()
    # A clock that stood a century ahead must not stop all signing for good.
    vendor.repository().publish(vendor.places, time.time() + 100 * 365 * DAY_S)
    with pytest.raises(WrongClockError, match="stands before") as caught:
        vendor.publish()
    assert "--clock-is-right" in caught.value.hint
    with pytest.raises(WrongClockError):
        vendor.rotate(Role.ROOT)
    vendor.repository().publish(vendor.places, time.time(), clock_is_right=True)
    assert vendor.box("box").look().timestamp == seen.timestamp + 2
    vendor.rotate(Role.TIMESTAMP)
    seen = vendor.box("box").look()
    vendor.renew()
    assert vendor.box("box").look().timestamp == seen.timestamp + 1


def test_a_key_that_is_missing_changes_nothing(vendor: Vendor) -> None:
    vendor.add("1.0.0")
    seen = vendor.box("box").look()
    offline = KeyPlaces((vendor.keys / "offline",), no_secrets)
    with pytest.raises(SigningKeyError, match="snapshot-1 is not at hand") as caught:
        vendor.repository().publish(offline, time.time())
    assert "--keys" in caught.value.hint
    online = KeyPlaces((vendor.keys / "online",), no_secrets)
    with pytest.raises(SigningKeyError, match="targets-1, targets-2 are not at hand"):
        vendor.repository().publish(online, time.time())
    assert vendor.box("box").look() == seen
    both = KeyPlaces((vendor.keys / "online", vendor.keys / "offline"), no_secrets)
    vendor.repository().publish(both, time.time())
    assert _versions(vendor.box("box").look().graph) == ["1.0.0"]


def test_a_full_disk_leaves_what_was_served(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k,mode=755", "none", str(small)],
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("needs root, to mount a small file system")
    try:
        vendor = Vendor(tmp_path)
        (tmp_path / "repo").symlink_to(small)
        vendor.create()
        seen = vendor.box("box").look()
        slot = vendor.slot("1.0.0", content=os.urandom(700_000))
        addition = Addition(slot, _offer("1.0.0"))
        with pytest.raises(DiskFullError):
            vendor.repository().add(addition, NoProgress())
        assert not vendor.layout.staged_graph.exists()
        vendor.slot("1.0.0", content=b"little")
        vendor.repository().add(addition, NoProgress())
        filler = small / "filler"
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(os.urandom(1 << 20))
        with pytest.raises(DiskFullError):
            vendor.publish()
        assert vendor.box("box").look() == seen
        filler.unlink()
        vendor.publish()
        assert _versions(vendor.box("box").look().graph) == ["1.0.0"]
    finally:
        subprocess.run(["umount", str(small)], check=True)

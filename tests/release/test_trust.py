"""What is trusted over time: new roots, damaged caches, power cuts, full disks, odd metadata."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.formats import encode_canonical

from applianceforge.model.errors import (
    DiskFullError,
    ForgeError,
    RollbackError,
    SignatureError,
)
from applianceforge.release import clock, graph_file, manifest_file, metadata_limits
from applianceforge.release.fetch.directory_source import DirectorySource
from applianceforge.release.fetch.http_source import HttpSource
from applianceforge.release.graph import Graph
from applianceforge.release.update.trust import Trust
from applianceforge.release.update.trust_cache import TrustCache
from applianceforge.system.effects import Effect, Effects
from tests.release.attacked import (
    DAY_S,
    MOST_BYTES,
    NOW_S,
    QUICK,
    World,
    plain_source_of,
    source_of,
    world,
)
from tests.release.metadata_repository import (
    APPLIANCE,
    MetadataRepository,
    gateway,
    manifest_of,
    offer,
)
from tests.release.server import Fault, Kind

ROLES = ("root", "timestamp", "snapshot", "targets")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")


@pytest.fixture
def repository(tmp_path: Path) -> MetadataRepository:
    return gateway(tmp_path / "repository", NOW_S)


def trust_in(
    repository: MetadataRepository,
    cache: Path,
    effects: Effects | None = None,
    root: bytes = b"",
    now_s: float = NOW_S,
) -> Trust:
    return Trust(
        cache,
        root or repository.first_root,
        DirectorySource(repository.directory),
        lambda: now_s,
        effects or Effects(),
        appliance=APPLIANCE,
    )


def cached_version(cache: Path, role: str) -> int:
    version: int = json.loads((cache / f"{role}.json").read_bytes())["signed"]["version"]
    return version


def test_all_is_well(repository: MetadataRepository, tmp_path: Path) -> None:
    trust = trust_in(repository, tmp_path / "cache")
    trust.refresh()
    assert trust.expires_s() == repository.timestamp.expires.timestamp()
    graph = trust.graph()
    assert [one.version for one in graph.offers] == ["1.0.0", "2.0.0"]
    assert trust.manifest(graph.offers[1]) == manifest_of(graph.offers[1].release)


def test_nothing_is_written_where_nothing_is_new(
    repository: MetadataRepository, tmp_path: Path
) -> None:
    first, second = Effects(), Effects()
    trust_in(repository, tmp_path / "cache", first).refresh()
    trust_in(repository, tmp_path / "cache", second).refresh()
    assert first.count == 4
    assert second.count == 0


def test_a_look_at_twenty_releases_moves_little(tmp_path: Path) -> None:
    """The real source, over HTTP, with all that a refused update looks at."""
    with world(tmp_path) as here:
        for version in range(20):
            one = offer(f"1.{version}.0")
            here.evil.add_target(one.bundle, manifest_file.encode(manifest_of(one.release)))
        offers = tuple(offer(f"1.{version}.0") for version in range(20))
        here.evil.add_target("graph.json", graph_file.encode(Graph(APPLIANCE, offers)))
        for _ in range(4):
            here.evil.rotate("root", "timestamp", "snapshot", "targets", threshold=2)
        here.evil.publish()
        with source_of(here) as source:
            here.update(source)
            assert source.received_bytes == here.server.settled().bytes_sent < MOST_BYTES


# -- Roots


def test_from_the_first_root_to_the_fifth_at_once(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        for _ in range(4):
            here.evil.rotate("root", "timestamp", "targets")
        here.evil.publish()
        with plain_source_of(here) as source:
            here.update(source)
        asked = [one for one in here.server.asked if one.endswith("root.json")]
        assert asked == [f"metadata/{version}.root.json" for version in range(2, 7)]
        here.server.asked.clear()
        with plain_source_of(here) as source:
            here.update(source)
        # What is kept is followed, although the shipped root is still the first.
        assert "metadata/6.root.json" in here.server.asked
        assert "metadata/5.root.json" not in here.server.asked


def test_a_newer_shipped_root_and_an_older_cache(
    repository: MetadataRepository, tmp_path: Path
) -> None:
    repository.rotate("timestamp")
    repository.publish()
    trust_in(repository, tmp_path / "cache").refresh()
    repository.rotate("root")
    repository.rotate("timestamp")
    repository.publish()
    for root in repository.roots:
        trust_in(repository, tmp_path / "cache", root=root).refresh()


def test_a_root_of_other_keys_begins_anew(repository: MetadataRepository, tmp_path: Path) -> None:
    """The vendor lost all keys: an image with another root must not be kept down by the cache."""
    for _ in range(3):
        repository.rotate("timestamp")
        repository.publish()
    trust_in(repository, tmp_path / "cache").refresh()
    other = gateway(tmp_path / "other", NOW_S)
    other.rotate("snapshot")
    other.publish()
    trust_in(other, tmp_path / "cache").refresh()
    assert cached_version(tmp_path / "cache", "timestamp") == other.timestamp.version


@pytest.mark.parametrize("root", [b"", b"{}", b"[" * 5000, b"\xff"])
def test_a_shipped_root_that_is_none(
    repository: MetadataRepository, tmp_path: Path, root: bytes
) -> None:
    source = DirectorySource(repository.directory)
    trust = Trust(tmp_path / "cache", root, source, lambda: NOW_S, Effects())
    with pytest.raises(SignatureError, match="root of trust") as caught:
        trust.refresh()
    assert "image" in caught.value.hint
    assert source.received_bytes == 0


def test_fast_forward_and_the_way_out(repository: MetadataRepository, tmp_path: Path) -> None:
    """Specification, section 5.3.11: new keys for timestamp and snapshot undo it."""
    cache = tmp_path / "cache"
    evil = repository.fork(tmp_path / "evil")
    evil.snapshot.version = evil.timestamp.version = (1 << 31) - 2
    evil.publish()
    trust_in(evil, cache).refresh()
    assert cached_version(cache, "timestamp") == (1 << 31) - 1
    with pytest.raises(RollbackError):
        trust_in(repository, cache).refresh()
    repository.rotate("timestamp", "snapshot")
    repository.publish()
    trust_in(repository, cache).refresh()
    assert cached_version(cache, "timestamp") == repository.timestamp.version == 2


def test_fast_forward_of_the_targets(repository: MetadataRepository, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    evil = repository.fork(tmp_path / "evil")
    evil.targets.version = (1 << 31) - 2
    evil.publish()
    trust_in(evil, cache).refresh()
    repository.publish()
    with pytest.raises(RollbackError):
        repository.publish()
        trust_in(repository, cache).refresh()
    repository.rotate("targets", "snapshot", "timestamp")
    repository.publish()
    trust_in(repository, cache).refresh()


# -- The cache


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _gone(path: Path) -> None:
    path.unlink()


def _directory(path: Path) -> None:
    path.unlink()
    (path / "in it").mkdir(parents=True)


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _huge(path: Path) -> None:
    os.truncate(path, 1 << 30)


def _another_version(path: Path) -> None:
    document = json.loads(path.read_bytes())
    document["signed"]["version"] += 1000
    path.write_text(json.dumps(document))


DAMAGES = (_empty, _torn, _zeros, _gone, _directory, _link, _pipe, _huge, _another_version)
FILES = (
    "timestamp.json",
    "snapshot.json",
    "targets.json",
    "root_history/2.root.json",
    "root_history/3.root.json",
)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__.strip("_"))
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_cache_heals(
    repository: MetadataRepository, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    cache = tmp_path / "cache"
    repository.rotate("timestamp")
    repository.rotate("snapshot")
    repository.publish()
    trust_in(repository, cache).refresh()
    good = {one: (cache / one).read_bytes() for one in FILES}
    damage(cache / name)
    trust = trust_in(repository, cache)
    trust.refresh()
    assert trust.graph().offers
    assert {one: (cache / one).read_bytes() for one in FILES} == good


@pytest.mark.parametrize("what", ["file", "link", "nothing"])
def test_a_cache_that_is_none(repository: MetadataRepository, tmp_path: Path, what: str) -> None:
    cache = tmp_path / "cache"
    trust_in(repository, cache).refresh()
    assert not (cache / "root_history").exists()
    if what == "file":
        (cache / "root_history").write_bytes(b"x")
    elif what == "link":
        (cache / "root_history").symlink_to(tmp_path / "nowhere")
    repository.rotate("timestamp")
    repository.publish()
    trust_in(repository, cache).refresh()
    assert (cache / "root_history/2.root.json").is_file()
    assert not (tmp_path / "nowhere").exists()


class _PowerCutError(BaseException):
    """The power goes."""


def _cut_after(number: int) -> Effects:
    def observe(effect: Effect) -> None:
        if effect.number == number:
            raise _PowerCutError

    return Effects(observe)


def test_a_power_cut_at_every_effect(repository: MetadataRepository, tmp_path: Path) -> None:
    first = repository.fork(tmp_path / "first")
    for _ in range(3):
        repository.rotate("root", "timestamp")
    repository.publish()
    repository.publish()
    cuts = 0
    for number in range(1, 100):
        cache = tmp_path / f"cache-{number}"
        trust_in(first, cache).refresh()
        try:
            trust_in(repository, cache, _cut_after(number)).refresh()
        except _PowerCutError:
            cuts += 1
        else:
            break
        before = cached_version(cache, "timestamp")
        # What was kept protects at once; and whatever was kept, the box goes on.
        if (cache / "root_history/4.root.json").exists():
            with pytest.raises((RollbackError, SignatureError)):
                trust_in(first, cache).refresh()
        trust_in(repository, cache).refresh()
        assert cached_version(cache, "timestamp") == repository.timestamp.version >= before
    # A directory, three roots, timestamp, snapshot and targets.
    assert cuts == 7


def test_what_was_accepted_before_an_error_is_kept(
    repository: MetadataRepository, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    older = repository.fork(tmp_path / "older")
    trust_in(repository, cache).refresh()
    repository.publish()
    (repository.directory / repository.name("snapshot")).write_bytes(b"{}")
    with pytest.raises(SignatureError):
        trust_in(repository, cache).refresh()
    with pytest.raises(RollbackError):
        trust_in(older, cache).refresh()


def test_two_at_once(repository: MetadataRepository, tmp_path: Path) -> None:
    """Who began earlier and ends later, takes nothing back."""
    cache, scratch = tmp_path / "cache", tmp_path / "scratch"
    trust_in(repository, cache).refresh()
    scratch.mkdir()
    slow = TrustCache(cache, Effects())
    slow.copy_to(scratch)
    (scratch / "timestamp.json").write_bytes(b"what the slow one trusted")
    repository.publish()
    trust_in(repository, cache).refresh()
    slow.keep(scratch, repository.first_root)
    assert cached_version(cache, "timestamp") == repository.timestamp.version


@contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@as_root
def test_a_disk_that_is_full(repository: MetadataRepository, tmp_path: Path) -> None:
    with mounted(tmp_path / "data", "size=64k") as data:
        older = repository.fork(tmp_path / "older")
        repository.publish()
        trust_in(repository, data / "cache").refresh()
        kept = cached_version(data / "cache", "timestamp")
        with (
            (data / "filling").open("wb", buffering=0) as stream,
            pytest.raises(OSError, match="28"),
        ):
            while True:
                stream.write(bytes(4096))
        repository.rotate("targets")
        repository.publish()
        with pytest.raises(DiskFullError) as caught:
            trust_in(repository, data / "cache").refresh()
        assert "room" in caught.value.hint
        assert cached_version(data / "cache", "timestamp") == kept
        with pytest.raises(RollbackError):
            trust_in(older, data / "cache").refresh()
        (data / "filling").unlink()
        trust_in(repository, data / "cache").refresh()
        assert cached_version(data / "cache", "timestamp") == repository.timestamp.version


@as_root
def test_a_directory_that_may_only_be_read(repository: MetadataRepository, tmp_path: Path) -> None:
    older = repository.fork(tmp_path / "older")
    repository.publish()
    with mounted(tmp_path / "data", "size=1m") as data:
        trust_in(repository, data / "cache").refresh()
        subprocess.run(["mount", "-o", "remount,ro", str(data)], check=True)
        repository.publish()
        effects = Effects()
        trust = trust_in(repository, data / "cache", effects)
        trust.refresh()
        assert trust.graph().offers
        assert effects.count == 0
        with pytest.raises(RollbackError):
            trust_in(older, data / "cache").refresh()


@as_root
def test_another_user_may_look(repository: MetadataRepository, tmp_path: Path) -> None:
    """`update --check` without root: the cache is closed to it, and nothing of it changes."""
    cache = tmp_path / "cache"
    trust_in(repository, cache).refresh()
    before = sorted(cache.rglob("*"))
    for path in (tmp_path, *tmp_path.parents):
        if path != Path("/") and not path.stat().st_mode & 0o001:
            path.chmod(path.stat().st_mode | 0o011)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            trust = trust_in(repository, cache)
            trust.refresh()
            status = 0 if trust.graph().offers else 2
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended) == 0
    assert sorted(cache.rglob("*")) == before


# -- Trouble that passes


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Kind.STATUS, "metadata/*", number=503, times=2),
        Fault(Kind.HANG_UP, "metadata/*", times=2),
        Fault(Kind.RESET, "metadata/timestamp.json", at_bytes=20, times=2),
        Fault(Kind.CUT, "targets/*", at_bytes=20, times=3),
        Fault(Kind.REDIRECT, "metadata/timestamp.json", text="/metadata/./timestamp.json", times=1),
    ],
    ids=lambda fault: fault.kind.value,
)
def test_trouble_that_passes(tmp_path: Path, fault: Fault) -> None:
    with world(tmp_path) as here:
        patient = replace(QUICK, outage_s=30.0, first_outage_s=30.0, longest_pause_s=0.2)
        here.settings = replace(here.settings, limits=patient)
        here.faults(fault)
        with source_of(here) as source:
            here.update(source)
        assert here.server.happened(fault.kind) == fault.times


def test_the_server_is_gone_for_a_while_between_two_files(tmp_path: Path) -> None:
    with world(tmp_path) as here:
        patient = replace(QUICK, outage_s=30.0, longest_pause_s=0.2)
        source = HttpSource(replace(here.settings, limits=patient))
        trust = here.trust(source)
        trust.refresh()
        here.server.stop()
        with pytest.raises(ForgeError):
            here.trust(HttpSource(here.settings)).refresh()
        here.server.start()
        assert trust.manifest(trust.graph().offers[-1])


# -- Odd metadata: whatever it is, an error of ours


def _seen(here: MetadataRepository, cache: Path) -> ForgeError | None:
    trust = trust_in(here, cache)
    try:
        trust.refresh()
        trust.manifest(trust.graph().offers[-1])
    except ForgeError as error:
        assert error.hint
        assert len(error.message) < 2000
        return error
    return None


def test_bytes_that_were_changed(repository: MetadataRepository, tmp_path: Path) -> None:
    repository.hashes = False
    repository.rotate("timestamp")
    repository.publish()
    chance = random.Random(7)
    refused = 0
    files = [one for one in repository.directory.rglob("*.json") if "1." not in one.name[:2]]
    for number in range(120):
        path = chance.choice(files)
        good = path.read_bytes()
        bad = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(bad))
            what = chance.randrange(3)
            if what == 0:
                bad[at] = chance.randrange(256)
            elif what == 1:
                del bad[at : at + chance.randint(1, 50)]
            else:
                bad[at:at] = chance.choice([b"[", b"{", b"9" * 30, b'"', b"null", b"\x00"])
        path.write_bytes(bad)
        refused += _seen(repository, tmp_path / f"cache-{number}") is not None
        path.write_bytes(good)
    assert refused > 90
    assert _seen(repository, tmp_path / "good") is None


ODD: tuple[Any, ...] = (
    None, True, -1, 0, 10**30, "", "x", [], {}, [[]], {"a": 1}, "9999-99-99T00:00:00Z",
    "../../etc/passwd", [None], {"": None},
)  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    inside: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    if isinstance(value, list):
        inside = list(enumerate(value))
    for key, inner in inside:
        yield from _places(inner, (*path, key))


@pytest.mark.parametrize("role", ROLES)
def test_odd_values_that_are_signed(
    repository: MetadataRepository, tmp_path: Path, role: str
) -> None:
    """With true keys, any value of any field may be anything."""
    repository.hashes = False
    repository.rotate("timestamp")
    repository.publish()
    path = repository.directory / repository.name(role)
    document = json.loads(path.read_bytes())
    good = path.read_bytes()
    chance = random.Random(11)
    tried = 0
    for place in _places(document["signed"]):
        for odd in chance.sample(ODD, 4):
            changed = json.loads(json.dumps(document))
            inner = changed["signed"]
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = odd
            payload = str(encode_canonical(changed["signed"])).encode()
            signers = {one.public_key.keyid: one for one in repository.signers[role]}
            changed["signatures"] = [
                signers[one["keyid"]].sign(payload).to_dict()
                for one in document["signatures"]
                if one["keyid"] in signers
            ]
            path.write_text(json.dumps(changed))
            _seen(repository, tmp_path / f"cache-{tried}")
            tried += 1
    path.write_bytes(good)
    assert tried > 20
    assert _seen(repository, tmp_path / "good") is None


def test_a_hundred_roots_at_once(repository: MetadataRepository, tmp_path: Path) -> None:
    for _ in range(100):
        repository.rotate("timestamp")
    repository.publish()
    trust_in(repository, tmp_path / "cache").refresh()
    trust_in(repository, tmp_path / "cache").refresh()
    assert metadata_limits.MOST_ROOTS > 100


def test_it_is_refreshed_when_asked_for_first(
    repository: MetadataRepository, tmp_path: Path
) -> None:
    assert trust_in(repository, tmp_path / "cache").expires_s() > NOW_S


# -- The clock


def test_the_clock_that_counts_is_the_one_that_is_given(
    repository: MetadataRepository, tmp_path: Path
) -> None:
    trust_in(repository, tmp_path / "cache", now_s=NOW_S + 29 * DAY_S).refresh()
    for days in (31, 300):
        with pytest.raises(ForgeError, match="out of date since 2027-02-14"):
            trust_in(repository, tmp_path / "cache", now_s=NOW_S + days * DAY_S).refresh()


@pytest.mark.parametrize("now_s", [NOW_S, NOW_S + 1, NOW_S + 20 * 365 * DAY_S])
def test_clocks_that_may_be_right(now_s: float) -> None:
    clock.check(now_s, NOW_S)
    clock.check(0.0, 0.0)


@pytest.mark.parametrize("now_s", [-1e18, -1.0, 0.0, NOW_S - 1, NOW_S + 40 * 366 * DAY_S, 1e18])
def test_clocks_that_cannot_be(now_s: float) -> None:
    with pytest.raises(ForgeError) as caught:
        clock.check(now_s, NOW_S)
    assert caught.value.exit_status == 77
    assert "clock" in caught.value.hint


def test_the_servers_time_is_a_hint_only() -> None:
    expired_s = NOW_S + 30 * DAY_S
    ahead = NOW_S + 400 * DAY_S
    assert "far ahead" in clock.doubt(ahead, expired_s, NOW_S)
    assert "proves nothing" in clock.doubt(ahead, expired_s, NOW_S)
    assert "far ahead" not in clock.doubt(ahead, expired_s, ahead)
    assert "far ahead" not in clock.doubt(ahead, expired_s, None)
    assert "watch" in clock.doubt(ahead, expired_s, None)


def test_a_world_is_as_it_says(tmp_path: Path) -> None:
    with world(tmp_path) as here, plain_source_of(here) as source:
        assert isinstance(here, World)
        here.update(source)
        assert cached_version(here.cache, "timestamp") == 3

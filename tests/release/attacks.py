"""The table of attacks and faults: what is done, and which error the box must end with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tuf.api.metadata import TargetFile

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import (
    ExpiredError,
    ForgeError,
    NetworkError,
    RepositoryError,
    RollbackError,
    ServerAnswerError,
    SignatureError,
    WrongBundleError,
    WrongClockError,
)
from applianceforge.release import graph_file, manifest_file
from applianceforge.release.graph import Graph
from tests.release.attacked import BUILT_S, DAY_S, NOW_S, World
from tests.release.metadata_repository import (
    APPLIANCE,
    MetadataRepository,
    manifest_of,
    offer,
    signer,
)
from tests.release.server import Fault, Kind

GRAPH = "graph.json"
MANIFEST = "bundles/gateway-2.0.0-amd64.json"
PARTS = ("root", "timestamp", "snapshot", "targets", "graph", "manifest")
YESTERDAY = datetime.fromtimestamp(NOW_S, UTC).replace(microsecond=0) - timedelta(days=1)


@dataclass(frozen=True)
class Case:
    """One attack or fault.

    Attributes:
        name: What it is called in the report.
        arrange: Does it to a world.
        error: What the box must end with.
        says: Words of the message.
        hint: Words of the hint.
        kind: The server's fault that must have happened.
        fresh: The box never saw the repository before.
        hashes: The repository's metadata names digests of metadata.
        threshold: So many signatures are needed.
        asks: Whether the box may ask the server for anything.
        recovers: Whether the true repository, published once more, works afterwards; what was
            signed with true keys may count more than it.
    """

    name: str
    arrange: Callable[[World], None]
    error: type[ForgeError]
    says: str = ""
    hint: str = ""
    kind: Kind | None = None
    fresh: bool = False
    hashes: bool = True
    threshold: int = 1
    asks: bool = True
    recovers: bool = True


def path_of(world: World, part: str) -> str:
    """Return where a part is served that the box will ask for."""
    if part == "graph":
        return world.target(GRAPH)
    if part == "manifest":
        return world.target(MANIFEST)
    if part == "root":
        return world.evil.name("root", world.evil.root.version + 1)
    return world.evil.name(part)


def evolve(world: World, part: str) -> None:
    """Let there be a part that the box does not have yet, so that it asks for it."""
    if part == "root":
        world.evil.rotate("timestamp")
        world.evil.timestamp.version += 1
        world.evil.write("timestamp")
        return
    world.evil.publish()


def _served(world: World, part: str) -> str:
    evolve(world, part)
    if part == "root":
        return world.evil.name("root")
    return path_of(world, part)


def with_fault(part: str, kind: Kind, **how: Any) -> Callable[[World], None]:
    """Return what makes the server do wrong with a part."""

    def arrange(world: World) -> None:
        path = _served(world, part)
        world.touched.append(path)
        world.faults(Fault(kind, path, **how))

    return arrange


def with_bytes(part: str, data: bytes) -> Callable[[World], None]:
    """Return what serves other bytes for a part."""

    def arrange(world: World) -> None:
        world.put(_served(world, part), data)

    return arrange


def cut_in_half(part: str) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        path = _served(world, part)
        content = (world.evil.directory / path).read_bytes()
        world.put(path, content[: len(content) // 2])

    return arrange


def bit_flipped(part: str) -> Callable[[World], None]:
    """Change a digit in the middle: it stays JSON."""

    def arrange(world: World) -> None:
        path = _served(world, part)
        content = bytearray((world.evil.directory / path).read_bytes())
        at = next(i for i in range(len(content) // 2, len(content)) if chr(content[i]).isdigit())
        content[at] = ord("1") if content[at] != ord("1") else ord("2")
        world.put(path, bytes(content))

    return arrange


def _old(world: World, role: str) -> bytes:
    name = "timestamp.json" if role == "timestamp" else f"1.{role}.json"
    return (world.older / "metadata" / name).read_bytes()


def whole_repository_again(world: World) -> None:
    world.server.directory = world.older
    world.touched.append("metadata/timestamp.json")


def older_timestamp(world: World) -> None:
    world.put("metadata/timestamp.json", _old(world, "timestamp"))


def older_file(role: str) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        world.evil.publish()
        world.put(world.evil.name(role), _old(world, role))

    return arrange


def older_target(path: str) -> Callable[[World], None]:
    """Serve what a target was, under the name that it has now."""

    def arrange(world: World) -> None:
        changed = (
            graph_file.encode(Graph(APPLIANCE, (offer("2.0.0"),)))
            if path == GRAPH
            else manifest_file.encode(manifest_of(offer("1.9.0").release))
        )
        world.put(world.target(path), changed)

    return arrange


def snapshot_version_back(world: World) -> None:
    world.evil.timestamp.version += 1
    world.evil.timestamp.snapshot_meta.version = 1
    world.evil.timestamp.snapshot_meta.hashes = None
    world.evil.timestamp.snapshot_meta.length = None
    world.evil.write("timestamp")
    world.wrote("timestamp")


def targets_version_back(world: World) -> None:
    world.evil.snapshot.version += 1
    world.evil.timestamp.version += 1
    world.evil.snapshot.meta["targets.json"].version = 1
    data = world.evil.write("snapshot")
    world.evil.timestamp.snapshot_meta = world.evil.meta("snapshot", data)
    world.evil.write("timestamp")
    world.wrote("snapshot", "timestamp")


def targets_left_out(world: World) -> None:
    world.evil.snapshot.version += 1
    world.evil.timestamp.version += 1
    del world.evil.snapshot.meta["targets.json"]
    data = world.evil.write("snapshot")
    world.evil.timestamp.snapshot_meta = world.evil.meta("snapshot", data)
    world.evil.write("timestamp")
    world.wrote("snapshot", "timestamp")


def expired(role: str) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        getattr(world.evil, role).expires = YESTERDAY
        if role == "root":
            world.evil.rotate()
        world.evil.publish()
        world.wrote(role)

    return arrange


def frozen(world: World) -> None:
    """Serve what the box has seen, for ever."""
    world.now_s += 40 * DAY_S
    world.touched.append("metadata/timestamp.json")


def clock_ahead(world: World) -> None:
    world.now_s += 400 * DAY_S
    told = datetime.fromtimestamp(NOW_S, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    world.faults(Fault(Kind.DATE, text=told))


def clock_before_build(world: World) -> None:
    world.now_s = BUILT_S - DAY_S


def clock_at_zero(world: World) -> None:
    world.now_s = 12.0


def clock_decades_ahead(world: World) -> None:
    world.now_s = BUILT_S + 80 * 366 * DAY_S


def other_branch(role: str) -> Callable[[World], None]:
    """Take one file from another true state of the repository that has the same version."""

    def arrange(world: World) -> None:
        other = world.evil.fork(world.place / "branch")
        other.add_target("another", b"something")
        other.publish()
        world.evil.publish()
        world.put(other.name(role), (other.directory / other.name(role)).read_bytes())

    return arrange


def newer_under_its_name(role: str) -> Callable[[World], None]:
    """Take one file from the state after the one that the rest is of."""

    def arrange(world: World) -> None:
        other = world.evil.fork(world.place / "branch")
        other.publish()
        other.publish()
        world.evil.publish()
        newer = (other.directory / other.name(role)).read_bytes()
        world.put(world.evil.name(role), newer)

    return arrange


def another_vendor(world: World) -> None:
    other = MetadataRepository(world.place / "other", NOW_S)
    other.begin()
    for _ in range(9):
        other.publish()
    for role in ("timestamp", "snapshot", "targets"):
        path = other.name(role)
        (world.evil.directory / path).write_bytes((other.directory / path).read_bytes())
    world.touched.append("metadata/timestamp.json")


def signed_by(role: str, *, how_many: int = 0, twice: bool = False) -> Callable[[World], None]:
    """Sign a new version of a role with fewer keys than it needs; 0 is with a stranger's."""

    def arrange(world: World) -> None:
        evil = world.evil
        signers = evil.signers[role][:how_many] if how_many else [signer()]
        if role == "root":
            evil.root.version += 1
            evil.write("root", signers, twice=twice)
            world.wrote("root")
            return
        getattr(evil, role).version += 1
        if role == "targets":
            evil.snapshot.version += 1
            evil.snapshot.meta["targets.json"] = evil.meta(
                "targets", evil.write("targets", signers, twice=twice)
            )
        if role in ("targets", "snapshot"):
            evil.timestamp.version += 1
            with_them = signers if role == "snapshot" else None
            data = evil.write("snapshot", with_them, twice=twice and role == "snapshot")
            evil.timestamp.snapshot_meta = evil.meta("snapshot", data)
        with_them = signers if role == "timestamp" else None
        evil.write("timestamp", with_them, twice=twice and role == "timestamp")
        world.wrote(role)

    return arrange


def not_signed(world: World) -> None:
    fields = json.loads((world.evil.directory / "metadata/timestamp.json").read_bytes())
    fields["signed"]["version"] += 1
    fields["signatures"] = []
    world.put("metadata/timestamp.json", json.dumps(fields).encode())


def snapshot_as_timestamp(world: World) -> None:
    snapshot = (world.evil.directory / world.evil.name("snapshot")).read_bytes()
    world.put("metadata/timestamp.json", snapshot)


def newer_specification(world: World) -> None:
    fields = json.loads((world.evil.directory / "metadata/timestamp.json").read_bytes())
    fields["signed"]["spec_version"] = "2.0.0"
    world.put("metadata/timestamp.json", json.dumps(fields).encode())


def root_by_new_key_only(world: World) -> None:
    fresh = world.evil.fork(world.place / "fresh")
    fresh.rotate("root")
    world.evil.rotate("root", signers=fresh.signers["root"])
    # The stranger says that the new key is the stranger's, and signs with nothing else.
    world.put("metadata/2.root.json", (fresh.directory / "metadata/2.root.json").read_bytes())
    world.put("metadata/2.root.json", fresh.signed(fresh.root, fresh.signers["root"]))


def root_by_old_key_only(world: World) -> None:
    world.evil.rotate("root", signers=world.repository.signers["root"])
    world.wrote("root")


def root_skipped(world: World) -> None:
    world.evil.rotate("timestamp")
    world.evil.rotate("timestamp")
    third = (world.evil.directory / "metadata/3.root.json").read_bytes()
    world.put("metadata/2.root.json", third)


def root_again(world: World) -> None:
    world.put("metadata/2.root.json", world.repository.first_root)


def root_held_back(world: World) -> None:
    """Hide the new root, whose new key signs the timestamp."""
    world.evil.rotate("timestamp")
    world.evil.publish()
    world.faults(Fault(Kind.STATUS, "metadata/2.root.json", number=404))
    world.touched.append("metadata/timestamp.json")


def snapshot_of_a_gigabyte(world: World) -> None:
    """With a stolen timestamp key, promise a file without end and send it."""
    world.evil.snapshot.version += 1
    world.evil.timestamp.version += 1
    world.evil.timestamp.snapshot_meta = world.evil.meta("snapshot", world.evil.write("snapshot"))
    world.evil.timestamp.snapshot_meta.length = 1 << 30
    world.evil.write("timestamp")
    world.faults(Fault(Kind.ENDLESS, world.evil.name("snapshot")))
    world.wrote("snapshot")


def huge_version(world: World) -> None:
    """With a stolen timestamp key, name a snapshot whose name is longer than any file's."""
    world.evil.timestamp.version += 1
    world.evil.timestamp.snapshot_meta.version = 10**600
    world.evil.write("timestamp")
    world.wrote("timestamp")


def published(path: str, data: Callable[[World], bytes]) -> Callable[[World], None]:
    """Publish other content of a target, signed as it must be."""

    def arrange(world: World) -> None:
        world.touched.append(world.evil.add_target(path, data(world)))
        world.evil.publish()

    return arrange


def target_gone(path: str) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        del world.evil.targets.targets[path]
        world.evil.publish()
        world.wrote("targets")

    return arrange


def target_too_large(world: World) -> None:
    world.evil.targets.targets[GRAPH].length = 1 << 40
    world.evil.publish()
    world.wrote("targets")


def target_by_another_digest(world: World) -> None:
    world.evil.targets.targets[GRAPH] = TargetFile.from_data(GRAPH, b"x", ["sha512"])
    world.evil.publish()
    world.wrote("targets")


def target_outside(world: World) -> None:
    release = offer("2.0.0").release
    document = json.loads(graph_file.encode(Graph(APPLIANCE, (offer("2.0.0"),))))
    document["releases"][0]["bundle"] = "../../etc/passwd"
    assert release.version == "2.0.0"
    world.touched.append(world.evil.add_target(GRAPH, json.dumps(document).encode()))
    world.evil.publish()


def _graph(appliance: str = APPLIANCE) -> Callable[[World], bytes]:
    return lambda _world: graph_file.encode(
        Graph(appliance, (offer("2.0.0", appliance=appliance),))
    )


def _graph_with(**fields: Any) -> Callable[[World], bytes]:
    def made(_world: World) -> bytes:
        document = json.loads(graph_file.encode(Graph(APPLIANCE, (offer("2.0.0"),))))
        return json.dumps(document | fields).encode()

    return made


def _manifest(**differs: Any) -> Callable[[World], bytes]:
    return lambda _world: manifest_file.encode(
        manifest_of(offer("2.0.0").release._replace(**differs))
    )


def _manifest_with(**fields: Any) -> Callable[[World], bytes]:
    def made(_world: World) -> bytes:
        document = json.loads(manifest_file.encode(manifest_of(offer("2.0.0").release)))
        return json.dumps(document | fields).encode()

    return made


def no_bundle(world: World) -> None:
    document = json.loads(graph_file.encode(Graph(APPLIANCE, (offer("2.0.0"),))))
    document["releases"][0]["bundle"] = ""
    world.touched.append(world.evil.add_target(GRAPH, json.dumps(document).encode()))
    world.evil.publish()


def nobody_listens(world: World) -> None:
    world.server.stop()


def redirect(where: str) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        text = where.format(port=world.server.port)
        world.faults(Fault(Kind.REDIRECT, "metadata/timestamp.json", text=text))
        world.touched.append("metadata/timestamp.json")

    return arrange


def _by_part() -> Iterator[Case]:
    limit = {"graph": "what was signed", "manifest": "what was signed"}
    for part in PARTS:
        more = limit.get(part, "larger than")
        signed = part in limit
        yield Case(
            f"endless {part}",
            with_fault(part, Kind.ENDLESS),
            SignatureError,
            more,
            kind=Kind.ENDLESS,
        )
        yield Case(
            f"{part} with a gigabyte promised behind it",
            with_fault(part, Kind.WRONG_LENGTH, number=1 << 30),
            SignatureError,
            more,
            kind=Kind.WRONG_LENGTH,
        )
        yield Case(
            f"slow {part}",
            with_fault(part, Kind.SLOW, number=20),
            NetworkError,
            "too slow",
            hint="USB stick",
            kind=Kind.SLOW,
        )
        yield Case(
            f"{part} cut in half",
            cut_in_half(part),
            SignatureError,
            "what was signed" if signed or part in ("snapshot", "targets") else "damaged",
        )
        yield Case(f"{part} changed in a digit", bit_flipped(part), SignatureError)
        yield Case(
            f"connection cut in {part}",
            with_fault(part, Kind.CUT),
            NetworkError,
            "too early",
            kind=Kind.CUT,
        )
        yield Case(
            f"{part} sent packed",
            with_fault(part, Kind.GZIP),
            ServerAnswerError,
            "packed",
            kind=Kind.GZIP,
        )
        yield Case(
            f"status 503 for {part}",
            with_fault(part, Kind.STATUS, number=503),
            NetworkError,
            "503",
            kind=Kind.STATUS,
        )
        if part != "root":
            yield Case(
                f"404 for {part}",
                with_fault(part, Kind.STATUS, number=404),
                ServerAnswerError,
                "404",
                kind=Kind.STATUS,
            )
    for part in ("root", "timestamp"):
        for what, data in (
            ("garbage", b"\x00\xff<html>"),
            ("an empty file", b""),
            ("deep JSON", b"[" * 4000),
            ("deep objects", b'{"signed":' * 390),
            ("a number of 4000 digits", b'{"signed":{"version":' + b"9" * 4000 + b"}}"),
            ("a list", b"[]"),
            ("not UTF-8", b'{"signatures": "\xc3\x28"}'),
        ):
            yield Case(f"{what} as {part}", with_bytes(part, data), SignatureError)
    for part in ("snapshot", "targets"):
        yield Case(
            f"garbage as {part}, without digests",
            with_bytes(part, b"{]"),
            SignatureError,
            "damaged",
            hashes=False,
        )
        yield Case(
            f"deep JSON as {part}, without digests",
            with_bytes(part, b"[" * 7000),
            SignatureError,
            "damaged",
            hashes=False,
        )


def _by_role() -> Iterator[Case]:
    for role in ("root", "timestamp", "snapshot", "targets"):
        yield Case(
            f"expired {role}",
            expired(role),
            ExpiredError,
            f"the {role} metadata",
            "clock",
            recovers=role != "root",
        )
        yield Case(
            f"expired {role}, box never saw another",
            expired(role),
            ExpiredError,
            f"the {role} metadata",
            "clock",
            fresh=True,
            recovers=role != "root",
        )
        yield Case(f"{role} signed by a stranger", signed_by(role), SignatureError, "signed by")
        yield Case(
            f"{role} signed by one key of two",
            signed_by(role, how_many=1),
            SignatureError,
            "1/2",
            threshold=2,
        )
        yield Case(
            f"{role} signed twice by one key of two",
            signed_by(role, how_many=1, twice=True),
            SignatureError,
            threshold=2,
        )


CASES = (
    Case("older repository as a whole", whole_repository_again, RollbackError, "older"),
    Case("older timestamp", older_timestamp, RollbackError, "older"),
    Case("older snapshot under the new name", older_file("snapshot"), SignatureError),
    Case("older targets under the new name", older_file("targets"), SignatureError),
    Case("older snapshot, without digests", older_file("snapshot"), RollbackError, hashes=False),
    Case("older targets, without digests", older_file("targets"), RollbackError, hashes=False),
    Case("older graph under the new name", older_target(GRAPH), SignatureError, "graph.json"),
    Case("older manifest under the new name", older_target(MANIFEST), SignatureError, "bundles/"),
    Case("stolen timestamp key names an older snapshot", snapshot_version_back, RollbackError),
    Case("stolen keys name older targets", targets_version_back, RollbackError, recovers=False),
    Case("stolen keys leave the targets out", targets_left_out, RollbackError, recovers=False),
    Case("frozen", frozen, ExpiredError, "timestamp", "held back"),
    Case("clock a year ahead", clock_ahead, ExpiredError, "out of date", "far ahead", Kind.DATE),
    Case("clock before the build", clock_before_build, WrongClockError, "built", asks=False),
    Case("clock at zero", clock_at_zero, WrongClockError, "1970", asks=False),
    Case("clock decades ahead", clock_decades_ahead, WrongClockError, "decades", asks=False),
    Case("snapshot of another branch", other_branch("snapshot"), SignatureError),
    Case("targets of another branch", other_branch("targets"), SignatureError),
    Case(
        "snapshot newer than its timestamp",
        newer_under_its_name("snapshot"),
        SignatureError,
        "does not belong",
        hashes=False,
    ),
    Case(
        "targets newer than their snapshot",
        newer_under_its_name("targets"),
        SignatureError,
        "does not belong",
        hashes=False,
    ),
    Case("another vendor's repository", another_vendor, SignatureError, "keys"),
    Case("no signature at all", not_signed, SignatureError, "0/1"),
    Case("snapshot as timestamp", snapshot_as_timestamp, SignatureError),
    Case("a later major version of TUF", newer_specification, SignatureError),
    Case("root signed by the new key only", root_by_new_key_only, SignatureError, "0/1"),
    Case("root signed by the old key only", root_by_old_key_only, SignatureError, "0/1"),
    Case("root version skipped", root_skipped, SignatureError, "does not belong"),
    Case("first root again as the second", root_again, RollbackError, "older"),
    Case("new root held back", root_held_back, SignatureError, "timestamp", kind=Kind.STATUS),
    Case(
        "stolen timestamp key promises a gigabyte",
        snapshot_of_a_gigabyte,
        SignatureError,
        "larger than",
        kind=Kind.ENDLESS,
    ),
    Case(
        "stolen timestamp key and a name too long", huge_version, ServerAnswerError, recovers=False
    ),
    Case(
        "graph of another appliance", published(GRAPH, _graph("mailer")), WrongBundleError, "mailer"
    ),
    Case(
        "graph of a newer schema", published(GRAPH, _graph_with(schema=99)), RepositoryError, "99"
    ),
    Case("graph that is none", published(GRAPH, lambda _w: b"[]"), RepositoryError),
    Case("no graph", target_gone(GRAPH), ServerAnswerError, "graph.json"),
    Case("graph of a terabyte", target_too_large, SignatureError, "larger"),
    Case("graph by another digest", target_by_another_digest, ServerAnswerError, "digest"),
    Case("bundle outside the repository", target_outside, RepositoryError),
    Case("release without a bundle", no_bundle, ServerAnswerError, "no bundle"),
    Case("no manifest", target_gone(MANIFEST), ServerAnswerError, "bundles/"),
    Case(
        "manifest of another appliance",
        published(MANIFEST, _manifest(appliance="mailer")),
        WrongBundleError,
        "appliance",
    ),
    Case(
        "manifest of another architecture",
        published(MANIFEST, _manifest(architecture=Architecture.I386)),
        WrongBundleError,
        "architecture",
    ),
    Case(
        "manifest of another version",
        published(MANIFEST, _manifest(version="2.0.1")),
        WrongBundleError,
        "version",
    ),
    Case(
        "manifest with smaller requirements",
        published(MANIFEST, _manifest(memory_bytes=1, x86_64_level=1)),
        WrongBundleError,
        "memory_bytes",
    ),
    Case(
        "manifest of a newer schema",
        published(MANIFEST, _manifest_with(schema=99)),
        WrongBundleError,
        "99",
    ),
    Case("manifest that is none", published(MANIFEST, lambda _w: b"\xff"), WrongBundleError),
    Case("nobody listens", nobody_listens, NetworkError, "refused", asks=False),
    Case(
        "no answer",
        with_fault("timestamp", Kind.HANG),
        NetworkError,
        "nothing for",
        kind=Kind.HANG,
    ),
    Case(
        "connection closed without an answer",
        with_fault("timestamp", Kind.HANG_UP),
        NetworkError,
        "without an answer",
        kind=Kind.HANG_UP,
    ),
    Case(
        "connection reset",
        with_fault("timestamp", Kind.RESET, at_bytes=50),
        NetworkError,
        "reset",
        kind=Kind.RESET,
    ),
    Case(
        "head of an answer drop by drop",
        with_fault("timestamp", Kind.SLOW_HEADERS, number=20),
        NetworkError,
        "too slow",
        kind=Kind.SLOW_HEADERS,
    ),
    Case(
        "head of an answer without end",
        with_fault("timestamp", Kind.ENDLESS_HEADERS),
        ServerAnswerError,
        "not HTTP",
        kind=Kind.ENDLESS_HEADERS,
    ),
    Case(
        "another protocol",
        with_fault("timestamp", Kind.GARBAGE),
        ServerAnswerError,
        "not HTTP",
        kind=Kind.GARBAGE,
    ),
    Case(
        "a login page instead",
        with_fault("timestamp", Kind.REPLACE, content=b"<html>Log in to this network</html>"),
        SignatureError,
        "timestamp",
        kind=Kind.REPLACE,
    ),
    Case(
        "sent to another host",
        redirect("http://elsewhere.invalid/metadata/timestamp.json"),
        ServerAnswerError,
        "elsewhere.invalid",
        kind=Kind.REDIRECT,
    ),
    Case(
        "sent to another port",
        redirect("http://127.0.0.1:1/metadata/timestamp.json"),
        ServerAnswerError,
        "another place",
        kind=Kind.REDIRECT,
    ),
    Case(
        "sent to a file of ours",
        redirect("file:///etc/shadow"),
        ServerAnswerError,
        "another place",
        kind=Kind.REDIRECT,
    ),
    Case(
        "sent in a circle",
        redirect("http://127.0.0.1:{port}/metadata/timestamp.json"),
        ServerAnswerError,
        "from one place to another",
        kind=Kind.REDIRECT,
    ),
    *_by_role(),
    *_by_part(),
)

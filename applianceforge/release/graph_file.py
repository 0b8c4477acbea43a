"""Encode and decode `graph.json`, in which a vendor publishes releases and who may take each.

docs/release-graph.md describes it. What it requires of a machine a release says as its RELEASE.json
does (preflight/release_file). Everything that is wrong is told at once: an unknown key with the
nearest known one, a value of the wrong kind, and what no planner could make sense of.

What is written is canonical: a line for each release, the oldest first, keys in one order, defaults
left out, ASCII only. Equal graphs give equal bytes.
"""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from typing import Any

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import RepositoryError
from applianceforge.preflight import json_values, release_file
from applianceforge.preflight.json_values import Reader
from applianceforge.preflight.requirements import Release
from applianceforge.release import ordering
from applianceforge.release.graph import WHOLE_FLEET, Graph, Offer

SCHEMA = 1
LARGEST_BYTES = 1 << 18
MOST_RELEASES = 1000

KEYS = ("schema", "appliance", "releases")
OFFER_KEYS = (
    "release",
    "title",
    "channels",
    "barrier",
    "crossing",
    "replaces",
    "since_s",
    "share_percent",
    "by_request",
    "withdrawn",
    "bundle",
)
# The end of the year 9999.
LATEST_S = 253_402_300_799
_LONGEST_LINE = 300
_MOST_NAMES = 100
# Looking for the nearest takes time, of which a made-up document must not get much.
_MOST_NEAREST = 20
_CHANNEL = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_BUNDLE = re.compile(r"bundles/[0-9A-Za-z][0-9A-Za-z.+~_-]{0,199}\.json")
_DEFAULTS = Offer(Release(Architecture.AMD64))
_HINT = (
    "on a box: tell your vendor; on the build machine: mend it as docs/release-graph.md says,"
    " and publish it again"
)


def encode(graph: Graph) -> bytes:
    """Return the document.

    Raises:
        RepositoryError: It could not be read again; the evidence names every problem.
    """
    lines = [json.dumps(_encoded(offer), separators=(",", ":")) for offer in _sorted(graph.offers)]
    head = f'{{"schema":{SCHEMA},"appliance":{json.dumps(graph.appliance)},"releases":['
    data = (head + "\n" + ",\n".join(lines) + "\n]}\n").encode("ascii")
    decode(data, f"the graph of {graph.appliance[:_LONGEST_LINE]!r}")
    return data


def decode(data: bytes, name: str = "graph.json") -> Graph:
    """Decode the document.

    Args:
        data: At most 256 KiB.
        name: What the document is called, for messages.

    Returns:
        The graph, its offers from the oldest to the newest.

    Raises:
        RepositoryError: It is wrong; the evidence names every problem.
    """
    if len(data) > LARGEST_BYTES:
        raise RepositoryError(f"{name} is larger than {LARGEST_BYTES // 1024} KiB", hint=_HINT)
    try:
        document = json_values.parsed(data)
    except ValueError as error:
        raise RepositoryError(f"{name} is not JSON: {error}", hint=_HINT) from None
    if document is None:
        raise RepositoryError(f"{name} is not a JSON object", hint=_HINT)
    schema = document.get("schema")
    if type(schema) is int and schema > SCHEMA:
        raise RepositoryError(
            f"{name} has schema {schema}; this program knows schemas up to {SCHEMA}",
            hint="a newer release knows it: install one from a file that your vendor gives you",
        )
    reader = Reader()
    graph = _graph(reader, document)
    if reader.count:
        plural = "" if reader.count == 1 else "s"
        raise RepositoryError(
            f"{name} has {reader.count} problem{plural}: {reader.problems[0]}",
            hint=_HINT,
            evidence=reader.told,
        )
    return graph


def is_channel(name: str) -> bool:
    """Return whether a channel can be called so."""
    return _CHANNEL.fullmatch(name) is not None


def _sorted(offers: tuple[Offer, ...]) -> tuple[Offer, ...]:
    width = {Architecture.I386: 0, Architecture.AMD64: 1}
    return tuple(
        sorted(offers, key=lambda one: (ordering.key(one.version), width[one.architecture]))
    )


def _encoded(offer: Offer) -> dict[str, Any]:
    document: dict[str, Any] = {"release": release_file.encode(offer.release)}
    for key in OFFER_KEYS[1:]:
        value = getattr(offer, key)
        if value != getattr(_DEFAULTS, key):
            document[key] = list(value) if isinstance(value, tuple) else value
    return document


def _graph(reader: Reader, document: dict[str, Any]) -> Graph:
    reader.keys(document, "", KEYS)
    if type(document.get("schema")) is not int or document["schema"] < 1:
        reader.wrong("schema", f"must be the number {SCHEMA}")
    appliance = _line(reader, document, "appliance", needed=True)
    listed = document.get("releases")
    if not isinstance(listed, list) or len(listed) > MOST_RELEASES:
        reader.wrong("releases", f"must be a list of at most {MOST_RELEASES} objects")
        return Graph(appliance)
    found: list[Offer] = []
    for number, one in enumerate(listed):
        where = f"releases[{number}]"
        if not isinstance(one, dict):
            reader.wrong(where, "must be an object")
            continue
        offer = _offer(Reader(f"{where}.", reader), one, appliance)
        if offer is not None:
            found.append(offer)
    if len(found) == len(listed):
        _together(reader, found)
    return Graph(appliance, _sorted(tuple(found)))


def _offer(reader: Reader, document: dict[str, Any], appliance: str) -> Offer | None:
    """Return an offer; None if its release cannot be told."""
    reader.keys(document, "", OFFER_KEYS)
    described = reader.object(document, "release")
    release = None
    if document.get("release") is None:
        reader.wrong("release", "must be there")
    if described is not None:
        release = release_file.from_object(described, Reader("release.", reader))
    channels = _names(reader, document, "channels", _DEFAULTS.channels)
    if not channels:
        reader.wrong("channels", "must name at least one")
    for channel in channels:
        if not is_channel(channel):
            reader.wrong("channels", f"must be of a-z, 0-9 and -, not {channel[:40]!r}")
    offer = Offer(
        release or _DEFAULTS.release,
        title=_line(reader, document, "title"),
        channels=channels,
        barrier=_switch(reader, document, "barrier"),
        crossing=_switch(reader, document, "crossing"),
        replaces=_names(reader, document, "replaces", ()),
        since_s=reader.number(document, "since_s", "", LATEST_S),
        share_percent=reader.number(document, "share_percent", "", WHOLE_FLEET, WHOLE_FLEET),
        by_request=_switch(reader, document, "by_request"),
        withdrawn=_line(reader, document, "withdrawn"),
        bundle=_line(reader, document, "bundle"),
    )
    if offer.bundle and not _BUNDLE.fullmatch(offer.bundle):
        reader.wrong("bundle", "must be a target such as bundles/NAME-VERSION-ARCHITECTURE.json")
    if release is None:
        return None
    _alone(reader, offer, appliance)
    return offer


def _alone(reader: Reader, offer: Offer, appliance: str) -> None:
    """Check what an offer says against itself."""
    release = offer.release
    if release.appliance != appliance:
        reader.wrong("release.appliance", f"must be {appliance!r}, as that of the graph")
    versions = {"release.version": release.version}
    if release.minimum_version:
        versions["release.requires.minimum_version"] = release.minimum_version
    versions.update({f"replaces[{n}]": version for n, version in enumerate(offer.replaces)})
    wrong = [where for where, version in versions.items() if not ordering.is_version(version)]
    for where in wrong:
        reader.wrong(where, "must be a version such as 8.0.0, 8.1.0~rc1 or 8.0.0+fix2")
    if wrong:
        return
    if release.minimum_version and ordering.compare(release.minimum_version, release.version) >= 0:
        reader.wrong(
            "release.requires.minimum_version",
            "must be older than the release, or none can take it",
        )
    if offer.crossing and not release.long_mode:
        reader.wrong("crossing", "is for architecture amd64 only")
    if any(ordering.compare(version, release.version) == 0 for version in offer.replaces):
        reader.wrong("replaces", "must not name the release itself")


def _together(reader: Reader, offers: list[Offer]) -> None:
    """Check what the offers say of each other."""
    first: dict[tuple[ordering.Key, Architecture], int] = {}
    for number, offer in enumerate(offers):
        node = (ordering.key(offer.version), offer.architecture)
        if node in first:
            reader.wrong(
                f"releases[{number}]",
                f"is {offer.version} {offer.architecture.value} again, after"
                f" releases[{first[node]}]",
            )
        first.setdefault(node, number)
    barriers = {ordering.key(offer.version): offer.version for offer in offers if offer.barrier}
    for number, offer in enumerate(offers):
        for version in offer.replaces:
            if ordering.key(version) not in barriers:
                few = reader.count < _MOST_NEAREST
                near = get_close_matches(version, barriers.values(), 1) if few else []
                meant = f"; did you mean {near[0]}?" if near else ""
                reader.wrong(
                    f"releases[{number}].replaces",
                    f"must name barriers of this graph, not {version}{meant}",
                )


def _line(reader: Reader, document: dict[str, Any], key: str, *, needed: bool = False) -> str:
    text = reader.text(document, key, "", needed=needed)
    # These are shown on terminals: no control characters.
    if len(text) > _LONGEST_LINE or not text.isprintable():
        reader.wrong(key, f"must be one line of at most {_LONGEST_LINE} characters")
        return ""
    return text


def _switch(reader: Reader, document: dict[str, Any], key: str) -> bool:
    value = document.get(key, False)
    if isinstance(value, bool):
        return value
    reader.wrong(key, "must be true or false")
    return False


def _names(
    reader: Reader, document: dict[str, Any], key: str, default: tuple[str, ...]
) -> tuple[str, ...]:
    if key not in document:
        return default
    value = document[key]
    if not isinstance(value, list) or len(value) > _MOST_NAMES:
        reader.wrong(key, f"must be a list of at most {_MOST_NAMES} texts")
        return default
    if not all(isinstance(one, str) for one in value):
        reader.wrong(key, "must be a list of texts")
        return default
    if len(set(value)) != len(value):
        reader.wrong(key, "must not name the same one twice")
    return tuple(value)

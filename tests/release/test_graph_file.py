"""The document in which releases are published: as it is written, read, and everything wrong."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import RepositoryError
from applianceforge.preflight.requirements import Last32Bit, Release
from applianceforge.release import graph_file, ordering
from applianceforge.release.graph import Graph, Offer
from applianceforge.release.graph_file import decode, encode

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = ROOT / "docs" / "release-graph.md"
# Written by this program's first version that knows schema 1; boxes in the field read it.
GOLDEN = ROOT / "tests" / "data" / "release" / "graph-1.json"
I386, AMD64 = Architecture.I386, Architecture.AMD64


def described(version: str = "8.0.0", architecture: str = "amd64") -> dict[str, Any]:
    return {
        "schema": 1,
        "appliance": "gateway",
        "version": version,
        "architecture": architecture,
    }


def with_release(**change: object) -> dict[str, Any]:
    return {"release": described(), **change}


def document(*releases: object, **change: object) -> dict[str, Any]:
    return {"schema": 1, "appliance": "gateway", "releases": list(releases), **change}


def problems(wrong: object) -> tuple[str, ...]:
    with pytest.raises(RepositoryError) as caught:
        decode(json.dumps(wrong).encode())
    assert caught.value.hint
    return caught.value.evidence


GRAPH = Graph(
    "gateway",
    (
        Offer(
            Release(I386, "gateway", "7.9.0"),
            title="The last for 32 bits",
            channels=("stable", "beta"),
            bundle="bundles/gateway-7.9.0-i386.json",
        ),
        Offer(
            Release(AMD64, "gateway", "8.0.0", 0, 2, minimum_version="7.4"),
            barrier=True,
            crossing=True,
            withdrawn="It lost its way.",
        ),
        Offer(
            Release(
                AMD64, "gateway", "8.0.1", 5, 2, last_32_bit=Last32Bit("7.9.0", "2028-06-30", "Ask")
            ),
            barrier=True,
            crossing=True,
            replaces=("8.0.0",),
            since_s=1793491200,
            share_percent=25,
            by_request=True,
        ),
    ),
)


def test_round_trip() -> None:
    assert decode(encode(GRAPH)) == GRAPH
    assert decode(encode(Graph("gateway"))) == Graph("gateway")


def test_the_golden_file() -> None:
    assert encode(GRAPH) == GOLDEN.read_bytes()
    assert decode(GOLDEN.read_bytes()) == GRAPH


def test_the_order_of_the_offers_does_not_matter() -> None:
    turned = Graph("gateway", GRAPH.offers[::-1])
    assert encode(turned) == encode(GRAPH)
    assert decode(encode(turned)) == GRAPH


def test_defaults_are_left_out() -> None:
    least = Graph("gateway", (Offer(Release(AMD64, "gateway", "8.0.0")),))
    assert json.loads(encode(least)) == document({"release": described()})


def test_a_release_takes_a_line() -> None:
    lines = encode(GRAPH).splitlines()
    assert [
        b'"version":"%s"' % one.version.encode() in line
        for one, line in zip(GRAPH.offers, lines[1:-1], strict=True)
    ] == [True] * 3


def test_the_documented_example() -> None:
    text = DOCUMENT.read_text()
    found = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert found is not None
    graph = decode(found[1].encode())
    assert json.loads(encode(graph)) == json.loads(found[1])
    shown = {key for one in json.loads(found[1])["releases"] for key in one}
    assert shown == set(graph_file.OFFER_KEYS)
    for key in (*graph_file.KEYS, *(f"releases[].{key}" for key in graph_file.OFFER_KEYS)):
        assert f"| `{key}` |" in text, key


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"releases": []}, "schema must be the number 1"),
        (document(schema=0), "schema must be the number 1"),
        (document(schema=True), "schema must be the number 1"),
        (document(schema="1"), "schema must be the number 1"),
        (document(schema=10**400), "schema must be the number 1"),
        (document(appliance=""), "appliance must be there"),
        (document(appliance=7), "appliance must be a text"),
        (document(appliance="a\x1b[2J"), "appliance must be one line"),
        (document(relases=[]), "relases is not known; did you mean releases?"),
        (document(releases={}), "releases must be a list of at most 1000 objects"),
        (document(releases=None), "releases must be a list of at most 1000 objects"),
        (document(*[{}] * 1001), "releases must be a list of at most 1000 objects"),
        (document("8.0.0"), "releases[0] must be an object"),
        (document({}), "releases[0].release must be there"),
        (document({"release": []}), "releases[0].release must be an object"),
        (document({"release": None}), "releases[0].release must be there"),
        (
            document({"release": {**described(), "wersion": 1}}),
            "releases[0].release.wersion is not known; did you mean version?",
        ),
        (
            document({"release": {**described(), "requires": {"slots": 1}}}),
            "releases[0].release.requires.slots is not known; did you mean slot_bytes?",
        ),
        (
            document({"release": {**described(), "schema": 2}}),
            "releases[0].release.schema must be the number 1",
        ),
        (
            document({"release": {**described(), "appliance": "other"}}),
            "releases[0].release.appliance must be 'gateway', as that of the graph",
        ),
        (document({"release": described("8.0-rc1")}), "release.version must be a version such as"),
        (document({"release": described("../8")}), "release.version must be a version such as"),
        (
            document({"release": {**described(), "requires": {"minimum_version": "any"}}}),
            "releases[0].release.requires.minimum_version must be a version such as",
        ),
        (
            document({"release": {**described(), "requires": {"minimum_version": "8"}}}),
            "minimum_version must be older than the release, or none can take it",
        ),
        (document(with_release(barier=True)), "releases[0].barier is not known; did you mean"),
        (document(with_release(title="a\nb")), "releases[0].title must be one line"),
        (document(with_release(title="a" * 301)), "releases[0].title must be one line"),
        (document(with_release(title="\ud800")), "releases[0].title must be one line"),
        (document(with_release(title=None)), "releases[0].title must be a text"),
        (document(with_release(withdrawn=True)), "releases[0].withdrawn must be a text"),
        (document(with_release(channels=[])), "releases[0].channels must name at least one"),
        (document(with_release(channels="stable")), "releases[0].channels must be a list"),
        (document(with_release(channels=None)), "releases[0].channels must be a list"),
        (document(with_release(channels=[1])), "releases[0].channels must be a list of texts"),
        (document(with_release(channels=["Stable"])), "releases[0].channels must be of a-z"),
        (document(with_release(channels=["a", "a"])), "must not name the same one twice"),
        (document(with_release(channels=["a"] * 101)), "must be a list of at most 100 texts"),
        (document(with_release(barrier=1)), "releases[0].barrier must be true or false"),
        (document(with_release(by_request="no")), "releases[0].by_request must be true or false"),
        (
            document({"release": described("8", "i386"), "crossing": True}),
            "releases[0].crossing is for architecture amd64 only",
        ),
        (document(with_release(since_s=-1)), "releases[0].since_s must be a whole number from 0"),
        (document(with_release(since_s=1.5)), "releases[0].since_s must be a whole number"),
        (document(with_release(since_s=10**12)), "releases[0].since_s must be a whole number"),
        (document(with_release(since_s=10**400)), "releases[0].since_s must be a whole number"),
        (document(with_release(since_s=float("nan"))), "releases[0].since_s must be a whole"),
        (document(with_release(share_percent=101)), "share_percent must be a whole number from 0"),
        (document(with_release(share_percent=True)), "share_percent must be a whole number"),
        (document(with_release(share_percent=None)), "share_percent must be a whole number"),
        (document(with_release(replaces=["8.0"])), "replaces must not name the release itself"),
        (document(with_release(replaces=["no"])), "releases[0].replaces[0] must be a version"),
        (
            document(with_release(replaces=["7.9.1"]), {"release": described("7.9.0")}),
            "releases[0].replaces must name barriers of this graph, not 7.9.1",
        ),
        (
            document(
                with_release(replaces=["7.9.1"]), {"release": described("7.9.0"), "barrier": True}
            ),
            "not 7.9.1; did you mean 7.9.0?",
        ),
        (document(with_release(bundle="/etc/passwd")), "releases[0].bundle must be a target"),
        (document(with_release(bundle="bundles/../x.json")), "releases[0].bundle must be a target"),
        (document(with_release(bundle="bundles/a/b.json")), "releases[0].bundle must be a target"),
        (
            document({"release": described("8")}, {"release": described("8.0.0")}),
            "releases[1] is 8.0.0 amd64 again, after releases[0]",
        ),
    ],
)
def test_mistakes(wrong: dict[str, Any], problem: str) -> None:
    found = problems(wrong)
    assert any(problem in one for one in found), found


def test_both_architectures_may_have_a_version() -> None:
    graph = decode(
        json.dumps(document(with_release(), {"release": described("8.0.0", "i386")})).encode()
    )
    assert [one.architecture for one in graph.offers] == [I386, AMD64]


def test_all_problems_are_told_at_once() -> None:
    found = problems(
        document(
            with_release(barrier=1, title=2, chanels=[]),
            {"release": {**described("x"), "requires": {"memory_bytes": -1}}},
            7,
            schema=0,
            appliance=3,
        )
    )
    told = "\n".join(found)
    places = (
        "schema",
        "appliance",
        "[0].barrier",
        "[0].title",
        "[0].chanels",
        "memory_bytes",
        "[2]",
    )
    assert all(place in told for place in places), told


def test_a_thousand_problems_are_not_all_told() -> None:
    found = problems(document(*[with_release(**{f"chanel{n}": 1}) for n in range(1000)]))
    assert len(found) == 101
    assert found[-1] == "and 1899 more"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"releases":' * 20_000, "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b'{"schema": 1, "schema": 1}', "the key 'schema' is there twice"),
        (
            b'{"schema": 1, "releases": [{"barrier": true, "barrier": false}]}',
            "the key 'barrier' is there twice",
        ),
        (b'{"schema": 2, "anything": []}', "has schema 2; this program knows schemas up to 1"),
        (b" " * (graph_file.LARGEST_BYTES + 1), "is larger than 256 KiB"),
    ],
)
def test_what_is_no_graph(data: bytes, message: str) -> None:
    with pytest.raises(RepositoryError, match=re.escape(message)) as caught:
        decode(data, "graph.json")
    assert caught.value.hint
    assert caught.value.message.startswith("graph.json ")
    assert len(caught.value.message) < 300


def test_the_largest_document_is_read() -> None:
    data = encode(GRAPH)
    assert decode(data + b" " * (graph_file.LARGEST_BYTES - len(data))) == GRAPH


def test_what_could_not_be_read_is_not_written() -> None:
    twice = Graph("gateway", (*GRAPH.offers, GRAPH.offers[0]))
    with pytest.raises(RepositoryError, match=r"7\.9\.0 i386 again"):
        encode(twice)
    with pytest.raises(RepositoryError, match="larger than 256 KiB"):
        long = "x" * 290
        encode(
            Graph(
                "gateway",
                tuple(
                    Offer(Release(AMD64, "gateway", f"1.{number}"), title=long)
                    for number in range(900)
                ),
            )
        )


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_end_in_our_own_error(data: bytes) -> None:
    with pytest.raises(RepositoryError):
        decode(data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.sampled_from(graph_file.OFFER_KEYS), _JSON)
def test_any_value_of_any_key_is_taken_or_refused(key: str, value: object) -> None:
    try:
        graph = decode(json.dumps(document({**with_release(), key: value})).encode())
    except RepositoryError as error:
        assert error.hint
        assert error.evidence
    else:
        assert decode(encode(graph)) == graph


LINES = st.text("abc ü.'\"<\\", max_size=20).map(str.strip)
OFFERS = st.builds(
    Offer,
    st.from_regex(r"[1-9]\.[0-9]{1,2}([~+][a-z0-9]{1,3})?", fullmatch=True).map(
        lambda version: Release(AMD64, "gateway", version)
    ),
    LINES,
    st.lists(st.sampled_from(["stable", "beta", "x-1"]), min_size=1, unique=True).map(tuple),
    st.booleans(),
    st.booleans(),
    st.just(()),
    st.integers(0, graph_file.LATEST_S),
    st.integers(0, 100),
    st.booleans(),
    LINES,
    st.sampled_from(["", "bundles/gateway-8.0.0~rc1-amd64.json"]),
)


@settings(deadline=None)
@given(st.lists(OFFERS, max_size=5, unique_by=lambda one: ordering.key(one.version)))
def test_any_graph_comes_back(offers: list[Offer]) -> None:
    graph = Graph("gateway", tuple(offers))
    again = decode(encode(graph))
    assert set(again.offers) == set(graph.offers)
    assert encode(again) == encode(graph)

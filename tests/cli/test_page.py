"""The report as one HTML page: complete, inert, readable."""

import base64
import hashlib
import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from importlib.resources import files as package_files
from itertools import pairwise

from applianceforge.cli.graph import Graph, View
from applianceforge.cli.page import policy, render
from applianceforge.migrate.outcome import Outcome, StepOutcome
from tests.cli.test_summary import NO_TARGET, OUTCOME

VOID = {"meta", "img", "br"}
HOSTILE = "</style></title><script>alert(1)</script>\" onload='x' &lt;b&gt; \x00\x1b\u202e\udc80"
SHOWN = "</style></title><script>alert(1)</script>\" onload='x' &lt;b&gt; \\x00\\x1b\\u202e\\udc80"
GRAPH = Graph(
    title="deep/load.rrd",
    before_png=b"\x89PNG before",
    after_png=b"\x89PNG after",
    identical=True,
    view=View(1_700_000_000, 1_700_086_400, 300, 0.0, 10.0, ("user", "system"), 500),
)


@dataclass
class Node:
    """An element of a parsed page."""

    tag: str
    attributes: dict[str, str | None]
    children: list["Node"] = field(default_factory=list)
    text: str = ""

    def all(self, tag: str = "") -> list["Node"]:
        found = [one for child in self.children for one in child.all(tag)]
        return [self, *found] if tag in ("", self.tag) else found

    def words(self) -> str:
        return " ".join(" ".join(one.text for one in self.all()).split())


class Tree(HTMLParser):
    """Parse a page as a browser would, refusing what is not balanced."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.root = Node("", {})
        self.open = [self.root]
        self.feed(page)
        self.close()
        assert self.open == [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, dict(attrs))
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


def parsed(outcome: Outcome = OUTCOME, graphs: tuple[Graph, ...] = (GRAPH,)) -> Node:
    return Tree(render(outcome, graphs, "ApplianceForge 1.2.3")).root


def hostile() -> tuple[Outcome, Graph]:
    outcome = replace(
        OUTCOME,
        operation=HOSTILE,
        source=replace(OUTCOME.source, label=HOSTILE),
        target=replace(OUTCOME.target, label=HOSTILE),
        steps=(StepOutcome(HOSTILE, HOSTILE, 1.0, 5, 5, HOSTILE),),
        told=(HOSTILE,),
        warnings=(HOSTILE,),
        proofs={HOSTILE: 1, "rrds": 200, "tables": 1},
    )
    return outcome, replace(GRAPH, title=HOSTILE)


def test_page_says_what_the_summary_says() -> None:
    page = parsed().words()
    for words in (
        "Nothing was lost.",
        "1,234,567 rows in 42 tables of 5 databases and 200 RRDs were compared and are equal.",
        "before, 32-bit",
        "now, 64-bit",
        "dump the database mail",
        "40.0 MB/s",
        "definition, state and every value, bit for bit",
        "materialized view mail daily.mean: its values differ",
        "SSE2",
        "There are replication slots",
        "80% of the 500.0 MB predicted",
        "deep/load.rrd",
        "2023-11-14 22:13 UTC to 2023-11-15 22:13 UTC",
        "Both pictures are equal in every pixel.",
        "stopped or cut 2 times",
        "ApplianceForge 1.2.3",
    ):
        assert words in page, words


def test_nothing_comes_from_elsewhere() -> None:
    page = parsed()
    tags = {one.tag for one in page.all()}
    assert tags.isdisjoint(
        {"script", "link", "iframe", "object", "a", "base", "form", "image", "use"}
    )
    for one in page.all():
        for name, value in one.attributes.items():
            assert not name.startswith("on"), name
            assert name not in ("style", "href", "srcset", "action", "background"), name
            assert name != "src" or str(value).startswith("data:image/png;base64,")
    (style,) = page.all("style")
    assert not re.search(r"url|@import|expression|\\|<", style.text)


def test_policy_allows_this_style_sheet_and_nothing_else() -> None:
    page = parsed()
    (said,) = [one for one in page.all("meta") if "http-equiv" in one.attributes]
    (style,) = page.all("style")
    digest = base64.b64encode(hashlib.sha256(style.text.encode()).digest()).decode()
    assert said.attributes["content"] == policy(style.text)
    assert said.attributes["content"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none';"
        " form-action 'none'"
    )


def test_hostile_names_are_inert_and_visible() -> None:
    outcome, graph = hostile()
    page = parsed(outcome, (graph,))
    assert {one.tag for one in page.all()} == {one.tag for one in parsed().all()}
    assert all(not name.startswith("on") for one in page.all() for name in one.attributes)
    flat = page.words()
    assert flat.count(" ".join(SHOWN.split())) >= 8
    assert SHOWN in str(page.all("img")[0].attributes["alt"])
    render(outcome, [graph], HOSTILE).encode()


def test_pictures_are_in_the_page() -> None:
    sources = [one.attributes["src"] or "" for one in parsed().all("img")]
    assert [base64.b64decode(source.partition(",")[2]) for source in sources] == [
        GRAPH.before_png,
        GRAPH.after_png,
    ]


def test_pictures_that_differ_are_not_called_equal() -> None:
    page = parsed(graphs=(replace(GRAPH, identical=False),)).words()
    assert "equal in every pixel" not in page
    assert "differ in some pixels" in page


def test_page_can_be_read_aloud() -> None:
    page = parsed()
    assert page.all("html")[0].attributes["lang"] == "en"
    levels = [int(one.tag[1]) for one in page.all() if re.fullmatch(r"h[1-6]", one.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(one.words() and one.attributes["scope"] for one in page.all("th"))
    assert all(len(str(one.attributes["alt"])) > 40 for one in page.all("img"))
    # Drawings say nothing that the text beside them does not.
    assert all(one.attributes["aria-hidden"] == "true" for one in page.all("svg"))


def test_steps_are_drawn_one_after_the_other_to_scale() -> None:
    bars = [one.all("rect")[1].attributes for one in parsed().all("td") if one.all("rect")]
    places = [(float(bar["x"] or 0), float(bar["width"] or 0)) for bar in bars]
    assert places == [(0.0, 597.0), (597.0, 283.6), (880.6, 119.4)]


def test_short_steps_are_still_seen_and_none_leaves_the_scale() -> None:
    steps = tuple(StepOutcome(str(n), str(n), s, 0, 0, "") for n, s in enumerate((100.0, 0.0, 0.0)))
    for one in parsed(replace(OUTCOME, steps=steps)).all("td"):
        for rect in one.all("rect")[1:]:
            x, width = float(rect.attributes["x"] or 0), float(rect.attributes["width"] or 0)
            assert width >= 4
            assert x + width <= 1000.1


def test_export_has_one_side_and_claims_nothing() -> None:
    outcome = replace(OUTCOME, operation="export", target=NO_TARGET, proofs={}, told=())
    page = parsed(outcome, ())
    words = page.words()
    assert "The export is complete." in words
    assert "lost" not in page.all("body")[0].words()
    assert "now," not in words
    assert not [one for one in page.all("header") if one.attributes["class"] == "proved"]


def test_empty_outcome_makes_a_page() -> None:
    outcome = Outcome("run", 0.0, 0.0, NO_TARGET, NO_TARGET, (), {}, (), (), 0, 0, 0)
    assert "Nothing was proved." in parsed(outcome, ()).words()


def test_more_space_than_predicted_is_marked() -> None:
    page = parsed(replace(OUTCOME, peak_bytes=600_000_000))
    assert [one for one in page.all("rect") if one.attributes["class"] == "over"]
    assert "120% of the 500.0 MB predicted" in page.words()


def colours(rules: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", rules))


def luminance(colour: str) -> float:
    """Source: W3C WCAG 2.2, relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_stands_out_in_light_dark_and_print() -> None:
    style = package_files("applianceforge.cli").joinpath("page.css").read_text(encoding="utf-8")
    themes = [colours(rules) for rules in re.findall(r":root \{(.*?)\}", style, re.DOTALL)]
    assert len(themes) == 3
    for theme in themes:
        assert theme.keys() == themes[0].keys()
        for text in ("text", "soft"):
            for ground in ("ground", "card", "head"):
                assert contrast(theme[text], theme[ground]) >= 4.5, (text, ground)
        for text in ("good", "care"):
            for ground in ("card", f"{text}-ground"):
                assert contrast(theme[text], theme[ground]) >= 4.5, (text, ground)
        assert contrast(theme["text"], theme["care-ground"]) >= 4.5
        assert contrast(theme["bar"], theme["track"]) >= 3

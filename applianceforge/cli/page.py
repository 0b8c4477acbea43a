"""Render an operation's outcome as one HTML page that needs nothing else.

The page is built as a tree of elements and then written, so that no text can become markup: names
come from databases and file systems, and may be hostile. Its policy (CSP) forbids scripts and the
network altogether; the one style sheet is allowed by its hash, pictures by being part of the page.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.resources import files as package_files
from xml.etree.ElementTree import Element, tostring

from applianceforge.cli.graph import Graph
from applianceforge.cli.summary import (
    WHY_TOLD,
    Verdict,
    duration,
    facts,
    interruptions,
    proofs,
    rate,
    size,
    space,
    totals,
    verdict,
    visible,
)
from applianceforge.migrate.outcome import Outcome, StepOutcome

_TITLES = {
    "run": "Migration from 32 to 64 bits",
    "export": "Export of a 32-bit appliance",
    "import": "Import into a 64-bit appliance",
    "verify": "Comparison of a 32-bit and a 64-bit appliance",
}
# A bar that is there can be seen, however short its step.
_LEAST_SHARE = 0.004
_TICK = "M7 12.5l3.4 3.4L17 9"
_LETTER_I = "M12 11v6M12 7.4v.2"


def render(outcome: Outcome, graphs: Sequence[Graph], generated_by: str) -> str:
    """Return the page.

    Args:
        outcome: What it shows.
        graphs: RRDs before and after; may be empty.
        generated_by: The program and its version, for the foot of the page.
    """
    style = package_files("applianceforge.cli").joinpath("page.css").read_text(encoding="utf-8")
    said = verdict(outcome)
    title = _TITLES.get(outcome.operation, outcome.operation)
    head = _element(
        "head",
        _element("meta", charset="utf-8"),
        _element("meta", http_equiv="Content-Security-Policy", content=policy(style)),
        _element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _element("meta", name="referrer", content="no-referrer"),
        _element("title", f"{said.headline} {title}"),
    )
    sheet = Element("style")
    sheet.text = style
    head.append(sheet)
    beside = [one for one in (_facts_section(outcome), _space_section(outcome)) if one is not None]
    sections = (
        _element("div", *beside, class_="beside"),
        *(_graph_section(graph, outcome) for graph in graphs),
        _steps_section(outcome),
        _proofs_section(outcome),
        _told_section(outcome),
        _warnings_section(outcome),
    )
    main = _element(
        "main",
        _header(outcome, said, title),
        *(one for one in sections if one is not None),
    )
    body = _element("body", main, _footer(outcome, generated_by))
    document = _element("html", head, body, lang="en")
    return "<!doctype html>\n" + tostring(document, encoding="unicode", method="html") + "\n"


def policy(style: str) -> str:
    """Return the content security policy: this style sheet, pictures in the page, nothing else.

    Source: W3C Content Security Policy Level 3, 2.3.1 (hash-source) and 6.1 (fetch directives).
    """
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none';"
        " form-action 'none'"
    )


def _element(tag: str, *children: Element | str, **attributes: str) -> Element:
    """Return an element; text and attributes are escaped when it is written.

    An attribute's name is written class_ for class and aria_label for aria-label.
    """
    names = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    made = Element(tag, {name: visible(value) for name, value in names.items()})
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + visible(child)
        else:
            made.text = (made.text or "") + visible(child)
    return made


def _number(text: str, class_: str = "") -> Element:
    return _element("td", text, class_=f"number {class_}".strip())


def _heads(*names: tuple[str, str]) -> Element:
    row = (_element("th", name, scope="col", class_=class_) for name, class_ in names)
    return _element("thead", _element("tr", *row))


def _section(heading: str, *children: Element) -> Element:
    return _element("section", _element("h2", heading), *children)


def _header(outcome: Outcome, said: Verdict, title: str) -> Element:
    icon = _element(
        "svg",
        _element("circle", cx="12", cy="12", r="12", fill="currentColor", fill_opacity=".14"),
        _element(
            "path",
            d=_TICK if said.proved else _LETTER_I,
            fill="none",
            stroke="currentColor",
            stroke_width="2.2",
            stroke_linecap="round",
            stroke_linejoin="round",
        ),
        viewBox="0 0 24 24",
        aria_hidden="true",
    )
    figures = (
        _element("div", _element("dt", label), _element("dd", value))
        for label, value in _figures(outcome)
    )
    return _element(
        "header",
        _element("p", f"ApplianceForge · {title}", class_="eyebrow"),
        _element("div", icon, _element("h1", said.headline), class_="verdict"),
        _element("p", said.sentence, class_="sentence"),
        _element("dl", *figures, class_="figures"),
        class_="proved" if said.proved else "open",
    )


def _figures(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """Yield the figures at the top: what was proved, and how long all took."""
    words = {"rows": "rows proved equal", "tables": "tables", "rrds": "RRDs, bit for bit"}
    for key, label in words.items():
        if outcome.proofs.get(key):
            yield label, f"{outcome.proofs[key]:,}"
    yield "from first step to last", duration(outcome.elapsed_s)
    overall = rate(outcome.source.postgres_bytes + outcome.source.rrd_bytes, outcome.elapsed_s)
    if overall:
        yield "of the old data", overall


def _facts_section(outcome: Outcome) -> Element | None:
    found = facts(outcome)
    if not found:
        return None
    two_sides = outcome.operation != "export"
    heads = [("", ""), (f"before, {outcome.source.label}", "number")]
    if two_sides:
        heads.append((f"now, {outcome.target.label}", "number"))
    rows = (
        _element(
            "tr",
            _element("th", one.label, scope="row"),
            _number(one.before),
            *((_number(one.after, "now"),) if two_sides else ()),
        )
        for one in found
    )
    table = _element("table", _heads(*heads), _element("tbody", *rows), class_="facts")
    # A header cell without a name would be read aloud as nothing.
    table[0][0][0].tag = "td"
    del table[0][0][0].attrib["scope"]
    return _section("Before and now" if two_sides else "What was exported", table)


def _steps_section(outcome: Outcome) -> Element | None:
    if not outcome.steps:
        return None
    rows, begin_s = [], 0.0
    for step in outcome.steps:
        rows.append(_step_row(step, begin_s, outcome.elapsed_s))
        begin_s += step.elapsed_s
    foot = _element(
        "tr",
        _element("th", "all steps", scope="row"),
        _element("td", class_="bar"),
        _number(duration(outcome.elapsed_s), "time"),
        _number(""),
        _number(""),
    )
    table = _element(
        "table",
        _heads(
            ("step", ""),
            ("when, to scale", "bar"),
            ("time", "number"),
            ("bytes", "number"),
            ("rate", "number"),
        ),
        _element("tbody", *rows),
        _element("tfoot", foot),
        class_="steps",
    )
    return _section("Where the time went", table, _soft(totals(outcome)))


def _step_row(step: StepOutcome, begin_s: float, all_s: float) -> Element:
    name = _element("th", step.title, scope="row")
    if step.detail:
        name.append(_element("span", step.detail, class_="soft small"))
    bar = _bar(begin_s / all_s if all_s else 0.0, step.elapsed_s / all_s if all_s else 0.0)
    return _element(
        "tr",
        name,
        _element("td", bar, class_="bar"),
        _number(duration(step.elapsed_s), "time"),
        _number(size(step.done_bytes) if step.done_bytes else ""),
        _number(rate(step.done_bytes, step.elapsed_s)),
    )


def _bar(begin: float, share: float, class_: str = "fill") -> Element:
    """Return a bar on its track: where it begins and how long it is, as shares of the whole."""
    width = min(1.0, max(share, _LEAST_SHARE))
    begin = min(begin, 1.0 - width)
    return _element(
        "svg",
        _element("rect", width="1000", height="10", class_="track"),
        _element(
            "rect",
            x=f"{1000 * begin:.1f}",
            width=f"{1000 * width:.1f}",
            height="10",
            class_=class_,
        ),
        viewBox="0 0 1000 10",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def _proofs_section(outcome: Outcome) -> Element | None:
    rows = [
        _element(
            "tr",
            _number(f"{one.count:,}"),
            _element("th", one.what, scope="row"),
            _element("td", one.how, class_="soft how"),
        )
        for one in proofs(outcome)
    ]
    if not rows:
        return None
    heads = _heads(("how many", "number"), ("what", ""), ("what of it was compared", ""))
    table = _element("table", heads, _element("tbody", *rows), class_="proofs")
    return _section("What was proved equal", table)


def _told_section(outcome: Outcome) -> Element | None:
    if not outcome.told:
        return None
    lines = (_element("li", line) for line in outcome.told)
    return _section(
        "Expected differences", _element("ul", *lines, class_="told"), _soft(f"Why: {WHY_TOLD}")
    )


def _warnings_section(outcome: Outcome) -> Element | None:
    if not outcome.warnings:
        return None
    return _section("Warnings", _element("ul", *(_element("li", one) for one in outcome.warnings)))


def _space_section(outcome: Outcome) -> Element | None:
    said = space(outcome)
    if not said:
        return None
    predicted, used = outcome.predicted_peak_bytes, outcome.peak_bytes
    most = max(predicted, used)
    bars: list[Element] = []
    for label, value, class_ in (
        ("predicted", predicted, "fill"),
        ("used", used, "over" if predicted and used > predicted else "fill"),
    ):
        if value:
            bars += [
                _element("span", label),
                _element("span", size(value), class_="number"),
                _bar(0.0, value / most, class_),
            ]
    return _section("Space at the peak", _element("div", *bars, class_="space"), _soft(said))


def _graph_section(graph: Graph, outcome: Outcome) -> Element:
    start, end = _time(graph.view.start_s), _time(graph.view.end_s)
    sides = (
        ("Before", outcome.source.label, graph.before_png, "the original file"),
        ("Now", outcome.target.label, graph.after_png, "the converted file"),
    )
    figures = (
        _element(
            "figure",
            _element("figcaption", f"{when}: {what}, drawn by the {label} rrdtool"),
            _element(
                "img",
                src="data:image/png;base64," + base64.b64encode(png).decode(),
                alt=f"Graph of {', '.join(graph.view.sources)} in {what} {graph.title}, from"
                f" {start} to {end}, drawn by the {label} rrdtool",
            ),
        )
        for when, label, png, what in sides
    )
    if graph.identical:
        badge = _element("p", "Both pictures are equal in every pixel.", class_="badge")
    else:
        badge = _element(
            "p",
            "The pictures differ in some pixels: each rrdtool rounds and draws in its own way."
            " Whether the values are equal is proved by comparing them, not by these pictures.",
            class_="badge differs",
        )
    return _section(
        "One RRD, before and now",
        _element("h3", graph.title),
        _soft(f"{start} to {end}"),
        _element("div", *figures, class_="pair"),
        badge,
    )


def _soft(text: str) -> Element:
    return _element("p", _sentence(text), class_="soft")


def _sentence(text: str) -> str:
    """Return text that begins with a capital and ends with a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _footer(outcome: Outcome, generated_by: str) -> Element:
    lines = [f"Begun {_time(outcome.began_s)}, ended {_time(outcome.ended_s)}"]
    if outcome.interruptions:
        lines.append(interruptions(outcome))
    lines.append(f"Made by {generated_by}; this file is complete and needs no network")
    return _element("footer", *(_element("p", _sentence(line)) for line in lines))


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"

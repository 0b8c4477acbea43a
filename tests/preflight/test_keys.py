"""The list of keys has every key that the code and the texts show, and no other."""

import ast
import re
from pathlib import Path

from applianceforge.preflight import scan_findings, scan_texts
from applianceforge.preflight.keys import KNOWN_KEYS, is_possible

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "applianceforge"
MAKERS = (
    *sorted((PACKAGE / "preflight").glob("checks*.py")),
    PACKAGE / "preflight" / "scan_findings.py",
    PACKAGE / "preflight" / "answers.py",
    PACKAGE / "preflight" / "crosscheck.py",
    PACKAGE / "cpuid" / "remedies.py",
)
KEY = re.compile(r"[a-z]+\.[a-z0-9-]+")
AREAS = {key.partition(".")[0] for key in KNOWN_KEYS}
# Texts of the code that look like keys.
NO_KEYS = {"postgresql.conf", "boot.img"}


def literals() -> set[str]:
    found = set()
    for path in MAKERS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return {text for text in found if KEY.fullmatch(text)}


def first_arguments() -> set[str]:
    """Return the keys of findings that are made with a literal, whatever area they are of."""
    found = set()
    for path in MAKERS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                keys = [*node.args[:1], *(k.value for k in node.keywords if k.arg == "key")]
                found |= {k.value for k in keys if isinstance(k, ast.Constant)}
    return {str(key) for key in found}


def of_formats() -> set[str]:
    names = {scan_findings._KEYS.get(name, f"data.{name}") for name in scan_texts.TEXTS}
    return names | {f"data.{name}-64bit" for name in scan_findings._WIDTH_MATTERS}


def test_every_key_of_the_code_is_known() -> None:
    assert len(first_arguments()) > 20
    assert first_arguments() <= set(KNOWN_KEYS)
    shown = {text for text in literals() if text.partition(".")[0] in AREAS}
    assert shown - NO_KEYS | of_formats() == set(KNOWN_KEYS)


def test_every_key_of_the_recorded_texts_is_known() -> None:
    texts = ROOT / "tests" / "data" / "snapshots"
    files = [*sorted((texts / "checks").iterdir()), *sorted((texts / "processor").iterdir())]
    assert len(files) > 50
    shown = set()
    for path in files:
        shown |= set(re.findall(r"(?m)^(\S+) (?:info|warning|inhibitor) [0-9]+$", path.read_text()))
    assert len(shown) > 15
    assert shown <= set(KNOWN_KEYS)


def test_keys_are_in_order_and_well_formed() -> None:
    assert list(KNOWN_KEYS) == sorted(set(KNOWN_KEYS))
    assert all(KEY.fullmatch(key) for key in KNOWN_KEYS)


def test_a_format_of_tomorrow_is_possible() -> None:
    assert is_possible("data.some-format")
    assert is_possible("resources.memory")
    assert not is_possible("resources.memroy")
    assert not is_possible("data")

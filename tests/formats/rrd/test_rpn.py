"""Expressions of COMPUTE: the operators' numbers are those of the real RRDtool."""

from pathlib import Path

import pytest
import rrdtool

from applianceforge.formats.rrd import rpn
from applianceforge.formats.rrd.decode import decode

# Variables, numbers, and every operator that RRDtool 1.7.2 lets a COMPUTE data source have.
OPERATORS = (
    "a a-2 PREV(a-2) -32768,32767,a"
    " INF NEGINF UNKN NOW + % - * / SIN DUP EXC POP COS LOG EXP LT LE GT GE EQ IF MIN MAX LIMIT"
    " FLOOR CEIL UN NE ISINF ATAN SQRT SORT REV ATAN2 RAD2DEG DEG2RAD AVG ABS ADDNAN MINNAN MAXNAN"
    " MEDIAN PERCENT DEPTH COPY ROLL INDEX SMIN SMAX STDEV POW"
)


def nodes_of(expression: str, path: Path) -> bytes:
    rrdtool.create(
        str(path),
        *("--start", "1700000000", "DS:a:GAUGE:60:U:U", "DS:a-2:GAUGE:60:U:U"),
        *(f"DS:c:COMPUTE:{expression}", "RRA:AVERAGE:0.5:1:2"),
    )
    return decode(path.read_bytes()).header.definition.sources[2].params


@pytest.mark.real
@pytest.mark.parametrize("word", OPERATORS.split())
def test_words_have_rrdtools_numbers(word: str, tmp_path: Path) -> None:
    names = ["a", "a-2", "c"]
    real = nodes_of(word, tmp_path / "c.rrd")
    assert rpn.problems(real, 3) == []
    assert rpn.to_text(real, names) == word
    # Only values of nodes without one may differ: RRDtool leaves there what was.
    assert rpn.to_text(rpn.from_text(word, names), names) == word
    assert rpn.from_text(word, names)[::4] == real[::4]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "unknown word ''"),
        ("a,b,+", "unknown word 'b'"),
        ("PREV(b)", "unknown word"),
        ("32768,a,+", "unknown word '32768'"),
        ("1.5,a,*", "unknown word '1.5'"),
        (",".join(["a"] * 20), "more than 19 nodes"),
    ],
)
def test_what_is_no_expression_is_refused(text: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted.replace("(", r"\(")):
        rpn.from_text(text, ["a"])

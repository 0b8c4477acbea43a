"""The expression of a COMPUTE data source: nodes of four bytes, and its text.

A node is the operator's number (one byte), a byte of padding, and a signed 16-bit value, which is
the number itself or the index of a data source. Operator 32 ends the expression; 20 nodes fit.

Source: rpn_cdefds_t, op_en and DS_CDEF_MAX_RPN_NODES of rrd_rpncalc.h (as of RRDtool 1.4.7, "new
operators MUST be added at the very end"); the numbers from 49 on were read from files that
RRDtool 1.7.2 made, one for each operator.
"""

import re
import struct
from collections.abc import Sequence
from typing import Final

from applianceforge.formats.rrd.layout import UNIVALS_BYTES

_NUMBER = 0
_VARIABLE = 1
_END = 32
_PREVIOUS_OF = 36
_NODES = UNIVALS_BYTES // 4
_NODE = struct.Struct("<Bxh")

_IN_ORDER: Final = (
    "- - INF PREV NEGINF UNKN NOW TIME + % - * / SIN DUP EXC POP COS LOG EXP LT LE GT GE EQ IF"
    " MIN MAX LIMIT FLOOR CEIL UN - LTIME NE ISINF - COUNT ATAN SQRT SORT REV TREND TRENDNAN"
    " ATAN2 RAD2DEG DEG2RAD PREDICT PREDICTSIGMA AVG ABS ADDNAN MINNAN MAXNAN MEDIAN"
    " PREDICTPERC DEPTH COPY ROLL INDEX STEPWIDTH NEWDAY NEWWEEK NEWMONTH NEWYEAR SMIN SMAX"
    " STDEV PERCENT POW"
)
_NAMES: Final = {
    number: name
    for number, name in enumerate(_IN_ORDER.split())
    if number not in (_NUMBER, _VARIABLE, _END, _PREVIOUS_OF)
}
_NUMBERS: Final = {name: number for number, name in _NAMES.items()}
_PREVIOUS_PATTERN = re.compile(r"PREV\(([^()]+)\)")
_INTEGER_PATTERN = re.compile(r"[+-]?\d{1,5}")


def problems(nodes: bytes, ds_count: int) -> list[str]:
    """Return what is wrong with an expression, nothing if it can be evaluated."""
    found: list[str] = []
    for operator, value in _NODE.iter_unpack(nodes):
        if operator == _END:
            return found
        if operator in (_VARIABLE, _PREVIOUS_OF):
            if not 0 <= value < ds_count:
                found.append(f"its expression names DS number {value} of {ds_count}")
        elif operator != _NUMBER and operator not in _NAMES:
            found.append(f"its expression has the unknown operator {operator}")
    return [*found, f"its expression does not end within {_NODES} nodes"]


def to_text(nodes: bytes, names: Sequence[str]) -> str:
    """Return an expression as `rrdtool create` takes it.

    Args:
        nodes: 80 bytes, little endian, without `problems`.
        names: The names of all data sources.
    """
    words = []
    for operator, value in _NODE.iter_unpack(nodes):
        if operator == _END:
            break
        if operator == _NUMBER:
            words.append(str(value))
        elif operator == _VARIABLE:
            words.append(names[value])
        elif operator == _PREVIOUS_OF:
            words.append(f"PREV({names[value]})")
        else:
            words.append(_NAMES[operator])
    return ",".join(words)


def from_text(text: str, names: Sequence[str]) -> bytes:
    """Return the 80 bytes of an expression.

    Raises:
        ValueError: It is no expression over these data sources, or it has more than 19 nodes.
    """
    nodes = []
    for word in text.split(","):
        previous = _PREVIOUS_PATTERN.fullmatch(word)
        if _INTEGER_PATTERN.fullmatch(word) and -(2**15) <= int(word) < 2**15:
            nodes.append(_NODE.pack(_NUMBER, int(word)))
        elif word in _NUMBERS:
            nodes.append(_NODE.pack(_NUMBERS[word], 0))
        elif previous and previous[1] in names:
            nodes.append(_NODE.pack(_PREVIOUS_OF, names.index(previous[1])))
        elif word in names:
            nodes.append(_NODE.pack(_VARIABLE, names.index(word)))
        else:
            raise ValueError(f"the expression {text[:200]!r} has the unknown word {word[:40]!r}")
    if len(nodes) >= _NODES:
        raise ValueError(f"the expression {text[:200]!r} has more than {_NODES - 1} nodes")
    return b"".join((*nodes, _NODE.pack(_END, 0))).ljust(UNIVALS_BYTES, b"\0")

"""An error as a program reads it: the document of a command that was asked for --json.

    {"schema": 1, "exit_status": 70, "error": {"name": "expired", "message": "...", ...}}

What the command knew when the error came stands beside these, as in its own documents.
`error.schema.json` beside this module is the form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from applianceforge.model.errors import ForgeError, exit_status_of

SCHEMA = 1


def name_of(error: ForgeError) -> str:
    """Return the name that programs know an error by, such as `server-answer`.

    There is one for each class of `errors`; what is derived from one of them has its name.
    """
    kinds = type(error).__mro__
    named = kinds[max(kinds.index(ForgeError) - 1, 0)].__name__.removesuffix("Error")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", named).lower()


def document(error: ForgeError, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the document of a command that ended with an error.

    Args:
        known: What the command knew by then, in the form of its own documents.
    """
    return {
        "schema": SCHEMA,
        **(known or {}),
        "exit_status": exit_status_of(error),
        "error": {
            "name": name_of(error),
            "message": _readable(error.message),
            "hint": _readable(error.hint),
            "evidence": [_readable(line) for line in error.evidence],
        },
    }


def _readable(text: str) -> str:
    """Return text that every reader of JSON takes: names of files may hold lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()

"""Read the file with the administrator's answers to findings.

An answer file is text in UTF-8 with one section for each answer:

    # Lines that begin with # or ; say nothing.
    [accept data.unknown]
    reason = the files are a cache of the web server
    expires = 2026-12-31
    by = Erika Mustermann

    [data cache/shop/*.db]
    is = discard
    reason = made anew at every start
    by = Erika Mustermann

`[accept KEY]` accepts the finding of that key, until the end of the day `expires`. `reason` and
`expires` must be there. An accepted inhibitor becomes a warning and an accepted warning becomes
information: it is still told, with its reason. What is said about the processor cannot be
accepted, for no answer makes a processor run what it cannot.

`[data GLOB]` says what the files are that match a pattern, for the scanner of data that is bound
to a machine. The pattern is relative to the directory that is scanned; `*` and `?` match within a
name, `**` over directories. `is` is one of portable, converted, rebuilt, discard, carried-over.
`reason` must be there, `expires` may.

An answer holds for a year at most. The check is run anew before each update, and few machines
go without one for a year; so who answered is asked about once for each release, and an answer
whose author has left comes up again before it is forgotten.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from difflib import get_close_matches
from typing import Iterable

from applianceforge.model.errors import AccessDeniedError, SettingsError
from applianceforge.preflight import given_file, sections
from applianceforge.preflight.answers import (
    DISPOSITIONS,
    NEVER_ACCEPTED,
    Accept,
    Answers,
    DataAnswer,
    statements,
)
from applianceforge.preflight.render import printable
from applianceforge.preflight.sections import Section, cut

LONGEST_DAYS = 366
# 400 answers with a sentence each; who has more answers by pattern.
LARGEST_BYTES = 64 << 10
MOST_SECTIONS = 1000
_LONGEST_VALUE = 1000
_LONGEST_KEY = 100
_MOST_PROBLEMS = 100

_KEYS = {"accept": ("reason", "expires", "by"), "data": ("is", "reason", "expires", "by")}
_REQUIRED = {"accept": ("reason", "expires"), "data": ("is", "reason")}
_FINDING_KEY = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)+")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


# A line end by Windows is one; nothing else that a terminal obeys belongs into such a file.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def read(path: str, today: date) -> Answers:
    """Read an answer file.

    Args:
        path: The file.
        today: The day of the check; nothing may be answered for longer than a year from it.

    Raises:
        AccessDeniedError: It may not be read.
        SettingsError: It cannot be read, is larger than 64 KiB, or has mistakes; all are named.
    """
    try:
        content = given_file.read(path, LARGEST_BYTES)
    except PermissionError as error:
        raise AccessDeniedError(
            f"cannot read the answer file {path}: {error.strerror}",
            hint="run as root, or as the user who owns it",
        ) from error
    except OSError as error:
        raise SettingsError(
            f"cannot read the answer file {path}: {error.strerror}",
            hint="check the path that was given",
        ) from error
    return decode(content, path, today)


def decode(content: bytes, name: str, today: date) -> Answers:
    """Return the answers that the bytes of an answer file hold.

    Args:
        content: The bytes.
        name: What the file is called, for messages.
        today: The day of the check.

    Raises:
        SettingsError: It has mistakes; the message or the evidence names every one.
    """
    if len(content) > LARGEST_BYTES:
        raise SettingsError(
            f"the answer file {name} is larger than {LARGEST_BYTES >> 10} KiB",
            hint="give the file with the answers; a few lines are usual, and one pattern such as"
            " [data cache/**] answers for many files",
        )
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(
            f"the answer file {name} is not UTF-8: line {line} holds the byte"
            f" 0x{content[error.start]:02x}",
            hint="save it as UTF-8",
        ) from error
    control = _CONTROL.search(text)
    if control is not None:
        line = text.count("\n", 0, control.start()) + 1
        raise SettingsError(
            f"the answer file {name} is not plain text: line {line} holds the control character"
            f" 0x{ord(control[0]):02x}",
            hint="remove it, or write the line anew",
        )
    reading = _Reading(today)
    answers = reading.answers(text, name)
    if reading.problems:
        _refuse(name, reading.problems)
    return answers


def _refuse(name: str, problems: list[str]) -> None:
    problems = [printable(problem) for problem in problems]
    hint = "mend what is named; docs/answers.md has an example"
    if len(problems) == 1:
        raise SettingsError(f"in the answer file {name}: {problems[0]}", hint=hint)
    shown = tuple(problems[:_MOST_PROBLEMS])
    if len(problems) > len(shown):
        shown += (f"and {len(problems) - len(shown)} more",)
    raise SettingsError(
        f"the answer file {name} has {len(problems)} mistakes", hint=hint, evidence=shown
    )


class _Reading:
    """One reading of a file, which gathers every problem before it is refused."""

    def __init__(self, today: date) -> None:
        self.problems: list[str] = []
        self._today = today
        # A clock may show the last year that there is.
        self._last = today + min(timedelta(days=LONGEST_DAYS), date.max - today)

    def answers(self, text: str, name: str) -> Answers:
        found, problems = sections.decode(text)
        if len(found) > MOST_SECTIONS:
            raise SettingsError(
                f"the answer file {name} has {len(found)} sections; {MOST_SECTIONS} are possible",
                hint="one pattern such as [data cache/**] answers for many files",
            )
        self.problems.extend(problems)
        accepts: list[Accept] = []
        data: list[DataAnswer] = []
        for section in found:
            kind, _, subject = section.name.strip().partition(" ")
            subject = subject.strip()
            if kind not in _KEYS or not subject:
                self.problems.append(_unknown_section(section.name))
                continue
            values = self._values(section, kind)
            shown = cut(section.name)
            if kind == "accept":
                accepts.extend(self._accept(shown, subject, values))
            else:
                data.extend(self._data(shown, subject, values))
        self._twice([a.key for a in accepts])
        self._twice([d.pattern for d in data])
        told = () if self.problems else statements(data, self._today)
        return Answers(tuple(accepts), tuple(data), told, name)

    def _twice(self, subjects: list[str]) -> None:
        # `[accept  a.b]` and `[accept a.b]` are two sections of the file, one answer to us.
        seen: set[str] = set()
        twice: set[str] = set()
        for subject in subjects:
            (twice if subject in seen else seen).add(subject)
        for subject in sorted(twice):
            self.problems.append(f"{cut(subject)} is answered twice: keep one of the sections")

    def _values(self, section: Section, kind: str) -> dict[str, str]:
        name = cut(section.name)
        values: dict[str, str] = {}
        for key, value in section.values.items():
            if key not in _KEYS[kind]:
                self.problems.append(f"[{name}] {cut(key)}: not known; {_near(key, _KEYS[kind])}")
            elif len(value) > _LONGEST_VALUE:
                self.problems.append(f"[{name}] {key}: longer than {_LONGEST_VALUE} characters")
            else:
                values[key] = " ".join(value.split())
        for key in _REQUIRED[kind]:
            if not values.get(key) and not (key in section.values and key not in values):
                self.problems.append(f"[{name}] {key}: missing; write `{key} = {_SAMPLES[key]}`")
        return values

    def _accept(self, section: str, key: str, values: dict[str, str]) -> list[Accept]:
        expires = self._date(section, values)
        first = key.partition(".")[0]
        if first in NEVER_ACCEPTED:
            self.problems.append(f"[{section}]: {_WHYNEVER_ACCEPTED[first]}")
        elif len(key) > _LONGEST_KEY or not _FINDING_KEY.fullmatch(key):
            self.problems.append(
                f"[{section}]: {cut(key)!r} is no key of a finding; take the word in brackets"
                " behind the finding's title"
            )
        elif expires is not None:
            return [Accept(key, values.get("reason", ""), expires, values.get("by", ""))]
        return []

    def _data(self, section: str, pattern: str, values: dict[str, str]) -> list[DataAnswer]:
        word = values.get("is", "")
        if len(pattern) > _LONGEST_VALUE:
            self.problems.append(f"[{section}]: longer than {_LONGEST_VALUE} characters")
        if pattern.startswith("/") or ".." in pattern.split("/"):
            self.problems.append(
                f"[{section}]: a pattern is relative to the directory that is scanned; write it"
                f" without {'the first /' if pattern.startswith('/') else '..'}"
            )
        if word and word not in DISPOSITIONS:
            self.problems.append(f"[{section}] is: {cut(word)!r} is not known; {_near(word)}")
        expires = self._date(section, values)
        return [DataAnswer(pattern, word, values.get("reason", ""), expires, values.get("by", ""))]

    def _date(self, section: str, values: dict[str, str]) -> date | None:
        text = values.get("expires", "")
        if not text:
            return None
        try:
            if not _DATE.fullmatch(text):
                raise ValueError
            day = date(int(text[:4]), int(text[5:7]), int(text[8:]))
        except ValueError:
            self.problems.append(
                f"[{section}] expires: {cut(text)!r} is no day; write it as {_SAMPLES['expires']}"
            )
            return None
        if day > self._last:
            self.problems.append(
                f"[{section}] expires: {text} is more than a year ahead; the last day possible is"
                f" {self._last.isoformat()}"
            )
        return day


_SAMPLES = {"reason": "why it may be so", "expires": "2026-12-31", "is": "discard"}
_WHYNEVER_ACCEPTED = {
    "processor": "what is said about the processor cannot be accepted: no answer makes it run"
    " 64-bit programs. Do what the finding's remedy says; `applianceforge check` shows it",
    "answers": "findings about the answers themselves cannot be accepted; mend the answer instead",
}


def _near(word: str, known: Iterable[str] = DISPOSITIONS) -> str:
    known = tuple(known)
    close = get_close_matches(word[:_LONGEST_KEY], known, 1)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known are " + ", ".join(known)


def _unknown_section(section: str) -> str:
    kind, section = section.split(" ")[0], cut(section)
    if kind in _KEYS:
        what = "a finding's key" if kind == "accept" else "a pattern of file names"
        return f"[{section}]: {what} is missing, as in [{kind} {_SUBJECTS[kind]}]"
    return (
        f"[{section}]: no such kind of section; {_near(kind, _KEYS)}; write [accept KEY] or"
        " [data GLOB]"
    )


_SUBJECTS = {"accept": "data.unknown", "data": "cache/shop/*.db"}

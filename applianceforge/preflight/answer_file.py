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

import configparser
import re
from datetime import date, timedelta
from difflib import get_close_matches
from typing import Iterable

from applianceforge.model.errors import AccessDeniedError, SettingsError
from applianceforge.preflight.answers import (
    DISPOSITIONS,
    NEVER_ACCEPTED,
    Accept,
    Answers,
    DataAnswer,
    statements,
)
from applianceforge.preflight.render import printable

LONGEST_DAYS = 366
_LARGEST_BYTES = 1 << 20
_LONGEST_VALUE = 1000
_MOST_PROBLEMS = 100

_KEYS = {"accept": ("reason", "expires", "by"), "data": ("is", "reason", "expires", "by")}
_REQUIRED = {"accept": ("reason", "expires"), "data": ("is", "reason")}
_FINDING_KEY = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*)+")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class _Parser(configparser.RawConfigParser):
    # A pattern may hold brackets: the header ends with the last one, and the line with it. The
    # class's own expression ends at the first or the last one, by the version of Python.
    SECTCRE = re.compile(r"\[(?P<header>.+)\]\s*$")

    def __init__(self, strict: bool) -> None:
        super().__init__(
            delimiters=("=",),
            comment_prefixes=("#", ";"),
            strict=strict,
            empty_lines_in_values=False,
            default_section="\0",
        )


def read(path: str, today: date) -> Answers:
    """Read an answer file.

    Args:
        path: The file.
        today: The day of the check; nothing may be answered for longer than a year from it.

    Raises:
        AccessDeniedError: It may not be read.
        SettingsError: It cannot be read, is larger than 1 MiB, or has mistakes; all are named.
    """
    try:
        with open(path, "rb") as stream:
            content = stream.read(_LARGEST_BYTES + 1)
    except PermissionError as error:
        raise AccessDeniedError(
            f"cannot read the answer file {path}: {error.strerror}",
            hint="run as root, or as the user who owns it",
        ) from error
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"cannot read the answer file {path}: {getattr(error, 'strerror', None) or error}",
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
    if len(content) > _LARGEST_BYTES:
        raise SettingsError(
            f"the answer file {name} is larger than 1 MiB",
            hint="give the file with the answers; a few lines are usual",
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(
            f"the answer file {name} is not UTF-8: line {line} holds the byte"
            f" 0x{content[error.start]:02x}",
            hint="save it as UTF-8",
        ) from error
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
        self._last = today + timedelta(days=LONGEST_DAYS)

    def answers(self, text: str, name: str) -> Answers:
        parser = _Parser(strict=True)
        try:
            parser.read_string(text)
        except (configparser.DuplicateSectionError, configparser.DuplicateOptionError) as error:
            self.problems.append(_repeated(error))
            # The rest is read all the same, so that its mistakes are told too.
            parser = _Parser(strict=False)
            try:
                parser.read_string(text)
            except configparser.Error as second:
                self.problems.extend(_syntax(second, text))
        except configparser.Error as error:
            self.problems.extend(_syntax(error, text))
        accepts: list[Accept] = []
        data: list[DataAnswer] = []
        for section in parser.sections():
            kind, _, subject = section.strip().partition(" ")
            subject = subject.strip()
            if kind not in _KEYS or not subject:
                self.problems.append(_unknown_section(section))
                continue
            values = self._values(section, kind, parser)
            if kind == "accept":
                accepts.extend(self._accept(section, subject, values))
            else:
                data.extend(self._data(section, subject, values))
        self._twice(accepts, data)
        told = () if self.problems else statements(data, self._today)
        return Answers(tuple(accepts), tuple(data), told, name)

    def _twice(self, accepts: list[Accept], data: list[DataAnswer]) -> None:
        # `[accept  a.b]` and `[accept a.b]` are two sections to the parser, one answer to us.
        for subjects in ([a.key for a in accepts], [d.pattern for d in data]):
            for subject in sorted({s for s in subjects if subjects.count(s) > 1}):
                self.problems.append(f"{subject} is answered twice: keep one of the sections")

    def _values(self, section: str, kind: str, parser: _Parser) -> dict[str, str]:
        values: dict[str, str] = {}
        for key, value in parser.items(section):
            if key not in _KEYS[kind]:
                self.problems.append(f"[{section}] {key}: not known; {_near(key, _KEYS[kind])}")
            elif len(value) > _LONGEST_VALUE:
                self.problems.append(f"[{section}] {key}: longer than {_LONGEST_VALUE} characters")
            else:
                values[key] = " ".join(value.split())
        for key in _REQUIRED[kind]:
            if not values.get(key) and not (key in parser[section] and key not in values):
                self.problems.append(f"[{section}] {key}: missing; write `{key} = {_SAMPLES[key]}`")
        return values

    def _accept(self, section: str, key: str, values: dict[str, str]) -> list[Accept]:
        expires = self._date(section, values)
        first = key.partition(".")[0]
        if first in NEVER_ACCEPTED:
            self.problems.append(f"[{section}]: {_WHYNEVER_ACCEPTED[first]}")
        elif not _FINDING_KEY.fullmatch(key):
            self.problems.append(
                f"[{section}]: {key!r} is no key of a finding; take the word in brackets behind"
                " the finding's title"
            )
        elif expires is not None:
            return [Accept(key, values.get("reason", ""), expires, values.get("by", ""))]
        return []

    def _data(self, section: str, pattern: str, values: dict[str, str]) -> list[DataAnswer]:
        word = values.get("is", "")
        if pattern.startswith("/") or ".." in pattern.split("/"):
            self.problems.append(
                f"[{section}]: a pattern is relative to the directory that is scanned; write it"
                f" without {'the first /' if pattern.startswith('/') else '..'}"
            )
        if word and word not in DISPOSITIONS:
            self.problems.append(f"[{section}] is: {word!r} is not known; {_near(word)}")
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
                f"[{section}] expires: {text!r} is no day; write it as {_SAMPLES['expires']}"
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
    close = get_close_matches(word[:_LONGEST_VALUE], known, 1)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known are " + ", ".join(known)


def _unknown_section(section: str) -> str:
    kind = section.split(" ")[0]
    if kind in _KEYS:
        what = "a finding's key" if kind == "accept" else "a pattern of file names"
        return f"[{section}]: {what} is missing, as in [{kind} {_SUBJECTS[kind]}]"
    return (
        f"[{section}]: no such kind of section; {_near(kind, _KEYS)}; write [accept KEY] or"
        " [data GLOB]"
    )


_SUBJECTS = {"accept": "data.unknown", "data": "cache/shop/*.db"}


def _repeated(error: configparser.Error) -> str:
    if isinstance(error, configparser.DuplicateOptionError):
        return f"line {error.lineno}: [{error.section}] {error.option}: given twice; keep one"
    assert isinstance(error, configparser.DuplicateSectionError)
    return f"line {error.lineno}: [{error.section}] is there twice; keep one"


def _syntax(error: configparser.Error, text: str) -> list[str]:
    if isinstance(error, configparser.MissingSectionHeaderError):
        return [f"line {error.lineno}: stands before the first section, such as [accept KEY]"]
    if isinstance(error, configparser.ParsingError):
        lines = text.split("\n")
        return [
            f"line {number}: `{lines[number - 1].strip()}` is no section, no `key = value` and no"
            " comment"
            for number, _ in error.errors
        ]
    return [error.message]

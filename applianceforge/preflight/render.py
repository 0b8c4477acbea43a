"""Say the report of the check in words, for a person at a terminal.

The first line is the verdict in one sentence. Then everything that stands in the way, at once,
what cannot be mended first; then warnings; then what is good to know, one line each. The last
line says what the exit status means.

Evidence is foreign: names of files, lines of logs, strings of a firmware. None of its control
characters reaches the terminal, and a name that is not UTF-8 is shown by its bytes.
"""

from __future__ import annotations

import textwrap
from typing import Iterable, Mapping, NamedTuple

from applianceforge.cpuid.verdict import Capability, Verdict
from applianceforge.model.report import Finding, Remedy, Report, Severity, hardest_first

EXIT_STATUSES = {
    0: "the update may go ahead.",
    10: "the update may go ahead, with warnings.",
    20: "the hypervisor hides what the release needs; switch it on there.",
    21: "the firmware hides what the release needs, or is of another kind.",
    22: "this machine cannot run the 64-bit release.",
    23: "too little space or memory; make room.",
    24: "something in the data stands in the way.",
    30: "not known: the check could not find out. This says nothing against the machine.",
}

OF_DATA = {
    0: "nothing in this data stands in the way.",
    10: "nothing in this data stands in the way, but read the warnings.",
    24: "something in the data stands in the way.",
}

# A hundred lines of one kind say no more than twenty; the JSON document has all that were kept.
_SHOWN_EVIDENCE = 20
_LONGEST = 1000
_NARROWEST = 40
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}

_BOLD, _RED, _YELLOW, _GREEN, _DIM, _PLAIN = (
    "\033[1m",
    "\033[1;31m",
    "\033[1;33m",
    "\033[1;32m",
    "\033[2m",
    "\033[0m",
)


class Style(NamedTuple):
    """How the text is to look.

    Attributes:
        width: Columns of the terminal; commands and evidence are never broken for it.
        colour: Whether ANSI colours may be used.
        verbose: Whether information is told whole, and all the evidence.
        encoding: What the terminal understands; anything else is escaped.
    """

    width: int = 80
    colour: bool = False
    verbose: bool = False
    encoding: str = "utf-8"


_PLAIN_STYLE = Style()


def printable(text: str, longest: int = _LONGEST) -> str:
    """Return foreign text as one line without anything that a terminal would obey.

    Control characters, line ends, marks that turn the direction of writing, and the bytes of a
    name that is not UTF-8 become escapes such as `\\x1b`.

    Args:
        text: Anything, also with lone surrogates (`os.fsdecode`).
        longest: The most characters of `text` that are kept.
    """
    kept = text if len(text) <= longest else text[:longest]
    if not kept.isprintable():
        kept = "".join(c if c.isprintable() else _escaped(c) for c in kept)
    if len(text) > longest:
        kept += f"... ({len(text) - longest} more characters)"
    return kept


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8: surrogateescape of PEP 383
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def encodable(line: str, encoding: str) -> str:
    """Return a line with what `encoding` has no character for as escapes."""
    return line.encode(encoding, "backslashreplace").decode(encoding)


def sentence(processor: Verdict, report: Report, *, long_mode: bool = True) -> str:
    """Return the verdict in one sentence.

    Args:
        long_mode: Whether what is to be installed needs a 64-bit processor.
    """
    what = _machine(processor.environment)
    if not long_mode:
        return _able(what, "the 32-bit release", report)
    name = f" ({printable(processor.hypervisor)})" if processor.hypervisor else ""
    if processor.capability is Capability.MASKED_BY_HYPERVISOR:
        return (
            f"The processor could run 64-bit programs, but the hypervisor{name}, which runs this"
            " virtual machine, hides that; it can be switched on there."
        )
    if processor.capability is Capability.MASKED_BY_FIRMWARE:
        return (
            "The processor could run 64-bit programs, but the firmware (BIOS) of this machine"
            " hides that."
        )
    if processor.capability is Capability.UNKNOWN:
        return (
            f"Whether {what} can run 64-bit programs is not known: the processor could not be"
            " asked, which says nothing against the machine."
        )
    if processor.capability is Capability.INCAPABLE:
        if what == "this machine":
            return "This machine cannot run 64-bit programs: its processor is a 32-bit one."
        return f"{_capital(what)} cannot run 64-bit programs with the processor that it is shown."
    return _able(what, "64-bit programs", report)


def _able(what: str, ability: str, report: Report) -> str:
    able = f"{_capital(what)} can run {ability}"
    inhibitors = len(report.inhibitors)
    warnings = sum(f.severity is Severity.WARNING for f in report.findings)
    if inhibitors:
        stand = "1 thing stands" if inhibitors == 1 else f"{inhibitors} things stand"
        return f"{able}, but {stand} in the way of the update."
    if warnings:
        read = "the warning" if warnings == 1 else f"the {warnings} warnings"
        return f"{able}; read {read} below before you update it."
    return f"{able}, and nothing stands in the way of the update."


def _machine(environment: str) -> str:
    if environment.startswith("vm:"):
        return "this virtual machine"
    if environment == "emulated":
        return "this emulated machine"
    if environment == "container":
        return "the machine under this container"
    return "this machine"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def lines(
    processor: Verdict, report: Report, style: Style = _PLAIN_STYLE, *, long_mode: bool = True
) -> tuple[str, ...]:
    """Return the whole report as lines, without line ends.

    Args:
        processor: What was found out about the processor.
        report: All findings, the processor's among them, after the answers.
        style: How it is to look.
        long_mode: Whether what is to be installed needs a 64-bit processor.
    """
    page = _Page(style)
    colour = {0: _GREEN, 10: _YELLOW, 30: _YELLOW}.get(report.exit_status, _RED)
    page.text(sentence(processor, report, long_mode=long_mode), colour=colour)
    return _told(page, report, style, EXIT_STATUSES)


def opened(opening: Iterable[str], report: Report, style: Style = _PLAIN_STYLE) -> tuple[str, ...]:
    """Return a report on data, not on the machine, as lines, after lines of an opening."""
    page = _Page(style)
    for line in opening:
        page.whole(printable(line))
    return _told(page, report, style, OF_DATA)


def _told(
    page: _Page, report: Report, style: Style, meanings: Mapping[int, str]
) -> tuple[str, ...]:
    ordered = hardest_first(report.findings)
    inhibitors = [f for f in ordered if f.severity is Severity.INHIBITOR]
    warnings = [f for f in ordered if f.severity is Severity.WARNING]
    known = [f for f in ordered if f.severity is Severity.INFO]
    if inhibitors:
        order = "" if len(inhibitors) == 1 else ", the hardest to mend first"
        page.heading(f"Stands in the way ({len(inhibitors)}){order}:")
        for number, finding in enumerate(inhibitors, 1):
            page.finding(f"{number}. ", finding, _RED)
    if warnings:
        page.heading(f"Warnings ({len(warnings)}):")
        for number, finding in enumerate(warnings, 1):
            page.finding(f"{number}. ", finding, _YELLOW)
    if known:
        page.heading("Good to know:")
        for finding in known:
            if style.verbose:
                page.finding("- ", finding, _BOLD)
            else:
                page.text(f"{printable(finding.title)} [{printable(finding.key)}]", "- ")
    page.blank()
    status = report.exit_status
    meaning = meanings.get(status, "see the findings above.")
    page.text(f"Exit status {status}: {meaning}", colour=_BOLD)
    return tuple(encodable(line, style.encoding) for line in page.lines)


class _Page:
    """The lines so far; every line of ours is indented by what it belongs to."""

    def __init__(self, style: Style) -> None:
        self.lines: list[str] = []
        self._style = style
        self._width = max(style.width, _NARROWEST)

    def blank(self) -> None:
        self.lines.append("")

    def heading(self, text: str) -> None:
        self.blank()
        self.text(text, colour=_BOLD)

    def text(self, text: str, lead: str = "", *, colour: str = "") -> None:
        """Add one paragraph; `lead` stands before its first line and indents the others."""
        wrapped = textwrap.wrap(
            text,
            self._width,
            initial_indent=lead,
            subsequent_indent=" " * len(lead),
            break_long_words=False,
            break_on_hyphens=False,
        )
        painted = colour if self._style.colour else ""
        self.lines.extend(f"{painted}{line}{_PLAIN}" if painted else line for line in wrapped)

    def whole(self, text: str) -> None:
        """Add one line that is never broken, so that it can be copied."""
        self.lines.append(text)

    def finding(self, lead: str, finding: Finding, colour: str) -> None:
        self.blank()
        self.text(f"{printable(finding.title)} [{printable(finding.key)}]", lead, colour=colour)
        indent = " " * len(lead)
        self.text(printable(finding.summary), indent)
        self._evidence(finding.evidence, indent)
        self._remedies(finding.remedies, indent)

    def _evidence(self, evidence: tuple[str, ...], indent: str) -> None:
        if not evidence:
            return
        self.text("What shows it:", indent)
        shown = evidence if self._style.verbose else evidence[:_SHOWN_EVIDENCE]
        for line in shown:
            self.whole(f"{indent}  {printable(line)}")
        if len(shown) < len(evidence):
            more = len(evidence) - len(shown)
            self.text(f"and {more} more; `applianceforge check --json` prints all", f"{indent}  ")

    def _remedies(self, remedies: tuple[Remedy, ...], indent: str) -> None:
        if not remedies:
            return
        self.text("What to do:", indent)
        for number, remedy in enumerate(remedies, 1):
            lead = f"{indent}  " if len(remedies) == 1 else f"{indent}{number:>3}) "
            self.text(printable(remedy.text), lead)
            inner = " " * len(lead)
            for command in remedy.command.splitlines():
                self.whole(f"{inner}$ {printable(command)}")
            if remedy.verify:
                self._verify(printable(remedy.verify), inner)

    def _verify(self, how: str, indent: str) -> None:
        """Add how to see that it helped; a command may be in it, so it is never broken."""
        said = f"{indent}To see that it helped: {how}"
        if len(said) <= self._width:
            self.whole(said)
        else:
            self.text("To see that it helped:", indent)
            self.whole(f"{indent}  {how}")

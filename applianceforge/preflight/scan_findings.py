"""Turn what a scan found into findings, one for each format that a change of width touches.

Keys never change: `data.FORMAT` for what is not portable, `data.FORMAT-64bit` for what is in the
64-bit form already, `data.unknown` for what inhibits until somebody says what it is, and
`data.rebuilt`, `data.discard`, `data.stated`, `data.unused-statements`, `data.unreadable`,
`data.other-file-systems`, `data.vanished`.
"""

from __future__ import annotations

from applianceforge.formats.foreign_words import Disposition
from applianceforge.model.report import Finding, Severity
from applianceforge.preflight import scan_texts
from applianceforge.preflight.scan_result import EXAMPLES, Group, Item, Scan, Skipped, shown
from applianceforge.preflight.scan_texts import Text

_DATA = 24
_WIDTH_MATTERS = (
    "postgresql",
    "rrd",
    "lmdb",
    "gdbm",
    "perl-storable",
    "atop",
    "postgresql-wal",
    "python-venv",
)
_KEYS = {"unknown-structure": "data.unknown"}
_HEAVIEST_FIRST = (Severity.INHIBITOR, Severity.WARNING, Severity.INFO)


def findings(scan: Scan) -> tuple[Finding, ...]:
    """Return the findings of a scan, the heaviest first, each kind in the order of its key."""
    found: list[Finding] = []
    stated = [group for group in scan.groups if group.statement is not None]
    told = [group for group in scan.groups if group.statement is None]
    found.extend(_of_formats(scan, told))
    found.extend(_of_wide_formats(told))
    for key, text, disposition in (
        ("data.rebuilt", scan_texts.REBUILT, Disposition.REBUILT),
        ("data.discard", scan_texts.DISCARD, Disposition.DISCARD),
    ):
        groups = [
            group
            for group in told
            if group.disposition is disposition and group.format not in scan_texts.TEXTS
        ]
        if groups:
            found.append(_finding(key, text, tuple(_in_short(group) for group in groups)))
    if stated:
        found.append(_finding("data.stated", scan_texts.STATED, _what_was_said(stated)))
    if scan.unused:
        found.append(
            _finding("data.unused-statements", scan_texts.UNUSED, tuple(map(shown, scan.unused)))
        )
    for key, text, skipped in (
        ("data.unreadable", scan_texts.UNREADABLE, scan.unreadable),
        ("data.other-file-systems", scan_texts.ELSEWHERE, scan.elsewhere),
    ):
        if skipped.number:
            found.append(_finding(key, text, _what_was_skipped(skipped)))
    if scan.vanished:
        found.append(
            _finding("data.vanished", scan_texts.VANISHED, (_counted(scan.vanished, "entry"),))
        )
    return tuple(sorted(found, key=lambda one: (_HEAVIEST_FIRST.index(one.severity), one.key)))


def _of_formats(scan: Scan, groups: list[Group]) -> list[Finding]:
    """Return a finding for each format with a text of its own, and for what needs a dump."""
    by_format: dict[str, list[Group]] = {}
    for group in groups:
        wide = group.disposition is Disposition.PORTABLE and group.format != "disk-image"
        own = group.format in scan_texts.TEXTS
        if not wide and (own or group.disposition is Disposition.CARRY_OVER):
            by_format.setdefault(group.format, []).append(group)
    found = []
    for name, members in by_format.items():
        text = scan_texts.TEXTS.get(name, scan_texts.CARRY_OVER)
        lines = _clusters(scan) if name == "postgresql" else ()
        key = _KEYS.get(name, f"data.{name}")
        found.append(_finding(key, text, lines or _listed(members)))
    return found


def _of_wide_formats(groups: list[Group]) -> list[Finding]:
    return [
        _finding(
            f"data.{group.format}-64bit",
            scan_texts.WIDE._replace(title=f"{scan_texts.WIDE.title}: {group.format}"),
            _listed([group]),
        )
        for group in groups
        if group.format in _WIDTH_MATTERS
        and group.width_bits == 64
        and group.disposition is Disposition.PORTABLE
    ]


def _finding(key: str, text: Text, evidence: tuple[str, ...]) -> Finding:
    return Finding(
        key=key,
        severity=text.severity,
        title=text.title,
        summary=text.summary,
        evidence=evidence,
        remedies=text.remedies,
        exit_status=_DATA,
    )


def _clusters(scan: Scan) -> tuple[str, ...]:
    """Return a line for each cluster that is to be converted; none if pg_control lay alone."""
    return tuple(
        f"{shown(cluster.path)}: PostgreSQL {shown(cluster.major) or 'of unknown version'},"
        f" {_width(cluster.width_bits)}, {in_bytes(cluster.size_bytes)} ({cluster.evidence})"
        for cluster in scan.clusters
        if cluster.width_bits != 64 and not cluster.evidence.endswith("is none")
    )


def _listed(groups: list[Group]) -> tuple[str, ...]:
    """Return how many there are, then the first few by name."""
    number = sum(group.number for group in groups)
    size_bytes = sum(group.size_bytes for group in groups)
    items = sorted(item for group in groups for item in group.items)[:EXAMPLES]
    lines = [f"{_counted(number, 'item')}, {in_bytes(size_bytes)}"]
    lines.extend(_named(item) for item in items)
    if number > len(items) and items:
        lines.append(f"and {number - len(items)} more")
    return tuple(lines)


def _named(item: Item) -> str:
    return f"{shown(item.path)} ({item.evidence})" if item.evidence else shown(item.path)


def _in_short(group: Group) -> str:
    width = f", {group.width_bits}-bit" if group.width_bits else ""
    example = f", such as {shown(group.items[0].path)}" if group.items else ""
    counted = _counted(group.number, "item")
    return f"{group.format}{width}: {counted}, {in_bytes(group.size_bytes)}{example}"


def _what_was_said(groups: list[Group]) -> tuple[str, ...]:
    lines = []
    for group in groups:
        statement = group.statement
        if statement is not None:
            lines.append(
                f"{shown(statement.pattern)}: {group.disposition.value}, says"
                f" {shown(statement.by)} ({shown(statement.reason)}); {_in_short(group)}"
            )
    return tuple(lines)


def _what_was_skipped(skipped: Skipped) -> tuple[str, ...]:
    lines = [f"{shown(path)} ({reason})" for path, reason in skipped.examples]
    if skipped.number > len(lines):
        lines.append(f"and {skipped.number - len(lines)} more")
    return tuple(lines)


def _counted(number: int, noun: str) -> str:
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"


def _width(width_bits: int | None) -> str:
    return "width unknown" if width_bits is None else f"{width_bits}-bit"


def in_bytes(size_bytes: int) -> str:
    """Return a size as a person reads it, in powers of 1000."""
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    size = float(size_bytes)
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"

"""Every message is known by what programs really say, whatever stands around it."""

import gettext
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.preflight import messages
from applianceforge.preflight.explanation import Known
from tests import snapshots

KNOWN = messages.known()
EXAMPLES = [(known.explanation.key, example) for known in KNOWN for example in known.examples]
DOCUMENT = Path(__file__).parents[2] / "docs" / "errors.md"
GERMAN = Path("/usr/share/locale/de/LC_MESSAGES/postgres-15.mo")


def page(lines: tuple[str, ...]) -> str:
    return "".join(f"{line}\n" for line in lines)


def keys(line: str) -> list[str]:
    return [explanation.key for explanation in messages.explain(line)]


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.explanation.key)
def test_every_text(known: Known) -> None:
    snapshots.same(f"error/{known.explanation.key}", page(messages.lines(known.explanation)))


def test_no_text_is_left_over() -> None:
    recorded = {
        path.stem for path in (Path(__file__).parents[1] / "data/snapshots/error").iterdir()
    }
    assert recorded == {known.explanation.key for known in KNOWN} | {"not-known"}


def test_the_text_for_a_line_that_is_not_known() -> None:
    snapshots.same("error/not-known", page(messages.not_known("something \x1b[31melse\udcff")))


@pytest.mark.parametrize(("key", "line"), EXAMPLES)
def test_a_message_is_known(key: str, line: str) -> None:
    assert keys(line) == [key]


@pytest.mark.parametrize(("key", "line"), EXAMPLES)
@pytest.mark.parametrize(
    "around",
    [
        "Nov 22 02:13:07 box postgres[812]: {}",
        "2026-11-22T02:13:07.123456+01:00 box app[1]: [3-1] {} ",
        '{{"log":"{}\\n","stream":"stderr"}}',
        "\x1b[31m{}\x1b[0m",
        "\t>  {}\r\n",
    ],
)
def test_what_stands_around_does_not_matter(key: str, line: str, around: str) -> None:
    assert key in keys(around.format(line))


@pytest.mark.parametrize(("key", "line"), EXAMPLES)
def test_case_quotes_and_broken_lines_do_not_matter(key: str, line: str) -> None:
    assert key in keys(line.upper())
    assert key in keys(line.replace(" ", "\n"))
    assert key in keys(line.replace("'", "\u2019"))
    assert key in keys(line.replace("'", '"').replace("-", "\u2011"))


@pytest.mark.parametrize(
    "line",
    [
        "FATAL:  falsche Pr\u00fcfsumme in Kontrolldatei",
        "FATAL:  falsche Pru\u0308fsumme in Kontrolldatei",
        "FATAL:  falsche Pr\u00c3\u00bcfsumme in Kontrolldatei",
        "FATAL:  falsche Pr\udcfcfsumme in Kontrolldatei",
        "FATAL:  falsche Pr#303#274fsumme in Kontrolldatei",
        "FATAL:  falsche Pruefsumme in Kontrolldatei",
    ],
)
def test_an_umlaut_may_be_broken(line: str) -> None:
    assert keys(line) == ["postgresql.control-checksum"]


@pytest.mark.skipif(not GERMAN.exists(), reason="PostgreSQL 15's German messages are not here")
def test_the_german_messages_of_the_real_catalogue() -> None:
    with GERMAN.open("rb") as stream:
        german = gettext.GNUTranslations(stream).gettext
    checked = 0
    for english, key in [
        ("incorrect checksum in control file", "postgresql.control-checksum"),
        ("database files are incompatible with server", "postgresql.layout"),
        ("byte ordering mismatch", "postgresql.version"),
        *[
            (
                f"The database cluster was initialized with {word} %d, but the server was compiled"
                f" with {word} %d.",
                "postgresql.layout",
            )
            for word in ("MAXALIGN", "BLCKSZ", "RELSEG_SIZE", "XLOG_BLCKSZ", "LOBLKSIZE")
        ],
        (
            "The database cluster was initialized without USE_FLOAT8_BYVAL but the server was"
            " compiled with USE_FLOAT8_BYVAL.",
            "postgresql.layout",
        ),
    ]:
        translated = german(english)
        assert translated != english
        assert keys(translated) == keys(english) == [key]
        checked += 1
    assert checked == 9


@pytest.mark.parametrize("package", ["amd64", "i386", "arm64"])
def test_packages_of_any_architecture(package: str) -> None:
    line = f"package architecture ({package}) does not match system (amd64)"
    assert keys(line) == ["dpkg.architecture"]


def test_a_library_that_pg_upgrade_cannot_load_is_told_by_its_reason() -> None:
    line = (
        'could not load library "$libdir/isn": ERROR:  could not load library "isn.so": isn.so:'
        " wrong ELF class: ELFCLASS32"
    )
    assert keys(line) == ["elf.class"]


def test_the_configuration_of_openldap_is_carried_over_too() -> None:
    (found,) = messages.explain("MDB_INVALID: File is not an LMDB file")
    commands = [step.commands for step in found.steps]
    assert commands[:2] == [
        ("slapcat -n 0 -l config.ldif", "slapcat -n 1 -l data.ldif"),
        ("slapadd -n 0 -l config.ldif", "slapadd -n 1 -l data.ldif"),
    ]
    assert not any("slapadd" in " ".join(c) and "mdb_load" in " ".join(c) for c in commands)


@pytest.mark.parametrize(
    "line",
    [
        "",
        " ",
        "No such file or directory",
        "self.py: No such file or directory",
        "firmware.elf: No such file or directory",
        "LOG:  database system is ready to accept connections",
        "FATAL:  could not open file: bad magic number",
        "sshd: /etc/ssh/moduli line 3: bad clientid",
        "data checksums are enabled",
    ],
)
def test_what_is_something_else(line: str) -> None:
    assert keys(line) == []


def test_one_line_may_say_two_things() -> None:
    line = "BDB1539 Build signature doesn't match environment; ld.so: wrong ELF class: ELFCLASS32"
    assert keys(line) == ["bdb.environment", "elf.class"]


def test_a_line_that_does_not_end_is_cut() -> None:
    assert keys("x" * 100 + "wrong ELF class: ELFCLASS32" + "x" * 10_000_000) == ["elf.class"]
    assert keys("x" * messages.LONGEST + "wrong ELF class: ELFCLASS32") == []


@given(st.text())
def test_any_line_is_taken(line: str) -> None:
    for explanation in messages.explain(line):
        assert messages.lines(explanation)
    assert all(shown.isprintable() for shown in messages.not_known(line))


@given(st.binary())
def test_any_bytes_of_a_command_line_are_taken(line: bytes) -> None:
    messages.explain(line.decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.explanation.key)
def test_an_explanation_is_whole(known: Known) -> None:
    explanation = known.explanation
    assert explanation.meaning.endswith(".")
    assert explanation.never
    assert all(never.startswith("Do not ") for never in explanation.never)
    assert any(step.commands for step in explanation.steps)
    assert known.examples
    for pattern in known.patterns:
        assert re.sub(r"\\.", "", pattern).islower(), "the line is folded"


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.explanation.key)
def test_every_pattern_is_needed_by_an_example_or_a_test(known: Known) -> None:
    """A pattern that can never fit is a mistake; each must compile and fit some text at least."""
    for pattern in known.patterns:
        re.compile(pattern)
    plain = [" ".join(example.casefold().split()) for example in known.examples]
    assert any(re.search(pattern, line) for pattern in known.patterns for line in plain)


def test_pg_resetwal_is_named_only_as_what_not_to_do() -> None:
    (found,) = messages.explain("FATAL:  incorrect checksum in control file")
    assert any("pg_resetwal" in never for never in found.never)
    for known in KNOWN:
        for step in known.explanation.steps:
            assert not re.search("resetwal|initdb|xfs_repair", " ".join(step.commands))


def our_commands() -> list[str]:
    return sorted(
        {
            command
            for known in KNOWN
            for step in known.explanation.steps
            for command in step.commands
            if command.startswith("applianceforge ")
        }
    )


@pytest.mark.parametrize("command", our_commands())
def test_our_commands_are_there(command: str) -> None:
    words = shlex.split(command.split(" > ")[0])[1:]
    depth = 1 if words[0] in {"check", "scan", "error"} else 2
    asked = [sys.executable, "-m", "applianceforge", *words[:depth], "--help"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    for word in words[depth:]:
        if word.startswith("-"):
            assert re.search(rf"(?<![\w-]){word}\b", done.stdout), f"{command}: {word}"


@pytest.mark.parametrize(
    "command",
    sorted({c for known in KNOWN for step in known.explanation.steps for c in step.commands}),
)
def test_a_command_is_one_for_a_shell(command: str) -> None:
    subprocess.run(["sh", "-n", "-c", command], check=True)


def test_the_document_has_every_message() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9.-]+)` \|", text, re.MULTILINE)
    assert rows == [known.explanation.key for known in KNOWN]
    for known in KNOWN:
        row = f"| `{known.explanation.key}` | {known.explanation.title} | "
        assert row in text
        assert f"`{known.examples[0].replace('|', chr(92) + '|')}`" in text

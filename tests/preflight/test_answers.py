"""The answer file: what it says, every mistake at once, and what the answers do to a report."""

import os
import random
import socket
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.formats.foreign_words import Disposition
from applianceforge.model.errors import AccessDeniedError, ForgeError, SettingsError
from applianceforge.model.report import Finding, Report, Severity
from applianceforge.preflight import answer_file, answers, given_file, render
from applianceforge.preflight.answers import Accept, Answers, DataAnswer, Decision, apply
from applianceforge.preflight.scan_result import Scan, Statement
from tests import snapshots
from tests.preflight import reports
from tests.preflight.reports import CLOCK, DATA, MASKED_FINDING, MEMORY, SPACE, WHOLE

TODAY = date(2026, 11, 22)
LAST = TODAY + timedelta(days=answer_file.LONGEST_DAYS)
DOCUMENT = Path(__file__).parents[2] / "docs" / "answers.md"
GOOD = """\
# a comment
; another

[accept data.unknown-structure]
reason = the files are
    a cache; 100% sure
expires = 2026-12-31
by = Erika Mustermann

[accept memory.tight]
reason = it was enough
expires = 2027-01-31

[data cache/[ab]/*.db]
is = discard
reason = made anew
by = Erika

[data spool/**]
is = portable
reason = the vendor says so
expires = 2026-11-21
"""


def decode(text: str | bytes) -> Answers:
    content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    return answer_file.decode(content, "box.answers", TODAY)


def refused(text: str | bytes) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        decode(text)
    assert caught.value.hint
    assert "box.answers" in caught.value.message
    return caught.value


def problems(text: str | bytes) -> tuple[str, ...]:
    error = refused(text)
    return error.evidence or (error.message.partition("box.answers")[2].lstrip(": "),)


def test_a_good_file() -> None:
    said = decode(GOOD)
    assert said == Answers(
        (
            Accept(
                "data.unknown-structure",
                "the files are a cache; 100% sure",
                date(2026, 12, 31),
                "Erika Mustermann",
            ),
            Accept("memory.tight", "it was enough", date(2027, 1, 31)),
        ),
        (
            DataAnswer("cache/[ab]/*.db", "discard", "made anew", None, "Erika"),
            DataAnswer("spool/**", "portable", "the vendor says so", date(2026, 11, 21)),
        ),
        # What has expired is not said to the scanner.
        (Statement("cache/[ab]/*.db", Disposition.DISCARD, "made anew", "Erika"),),
        "box.answers",
    )


@pytest.mark.parametrize("word", answers.DISPOSITIONS)
def test_every_word_of_a_disposition(word: str) -> None:
    (statement,) = decode(f"[data x]\nis = {word}\nreason = r\n").statements
    assert statement == Statement("x", answers.DISPOSITIONS[word], "r", "answer file")


def test_the_words_are_all_that_an_administrator_can_say() -> None:
    said = set(answers.DISPOSITIONS.values())
    assert set(Disposition) - said == {Disposition.SUSPECT, Disposition.UNKNOWN}


@pytest.mark.parametrize(
    "text", ["", "\n\n# nothing\n", "\ufeff" + GOOD, GOOD.replace("\n", "\r\n")]
)
def test_other_good_files(text: str) -> None:
    assert decode(text) in (Answers(name="box.answers"), decode(GOOD))


def test_percent_and_dollar_mean_themselves() -> None:
    text = "[accept a.b]\nreason = %(by)s ${by} 100%\nexpires = 2026-12-31\n"
    assert decode(text).accepts[0].reason == "%(by)s ${by} 100%"


def test_a_section_named_default_means_nothing_special() -> None:
    assert "DEFAULT" in problems("[DEFAULT]\nreason = r\n")[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[accept processor.incapable]\nreason = r\nexpires = 2026-12-31\n", "cannot be accepted"),
        ("[accept processor]\nreason = r\nexpires = 2026-12-31\n", "cannot be accepted"),
        ("[accept answers.expired]\nreason = r\nexpires = 2026-12-31\n", "mend the answer"),
        ("[accept a.b]\nexpires = 2026-12-31\n", "reason: missing"),
        ("[accept a.b]\nreason =\nexpires = 2026-12-31\n", "reason: missing"),
        ("[accept a.b]\nreason = r\n", "expires: missing"),
        ("[accept a.b]\nreason = r\nexpires = 31.12.2026\n", "'31.12.2026' is no day"),
        ("[accept a.b]\nreason = r\nexpires = 2026-02-30\n", "is no day"),
        ("[accept a.b]\nreason = r\nexpires = 20261231\n", "is no day"),
        ("[accept a.b]\nreason = r\nexpires = 2026-W50-1\n", "is no day"),
        ("[accept a.b]\nreason = r\nexpires = 0000-00-00\n", "is no day"),
        ("[accept a.b]\nreason = r\nexpires = \u0662026-12-31\n", "is no day"),
        (f"[accept a.b]\nreason = r\nexpires = {LAST + timedelta(1)}\n", f"possible is {LAST}"),
        ("[accept a.b]\nreason = r\nexpires = 9999-12-31\n", "more than a year ahead"),
        ("[accept a.b]\nreasn = r\nexpires = 2026-12-31\n", "did you mean 'reason'?"),
        (
            "[accept a.b]\nreason = r\nexpires = 2026-12-31\nx = 1\n",
            "known are reason, expires, by",
        ),
        ("[accept]\nreason = r\nexpires = 2026-12-31\n", "as in [accept data.unknown]"),
        ("[data]\nis = discard\nreason = r\n", "as in [data cache/shop/*.db]"),
        ("[acept a.b]\nreason = r\nexpires = 2026-12-31\n", "did you mean 'accept'?"),
        ("[accept A B]\nreason = r\nexpires = 2026-12-31\n", "is no key of a finding"),
        ("[accept clock]\nreason = r\nexpires = 2026-12-31\n", "is no key of a finding"),
        ("[data x]\nis = discarded\nreason = r\n", "did you mean 'discard'?"),
        ("[data x]\nis = 7\nreason = r\n", "known are portable, converted, rebuilt"),
        ("[data x]\nreason = r\n", "is: missing"),
        ("[data x]\nis = discard\n", "reason: missing"),
        ("[data x]\nis = discard\nreason = r\nexpires = soon\n", "'soon' is no day"),
        ("[data /var/x]\nis = discard\nreason = r\n", "without the first /"),
        ("[data ../x]\nis = discard\nreason = r\n", "without .."),
        ("[data x]\nis = discard\nreason = " + "r" * 1001 + "\n", "longer than 1000"),
        ("reason = r\n", "line 1: stands before the first section"),
        ("[accept a.b]\nreason = r\nexpires = 2026-12-31\nwhat\n", "line 4"),
        ("[accept a.b] x\nreason = r\n", "line 1"),
        ("[data x]\nis = discard\nreason = r\n[data x]\nis = portable\nreason = r\n", "line 4"),
        ("[data x]\nis = discard\nis = portable\nreason = r\n", "line 3: [data x] is: given twice"),
        (
            "[data x]\nis = discard\nreason = r\n[data  x]\nis = discard\nreason = r\n",
            "x is answered",
        ),
        (b"[data x]\nis = discard\nreason = \xff\n", "line 3 holds the byte 0xff"),
        (b"#" * (answer_file.LARGEST_BYTES + 1), "larger than 64 KiB"),
        ("[\0]\nreason = r\nexpires = 2026-12-31\n[accept a.b]\n", "line 1 holds the control"),
        ("# a\n[accept a.b]\nreason = a\x1b[2J\nexpires = 2026-12-31\n", "character 0x1b"),
        ("[accept a.b]\rreason = r\n", "line 1 holds the control character 0x0d"),
        ("[accept a.b]\nreason = \u0085\n", "line 2 holds the control character 0x85"),
        (f"[accept a.{'b' * 99}]\nreason = r\nexpires = 2026-12-31\n", "is no key of a finding"),
        (f"[data {'b' * 1001}]\nis = discard\nreason = r\n", "longer than 1000"),
    ],
)
def test_a_mistake(text: str | bytes, words: str) -> None:
    error = refused(text)
    assert error.exit_status == 40
    said = "\n".join((error.message, *error.evidence))
    assert words in said
    assert not error.evidence or len(error.evidence) > 1


def test_a_file_of_just_64_kib_is_read() -> None:
    decode(b"#" * answer_file.LARGEST_BYTES)


def test_as_many_sections_as_nobody_writes() -> None:
    one = "[data {:x}]\nis=discard\nreason=r\n"
    assert len(decode("".join(map(one.format, range(1000)))).data) == 1000
    assert "has 1001 sections; 1000 are" in refused("".join(map(one.format, range(1001)))).message


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"[data {number:x}]\n" for number in range(100_000)),
        "".join(f"[data {number}]\nis = discard\nreason = r\n" for number in range(25_000)),
        "[accept a.b]\n" + "zz\n" * 300_000,
        "[accept a.b]\nreason = r\n" + " z\n" * 300_000,
        "".join(f"{number} = x\n" for number in range(80_000)),
    ],
)
def test_a_file_that_a_program_made_is_refused_at_once(text: str) -> None:
    """Each took a minute or more: the time grew with the square of the size."""
    assert "larger than 64 KiB" in refused(text).message
    refused(text[: answer_file.LARGEST_BYTES])


def test_messages_are_short() -> None:
    long = "z" * 60_000
    for text in (
        f"[{long}]\n",
        f"[accept {long}]\n{long}\n",
        f"[data {long}]\nis = {long}\n",
        f"[data x]\n{long} = 1\n{long} = 1\nis = {'z' * 999}\nexpires = {'z' * 999}\n",
        f"{long}\n[data {long[:50_000]}\n",
        f"[data x]\n{long[:30_000]}\n[{long[:15_000]}]\n[{long[:15_000]}]\n",
    ):
        assert max(map(len, problems(text))) < 400


def test_every_mistake_at_once() -> None:
    text = """\
[accept processor.incapable]
reason = r
expires = 2026-12-31
[accept a.b]
reasn = r
[accept a.b]
expires = tomorrow
[data /x]
is = gone
nonsense
[other z]
"""
    said = problems(text)
    snapshots.same("answers/mistakes", "".join(f"{line}\n" for line in said))
    assert len(said) == 10


def test_a_thousand_mistakes_are_not_all_told() -> None:
    error = refused("".join(f"[x{n}]\n" for n in range(1000)))
    assert len(error.evidence) == 101
    assert error.evidence[-1] == "and 900 more"
    assert "1000 mistakes" in error.message


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    path.write_text(GOOD, encoding="utf-8")
    assert answer_file.read(str(path), TODAY) == decode(GOOD)._replace(name=str(path))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    for path in (
        tmp_path / "none",
        tmp_path,
        Path("/dev/zero"),
        Path("/dev/null"),
        Path("/proc/kmsg"),
        Path("/proc/self/status"),
        tmp_path / "socket",
        tmp_path / "x" / "y",
        Path("a\0b"),
    ):
        with pytest.raises(SettingsError) as caught:
            answer_file.read(str(path), TODAY)
        assert str(path) in caught.value.message


def test_a_pipe_that_nobody_writes_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    monkeypatch.setattr(given_file, "_PATIENCE_S", 0.05)
    with pytest.raises(SettingsError, match=r"this pipe did not end within 0\.05 seconds"):
        answer_file.read(str(path), TODAY)
    # Nor does one that somebody holds open, and sends half of it.
    writer = os.open(path, os.O_RDWR)
    try:
        os.write(writer, GOOD[:100].encode())
        with pytest.raises(SettingsError, match="did not end"):
            answer_file.read(str(path), TODAY)
    finally:
        os.close(writer)


def test_a_pipe_of_a_shell_is_read() -> None:
    """As in `--answers <(...)`: the writer may begin late, and writes by pieces."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        for place in range(0, len(GOOD), 50):
            os.write(writer, GOOD[place : place + 50].encode())
        os._exit(0)
    os.close(writer)
    try:
        path = f"/dev/fd/{reader}"
        assert answer_file.read(path, TODAY) == decode(GOOD)._replace(name=path)
    finally:
        os.close(reader)
        os.waitpid(child, 0)


def test_in_the_last_year_that_there_is() -> None:
    text = GOOD.replace("2026-12-31", "9999-12-31")
    said = answer_file.decode(text.encode(), "box.answers", date(9999, 11, 22))
    assert said.accepts[0].expires == date.max


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    path.touch(0o000)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(AccessDeniedError, match="cannot read the answer file"):
            answer_file.read(str(path), TODAY)
    finally:
        os.seteuid(before)


def test_what_is_foreign_does_not_reach_the_terminal() -> None:
    # Control characters are refused at once; this mark turns the direction of writing.
    for text in ("[\u202e]\n", "[data x]\n\u202e = 1\n", "[data x]\n\u202e\n"):
        said = problems(text)
        assert any("\\u202e" in line for line in said)
        assert all(line.isprintable() for line in said)


def accept(key: str, expires: date = LAST, by: str = "") -> Answers:
    return Answers((Accept(key, "a reason", expires, by),), name="box.answers")


def test_an_accepted_inhibitor_becomes_a_warning() -> None:
    report, decisions = apply(accept(DATA.key, by="Erika"), Report((SPACE, DATA)), TODAY)
    assert report.findings == (
        SPACE,
        DATA._replace(
            severity=Severity.WARNING,
            summary="Accepted by Erika until 2027-11-23 because: a reason. Nobody knows this"
            " format.",
        ),
    )
    assert report.exit_status == 23
    assert decisions == (
        Decision("accept", DATA.key, "accepted", "a reason", "2027-11-23", "Erika"),
    )
    assert apply(accept(DATA.key), Report((DATA,)), TODAY)[0].exit_status == 10


def test_an_accepted_warning_becomes_information() -> None:
    report, _ = apply(accept(MEMORY.key), Report((MEMORY,)), TODAY)
    assert report.findings[0].severity is Severity.INFO
    assert report.exit_status == 0


def test_a_key_accepts_every_finding_that_has_it_and_is_one_decision() -> None:
    report, decisions = apply(accept(DATA.key), Report((DATA, DATA)), TODAY)
    assert [f.severity for f in report.findings] == [Severity.WARNING] * 2
    assert len(decisions) == 1


def test_a_key_is_the_whole_key() -> None:
    report, decisions = apply(accept("data.unknown.more"), Report((DATA,)), TODAY)
    assert report.findings[0] is DATA
    assert decisions == ()


@pytest.mark.parametrize(("day", "counts"), [(TODAY, True), (TODAY - timedelta(1), False)])
def test_an_answer_counts_until_the_end_of_its_day(day: date, counts: bool) -> None:
    report, decisions = apply(accept(DATA.key, day), Report((DATA,)), TODAY)
    assert (report.exit_status == 10) is counts
    assert bool(decisions) is counts
    assert ("answers.expired" in [finding.key for finding in report.findings]) is not counts


@pytest.mark.parametrize(
    ("expires", "counts"),
    [(None, True), (TODAY + timedelta(1), True), (TODAY, True), (TODAY - timedelta(1), False)],
)
def test_what_is_said_of_files_counts_until_the_end_of_its_day(
    expires: date | None, counts: bool
) -> None:
    data = (DataAnswer("x", "discard", "r", expires, "Erika"),)
    assert answers.current(data, TODAY) == (data if counts else ())
    assert bool(answers.statements(data, TODAY)) is counts
    report, decisions = apply(Answers(data=data), Report(), TODAY)
    assert [finding.key for finding in report.findings] == ([] if counts else ["answers.expired"])
    assert [decision.subject for decision in decisions] == (["x"] if counts else [])


def test_the_last_day_of_a_file_s_section_counts() -> None:
    said = decode(f"[data x]\nis = discard\nreason = r\nexpires = {TODAY}\n")
    assert said.statements == (Statement("x", Disposition.DISCARD, "r", "answer file"),)
    late = decode(f"[data x]\nis = discard\nreason = r\nexpires = {TODAY - timedelta(1)}\n")
    assert late.statements == ()


def test_expired_answers_are_told() -> None:
    said = Answers(
        (Accept(DATA.key, "r", TODAY - timedelta(1)),),
        (DataAnswer("x", "discard", "r", TODAY - timedelta(2)), DataAnswer("y", "discard", "r")),
        name="box.answers",
    )
    report, decisions = apply(said, Report((DATA,)), TODAY)
    assert report.findings[0] is DATA
    (told,) = report.findings[1:]
    assert (told.key, told.severity) == ("answers.expired", Severity.WARNING)
    assert told.evidence == (
        f"[accept {DATA.key}] expired on 2026-11-21",
        "[data x] expired on 2026-11-20",
    )
    assert "box.answers" in told.remedies[0].text
    assert decisions == (Decision("data", "y", "discard", "r"),)


def test_answers_that_fit_nothing_are_told_with_the_nearest() -> None:
    report, decisions = apply(accept("data.unknwon"), Report((DATA,)), TODAY)
    (told,) = report.findings[1:]
    assert (told.key, told.severity) == ("answers.unused", Severity.INFO)
    assert told.evidence == ("[accept data.unknwon]; did you mean data.unknown?",)
    assert decisions == ()


def test_the_nearest_of_all_keys_is_told_of_a_misspelt_one() -> None:
    """Not only of those that were found: what was meant may have been mended by then."""
    said = Answers(tuple(Accept(key, "r", LAST) for key in ("resources.memroy", "x.y")))
    (told,) = apply(said, Report(), TODAY)[0].findings
    assert told.evidence == (
        "[accept resources.memroy]; did you mean resources.memory?",
        "[accept x.y]; the check has no such key",
    )
    assert "mended" not in told.summary
    assert "misspelt" in told.summary


def test_a_key_that_is_right_may_have_been_mended() -> None:
    for key in ("resources.memory", "data.some-format-of-tomorrow"):
        (told,) = apply(accept(key), Report(), TODAY)[0].findings
        assert told.evidence == (f"[accept {key}]",)
        assert "mended" in told.summary


def test_a_thousand_answers_that_do_not_count_are_not_all_told() -> None:
    for expires in (LAST, TODAY - timedelta(1)):
        said = Answers(tuple(Accept(f"a.b{n}", "r", expires) for n in range(1000)))
        (told,) = apply(said, Report(), TODAY)[0].findings
        assert len(told.evidence) == 101
        assert told.evidence[-1] == "and 900 more"


def test_texts() -> None:
    said = Answers(
        (
            Accept(DATA.key, "r", TODAY - timedelta(1)),
            Accept("data.unknwon", "r", TODAY),
            Accept(MEMORY.key, "the box ran for a month", TODAY, "Erika"),
        ),
        name="box.answers",
    )
    report, _ = apply(said, Report((DATA, MEMORY)), TODAY)
    page = render.opened((), report, render.Style(verbose=True))
    snapshots.same("answers/applied", "\n".join(page) + "\n")


def test_the_processor_is_not_accepted_by_any_way() -> None:
    """Not even by answers that were not read from a file."""
    report, decisions = apply(accept(MASKED_FINDING.key), WHOLE, TODAY)
    assert report.findings[: len(WHOLE.findings)] == WHOLE.findings
    assert report.exit_status == 20
    assert decisions == ()


def scanned(*unused: str) -> Scan:
    return Scan("/data", 0, 0, 0, (), (), unused=unused)


@pytest.mark.parametrize(
    ("scans", "counted"),
    [
        (None, ["x", "y"]),
        ((), []),
        ((scanned(),), ["x", "y"]),
        ((scanned("x"),), ["y"]),
        ((scanned("x", "y"), scanned("y")), ["x"]),
    ],
)
def test_what_is_said_of_files_counts_where_they_are(
    scans: tuple[Scan, ...] | None, counted: list[str]
) -> None:
    said = Answers(data=tuple(DataAnswer(p, "discard", "r") for p in ("x", "y")))
    _, decisions = apply(said, Report(), TODAY, scans)
    assert [decision.subject for decision in decisions] == counted


def test_no_answers_change_nothing() -> None:
    assert apply(Answers(), WHOLE, TODAY) == (WHOLE, ())


@given(reports.reports, st.lists(reports.KEYS, max_size=4), st.dates(), st.dates())
def test_any_answers(report: Report, keys: list[str], today: date, expires: date) -> None:
    keys += [f.key for f in report.findings[:2]]
    said = Answers(tuple(Accept(key, "r", expires) for key in keys))
    after, decisions = apply(said, report, today)
    assert len(after.findings) >= len(report.findings)
    for before, now in zip(report.findings, after.findings, strict=False):
        assert now._replace(severity=before.severity, summary=before.summary) == before
        assert now.summary.endswith(before.summary)
        if before.key.startswith("processor."):
            assert now == before
    counted = {decision.subject for decision in decisions}
    assert counted <= set(keys) & {f.key for f in report.findings}
    if expires < today:
        assert not counted


@given(st.binary(max_size=300))
def test_any_bytes(content: bytes) -> None:
    try:
        decode(content)
    except ForgeError as error:
        assert isinstance(error, SettingsError)


@given(st.text(st.sampled_from("[]=#; \n\t\racepti.data%*/\x00\x1c\u2028"), max_size=200))
def test_any_text_of_its_characters(text: str) -> None:
    try:
        decode(text)
    except ForgeError as error:
        assert isinstance(error, SettingsError)


def test_mutated_files() -> None:
    chance = random.Random(20261122)
    good = GOOD.encode()
    refusals = 0
    for _ in range(5000):
        content = bytearray(good)
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(content))
            match chance.randrange(4):
                case 0:
                    content[place] = chance.randrange(256)
                case 1:
                    del content[place : place + chance.randint(1, 30)]
                case 2:
                    content[place:place] = content[: chance.randint(1, 60)]
                case 3:
                    content[place:place] = bytes(chance.choices(b"\n[]=\x00 \xc3#", k=3))
            content = content or bytearray(b"x")
        try:
            said = decode(bytes(content))
        except SettingsError:
            refusals += 1
        else:
            for one in said.accepts:
                assert one.reason
                assert one.expires <= LAST
                assert not one.key.startswith("processor")
    assert 1000 < refusals < 5000


def test_the_document_s_example_is_good() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    example = text.split("```ini\n")[1].split("```")[0]
    said = answer_file.decode(example.encode(), "answers.md", date(2026, 1, 1))
    assert said.accepts
    assert said.data
    for word in answers.DISPOSITIONS:
        assert f"| `{word}` | " in text


def test_the_finding_of_information_may_be_accepted_and_stays_one() -> None:
    report, _ = apply(accept(CLOCK.key), Report((CLOCK,)), TODAY)
    assert report.findings[0].severity is Severity.INFO
    assert isinstance(report.findings[0], Finding)

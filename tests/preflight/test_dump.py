"""The dump for a support desk: what is in it, what is not, and that it comes back whole."""

import os
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from applianceforge.cpuid import procinfo
from applianceforge.cpuid.facts import Answer, Machine
from applianceforge.cpuid.facts import Facts as ProcessorFacts
from applianceforge.cpuid.procinfo import ProcInfo
from applianceforge.cpuid.registers import Leaf, Registers
from applianceforge.cpuid.verdict import Capability, decide
from applianceforge.model.errors import AccessDeniedError, SettingsError
from applianceforge.preflight import dump, dump_draft, dump_lines, gather
from applianceforge.preflight.checks_around import check_partners
from applianceforge.preflight.facts import (
    BootLoader,
    Clock,
    Disk,
    Facts,
    FileSystem,
    Kernel,
    Partition,
    Partner,
    Unseen,
)
from tests.cpuid import dump_texts
from tests.cpuid.table import BY_NAME, ROWS, Row, facts, hidden, leaf, named

CONROE = named("_Conroe")
KLAMATH = named("_P2_Klamath")
SLEDGEHAMMER = named("_K8_Sledgehammer")
KIND_ALONE = "it names the kind alone"
FLAGS = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr"


def listed(registers: Registers, more: str = "") -> ProcInfo:
    flags = f"{FLAGS} {more}{' lm' if registers.long_mode else ''}"
    return ProcInfo(
        registers.vendor.strip(), registers.family, registers.model, frozenset(flags.split()), 48
    )


def box(registers: Registers = CONROE) -> Facts:
    """Return a machine with one of everything."""
    return Facts(
        processor=ProcessorFacts(
            (
                Answer("memfd", registers),
                Answer("file", registers),
                Answer("anonymous", None, "[Errno 13] Permission denied"),
            ),
            listed(registers, "sse sse2 ss ht tm pbe nx constant_tsc"),
            Machine("VMware, Inc.", "VMware Virtual Platform", 0xE791, "", ""),
        ),
        hostname="secret-host",
        kernel=Kernel("5.10.0-28-686-pae", "i686", 32, "root=/dev/sda2 nolm password=hush"),
        memory_bytes=1_056_878_592,
        memory_available_bytes=700_000_001,
        swap_bytes=0,
        file_systems=(
            FileSystem("/dev/sda2", "/", "ext4", 2 << 30, 500_000_001, True, 0, None),
            FileSystem("/dev/sda4", "/data", "ext4", 12 << 30, 6 << 30, False, 3, None),
            FileSystem("/dev/sda3", "", "ext4", 2 << 30, 0, needs_recovery=True),
        ),
        disks=(
            Disk(
                "sda",
                16 << 30,
                (
                    Partition("sda1", 1 << 20),
                    Partition("sda2", 2 << 30, "slot A"),
                    Partition("sda3", 2 << 30, "slot-b"),
                    Partition("sda4", 12 << 30, "data"),
                ),
            ),
        ),
        uefi_bits=0,
        boot_loader=BootLoader("sda", True, ("sector 0 is as in boot.img", "core image too")),
        boot_environments=(b"# GRUB Environment Block\nslot=a\n".ljust(1024, b"#"), b""),
        clock=Clock(1_700_000_000, True),
        partners=(Partner("drbd", "/etc/drbd.d/r0.res", "address 10.0.0.7"),),
        unseen=(Unseen("raw DMI", "permission denied", "root"), Unseen("a | b", "")),
        data_mount_point="/data",
    )


def told(known: Facts) -> Facts:
    """Return what a dump may tell of a machine."""
    return known._replace(
        origin="applianceforge",
        hostname="",
        kernel=known.kernel._replace(command_line="nolm"),
        partners=tuple(Partner(partner.kind, "the dump", KIND_ALONE) for partner in known.partners),
    )


def framed(lines: str) -> str:
    """Return a dump of these lines."""
    told = [line for line in lines.split("\n") if line]
    return f"applianceforge-dump 1\n{lines}\nend {len(told)} {len(lines.split())}\n"


def refused(content: str | bytes) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        dump.read(content.encode() if isinstance(content, str) else content, "box.dump")
    assert "box.dump" in caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_there_and_back(row: Row) -> None:
    text = dump.encode(box(row.registers))
    assert dump.decode(text) == told(box(row.registers))
    assert dump.encode(dump.decode(text)) == text
    assert dump.read(text.encode(), "box.dump") == told(box(row.registers))
    assert len(text) <= 2048
    assert text.isascii()


def test_same_verdict() -> None:
    for registers in (*BY_NAME.values(), hidden(CONROE)):
        known = box(registers)._replace(processor=facts(registers))
        assert decide(dump.decode(dump.encode(known)).processor) == decide(known.processor)


def test_this_machine_in_two_kilobytes() -> None:
    text = Path("/proc/cpuinfo").read_text()
    known = gather.gather(
        processor=ProcessorFacts((Answer("memfd", CONROE),), procinfo.decode(text))
    )
    written = dump.encode(known)
    assert len(written) <= 2048 + 128 * len(known.file_systems)
    assert dump.decode(written).processor == known.processor


@pytest.mark.parametrize(
    "known",
    [
        Facts(ProcessorFacts(())),
        Facts(ProcessorFacts((Answer("memfd", None),))),
        Facts(ProcessorFacts((Answer("a b-", KLAMATH), Answer("-", CONROE._replace(xcr0=7))))),
        Facts(ProcessorFacts((Answer("memfd", CONROE._replace(xcr0=0xE7)),))),
    ],
)
def test_machines_that_tell_little(known: Facts) -> None:
    assert dump.decode(dump.encode(known)) == known._replace(origin="applianceforge")


def test_what_is_nobodys_business_stays_out() -> None:
    katmai = named("_P3_Katmai")
    serial = leaf(3, 0, 0, 0x1234ABCD, 0x5678EF01)
    text = dump.encode(box(katmai._replace(leaves=(*katmai.leaves, serial))))
    for secret in ("1234ABCD", "5678EF01", "secret-host", "hush", "password", "10.0.0.7", "drbd.d"):
        assert secret.lower() not in text.lower()
    assert "partner drbd" in text


def test_evidence_of_a_partner_has_no_holes() -> None:
    known = dump.decode(framed("partner drbd"))
    (finding,) = check_partners(known)
    assert finding.evidence == ("drbd: the dump: it names the kind alone",)


def test_routes_that_differ_are_told_apart() -> None:
    other = CONROE._replace(
        leaves=tuple(
            one._replace(ebx=one.ebx | 1 << 24) if one.number == 1 else one for one in CONROE.leaves
        )
    )
    answers = (
        Answer("memfd", CONROE),
        Answer("file", other),
        Answer("dev", CONROE._replace(xcr0=7)),
        Answer("more", CONROE._replace(leaves=(*CONROE.leaves, leaf(2, 1)))),
    )
    known = Facts(ProcessorFacts(answers))
    text = dump.encode(known)
    assert text.count("leaf ") == len(CONROE.leaves) + 1 + len(CONROE.leaves) + 1
    assert dump.decode(text).processor == known.processor
    back = Facts(ProcessorFacts(answers[2:3] + answers[:1]))
    assert dump.encode(back).count("leaf ") == len(CONROE.leaves)
    assert dump.decode(dump.encode(back)).processor == back.processor


def test_a_big_machine_is_cut_with_a_note() -> None:
    disk = box().disks[0]
    known = box()._replace(
        disks=tuple(disk._replace(name=f"sd{n}") for n in range(400)),
        unseen=tuple(Unseen(f"thing {n}", "x" * 500) for n in range(100)),
    )
    text = dump.encode(known)
    assert len(text) <= dump.MOST_BYTES
    decoded = dump.decode(text)
    assert decoded.processor == known.processor
    assert decoded.file_systems == known.file_systems
    assert decoded.unseen[-1].why == "left out to keep the dump short"
    assert "disk" in decoded.unseen[-1].what


def test_many_leaves_keep_those_that_decide() -> None:
    foreign = dump.read(
        (Path(__file__).parent.parent / "data/dumps/epyc-kvm.cpuid.txt").read_bytes(), "epyc"
    )
    text = dump.encode(foreign)
    assert len(text) < 1024
    decoded = dump.decode(text)
    assert decoded.origin == "cpuid -r"
    assert decide(decoded.processor) == decide(foreign.processor)


def test_leaves_again_and_again_keep_the_first() -> None:
    conroe = CONROE.leaves
    known = Facts(ProcessorFacts((Answer("memfd", Registers((*conroe, *conroe[:2] * 500))),)))
    decoded = dump.decode(dump.encode(known))
    assert decide(decoded.processor) == decide(known.processor)


def test_many_flags_keep_those_that_decide() -> None:
    flags = frozenset({f"flag{n:05}" for n in range(1000)} | {"lm", "sse2"})
    known = Facts(ProcessorFacts((), ProcInfo("GenuineIntel", 6, 15, flags, 48)))
    decoded = dump.decode(dump.encode(known)).processor.procinfo
    assert decoded is not None
    assert decoded.flags == {"lm", "sse2"}
    odd = Facts(ProcessorFacts((), ProcInfo("GenuineIntel", 6, 8, frozenset({"x" * 5000}), 32)))
    assert decide(dump.decode(dump.encode(odd)).processor) == decide(odd.processor)


@pytest.mark.parametrize("size", [1, 200, 4096, 4097, 100_000])
def test_a_boot_environment_that_is_too_long_is_only_counted(size: int) -> None:
    for content in (b"#" * size, b"x" * size, b"\xff" * size):
        decoded = dump.decode(dump.encode(box()._replace(boot_environments=(content,))))
        kept = decoded.boot_environments == (content,)
        assert kept or decoded.unseen[0].what == "a boot environment"


words = st.text(max_size=30) | st.binary(max_size=8).map(
    lambda b: b.decode("utf-8", "surrogateescape")
)
ASKED = {leaf[:2] for leaf in CONROE.leaves}
sizes = st.integers(0, 2**63)
numbers = st.integers(0, 2**32 - 1)
registers_of_any_kind = st.builds(
    Registers,
    st.lists(
        st.builds(Leaf, numbers.filter(lambda n: n != 3), st.integers(0, 64), *[numbers] * 4),
        max_size=12,
        unique_by=lambda leaf: leaf[:2],
    ).map(lambda more: (*CONROE.leaves, *(leaf for leaf in more if leaf[:2] not in ASKED))),
    st.none() | st.integers(0, 2**64 - 1),
)
answers_of_any_kind = st.one_of(
    st.builds(Answer, words, registers_of_any_kind, st.just("")),
    st.builds(Answer, words, st.none(), words),
)
facts_of_any_kind = st.builds(
    Facts,
    processor=st.builds(
        ProcessorFacts,
        st.lists(answers_of_any_kind, max_size=4).map(tuple),
        st.none(),
        st.builds(Machine, words, words, st.none() | st.integers(0, 65535), words, words),
    ),
    origin=words.filter(lambda text: text not in ("", "this machine")),
    kernel=st.builds(Kernel, words, words, st.sampled_from([None, 32, 64]), st.just("")),
    hostname=st.just(""),
    memory_bytes=st.none() | sizes,
    memory_available_bytes=st.none() | sizes,
    swap_bytes=st.none() | sizes,
    file_systems=st.lists(
        st.builds(
            FileSystem,
            words,
            words,
            words,
            sizes,
            sizes,
            st.booleans(),
            st.none() | sizes,
            st.none() | st.booleans(),
        ),
        max_size=3,
    ).map(tuple),
    disks=st.lists(
        st.builds(
            Disk,
            words,
            sizes,
            st.lists(st.builds(Partition, words, sizes, words), max_size=3).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    uefi_bits=st.sampled_from([None, 0, 32, 64]),
    boot_loader=st.none()
    | st.builds(
        BootLoader, words, st.none() | st.booleans(), st.lists(words, max_size=3).map(tuple)
    ),
    boot_environments=st.lists(st.binary(max_size=50), max_size=2).map(tuple),
    clock=st.none() | st.builds(Clock, st.integers(-(2**62), 2**62), st.none() | st.booleans()),
    partners=st.lists(
        st.builds(Partner, words.filter(bool), st.just("the dump"), st.just(KIND_ALONE)),
        max_size=2,
    ).map(tuple),
    unseen=st.lists(st.builds(Unseen, words, words, words), max_size=2).map(tuple),
    data_mount_point=words,
)


@settings(max_examples=300)
@given(facts_of_any_kind)
def test_anything_comes_back(known: Facts) -> None:
    text = dump.encode(known)
    assert text.isascii()
    assert len(text) <= dump.MOST_BYTES
    decoded = dump.decode(text)
    if max(len(line) for line in text.splitlines()) < 160 and "keep the dump short" not in text:
        assert decoded == known
    assert dump.encode(decoded) == text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("leaf 1 2 3 4", "5 fields"),
        ("leaf 1 2 3 4 5 6", "four registers"),
        ("leaf 1 2 3 4 5G", "not a number"),
        ("leaf 1 2 3 4 123456789", "32 bits"),
        ("leaf 1. 2 3 4 5", "the subleaf"),
        ("route a", "2 fields"),
        ("route a maybe", "works, failed"),
        ("route a works", "works, failed"),
        ("route a works well", "count of lines is not a number"),
        ("route a like b", "2 fields"),
        ("route a like b 0", "no route 'b'"),
        ("leaf 0 1 2 3 4", "twice"),
        ("route a like", "works, failed"),
        ("cpuinfo flags", "colon"),
        ("memory 1M", "not a size"),
        ("memory -1", "not a size"),
        ("memory", "not a size"),
        ("memory " + "9" * 30, "not a size"),
        ("memory \u0661", "not a size"),
        ("firmware openfirmware", "bios, or uefi"),
        ("firmware uefi", "the width"),
        ("clock now free", "the time"),
        ("clock 1 maybe", "none of"),
        ("userland wide", "the width"),
        ("bios-segment xyz", "the segment"),
        ("boot-loader sda", "2 fields"),
        ("boot-loader sda maybe", "none of"),
        ("boot-evidence x", "below a boot loader"),
        ("boot-environment 99999999999 x", "not of"),
        ("boot-environment 0 x", "not of"),
        ("boot-environment 9 \u1234", "single bytes"),
        ("filesystem a b c rw 1 2 errors=0", "8 fields"),
        ("filesystem a b c rw 1 2 errors=0 recovery=no more", "eight"),
        ("filesystem a b c rx 1 2 errors=0 recovery=no", "none of"),
        ("filesystem a b c rw 1 2 recovery=no errors=0", "errors="),
        ("filesystem a b c rw 1 2 errors=x recovery=no", "the errors"),
        ("filesystem a b c rw 1 2 errors=0 recovery=perhaps", "none of"),
        ("disk sda", "2 fields"),
        ("partition sda1 1", "below a disk"),
        ("partner", "1 fields"),
        ("partner -", "a partner has a kind"),
        ("unseen root nothing", "told apart"),
        ("kernel 5.10", "2 fields"),
        ("hostname box", "no line 'hostname'"),
    ],
)
def test_damaged_lines(line: str, words: str) -> None:
    whole = dump.encode(Facts(ProcessorFacts((Answer("memfd", CONROE),)))).splitlines()[1:-1]
    error = refused(framed("\n".join((*whole, line))))
    assert error.message == "box.dump is damaged"
    assert len(error.evidence) == 1
    assert error.evidence[0].startswith(f"line {len(whole) + 2}: ")
    assert words in error.evidence[0]


@pytest.mark.parametrize(
    "lines",
    [
        "leaf 0 1 2 3 4",
        "route a failed no\nxcr0 7",
        "memory 1\nmemory 2",
        "route a works 0\nroute b like a 1\nleaf 1 2 3 4 5",
        "\n".join(f"partner {n}" for n in range(3000)),
        "\n".join(f"route {n} works 0" for n in range(40)),
    ],
    ids=["no route", "failed route", "twice", "not like it", "too many", "too many routes"],
)
def test_lines_that_do_not_belong(lines: str) -> None:
    assert "line " in refused(framed(lines)).evidence[0]


def test_all_problems_at_once() -> None:
    error = refused("applianceforge-dump 1\nmemory x\nby me\nfirmware x\n")
    assert len(error.evidence) == 3
    assert "end" in error.evidence[-1]
    assert len(refused("applianceforge-dump 1\n" + "x\n" * 1000).evidence) == 20


def test_cut_anywhere_is_refused() -> None:
    text = dump.encode(box())
    for size in range(1, len(text) - 1):
        refused(text[:size])


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a\\b", "a\\134b"),
        ("\\040", "\\134040"),
        ("\\", "\\134"),
        ("a\x7fb", "a\\177b"),
        ("a\x1fb~", "a\\037b~"),
        ("a\nb", "a\\012b"),
        ("\xe9", "\\303\\251"),
        ("\udcff", "\\377"),
    ],
)
def test_what_would_mean_something_else_is_escaped(value: str, written: str) -> None:
    assert dump_lines.word(value) == dump_lines.text(value) == written
    assert dump_lines.plain_word(written) == dump_lines.plain(written) == value
    known = Facts(ProcessorFacts((), machine=Machine(maker=value)))
    assert dump.decode(dump.encode(known)).processor.machine.maker == value


@pytest.mark.parametrize("version", ["2", "1.1", "99", "", "x", "1 2", "-1"])
def test_another_version_says_so(version: str) -> None:
    error = refused(f"applianceforge-dump {version}\nnonsense\n")
    assert "only version 1 is known" in error.message
    assert "newer applianceforge" in error.hint


@pytest.mark.parametrize("line", ["", "by", "by this machine", "by applianceforge"])
def test_a_dump_never_is_of_this_machine(line: str) -> None:
    assert dump.decode(framed(line)).origin == "applianceforge"


def test_words_around_a_dump_do_no_harm() -> None:
    text = dump.encode(box())
    around = "Password: \r\n" + text.replace("\n", " \r\n") + "# for people\n \n"
    assert dump.read(b"\xef\xbb\xbf" + around.encode(), "box.dump") == told(box())
    assert dump.read(around.encode("utf-16"), "box.dump") == told(box())


@pytest.mark.parametrize("name", dump_texts.WRITERS)
def test_dumps_of_other_tools_tell_of_the_processor(name: str) -> None:
    known = dump.read(dump_texts.WRITERS[name](CONROE).encode(), "box.txt")
    assert known.origin == name
    assert known.processor.answers[0].route == name
    assert decide(known.processor).capability is Capability.CAPABLE


CPUINFO = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 15
model\t\t: 5
model name\t: AMD Opteron(tm) Processor 240
cpu MHz\t\t: 1393.880
fpu\t\t: yes
flags\t\t: fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx \
fxsr sse sse2 syscall nx mmxext lm 3dnowext 3dnow rep_good
bogomips\t: 2788.13
address sizes\t: 40 bits physical, 48 bits virtual
power management: ts ttp

processor\t: 1
vendor_id\t: AuthenticAMD
flags\t\t: fpu
"""


def test_a_copy_of_cpuinfo_will_do() -> None:
    lost_its_end = CPUINFO.partition("\n\n")[0]
    for text in (CPUINFO, lost_its_end, CPUINFO.replace("\n", " \r\n").replace("\t", "  ")):
        known = dump.read(text.encode(), "cpuinfo")
        assert (known.origin, known.processor.answers) == ("/proc/cpuinfo", ())
        assert decide(known.processor).capability is Capability.CAPABLE


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (" sse sse2", "\nsse sse2", "without a colon"),
        ("nx mmxext lm 3dnowext 3dnow rep_good", "", "before the place of lm"),
        ("bogomips\t: 2788.13\n", "", "no 'bogomips'"),
        ("cpu family\t: 15\n", "", "'cpu family' is not there"),
        ("model\t\t: 5\n", "", "'model' is not there"),
        ("power management: ts ttp\n\n", "", "twice"),
        ("rep_good\n", "bogomips : 12\n", "no such flag: ':'"),
    ],
)
def test_a_damaged_copy_of_cpuinfo(old: str, new: str, words: str) -> None:
    assert old in CPUINFO
    error = refused(CPUINFO.replace(old, new))
    assert any(words in line for line in error.evidence)


def test_a_copy_that_was_cut_short() -> None:
    block = CPUINFO.partition("\n\n")[0]
    for size in range(len(block) - len(": ts ttp")):
        with pytest.raises(SettingsError):
            dump.read(block[:size].encode(), "cpuinfo")
    for width in (40, 72, 76, 80, 100):
        cut = "\n".join(line[:width] for line in CPUINFO.splitlines())
        wrapped = "\n".join(
            part for line in CPUINFO.splitlines() for part in textwrap.wrap(line, width) or [""]
        )
        for text in (cut, wrapped):
            with pytest.raises(SettingsError):
                dump.read(text.encode(), "cpuinfo")


def test_loss_and_disorder_are_noticed() -> None:
    leaves = "leaf 0 1 68747541 444D4163 69746E65\nleaf 1 F51 881 0 78BFBFF"
    lost = refused(f"applianceforge-dump 1\nroute memfd works\n{leaves}\nend\n")
    assert lost.evidence
    # Even if every count were right.
    lost = refused(framed(f"route memfd works 2\n{leaves}"))
    assert lost.evidence == ("route memfd: leaf 80000000 is not there",)
    nothing = refused(framed("route memfd works 1\nleaf 0 0 0 0 0"))
    assert nothing.evidence == ("route memfd: leaf 0 names no vendor",)
    text = dump.encode(box(SLEDGEHAMMER))
    lines = text.splitlines()
    for at in range(1, len(lines) - 1):
        early = [*lines[:at], lines[-1], *lines[at:-1]]
        assert refused("\n".join(early)).evidence
    refused(text + "memory 1\n")
    refused(text + text)


@pytest.mark.parametrize("like", [False, True])
@pytest.mark.parametrize("more", [-1, 1, 100])
def test_a_route_s_own_count_is_believed_as_little(like: bool, more: int) -> None:
    """A leaf that is lost, with the counts at the end mended, would hide a flag."""
    routes = (Answer("memfd", CONROE), Answer("file", hidden(CONROE))) if like else ()
    known = Facts(ProcessorFacts(routes or (Answer("memfd", CONROE),)))
    lines = dump.encode(known).splitlines()[1:-1]
    start = "route file like memfd " if like else "route memfd works "
    (at,) = (at for at, line in enumerate(lines) if line.startswith(start))
    count = int(lines[at][len(start) :])
    dump.decode(framed("\n".join(lines)))
    lines[at] = f"{start}{count + more}"
    error = refused(framed("\n".join(lines)))
    name = "file" if like else "memfd"
    assert error.evidence == (
        f"route {name}: {count + more} lines belong below it, here are {count}",
    )


def test_registers_that_do_not_hang_together_are_no_answer() -> None:
    known = Facts(ProcessorFacts((Answer("memfd", Registers(SLEDGEHAMMER.leaves[:2])),)))
    text = dump.encode(known)
    assert "route memfd failed leaf 80000000 is not there\n# leaf 0 1 6874" in text
    assert decide(dump.decode(text).processor).capability is Capability.UNKNOWN


def test_what_no_machine_says_comes_back_the_same() -> None:
    for size in ("99999999999999999999S", "36893488147419103232"):
        assert "not a size" in refused(framed(f"memory {size}")).evidence[0]
    biggest = dump.decode(framed("memory 36028797018963967S"))
    assert dump.decode(dump.encode(biggest)) == biggest
    for listed in (
        ProcInfo("", 6, 3, frozenset({"fpu"}), 0),
        ProcInfo("x", 10**30, 10**30, frozenset({"cx16", "sse2", "pni"}), 0),
    ):
        known = ProcessorFacts((), listed)
        back = dump.decode(dump.encode(Facts(known))).processor
        assert decide(back).capability is decide(known).capability


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\xff\xfe\x00", b"\x00" * 100])
def test_other_files(content: bytes) -> None:
    assert "check.sh" in refused(content).hint


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # /proc/kmsg is a regular file by its kind, and takes lines away from whoever reads them.
    odd = (tmp_path, tmp_path / "none", Path("/dev/null"), Path("/dev/zero"), Path("/proc/kmsg"))
    for path in odd:
        with pytest.raises(SettingsError, match="cannot be read"):
            dump.read_file(path)
    dump.read_file(Path("/proc/cpuinfo"))

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    whole = tmp_path / "box.dump"
    whole.write_text(dump.encode(box()))
    assert dump.read_file(whole) == told(box())
    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(AccessDeniedError, match=r"box\.dump"):
        dump.read_file(whole)


def test_a_pipe_by_its_name_will_do() -> None:
    readable, writable = os.pipe()
    try:
        os.write(writable, dump.encode(box()).encode())
        os.close(writable)
        assert dump.read_file(Path(f"/dev/fd/{readable}")) == told(box())
    finally:
        os.close(readable)


@given(st.lists(st.sampled_from(dump.encode(box()).splitlines()) | st.text(max_size=60)))
def test_any_lines_are_decoded_or_refused(lines: list[str]) -> None:
    text = framed("\n".join(lines))
    try:
        decoded = dump.decode(text)
    except SettingsError as error:
        assert 0 < len(error.evidence) <= 20
    else:
        dump.encode(decoded)


def test_environments_are_bounded_as_written() -> None:
    assert dump_draft.MOST_ENVIRONMENT_BYTES >= 1025

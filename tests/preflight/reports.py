"""Verdicts and reports for the tests of what is said about them, and any at all."""

import string

from hypothesis import strategies as st

from applianceforge.cpuid.verdict import Capability, Verdict
from applianceforge.model.report import Finding, Remedy, Report, Severity
from applianceforge.preflight.answers import DISPOSITIONS, Decision

CAPABLE = Verdict(Capability.CAPABLE, True, "metal", None, 2, ("CPUID 0x80000001 EDX bit 29: 1",))
MASKED = Verdict(
    Capability.MASKED_BY_HYPERVISOR,
    False,
    "vm:VMware",
    "VMware ESX 3.5",
    None,
    ("linear addresses have 48 bits", "DMI: VMware, Inc. VMware Virtual Platform"),
)
FIRMWARE = Verdict(Capability.MASKED_BY_FIRMWARE, False, "metal", None, None, ("CX16 is there",))
INCAPABLE = Verdict(Capability.INCAPABLE, False, "metal", None, None, ("no leaf 0x80000001",))
UNKNOWN = Verdict(Capability.UNKNOWN, None, "container", None, None, ("every route failed",))
VERDICTS = (CAPABLE, MASKED, FIRMWARE, INCAPABLE, UNKNOWN)

MASKED_FINDING = Finding(
    "processor.masked-by-hypervisor",
    Severity.INHIBITOR,
    "VMware ESX 3.5 hides 64-bit mode",
    "The host's processor can run 64-bit programs; a setting of the virtual machine hides that.",
    ("linear addresses have 48 bits",),
    (
        Remedy(
            "Power the virtual machine off, and choose a 64-bit guest operating system for it.",
            "",
            "`applianceforge check` says capable",
        ),
        Remedy("Move it to another host.", "vmware-cmd /vm/box.vmx stop hard", ""),
    ),
    20,
)
SPACE = Finding(
    "resources.data-space",
    Severity.INHIBITOR,
    "/data has too little space",
    "The migration takes 12 GiB at its peak.",
    ("free: 3 GiB",),
    (Remedy("Make room.", "du -xh /data | sort -h | tail", "df -h /data"),),
    23,
)
DATA = Finding(
    "data.unknown",
    Severity.INHIBITOR,
    "2 files hold data that only 32-bit programs may be able to read",
    "Nobody knows this format.",
    ("spool/a.dat", "spool/b\udcff\x1b[2J.dat"),
    (Remedy("Ask the vendor, then say it in an answer file."),),
    24,
)
MEMORY = Finding(
    "resources.memory", Severity.WARNING, "Memory is tight", "64-bit programs need more."
)
CLOCK = Finding(
    "clock.unsynchronized", Severity.INFO, "The clock is right", "It differs by 0.1 s.", ("NTP",)
)
WHOLE = Report((CLOCK, SPACE, MEMORY, DATA, MASKED_FINDING))

# Anything that a file name, a log or a firmware can hold, lone surrogates too.
FOREIGN = st.text(st.characters(), max_size=40)
_WORD = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
KEYS = st.builds("{}.{}".format, _WORD, _WORD)

findings = st.builds(
    Finding,
    KEYS,
    st.sampled_from(Severity),
    st.builds("T{}".format, FOREIGN),
    FOREIGN,
    st.lists(FOREIGN, max_size=3).map(tuple),
    st.lists(st.builds(Remedy, st.builds("T{}".format, FOREIGN), FOREIGN, FOREIGN), max_size=3).map(
        tuple
    ),
    st.sampled_from((20, 21, 22, 23, 24, 30)),
)
reports = st.builds(Report, st.lists(findings, max_size=5).map(tuple))
decisions = st.one_of(
    st.builds(
        Decision,
        st.just("accept"),
        KEYS.filter(lambda key: not key.startswith("processor.")),
        st.just("accepted"),
        st.builds("R{}".format, FOREIGN),
        st.dates().map(lambda day: day.isoformat()),
        FOREIGN,
    ),
    st.builds(
        Decision,
        st.just("data"),
        st.builds("p{}".format, FOREIGN),
        st.sampled_from(sorted(DISPOSITIONS)),
        st.builds("R{}".format, FOREIGN),
        st.one_of(st.just(""), st.dates().map(lambda day: day.isoformat())),
        FOREIGN,
    ),
)


@st.composite
def verdicts(draw: st.DrawFn) -> Verdict:
    capability = draw(st.sampled_from(Capability))
    long_mode = {Capability.CAPABLE: True, Capability.UNKNOWN: None}.get(capability, False)
    level = draw(st.sampled_from((1, 2, 3, 4, None))) if long_mode else None
    named = st.builds("vm:{}".format, FOREIGN.filter(bool))
    return Verdict(
        capability,
        long_mode,
        draw(st.one_of(st.sampled_from(("metal", "container", "emulated")), named)),
        draw(st.one_of(st.none(), FOREIGN.filter(bool))),
        level,
        tuple(draw(st.lists(FOREIGN, max_size=3))),
    )

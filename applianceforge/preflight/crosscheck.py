"""Ask py-cpuinfo for a second opinion, where it is installed.

It takes a second and starts programs, so this happens on demand only. Where it reads CPUID itself
it takes the flags of leaf 80000001 from EBX instead of EDX (releases 5.0 to 9.0), so it misses long
mode on most processors; on Linux it usually takes them from /proc/cpuinfo, which is right.
"""

from __future__ import annotations

from importlib import import_module

from applianceforge.cpuid.verdict import Verdict
from applianceforge.model.report import Finding, Remedy, Severity

KEY = "processor.cross-check"


def cross_check(verdict: Verdict) -> Finding:
    """Return what py-cpuinfo says of long mode, compared with our verdict."""
    try:
        cpuinfo = import_module("cpuinfo")
    except ImportError:
        return Finding(
            KEY,
            Severity.INFO,
            "There is no second opinion on the processor",
            "The Python package py-cpuinfo is not installed here, so there was nothing to compare"
            " with.",
            remedies=(
                Remedy("Install it, and check again", command="python3 -m pip install py-cpuinfo"),
            ),
        )
    said = cpuinfo.get_cpu_info()
    theirs = "lm" in said.get("flags", ())
    evidence = (
        f"py-cpuinfo {said.get('cpuinfo_version_string', '')}:"
        f" {said.get('brand_raw') or said.get('vendor_id_raw') or 'an unnamed processor'},"
        f" long mode: {'yes' if theirs else 'no'}",
        f"applianceforge: long mode: {_WORDS[verdict.long_mode]}",
    )
    if theirs == verdict.long_mode:
        return Finding(
            KEY,
            Severity.INFO,
            "A second opinion on the processor agrees",
            "py-cpuinfo says the same of long mode.",
            evidence,
        )
    return Finding(
        KEY,
        Severity.WARNING,
        "A second opinion on the processor differs",
        "py-cpuinfo says something else of long mode. Its releases 5 to 9 look for the flag in the"
        " wrong register where they ask the processor themselves, so a no of theirs says little.",
        evidence,
        (
            Remedy(
                "See what the kernel says: lm among the flags means long mode",
                command="grep -wo -m1 lm /proc/cpuinfo",
            ),
            Remedy(
                "Send the facts to your vendor's support",
                command="applianceforge check --dump > facts.txt",
            ),
        ),
    )


_WORDS = {True: "yes", False: "no", None: "not known"}

"""Ask CPUID by every route, and print one line of JSON with what they say and the verdict.

Runs in a guest; only there, and for this, the route by a file is asked although memfd works.
"""

import json
import os
import struct
from pathlib import Path

from applianceforge.cpuid import native, probe, verdict
from applianceforge.cpuid.facts import Answer
from applianceforge.cpuid.registers import Leaf, Registers


def main() -> None:
    """Ask and print."""
    facts = probe.gather()
    (by_file,) = native.ask_by((native.FILE,), native.native_code())
    leaves = tuple(Leaf(*leaf) for leaf in by_file.leaves)
    in_full = Answer("file", Registers(leaves, by_file.xcr0) if leaves else None, by_file.failure)
    answers = tuple(in_full if answer.route == "file" else answer for answer in facts.answers)
    decided = verdict.decide(facts._replace(answers=answers))
    said = {
        "bits": 8 * struct.calcsize("P"),
        "kernel": os.uname().machine,
        "failures": {answer.route: answer.failure for answer in answers if answer.failure},
        "long_mode_by": {
            **{answer.route: answer.registers and answer.registers.long_mode for answer in answers},
            "procinfo": facts.procinfo and facts.procinfo.long_mode,
        },
        "lm_in_flags": " lm " in f" {Path('/proc/cpuinfo').read_text()} ".replace("\n", " "),
        "verdict": decided.capability.value,
        "long_mode": decided.long_mode,
        "level": decided.level,
        "environment": decided.environment,
        "hypervisor": decided.hypervisor,
        "evidence": decided.evidence,
        "contradictions": decided.contradictions,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()

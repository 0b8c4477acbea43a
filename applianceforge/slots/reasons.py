"""Why a slot was given up, or services are shut: one table of short words and what they mean.

The boot environment has room for a word, not for a sentence: all of it lies in 512 bytes. GRUB, the
boot unit, the gate and the settle step write words of this table; `applianceforge status` and the
documents tell the sentence, and what to do. In the boot environment the slot that a word is about
stands before it: `b-no-long-mode`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from applianceforge.slots.layout import Slot

# Room in the boot environment: the other variables take less than 200 of 512 bytes.
LONGEST_BYTES = 24
WORD = re.compile(rf"[a-z0-9-]{{1,{LONGEST_BYTES}}}")
_ABOUT_A_SLOT = re.compile(r"([ab])-(.+)", re.DOTALL)


@dataclass(frozen=True)
class Reason:
    """What a word means.

    Attributes:
        sentence: What happened, without a full stop at the end.
        remedy: What to do about it, as an imperative.
    """

    sentence: str
    remedy: str


_RETRY = "then install the migration release again"
_VENDOR = "send the vendor /data/forge/history.jsonl and /data/forge/work/run/logs"

REASONS: Mapping[str, Reason] = MappingProxyType(
    {
        # Written by GRUB.
        "no-long-mode": Reason(
            "the processor has no 64-bit mode, or the hypervisor or firmware hides it, so the"
            " 64-bit slot was passed over",
            "run `applianceforge check`: it says whether a setting hides it, and which",
        ),
        "no-tries": Reason(
            "the slot was started three times and was never marked good: its kernel panicked, it"
            " hung, or it lost power before its user space began",
            f"look at the console when it starts, {_RETRY}",
        ),
        "unreadable": Reason(
            "the slot does not say what it is, or its kernel or first file system cannot be read",
            "write the slot again",
        ),
        "not-counted": Reason(
            "the boot loader could not write the number of tries, so it took the slot that is"
            " known to be good",
            "check the disk: `dmesg`, `smartctl -a`; the boot partition cannot be written",
        ),
        "copies-lost": Reason(
            "both copies of the boot environment were lost, so the boot loader took the slot that"
            " was marked good last",
            "check the disk: `dmesg`, `smartctl -a`; then write the slot again",
        ),
        # Written by the boot unit of the migration release.
        "aborted": Reason(
            "the migration was stopped by `applianceforge migrate abort`",
            "install the migration release again when you want it",
        ),
        "interrupted": Reason(
            "the migration was cut at every one of 25 boots (the power, or a crash) and came no"
            " further",
            f"see to the power and to the console's last lines, {_RETRY}",
        ),
        "data-unwritable": Reason(
            "/data cannot be written to",
            f"make room on /data, and check its file system and disk with `dmesg`, {_RETRY}",
        ),
        "disk-full": Reason(
            "no space was left on /data while the data was migrated",
            f"make room on /data, or enlarge the disk, {_RETRY}",
        ),
        "no-space": Reason(
            "there is too little space on /data to migrate",
            f"make room on /data, or enlarge the disk, {_RETRY}",
        ),
        "processor": Reason(
            "the processor cannot run what comes",
            "run `applianceforge check`: it says what to change",
        ),
        "inhibited": Reason(
            "a check before the migration forbids it",
            f"do what the message says, {_RETRY}",
        ),
        "settings": Reason(
            "the migration's settings name something that is not there",
            _VENDOR,
        ),
        "program-missing": Reason(
            "a program of the migration release is missing or cannot run",
            _VENDOR,
        ),
        "program-failed": Reason(
            "a program that the migration needs failed twice",
            _VENDOR,
        ),
        "server-failed": Reason(
            "a PostgreSQL server did not start, or went away, twice",
            f"start the old PostgreSQL and see its log, {_RETRY}",
        ),
        "server-running": Reason(
            "a PostgreSQL server was already running on the data",
            f"stop what starts it, {_RETRY}",
        ),
        "foreign-cluster": Reason(
            "the old data directory is of another architecture or version than was expected",
            "run `applianceforge cluster info /data/i386/postgresql`, and tell the vendor",
        ),
        "damaged-cluster": Reason(
            "the old PostgreSQL data is damaged",
            f"restore it from a backup, or repair it with its own server, {_RETRY}",
        ),
        "login-refused": Reason(
            "the old PostgreSQL refuses the migration's login",
            f"mend the role that the message names, {_RETRY}",
        ),
        "extension-missing": Reason(
            "the 64-bit PostgreSQL lacks an extension that the data uses",
            "drop the extension if nothing needs it, or ask the vendor for a release that has it",
        ),
        "locale-missing": Reason(
            "the 64-bit system lacks an encoding or a collation that the data uses",
            "ask the vendor for a release that has it",
        ),
        "rrd-unreadable": Reason(
            "an RRD cannot be read",
            f"move the file that the message names away, or restore it, {_RETRY}",
        ),
        "access-denied": Reason(
            "permission was denied, or a file system was read-only",
            f"check the disk with `dmesg`: an error makes a file system read-only; {_RETRY}",
        ),
        "already-running": Reason(
            "another run held the migration's lock",
            _VENDOR,
        ),
        "archive-damaged": Reason(
            "what was exported was not what came back from the disk",
            f"check the disk and the memory, {_RETRY}",
        ),
        "clock": Reason(
            "the clock went back",
            f"set the clock, {_RETRY}",
        ),
        "not-proved": Reason(
            "the migrated data is not proved equal to the old",
            f"keep using this release, and {_VENDOR}",
        ),
        "journal": Reason(
            "the migration's journal cannot be continued",
            f"remove /data/forge/work, {_RETRY}",
        ),
        "boot-disk": Reason(
            "the machine did not start from a disk with two slots",
            "start it from the appliance's own disk",
        ),
        "boot-environment": Reason(
            "the boot environment cannot be read or written",
            "check the disk: `dmesg`, `smartctl -a`; the boot partition cannot be written",
        ),
        "fault": Reason(
            "the migration came to an end that it should never come to",
            _VENDOR,
        ),
        # Written by the settle step.
        "services": Reason(
            "the release started, and its services did not come up",
            f"see /data/forge/history.jsonl for which, and {_VENDOR}",
        ),
        "went-back": Reason(
            "a person went back to 32 bits by `applianceforge migrate back`; what the 64-bit"
            " release took in is in the archive that /data/forge/history.jsonl names",
            "install the migration release again when you want it: it migrates anew what the 32-bit"
            " release has by then",
        ),
        "by-hand": Reason(
            "a person marked the slot bad",
            "write the slot again when you want it",
        ),
        # Told by the gate, never in the boot environment: why services are shut.
        "epoch-amd64": Reason(
            "this box was migrated to 64 bits, and the 32-bit system was started: its services stay"
            " shut, so that nothing is accepted that the 64-bit data would lack",
            "put the disk under a 64-bit processor, or switch the virtual machine to one, and start"
            " it again",
        ),
        "not-migrated": Reason(
            "this release is 64-bit, and the data of this box is still 32-bit",
            "install the migration release first",
        ),
        "epoch-lost": Reason(
            "there is data of the other architecture, and /data/forge/epoch, which says whose data"
            " is the truth, is lost",
            "write `i386` or `amd64` into /data/forge/epoch, whichever served last, and start"
            " again; if you do not know, ask the vendor",
        ),
        "epoch-damaged": Reason(
            "/data/forge/epoch says neither i386 nor amd64",
            "write the one into it that served last, and start again",
        ),
        "migrating": Reason(
            "the data is being migrated; they start when it is proved",
            "wait, and watch it with this command",
        ),
        "gate-unknown": Reason(
            "nothing says whether the services may accept data: the gate has not run yet in this"
            " boot, or it failed",
            "see `systemctl status forge-gate`",
        ),
        "no-release": Reason(
            "/etc/applianceforge/release.env does not say which architecture this release is",
            "write the slot again",
        ),
    }
)


def about(slot: Slot, word: str) -> str:
    """Return a word as it stands in the boot environment."""
    return f"{slot.value}-{word}"


def split(text: str) -> tuple[Slot | None, str]:
    """Return the slot that the boot environment's reason is about, if it says one, and the word."""
    match = _ABOUT_A_SLOT.fullmatch(text)
    return (Slot(match[1]), match[2]) if match else (None, text)


def explain(word: str) -> Reason:
    """Return what a word means; one that this release does not know has a sentence, too."""
    return REASONS.get(word) or Reason(
        f"the reason is `{word}`, which this release does not know",
        "a newer release wrote it: look there, or in the documents of that release",
    )

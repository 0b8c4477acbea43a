"""Check how the machine boots: boot environment, GRUB, firmware, kernel."""

from __future__ import annotations

from typing import Iterator

from applianceforge.formats import bootenv
from applianceforge.model.report import Finding, Remedy, Severity
from applianceforge.preflight.facts import Facts
from applianceforge.preflight.requirements import Release

FIRMWARE = 21
DATA = 24
_EXPORT = Remedy(
    "Take the data to a machine, or a virtual machine, that the release can start on",
    command="applianceforge migrate export --help",
)


def check_environment(facts: Facts) -> Iterator[Finding]:
    """Look whether GRUB can tell which slot to start.

    One of two copies is enough: the other may have been cut by a power failure, and is written anew
    at the next change.
    """
    problems = bootenv.sane(facts.boot_environments)
    if not problems:
        return
    if bootenv.chosen(facts.boot_environments) is None:
        yield Finding(
            "boot.environment",
            Severity.INHIBITOR,
            "The boot environment is damaged",
            "It says which slot to start, and how often to try. Neither of its two copies can be"
            " read, so a new release could not be tried, nor the old one be gone back to.",
            evidence=problems,
            remedies=(
                Remedy(
                    "Do not restart the machine, save its data, and ask your vendor how to write"
                    " the boot environment anew",
                    command="applianceforge migrate export --help",
                    verify="applianceforge check   (must not name the boot environment)",
                ),
            ),
            exit_status=DATA,
        )
        return
    yield Finding(
        "boot.environment",
        Severity.WARNING,
        "The boot environment is not as it should be",
        "It says which slot to start. The machine still starts with what is left of it.",
        evidence=problems,
        remedies=(
            Remedy(
                "If a copy is damaged: a power failure does that, and the next change mends it. If"
                " it stays so, have the disk tested, and ask your vendor",
                command="smartctl -H DISK",
                verify="applianceforge check   (must not name the boot environment)",
            ),
        ),
    )


def check_loader(facts: Facts) -> Iterator[Finding]:
    """Look whether GRUB on the disk is still what was installed; None says nothing."""
    loader = facts.boot_loader
    if loader is None or loader.untouched is not False:
        return
    ours = bool(facts.boot_environments)
    yield Finding(
        "boot.loader",
        Severity.WARNING if ours else Severity.INFO,
        "The boot loader on the disk is not the one that was installed",
        "GRUB's code on the disk differs from its own files. It started this system; whether it"
        " also starts the new one was proved for the original only. A package that was updated"
        " without writing GRUB to the disk does that, as does another system's installer.",
        evidence=loader.evidence,
        remedies=(
            Remedy("Ask your vendor before you update: this code is written when a disk is made")
            if ours
            else Remedy(
                "Write GRUB to the disk again",
                command=f"grub-install /dev/{loader.device}",
                verify="applianceforge check   (must not name the boot loader)",
            ),
        ),
    )


def check_firmware(facts: Facts, release: Release) -> Iterator[Finding]:
    """Look whether the firmware can start the release."""
    if not facts.uefi_bits or not release.long_mode:
        return
    bios_only = release.firmware == "bios"
    wide = facts.uefi_bits == 64
    key = "firmware.uefi64" if wide else "firmware.uefi32"
    legacy = Remedy(
        "If the firmware's setup offers to start in BIOS mode (Legacy, CSM): the release needs it,"
        " and so does its disk, which must be made for BIOS",
        verify="ls /sys/firmware/efi   (must not exist)",
    )
    if bios_only:
        summary = (
            f"The system was started by a {facts.uefi_bits}-bit UEFI firmware, but {release.name}"
            " starts by BIOS only, so it would not start here."
        )
        if not wide:
            summary += " The processor is not at fault."
        yield Finding(
            key,
            Severity.INHIBITOR,
            "The firmware cannot start the release",
            summary,
            evidence=(f"/sys/firmware/efi/fw_platform_size: {facts.uefi_bits}",),
            remedies=(legacy, _EXPORT),
            exit_status=FIRMWARE,
        )
    elif wide:
        yield Finding(
            key,
            Severity.INFO,
            "The system was started by a 64-bit UEFI firmware",
            "It starts 64-bit systems. Appliances of this toolkit start by BIOS: look whether the"
            " release does too before you choose it for this machine.",
        )
    else:
        yield Finding(
            key,
            Severity.WARNING,
            "The system was started by a 32-bit UEFI firmware",
            "Such a firmware starts 32-bit boot loaders only, also on a 64-bit processor."
            " Appliances of this toolkit start by BIOS, and would not start here.",
            evidence=("/sys/firmware/efi/fw_platform_size: 32",),
            remedies=(legacy, _EXPORT),
        )


def check_kernel(facts: Facts, release: Release) -> Iterator[Finding]:
    """Look whether old programs run on the new kernel, and whether there is anything to do."""
    yield from _userland(facts, release)
    if not release.long_mode or release.kernel is None:
        return
    version = f" (Linux {release.kernel.version})" if release.kernel.version else ""
    words = facts.kernel.command_line.split()
    off = [word for word in words if word.lower() in _SWITCHED_OFF]
    if release.kernel.ia32_emulation == "no":
        yield Finding(
            "kernel.ia32-emulation",
            Severity.INHIBITOR,
            "The release's kernel cannot run 32-bit programs",
            f"The migration reads the old data with the old 32-bit programs. The kernel of"
            f" {release.name}{version} is built without IA32 emulation, so they do not start"
            " there.",
            remedies=(
                Remedy("Ask your vendor for a migration release whose kernel has IA32 emulation"),
                Remedy(
                    "Export the data here, on the 32-bit system, and import it there",
                    command="applianceforge migrate export --help",
                ),
            ),
            exit_status=DATA,
        )
    elif release.kernel.ia32_emulation == "option":
        yield Finding(
            "kernel.ia32-emulation",
            Severity.WARNING if off else Severity.INFO,
            "The release's kernel runs 32-bit programs when it is told to",
            f"The migration reads the old data with the old 32-bit programs. The kernel of"
            f" {release.name}{version} runs them when it is started with ia32_emulation=on."
            + (" This system's own options say the contrary." if off else ""),
            evidence=tuple(off),
            remedies=(
                Remedy(
                    "See that the options of the new kernel have it, and not the contrary",
                    command="grep -o 'ia32_emulation=[a-z0-9]*' /boot/grub/grub.cfg",
                    verify="after the restart: grep -o 'ia32_emulation=[a-z0-9]*' /proc/cmdline",
                ),
            ),
        )
    elif off:
        yield Finding(
            "kernel.ia32-emulation",
            Severity.WARNING,
            "An option of the kernel switches 32-bit programs off",
            "The migration reads the old data with the old 32-bit programs. If this option is"
            " carried over to the new system, they do not start there.",
            evidence=tuple(off),
            remedies=(
                Remedy(
                    "Remove it from the options of the kernel",
                    command="grep -rn ia32_emulation /etc/default/grub /boot/grub/grub.cfg",
                    verify="grep -o 'ia32_emulation=[a-z0-9]*' /proc/cmdline",
                ),
            ),
        )


# What the kernel's kstrtobool takes for no.
_SWITCHED_OFF = frozenset(f"ia32_emulation={no}" for no in ("0", "off", "n", "no", "f", "false"))


def _userland(facts: Facts, release: Release) -> Iterator[Finding]:
    kernel = facts.kernel
    if not release.long_mode:
        return
    if kernel.userland_bits == 64:
        yield Finding(
            "kernel.userland",
            Severity.INFO,
            "This system is a 64-bit one already",
            "Its programs are 64-bit programs. Only data that was brought along from a 32-bit"
            " system may be left to migrate.",
        )
    elif kernel.userland_bits == 32 and kernel.machine == "x86_64":
        yield Finding(
            "kernel.userland",
            Severity.INFO,
            "A 64-bit kernel runs a 32-bit system here",
            "The processor is used in 64-bit mode already; its programs and its data are those of a"
            " 32-bit system, and need the migration all the same.",
        )

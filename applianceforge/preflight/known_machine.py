"""What the messages mean that tell of a processor, kernel or program of the other width: a table.

A pattern is a regular expression that is searched for in the line after it was made plain:
lower case, every quotation mark as ', every run of spaces as one. The wordings come from

- Linux, arch/x86/boot/cpu.c and main.c, and until 2.6.22 arch/x86_64/boot/setup.S;
- GRUB 2, loader/i386/efi/linux.c; Windows' boot loader;
- VMware Workstation 5 to 17 (KB 1003944, KB 1003945); VirtualBox, VMMR3/HM.cpp;
- glibc 2.36, elf/dl-load.c, sysdeps/x86 and its words for SIGILL; Linux, arch/x86/kernel/traps.c;
- the shells' words for ENOEXEC and ENOENT; dpkg, src/main/unpack.c.

The sentences are short, for they are read at night.
"""

from __future__ import annotations

from applianceforge.preflight.explanation import CHECK, Explanation, Known, Step

_VERIFY_VM = Step(
    "Start the virtual machine again and see that it helped.", ("applianceforge check",)
)

KNOWN = (
    Known(
        Explanation(
            "elf.class",
            "A program loads a library or module of the other width",
            "Nothing is damaged. ELFCLASS32 is 32-bit, ELFCLASS64 is 64-bit: one process can only"
            " hold one of them. Mostly a directory of the data holds compiled code of the old"
            " system: modules of Perl, Python or PHP, or plug-ins.",
            (
                "Do not copy libraries from the old system into /usr/lib.",
                "Do not set LD_LIBRARY_PATH to old directories: more programs would then fail.",
            ),
            (
                Step("See what the file is.", ("file -L FILE",)),
                Step("Find all compiled code in the data.", ("applianceforge check --scan DIR",)),
                Step(
                    "Make it again on the 64-bit system: install the package's 64-bit build, make"
                    " a Python venv anew, or run sa-compile for SpamAssassin."
                ),
            ),
            "glibc, when it loads a library",
        ),
        (r"wrong elf class: elfclass(?:32|64)",),
        (
            "ImportError: /data/app/lib/_speedups.so: wrong ELF class: ELFCLASS32",
            "ERROR: ld.so: object 'libfoo.so' from LD_PRELOAD cannot be preloaded (wrong ELF class:"
            " ELFCLASS64): ignored.",
        ),
    ),
    Known(
        Explanation(
            "elf.exec",
            "The kernel does not run programs of this kind",
            "Nothing is damaged. Mostly a 64-bit program was started on a 32-bit kernel, or a"
            " 32-bit one on a 64-bit kernel without support for it (Linux 6.7 and later may need"
            " ia32_emulation=on).",
            ("Do not change the file's mode or owner: they are not the cause.",),
            (
                Step("See for what the program is built.", ("file -L FILE",)),
                Step("See what the kernel is.", ("uname -m",)),
                CHECK,
            ),
            "the shell or systemd, for the kernel (ENOEXEC)",
        ),
        (r"exec format error", r"fehler im format der programmdatei"),
        (
            "bash: ./server: cannot execute binary file: Exec format error",
            "app.service: Failed at step EXEC spawning /opt/app/bin/app: Exec format error",
        ),
    ),
    Known(
        Explanation(
            "elf.loader",
            "A 32-bit program was started where the 32-bit libraries are missing",
            "Nothing is damaged. ld-linux.so.2 is the part of the 32-bit C library that starts"
            " 32-bit programs. The program is there; what starts it is not.",
            ("Do not copy ld-linux.so.2 from the old system: it fits only its own libraries.",),
            (
                Step("Best: use the 64-bit build of the program."),
                Step(
                    "Else, on Debian, install the 32-bit libraries.",
                    (
                        "dpkg --add-architecture i386",
                        "apt-get update",
                        "apt-get install libc6:i386",
                    ),
                ),
            ),
            "ldd or qemu, for the kernel (ENOENT)",
        ),
        (
            r"ld-linux\.so\.2.{0,40}no such file or directory",
            r"no such file or directory.{0,40}ld-linux\.so\.2",
            r"\belf (?:interpreter|executable|binary|32).{0,80}(?:no such|required) file",
            r"ld-linux\.so\.2.{0,80}not found",
        ),
        (
            "/usr/bin/ldd: line 171: /lib/ld-linux.so.2: No such file or directory",
            "qemu-i386: Could not open '/lib/ld-linux.so.2': No such file or directory",
        ),
    ),
    Known(
        Explanation(
            "elf.interpreter",
            "A program was started, and what starts it is missing",
            "The program is there. The file that is missing is its loader: that of 32-bit programs"
            " is /lib/ld-linux.so.2, that of 64-bit programs is /lib64/ld-linux-x86-64.so.2. If it"
            " is a script, it is the program that its first line names; the line may end in a"
            " carriage return of Windows.",
            ("Do not copy a loader from another system: it fits only its own libraries.",),
            (
                Step(
                    "See which one it is: file says it behind the word interpreter.",
                    ("file -L FILE",),
                ),
                Step(
                    "A 64-bit program on a 32-bit system: use its 32-bit build, or see whether this"
                    " machine can go to 64 bits.",
                    ("applianceforge check",),
                ),
                Step(
                    "A 32-bit program on a 64-bit system: use its 64-bit build. Else, on Debian,"
                    " install the 32-bit libraries.",
                    (
                        "dpkg --add-architecture i386",
                        "apt-get update",
                        "apt-get install libc6:i386",
                    ),
                ),
                Step("A script: mend its first line.", ("head -n 1 FILE | cat -A",)),
            ),
            "bash 5.2 and later, for the kernel (ENOENT)",
        ),
        (r"cannot execute: required file not found",),
        ("bash: ./server: cannot execute: required file not found",),
    ),
    Known(
        Explanation(
            "dpkg.architecture",
            "A package is for another architecture than the system was installed for",
            "Nothing was changed. amd64 is 64-bit, i386 is 32-bit. What counts is for what the"
            " system was installed, not the kernel: a 32-bit system refuses amd64 packages even"
            " under a 64-bit kernel, and a 64-bit one refuses i386 packages until it is told to"
            " take them.",
            (
                "Do not use --force-architecture: its programs would not start.",
                "Do not replace the packages of a system one by one to change its architecture: it"
                " stops between two that need each other.",
            ),
            (
                Step(
                    "See what the system is, and what it takes besides.",
                    ("dpkg --print-architecture", "dpkg --print-foreign-architectures"),
                ),
                Step("Best: get the package's build for that."),
                Step(
                    "An amd64 package on an i386 system: see whether this machine can go to 64"
                    " bits as a whole.",
                    ("applianceforge check",),
                ),
                Step(
                    "An i386 package on an amd64 system, if there is no other build:",
                    (
                        "dpkg --add-architecture i386",
                        "apt-get update",
                        "apt-get install ./FILE.deb",
                    ),
                ),
            ),
            "dpkg, and apt that calls it",
        ),
        (
            r"package architecture \(\S{1,40}\) does not match system",
            r"paket-architektur \(\S{1,40}\) passt nicht zum system",
        ),
        (
            "package architecture (amd64) does not match system (i386)",
            "dpkg: error processing archive tool_1.0_i386.deb (--install): package architecture"
            " (i386) does not match system (amd64)",
            "Paket-Architektur (amd64) passt nicht zum System (i386)",
        ),
    ),
    Known(
        Explanation(
            "kernel.needs-64-bit",
            "A 64-bit kernel was started where the processor shows no 64-bit mode",
            "Nothing was changed: the kernel stopped at once. 'i686' here means that the"
            " processor, as this machine sees it, has no long mode (64-bit mode). That does not"
            " mean that it has none: a hypervisor or the BIOS may hide it.",
            (
                "Do not buy hardware yet: often one setting of the virtual machine is enough.",
                "Do not install again: the same kernel says the same.",
            ),
            (
                Step("Start the old system: choose its entry in the boot menu."),
                CHECK,
                Step("Do what it says. It names the setting for your hypervisor."),
            ),
            "Linux, before it starts: 'x86-64 CPU' by all since 2.6.23, 'long mode' by older ones",
        ),
        (
            r"this kernel requires an x86-64 cpu",
            r"only detected an i[3-6]86 cpu",
            r"cpu do(?:es|se) not sup+ort long mode",
            r"long ?mode (?:is )?not supported",
            r"use a 32 ?-?bit distribution",
            r"cpu is not compatible with (?:x64|64-bit) mode",
            r"unable to boot - please use a kernel appropriate",
        ),
        (
            "This kernel requires an x86-64 CPU, but only detected an i686 CPU.",
            "Unable to boot - please use a kernel appropriate for your CPU.",
            "Your CPU does not support long mode. Use a 32bit distribution.",
        ),
    ),
    Known(
        Explanation(
            "kernel.needs-feature",
            "A kernel was started where the processor lacks something that it needs",
            "Nothing was changed. The line behind this one names what is missing. 'lm' is long"
            " mode (64-bit mode), 'pae' a larger address space, 'cmov' and 'sse' are instructions.",
            ("Do not add forcepae or the like for an update: check first.",),
            (Step("Start the old system: choose its entry in the boot menu."), CHECK),
            "Linux, before it starts",
        ),
        (r"this kernel requires the following features not present on the cpu",),
        ("This kernel requires the following features not present on the CPU: lm",),
    ),
    Known(
        Explanation(
            "boot.uefi-width",
            "The firmware (UEFI) and the kernel are of different widths",
            "Nothing was changed. A 32-bit UEFI starts only what is made for it, even on a 64-bit"
            " processor, and the other way round.",
            ("Do not switch the firmware to BIOS mode without a BIOS boot loader on the disk.",),
            (
                Step(
                    "On the old system, see the width of the firmware.",
                    ("cat /sys/firmware/efi/fw_platform_size",),
                ),
                CHECK,
            ),
            "GRUB 2 on UEFI",
        ),
        (r"kernel doesn't support (?:32-bit handover|64-bit cpus)",),
        (
            "error: kernel doesn't support 32-bit handover.",
            "error: kernel doesn't support 64-bit CPUs.",
        ),
    ),
    Known(
        Explanation(
            "vmware.64-bit",
            "VMware does not let this virtual machine run 64-bit programs",
            "The guest is not at fault. VMware needs a 64-bit processor with Intel VT-x or AMD-V,"
            " switched on in the firmware (BIOS) of the host, the computer that runs VMware."
            " Until then it hides long mode (64-bit mode) from the guest.",
            (
                "Do not install the guest again.",
                "Do not just restart the host after the change: many computers must be powered off"
                " for it.",
            ),
            (
                Step(
                    "On a Linux host, see whether the processor has it: vmx or svm.",
                    ("grep -o -w -m1 -E 'vmx|svm' /proc/cpuinfo",),
                ),
                Step(
                    "Switch VT-x or AMD-V on in the host's firmware, and off what takes it: Hyper-V"
                    " and Device Guard on Windows."
                ),
                Step(
                    "Power the virtual machine off, and choose a 64-bit guest operating system for"
                    " it."
                ),
                _VERIFY_VM,
            ),
            "VMware Workstation, Player and ESX; VMware's article KB 1003945",
        ),
        (
            r"64-bit operation is not possible",
            r"configured (?:for|to use|this virtual machine as) .{0,12}64-bit guest",
            r"binary translation is incompatible with long mode",
            r"not capable of running 64-bit virtual machines",
            r"vt-capable, but vt is (?:not enabled|disabled)",
            r"this host (?:does not support|supports) (?:intel )?(?:vt\b|vt-x|amd-v)",
        ),
        (
            "This virtual machine is configured for 64-bit guest operating systems. However, 64-bit"
            " operation is not possible.",
            "This host supports Intel VT-x, but Intel VT-x is disabled.",
            "This host does not support Intel VT-x.",
            "Binary translation is incompatible with long mode on this platform.",
            "This CPU is VT-capable, but VT is not enabled (check your BIOS settings).",
            "However, this host is not capable of running 64-bit virtual machines or this virtual"
            " machine has 64-bit support disabled.",
        ),
    ),
    Known(
        Explanation(
            "virtualbox.64-bit",
            "VirtualBox does not let this virtual machine run 64-bit programs",
            "The guest is not at fault. VirtualBox needs Intel VT-x or AMD-V, switched on in the"
            " firmware (BIOS) of the host, the computer that runs VirtualBox, and used by nothing"
            " else there.",
            (
                "Do not install the guest again.",
                "Do not edit the .vbox file by hand while the machine runs.",
            ),
            (
                Step(
                    "Switch VT-x or AMD-V (SVM) on in the host's firmware. On a Windows host,"
                    " switch Hyper-V off, then restart it.",
                    ("bcdedit /set hypervisorlaunchtype off",),
                ),
                Step(
                    "Power the virtual machine off, and set it to 64 bits. NAME is its name.",
                    ("VBoxManage modifyvm NAME --ostype Debian_64 --longmode on --ioapic on",),
                ),
                _VERIFY_VM,
            ),
            "VirtualBox",
        ),
        (
            r"vt-x/amd-v hardware acceleration (?:is not available|has been enabled, but is not)",
            r"(?:vt-x|amd-v) is (?:not available|disabled in the bios)",
            r"verr_vmx_(?:no_vmx|msr_\w+)",
            r"verr_svm_(?:no_svm|disabled)",
            r"64-bit guest will fail to detect a 64-bit cpu",
        ),
        (
            "VT-x/AMD-V hardware acceleration is not available on your system. Your 64-bit guest"
            " will fail to detect a 64-bit CPU and will not be able to boot.",
            "VBoxManage: error: VT-x is not available (VERR_VMX_NO_VMX)",
            "VT-x is disabled in the BIOS for all CPU modes (VERR_VMX_MSR_ALL_VMX_DISABLED)",
            "AMD-V is disabled in the BIOS (or by the host OS) (VERR_SVM_DISABLED)",
        ),
    ),
    Known(
        Explanation(
            "cpu.level",
            "The programs need a newer 64-bit processor than this machine shows",
            "The processor is a 64-bit one, but lacks instructions that came later. They have"
            " levels: x86-64-v2 is from about 2009, v3 from about 2013. In a virtual machine the"
            " processor may have them, and its model, as it was chosen for the guest, hide them.",
            ("Do not replace the C library of the system: nothing would start any more.",),
            (
                CHECK,
                Step(
                    "In a virtual machine, choose a newer model of processor for the guest. For"
                    " Proxmox, where ID is the number of the machine:",
                    ("qm set ID --cpu x86-64-v2-AES",),
                ),
                Step("On bare metal, stay on a release that is built for this level."),
            ),
            "glibc 2.33 and later, when a program starts",
        ),
        (
            r"cpu isa level is lower than required",
            r"fatal glibc error: cpu does not support",
            r"cpu does not support x86-64-v[234]",
        ),
        (
            "/lib64/libc.so.6: CPU ISA level is lower than required",
            "Fatal glibc error: CPU does not support x86-64-v2",
            "Fatal glibc error: CPU does not support x86-64-v3",
        ),
    ),
    Known(
        Explanation(
            "cpu.illegal-instruction",
            "A program met an instruction that this processor does not show",
            "Often the program was built for a newer processor than this machine shows: a 64-bit"
            " program for a higher x86-64 level, or a 32-bit one with SSE2 for a processor that has"
            " none. A hypervisor may hide what the processor has. But a mistake in the program or a"
            " damaged file ends in the same message, so this alone does not say that the"
            " processor is too old.",
            (
                "Do not replace the processor or the C library before it is known which"
                " instruction it was.",
            ),
            (
                Step(
                    "See what this machine shows, and up to which level.", ("applianceforge check",)
                ),
                Step(
                    "See what the program is, and whether its files are as they were installed.",
                    ("file -L FILE", "dpkg --verify"),
                ),
                Step(
                    "Ask who built it for which processor that was; use a build for x86-64-v1, or"
                    " for i686 without SSE2."
                ),
                Step(
                    "In a virtual machine, choose a newer model of processor for the guest, and try"
                    " again."
                ),
            ),
            "the shell or systemd, for the kernel (SIGILL); the kernel's log",
        ),
        (
            r"\billegal instruction\b",
            r"ung.{1,12}ltiger maschinenbefehl",
            r"\bsigill\b",
            r"\bstatus=4/ill\b",
            r"trap invalid opcode",
        ),
        (
            "Illegal instruction (core dumped)",
            "Ung\u00fcltiger Maschinenbefehl (Speicherabzug geschrieben)",
            "app.service: Main process exited, code=dumped, status=4/ILL",
            "traps: app[812] trap invalid opcode ip:55d0c0a81139 sp:7ffd15f2a0b0 error:0",
        ),
    ),
)

"""What a release requires of a machine, as values. The file in which it says so: release_file.py.

Where no release is named (`--target amd64`), only what every amd64 release needs is required.
"""

from __future__ import annotations

from typing import NamedTuple

from applianceforge.model.architecture import Architecture

MIB = 1 << 20


class Kernel(NamedTuple):
    """The release's kernel.

    Attributes:
        ia32_emulation: Whether it runs 32-bit programs: "yes", "no", or "option" if it does when
            started with ia32_emulation=on (Linux 6.7 and later can be built so).
    """

    version: str = ""
    ia32_emulation: str = "yes"


class PostgreSQL(NamedTuple):
    """The release's PostgreSQL; None in the last two where the release does not say.

    Attributes:
        extensions: Names of the extensions that can be created.
        locales: Names of the C library's locales, such as "de_DE.UTF-8".
    """

    major: int
    extensions: tuple[str, ...] | None = None
    locales: tuple[str, ...] | None = None


class DataStatement(NamedTuple):
    """What the vendor says of files: a pattern as in an answer file, what they are, and why."""

    pattern: str
    disposition: str
    reason: str


class Last32Bit(NamedTuple):
    """The last release that a machine without long mode can stay on.

    Attributes:
        supported_until: Such as "2028-06-30"; "" if not said.
        advice: What the owner can do, one or two sentences; "" if not said.
    """

    version: str
    supported_until: str = ""
    advice: str = ""


class Release(NamedTuple):
    """A release, and what it requires.

    Attributes:
        released_s: When it was built, seconds since 1970; 0 if not said.
        x86_64_level: 1 to 4, for amd64.
        memory_bytes: Of the machine; 0 for no requirement, as in the next two.
        data_bytes: Free on the data partition, beside what is there.
        slot_bytes: Of each slot.
        minimum_version: The oldest version that it may be installed over; "" for any.
        firmware: "bios" if it starts by BIOS only; "" if it does not matter.
    """

    architecture: Architecture
    appliance: str = ""
    version: str = ""
    released_s: int = 0
    x86_64_level: int = 1
    memory_bytes: int = 0
    data_bytes: int = 0
    slot_bytes: int = 0
    minimum_version: str = ""
    firmware: str = ""
    kernel: Kernel | None = None
    postgresql: PostgreSQL | None = None
    data: tuple[DataStatement, ...] = ()
    last_32_bit: Last32Bit | None = None

    @property
    def long_mode(self) -> bool:
        """Return whether it needs a 64-bit processor."""
        return self.architecture is Architecture.AMD64

    @property
    def subject(self) -> str:
        """Return how to call it at the beginning of a sentence."""
        if self.version:
            return f"Release {self.name}" if self.appliance else f"Release {self.version}"
        return f"The {self.architecture.width}-bit release"

    @property
    def name(self) -> str:
        """Return how to call it in a sentence."""
        if self.version:
            return f"{self.appliance or 'release'} {self.version}"
        return f"the {self.architecture.width}-bit release"


def for_target(architecture: Architecture) -> Release:
    """Return what every release of an architecture needs.

    The processor's architecture, and for amd64 512 MiB of memory: Debian's installation guide
    names 256 MiB as the least and 512 MiB as what is recommended for a system without a desktop,
    for i386 and amd64 alike. The least is not enough here: 64-bit programs hold up to 1.5 times as
    much as 32-bit ones (checks_resources has the figures), and the old and the new PostgreSQL are
    on the machine at the same time during the migration.
    """
    memory = 512 * MIB if architecture is Architecture.AMD64 else 0
    return Release(architecture, memory_bytes=memory)

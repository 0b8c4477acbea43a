"""PostgreSQL's control file, `global/pg_control`, of either width, 9.2 to 18.

The file is a C structure as its compiler laid it out, so the same release writes other offsets on
i386 than on amd64: there 8-byte members are aligned to 4, here to 8. `_FIELDS` is that structure
with the releases that have each member, and the offsets follow from the compiler's rules:

    0   u64 system identifier, u32 control version, u32 catalog version   (same place everywhere)
    16  int cluster state, i64 time of last change, checkpoint location, copy of the checkpoint,
        recovery points, settings of the WAL
        u32 MAXALIGN (4 on i386, 8 elsewhere), double 1234567.0, u32 block sizes,
        flags, u32 data checksum version, nonce (since 10), u32 CRC of all before it

The catalog version names the release; the control version alone does not (942 is 9.4 and 9.5, 1300
is 13 to 16). The CRC is CRC-32C since 9.5; before, a CRC-32 whose table is shifted the wrong way.

A server of the other width reads the CRC at its own offset, finds something else there, and says
"incorrect checksum in control file". That looks like damage and is none; so the CRC is verified
here at the offset of the architecture that wrote the file.

Source: PostgreSQL src/include/catalog/pg_control.h and catversion.h, src/include/utils/pg_crc.h,
src/include/access/xlogdefs.h (9.2's two-word location), releases 9.2 to 18, some of them as
pgBackRest collects them in src/postgres/interface.
"""

import struct
from dataclasses import dataclass, fields
from enum import Enum
from functools import cache
from typing import Any

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import DamagedClusterError, ForeignClusterError, ForgeError

NOT_DAMAGE = (
    'a server of the other width says "incorrect checksum in control file" of an intact directory:'
    " it reads the checksum at its own offset, and that is not damage"
)
NEVER_RESET = "never run pg_resetwal on it: that guesses control data and wrecks the cluster"

# The server reads no more; every layout ends well before (PG_CONTROL_MAX_SAFE_SIZE).
CONTROL_BYTES = 512

_FLOAT_FORMAT = struct.pack("<d", 1234567.0)
_FLOAT_FORMAT_SWAPPED = struct.pack(">d", 1234567.0)
_ALIGNMENTS = (4, 8)


class ClusterState(Enum):
    """What the server last wrote of itself, in pg_controldata's words."""

    STARTING_UP = "starting up"
    SHUT_DOWN = "shut down"
    SHUT_DOWN_IN_RECOVERY = "shut down in recovery"
    SHUTTING_DOWN = "shutting down"
    IN_CRASH_RECOVERY = "in crash recovery"
    IN_ARCHIVE_RECOVERY = "in archive recovery"
    IN_PRODUCTION = "in production"


class WalLevel(Enum):
    """How much goes to the WAL, by the setting's name."""

    MINIMAL = "minimal"
    ARCHIVE = "archive"
    HOT_STANDBY = "hot_standby"
    REPLICA = "replica"
    LOGICAL = "logical"


@dataclass(frozen=True)
class ControlData:
    """What a control file says; times are seconds since 1970, locations bytes into the WAL.

    Attributes:
        major: The release as PG_VERSION and Debian's directories spell it, such as 9.6 or 15.
        max_align: MAXALIGN of the machine that wrote it: 4 on i386, 8 elsewhere.
        data_checksums: Version of the data page checksums; 0 is without.
        max_worker_processes: None before 9.4.
        max_wal_senders: None before 12.
        large_object_chunk_bytes: None before 9.4.
    """

    major: str
    system_identifier: int
    control_version: int
    catalog_version: int
    state: ClusterState
    modified_s: int
    checkpoint_lsn: int
    redo_lsn: int
    timeline: int
    next_oid: int
    checkpoint_s: int
    wal_level: WalLevel
    max_connections: int
    max_worker_processes: int | None
    max_wal_senders: int | None
    max_prepared_transactions: int
    max_locks_per_transaction: int
    max_align: int
    block_bytes: int
    segment_blocks: int
    wal_block_bytes: int
    wal_segment_bytes: int
    name_bytes: int
    index_keys: int
    toast_chunk_bytes: int
    large_object_chunk_bytes: int | None
    float8_by_value: bool
    data_checksums: int

    @property
    def width(self) -> int:
        """Return 32 or 64: the width of the programs that can open the cluster.

        Alignment to 8 with float8 by reference is 32-bit ARM.
        """
        return 64 if self.max_align == 8 and self.float8_by_value else 32

    @property
    def architecture(self) -> Architecture | None:
        """Return whose layout it is; None is neither i386's nor amd64's.

        Other 64-bit little-endian machines write what amd64 writes.
        """
        if self.max_align == 4:
            return Architecture.I386
        return Architecture.AMD64 if self.width == 64 else None

    @property
    def was_shut_down(self) -> bool:
        """Return whether the server ended cleanly, so that nothing has to be recovered."""
        return self.state in (ClusterState.SHUT_DOWN, ClusterState.SHUT_DOWN_IN_RECOVERY)


# Releases as server_version_num / 100. Source: the release's catversion.h and pg_control.h.
_RELEASES = {
    201204301: (902, 922),
    201306121: (903, 937),
    201409291: (904, 942),
    201510051: (905, 942),
    201608131: (906, 960),
    201707211: (1000, 1002),
    201809051: (1100, 1100),
    201909212: (1200, 1201),
    202007201: (1300, 1300),
    202107181: (1400, 1300),
    202209061: (1500, 1300),
    202307071: (1600, 1300),
    202406281: (1700, 1700),
    202506291: (1800, 1800),
}


@dataclass(frozen=True)
class _Field:
    """A member: its C type as struct's letter, and the releases that have it, the last excluded.

    L is a WAL location, N the nonce; ( and ) enclose a structure.
    """

    name: str
    kind: str
    since: int = 902
    until: int = 9900


_FIELDS = (
    _Field("system_identifier", "Q"),
    _Field("control_version", "I"),
    _Field("catalog_version", "I"),
    _Field("state", "i"),
    _Field("modified_s", "q"),
    _Field("checkpoint_lsn", "L"),
    _Field("prior_checkpoint_lsn", "L", until=1100),
    _Field("checkpoint", "("),
    _Field("redo_lsn", "L"),
    _Field("timeline", "I"),
    _Field("prior_timeline", "I", since=903),
    _Field("full_page_writes", "?"),
    _Field("checkpoint_wal_level", "i", since=1700),
    _Field("next_xid_epoch", "I", until=1200),
    _Field("next_xid", "I", until=1200),
    _Field("next_full_xid", "Q", since=1200),
    _Field("next_oid", "I"),
    _Field("next_multi", "I"),
    _Field("next_multi_offset", "I"),
    _Field("oldest_xid", "I"),
    _Field("oldest_xid_database", "I"),
    _Field("oldest_multi", "I", since=903),
    _Field("oldest_multi_database", "I", since=903),
    _Field("checkpoint_s", "q"),
    _Field("oldest_commit_timestamp_xid", "I", since=905),
    _Field("newest_commit_timestamp_xid", "I", since=905),
    _Field("oldest_active_xid", "I"),
    _Field("checkpoint", ")"),
    _Field("unlogged_lsn", "L", since=903),
    _Field("minimum_recovery_lsn", "L"),
    _Field("minimum_recovery_timeline", "I", since=903),
    _Field("backup_start_lsn", "L"),
    _Field("backup_end_lsn", "L"),
    _Field("backup_end_required", "?"),
    _Field("wal_level", "i"),
    _Field("wal_log_hints", "?", since=904),
    _Field("max_connections", "i"),
    _Field("max_worker_processes", "i", since=904),
    _Field("max_wal_senders", "i", since=1200),
    _Field("max_prepared_transactions", "i"),
    _Field("max_locks_per_transaction", "i"),
    _Field("track_commit_timestamp", "?", since=905),
    _Field("max_align", "I"),
    _Field("float_format", "d"),
    _Field("block_bytes", "I"),
    _Field("segment_blocks", "I"),
    _Field("wal_block_bytes", "I"),
    _Field("wal_segment_bytes", "I"),
    _Field("name_bytes", "I"),
    _Field("index_keys", "I"),
    _Field("toast_chunk_bytes", "I"),
    _Field("large_object_chunk_bytes", "I", since=904),
    _Field("integer_times", "?", until=1000),
    _Field("float4_by_value", "?", until=1300),
    _Field("float8_by_value", "?"),
    _Field("data_checksums", "I", since=903),
    _Field("char_is_signed", "?", since=1800),
    _Field("nonce", "N", since=1000),
    _Field("crc", "I"),
)

_SIZES = {"Q": 8, "q": 8, "d": 8, "L": 8, "I": 4, "i": 4, "?": 1, "N": 32}
_BYTE_ALIGNED = ("?", "N")


@cache
def layout(release: int, max_align: int) -> dict[str, tuple[int, str]]:
    """Return offset and type of each member, as a C compiler lays them out.

    Args:
        release: server_version_num / 100, such as 906 or 1500.
        max_align: The alignment of 8-byte members: 4 on i386, 8 elsewhere.
    """
    offset, members = 0, {}
    for field in _FIELDS:
        if not field.since <= release < field.until:
            continue
        kind = field.kind
        if kind in _BYTE_ALIGNED:
            alignment = 1
        elif kind in "Ii" or (kind == "L" and release == 902):
            alignment = 4
        else:
            alignment = max_align
        offset = -(-offset // alignment) * alignment
        if kind in "()":
            continue
        members[field.name] = (offset, kind)
        offset += _SIZES[kind]
    return members


# The polynomials of the two checksums, lowest power first.
_CASTAGNOLI = 0x82F63B78
_ETHERNET = 0xEDB88320


@cache
def _table(polynomial: int) -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        entry = byte
        for _ in range(8):
            entry = entry >> 1 ^ (polynomial if entry & 1 else 0)
        entries.append(entry)
    return tuple(entries)


def crc32c(content: bytes) -> int:
    """Return the CRC-32C of `content`.

    Source: RFC 3720, appendix B.4.
    """
    table, crc = _table(_CASTAGNOLI), 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def legacy_crc32(content: bytes) -> int:
    """Return the checksum that releases before 9.5 used.

    Source: pg_crc.h, COMP_LEGACY_CRC32: the table of one bit order, the shifts of the other.
    """
    table, crc = _table(_ETHERNET), 0xFFFFFFFF
    for byte in content:
        crc = (crc << 8 & 0xFFFFFFFF) ^ table[crc >> 24 ^ byte]
    return crc ^ 0xFFFFFFFF


def checksum(content: bytes, release: int) -> int:
    """Return the checksum over `content` as `release` computes it."""
    return crc32c(content) if release >= 905 else legacy_crc32(content)


def decode(content: bytes, *, name: str = "global/pg_control") -> ControlData:
    """Decode a control file, whichever width wrote it.

    Args:
        content: The first 512 bytes of the file or more; the rest is padding.
        name: What the messages call it.

    Raises:
        DamagedClusterError: It is cut short, emptied, or its checksum is wrong at every offset
            where an architecture keeps it.
        ForeignClusterError: It is intact, but of another byte order or of an unknown release.
    """
    content = content[:CONTROL_BYTES]
    if len(content) < 16:
        raise _damaged(name, f"has {len(content)} bytes, too few for a control file")
    if not any(content):
        raise _damaged(name, "holds zeros only")
    control_version, catalog_version = struct.unpack_from("<II", content, 8)
    release, expected = _RELEASES.get(catalog_version, (0, 0))
    if expected != control_version:
        raise _unrecognized(name, content, control_version, catalog_version)
    for max_align in _ALIGNMENTS:
        members = layout(release, max_align)
        end = members["crc"][0] + 4
        if len(content) < end:
            continue
        values = {key: _value(content, at, kind) for key, (at, kind) in members.items()}
        if release == 902:
            # Two words, the upper one first.
            for key, (_, kind) in members.items():
                if kind == "L":
                    values[key] = (values[key] & 0xFFFFFFFF) << 32 | values[key] >> 32
        at = members["float_format"][0]
        if values["max_align"] != max_align or content[at : at + 8] != _FLOAT_FORMAT:
            continue
        computed = checksum(content[: end - 4], release)
        if computed != values["crc"]:
            raise _damaged(
                name,
                "has a wrong checksum, also at its own architecture's offset",
                f"layout: PostgreSQL {_spelled(release)}, aligned to {max_align}",
                f"checksum at byte {end - 4}: {values['crc']:08x}, computed: {computed:08x}",
            )
        return _control_data(name, release, values)
    raise _unrecognized(name, content, control_version, catalog_version)


def _value(content: bytes, at: int, kind: str) -> Any:
    form = {"L": "Q", "N": "32s", "?": "B"}.get(kind, kind)
    return struct.unpack_from("<" + form, content, at)[0]


def _control_data(name: str, release: int, values: dict[str, Any]) -> ControlData:
    states = tuple(ClusterState)
    if not 0 <= values["state"] < len(states):
        raise _damaged(name, f"has the cluster state {values['state']}, which does not exist")
    if release >= 906:
        levels: tuple[WalLevel, ...] = (WalLevel.MINIMAL, WalLevel.REPLICA, WalLevel.LOGICAL)
    else:
        levels = (WalLevel.MINIMAL, WalLevel.ARCHIVE, WalLevel.HOT_STANDBY, WalLevel.LOGICAL)
    if not 0 <= values["wal_level"] < len(levels):
        raise _damaged(name, f"has the wal_level {values['wal_level']}, which does not exist")
    found: dict[str, Any] = {field.name: values.get(field.name) for field in fields(ControlData)}
    found["major"] = _spelled(release)
    found["state"] = states[values["state"]]
    found["wal_level"] = levels[values["wal_level"]]
    found["float8_by_value"] = bool(values["float8_by_value"])
    found["data_checksums"] = values.get("data_checksums", 0)
    return ControlData(**found)


def _spelled(release: int) -> str:
    return f"{release // 100}" if release >= 1000 else f"{release // 100}.{release % 100}"


def _unrecognized(name: str, content: bytes, control: int, catalog: int) -> ForgeError:
    """Return the error for a file that no known layout fits."""
    if _FLOAT_FORMAT_SWAPPED in content:
        swapped = struct.unpack_from(">I", content, 8)[0]
        return ForeignClusterError(
            f"{name} was written by a big-endian machine (control version {swapped})",
            hint=f"dump it with PostgreSQL on a machine of its own kind; {NEVER_RESET}",
        )
    at = content.find(_FLOAT_FORMAT)
    if at >= 20 and _has_own_crc(content, at + len(_FLOAT_FORMAT)):
        return ForeignClusterError(
            f"{name} is intact, but of a PostgreSQL that is not known here (control version"
            f" {control}, catalog version {catalog})",
            hint="PostgreSQL 9.2 to 18 are known, not their betas nor their derivatives; dump it"
            f" with its own programs; {NEVER_RESET}",
        )
    return _damaged(
        name,
        "is not a control file, or is damaged",
        f"control version {control}, catalog version {catalog}",
    )


def _has_own_crc(content: bytes, start: int) -> bool:
    """Return whether some aligned word from `start` on is the CRC-32C of all before it."""
    return any(
        struct.unpack_from("<I", content, at)[0] == crc32c(content[:at])
        for at in range(-(-start // 4) * 4, len(content) - 3, 4)
    )


def _damaged(name: str, what: str, *evidence: str) -> DamagedClusterError:
    return DamagedClusterError(
        f"{name} {what}",
        hint=f"restore the whole data directory from a backup or a standby; {NEVER_RESET}",
        evidence=evidence,
    )

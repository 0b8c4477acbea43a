"""The manifest of a portable archive: what it holds, and a digest of every file.

    manifest.json            this
    globals.sql              roles, grants, settings, tablespaces (it holds password verifiers)
    databases/NAME/          pg_dump's directory format
    rrd/PATH.rrd.zst         the original bytes
    rrd/PATH.xml.zst         the same as XML, 17 digits

`sha256` of the manifest itself is that of its JSON, keys sorted, without that member.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from applianceforge.migrate import inventory
from applianceforge.migrate.inventory import ClusterInventory
from applianceforge.model.errors import ArchiveError

NAME = "manifest.json"
SCHEMA = 1
KIND = "applianceforge-archive"


@dataclass(frozen=True)
class ArchivedFile:
    """A file of the archive: its path in it, its size, its SHA-256 in hex."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class ArchivedCluster:
    """The cluster of an archive.

    Attributes:
        template: What initdb must be told, by the names of its fields.
        loaded_bytes: For each database about how much it takes when loaded.
        system_identifier: Of the source cluster.
        configuration: Names of the configuration files under config/.
    """

    system_identifier: int
    template: Mapping[str, Any]
    loaded_bytes: Mapping[str, int]
    tablespaces: tuple[str, ...]
    inventory: ClusterInventory


@dataclass(frozen=True)
class Manifest:
    """What an archive holds.

    Attributes:
        created_s: Seconds since 1970.
        tool: Name and version of what wrote it.
        digest: Which digest of a table it holds: "stream" is interfaces' default.
        rrds: The RRDs' records, as JSON values.
    """

    created_s: float
    tool: str
    digest: str
    cluster: ArchivedCluster | None
    rrds: tuple[Mapping[str, Any], ...]
    files: tuple[ArchivedFile, ...]


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as JSON with a digest of itself."""
    cluster = manifest.cluster
    fields: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": KIND,
        "created": manifest.created_s,
        "tool": manifest.tool,
        "digest": manifest.digest,
        "cluster": None
        if cluster is None
        else {
            "system_identifier": cluster.system_identifier,
            "template": dict(cluster.template),
            "loaded_bytes": dict(cluster.loaded_bytes),
            "tablespaces": list(cluster.tablespaces),
            "inventory": inventory.to_json(cluster.inventory),
        },
        "rrds": [dict(one) for one in manifest.rrds],
        "files": [asdict(one) for one in manifest.files],
    }
    fields["sha256"] = _own_digest(fields)
    return json.dumps(fields, ensure_ascii=False, indent=1).encode("utf-8", "surrogateescape")


def decode(content: bytes, name: str) -> Manifest:
    """Return the manifest that `encode` wrote.

    Args:
        name: The file's name, for messages.

    Raises:
        ArchiveError: It was changed, was cut short, is no manifest, or is of a newer schema.
    """
    try:
        fields = json.loads(content.decode("utf-8", "surrogateescape"))
        stated = fields.pop("sha256")
        kind, schema = fields["kind"], fields["schema"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refused(f"{name} is no manifest, or was cut short") from error
    if kind != KIND:
        raise _refused(f"{name} is the manifest of something else: {kind!r}")
    if not isinstance(schema, int) or schema > SCHEMA:
        raise ArchiveError(
            f"{name} has schema {schema}; this version knows up to {SCHEMA}",
            hint="import it with the release that wrote it, or a newer one",
        )
    if stated != _own_digest(fields):
        raise _refused(f"{name} was changed: its digest is not what it says")
    try:
        return _from_fields(fields)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _refused(f"{name} lacks a part: {error}") from error


def _refused(message: str) -> ArchiveError:
    return ArchiveError(message, hint="take another copy of the archive, or export it again")


def _own_digest(fields: Mapping[str, Any]) -> str:
    text = json.dumps(fields, ensure_ascii=True, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _from_fields(fields: Mapping[str, Any]) -> Manifest:
    cluster = fields["cluster"]
    return Manifest(
        created_s=float(fields["created"]),
        tool=fields["tool"],
        digest=fields["digest"],
        cluster=None
        if cluster is None
        else ArchivedCluster(
            system_identifier=cluster["system_identifier"],
            template=cluster["template"],
            loaded_bytes=cluster["loaded_bytes"],
            tablespaces=tuple(cluster["tablespaces"]),
            inventory=inventory.from_json(cluster["inventory"]),
        ),
        rrds=tuple(fields["rrds"]),
        files=tuple(ArchivedFile(**one) for one in fields["files"]),
    )


def differences(
    stated: Sequence[ArchivedFile], found: Mapping[str, tuple[int, str]]
) -> tuple[str, ...]:
    """Return what is wrong with an archive's files, each by name.

    Args:
        stated: What the manifest says.
        found: For each file that is there its size and SHA-256.
    """
    wrong = []
    for file in stated:
        if file.path not in found:
            wrong.append(f"{file.path} is missing")
            continue
        size, digest = found[file.path]
        if size < file.size_bytes:
            wrong.append(f"{file.path} was cut short: {size} of {file.size_bytes} bytes")
        elif (size, digest) != (file.size_bytes, file.sha256):
            wrong.append(f"{file.path} was changed")
    extra = found.keys() - {file.path for file in stated}
    wrong.extend(f"{path} does not belong to the archive" for path in sorted(extra))
    return tuple(wrong)

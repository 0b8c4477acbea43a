"""The packages of an image with their versions and digests, and the lock file that keeps them.

One JSON document: first the image's own packages, then those of each foreign tree by its path.
They are sorted by name, one a line, so that two documents are compared with any tool. The same
document is the result of a resolution and the content of images/NAME.lock.
"""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import LockedError

SCHEMA = 1
# Also what no JSON of ours has: infinite numbers, and thousands of brackets.
_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
_DIGEST = r"[0-9a-f]{64}"


@dataclass(frozen=True, order=True)
class Package:
    """One package: as in Debian's index, with the SHA-256 of its file."""

    name: str
    version: str
    architecture: str
    sha256: str
    size_bytes: int

    @property
    def file(self) -> str:
        """Return what apt calls its file."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


@dataclass(frozen=True)
class PackageSet:
    """All packages of an image.

    Attributes:
        suite: Debian's name of the release.
        architecture: Of the image.
        security: Whether the security updates were looked at.
        epoch_s: The date of the release, which no file of the image is newer than.
        packages: Sorted.
    """

    suite: str
    architecture: Architecture
    security: bool
    epoch_s: int
    packages: tuple[Package, ...]

    @property
    def names(self) -> frozenset[str]:
        """Return the names of the packages."""
        return frozenset(package.name for package in self.packages)


@dataclass(frozen=True)
class Choice:
    """What an image consists of.

    Attributes:
        image: Its own packages.
        trees: The packages of its foreign trees, by their paths in the image.
    """

    image: PackageSet
    trees: tuple[tuple[str, PackageSet], ...] = ()

    def tree(self, path: str) -> PackageSet:
        """Return the packages of the foreign tree at a path."""
        return dict(self.trees)[path]


def encode(chosen: PackageSet) -> str:
    """Return a set as JSON."""
    head = {
        "suite": chosen.suite,
        "architecture": chosen.architecture.value,
        "security": chosen.security,
        "epoch_s": chosen.epoch_s,
    }
    lines = ",\n".join(f"    {json.dumps(asdict(one))}" for one in sorted(chosen.packages))
    return json.dumps(head, indent=2)[:-2] + f',\n  "packages": [\n{lines}\n  ]\n}}'


def encode_choice(choice: Choice) -> str:
    """Return the document."""
    trees = ",\n".join(f"{json.dumps(path)}: {encode(one)}" for path, one in choice.trees)
    return f'{{"schema": {SCHEMA},\n"image": {encode(choice.image)},\n"trees": {{{trees}}}\n}}\n'


def decode_choice(text: str, file: str) -> Choice:
    """Decode the document.

    Args:
        text: Its content.
        file: Its name, for messages.

    Raises:
        LockedError: It is none, or of another schema.
    """
    again = "write it anew with `inv image.lock`"
    try:
        content = json.loads(text)
        if content["schema"] != SCHEMA:
            raise LockedError(f"{file} has schema {content['schema']!r}, not {SCHEMA}", hint=again)
        trees = tuple((path, _set(one)) for path, one in sorted(content["trees"].items()))
        return Choice(_set(content["image"]), trees)
    except _DAMAGED as error:
        raise LockedError(f"{file} is no lock file of an image", hint=again) from error


def _set(content: Any) -> PackageSet:
    packages = tuple(
        Package(
            str(one["name"]),
            str(one["version"]),
            str(one["architecture"]),
            str(one["sha256"]),
            int(one["size_bytes"]),
        )
        for one in content["packages"]
    )
    if any(not re.fullmatch(_DIGEST, one.sha256) for one in packages) or not packages:
        raise ValueError("a digest")
    return PackageSet(
        str(content["suite"]),
        Architecture(content["architecture"]),
        bool(content["security"]),
        int(content["epoch_s"]),
        tuple(sorted(packages)),
    )

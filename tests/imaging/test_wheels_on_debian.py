"""The wheels of the recipes run on Debian's Python, of both architectures, and prove metadata.

What is signed here, with the newest libraries, is refreshed, verified and fetched there.

securesystemslib verifies Ed25519 with any cryptography. For other keys it imports a name that
cryptography has since its version 40; Debian 12's 38 has the same under another name, and all else.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner, Key
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from applianceforge.imaging import namespace, recipes, roottree, wheels
from applianceforge.imaging.roottree import Recipe
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import ProgramFailedError
from applianceforge.release import old_cryptography
from applianceforge.system import programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command
from tests.appliance import cache
from tests.imaging import builds

PACKAGES = ("python3", "python3-cryptography", "python3-zstandard")
CONTENT = b'{"schema": 1}'
ALIAS = Path(old_cryptography.__file__).read_text() + "\n\ncomplete()\n"
CLIENT = """
import sys
from importlib.metadata import version
from pathlib import Path

import cryptography
import urllib3
import zstandard
from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater


class Files(FetcherInterface):
    def _fetch(self, url):
        path = Path("/repository") / url.partition("://")[2]
        if not path.is_file():
            raise DownloadHTTPError("not there", 404)
        yield path.read_bytes()


updater = Updater(
    "/cache", "x://metadata/", "/cache", "x://targets/", Files(),
    bootstrap=Path("/repository/metadata/1.root.json").read_bytes(),
)
updater.refresh()
found = updater.get_targetinfo("graph.json")
print(Path(updater.download_target(found)).read_text())
print(version("tuf"), version("securesystemslib"), version("urllib3"), cryptography.__version__)
print(sys.maxsize > 2**32)
"""


ED25519 = (CryptoSigner.generate_ed25519,) * 4
ALL_KINDS = (
    CryptoSigner.generate_ed25519,
    CryptoSigner.generate_ecdsa,
    CryptoSigner.generate_rsa,
    CryptoSigner.generate_ed25519,
)


def repository(directory: Path, makers: Sequence[Callable[[], CryptoSigner]]) -> None:
    """Make a repository with one target, and keys that these make."""
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    names = (Root.type, Targets.type, Snapshot.type, Timestamp.type)
    signers = {name: make() for name, make in zip(names, makers, strict=True)}
    keys: dict[str, Key] = {one.public_key.keyid: one.public_key for one in signers.values()}
    roles = {name: Role([one.public_key.keyid], 1) for name, one in signers.items()}
    target = TargetFile.from_data("graph.json", CONTENT)
    signed = (
        ("1.root.json", Root(1, expires=expires, keys=keys, roles=roles)),
        ("1.targets.json", Targets(1, expires=expires, targets={"graph.json": target})),
        ("1.snapshot.json", Snapshot(1, expires=expires, meta={"targets.json": MetaFile(1)})),
        ("timestamp.json", Timestamp(1, expires=expires, snapshot_meta=MetaFile(1))),
    )
    (directory / "metadata").mkdir(parents=True)
    (directory / "targets").mkdir()
    for name, one in signed:
        metadata = Metadata(one)  # type: ignore[type-var]
        metadata.sign(signers[one.type])
        metadata.to_file(str(directory / "metadata" / name))
    digest = target.hashes["sha256"]
    (directory / f"targets/{digest}.graph.json").write_bytes(CONTENT)


def prepared(
    tmp_path: Path,
    architecture: Architecture,
    makers: Sequence[Callable[[], CryptoSigner]],
) -> Path:
    tree = roottree.build(Recipe("bookworm", architecture, PACKAGES), cache.directory(), Effects())
    root = tmp_path / "root"
    shutil.copytree(tree, root, symlinks=True)
    recipe = recipes.read(recipes.find("current"))
    for entry in wheels.entries_of(recipe.wheels, "current.toml", builds.stages(cache.directory())):
        path = root / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(entry.read())
    repository(root / "repository", makers)
    (root / "cache").mkdir()
    (root / "client.py").write_text(CLIENT)
    return root


def refreshed(root: Path) -> str:
    words = ("/usr/sbin/chroot", str(root), "/usr/bin/python3", "-I", "/client.py")
    return programs.run(namespace.enclosed(Command(words)), Effects()).stdout.decode()


@pytest.mark.real
@pytest.mark.parametrize("architecture", list(Architecture))
def test_metadata_is_verified_there(architecture: Architecture, tmp_path: Path) -> None:
    root = prepared(tmp_path, architecture, ED25519)
    graph, versions, wide = refreshed(root).splitlines()
    assert graph.encode() == CONTENT
    assert versions.split()[:3] == ["7.0.1", "1.6.0", "2.8.0"]
    assert versions.split()[3].startswith("38.")
    assert wide == str(architecture is Architecture.AMD64)
    shutil.rmtree(root / "cache")
    (root / "cache").mkdir()
    file = root / "repository/metadata/1.targets.json"
    document = json.loads(file.read_text())
    document["signed"]["targets"]["graph.json"]["length"] += 1
    file.write_text(json.dumps(document))
    with pytest.raises(ProgramFailedError) as caught:
        refreshed(root)
    assert "targets was signed by 0/1 keys" in builds.told_by(caught.value)


@pytest.mark.real
def test_keys_of_other_kinds_need_one_name_more(tmp_path: Path) -> None:
    root = prepared(tmp_path, Architecture.I386, ALL_KINDS)
    with pytest.raises(ProgramFailedError, match="snapshot was signed by 0/1 keys"):
        refreshed(root)
    shutil.rmtree(root / "cache")
    (root / "cache").mkdir()
    (root / "client.py").write_text(ALIAS + CLIENT)
    assert refreshed(root).splitlines()[0].encode() == CONTENT

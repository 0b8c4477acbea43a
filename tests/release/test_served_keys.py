"""A private key that lies among what is served: nothing goes on before it is gone."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from applianceforge.model.errors import SigningKeyError
from applianceforge.release.publish import status as repository_status
from applianceforge.release.publish.layout import require_no_key_served
from tests.migrate.boxes import applianceforge as command
from tests.release.vendor import Vendor

_Format = serialization.PrivateFormat
Key = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    made = Vendor(tmp_path)
    made.create()
    return made


def a_key(vendor: Vendor) -> Path:
    return next(iter(sorted(vendor.keys.rglob("*.pem"))))


@pytest.mark.parametrize("where", ["", "metadata", "targets/bundles", "keys/offline"])
def test_publish_and_status_refuse(vendor: Vendor, where: str) -> None:
    place = vendor.layout.public / where
    place.mkdir(parents=True, exist_ok=True)
    copied = Path(shutil.copy(a_key(vendor), place))
    before = (vendor.layout.metadata / "timestamp.json").read_bytes()
    acts: tuple[Callable[[], object], ...] = (
        vendor.publish,
        lambda: vendor.repository().renew(vendor.places, time.time()),
        lambda: repository_status.look(vendor.layout, time.time()),
    )
    for act in acts:
        with pytest.raises(SigningKeyError) as caught:
            act()
        assert f"{copied} is a private key" in caught.value.message
        assert "rotate-keys" in caught.value.hint
    assert (vendor.layout.metadata / "timestamp.json").read_bytes() == before
    copied.unlink()
    vendor.publish()
    assert repository_status.look(vendor.layout, time.time()).appliance


def test_the_real_commands(vendor: Vendor) -> None:
    assert command("release", "status", vendor.layout.directory).status == 0
    copied = shutil.copy(a_key(vendor), vendor.layout.public / "notes.txt")
    for words in (["status"], ["publish", "--keys", str(vendor.keys)]):
        said = command("release", words[0], vendor.layout.directory, *words[1:])
        assert said.status == SigningKeyError.exit_status
        assert f"{copied} is a private key" in said.errors
        assert said.hint.startswith("move it away at once")


def _pem(key: Key, form: serialization.PrivateFormat, passphrase: bytes = b"") -> bytes:
    lock: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, form, lock)


def all_kinds() -> dict[str, bytes]:
    ours = ed25519.Ed25519PrivateKey.generate()
    return {
        "pkcs8": _pem(ours, _Format.PKCS8),
        "encrypted": _pem(ours, _Format.PKCS8, b"secret"),
        "openssh": _pem(ours, _Format.OpenSSH),
        "ec": _pem(ec.generate_private_key(ec.SECP256R1()), _Format.TraditionalOpenSSL),
        "rsa": _pem(rsa.generate_private_key(65537, 2048), _Format.TraditionalOpenSSL),
        "after text": b"Bag Attributes\n  friendlyName: x\n" + _pem(ours, _Format.PKCS8),
    }


@pytest.mark.parametrize(("kind", "content"), all_kinds().items())
def test_every_kind_of_key_is_known(vendor: Vendor, kind: str, content: bytes) -> None:
    (vendor.layout.public / "x").write_bytes(content)
    with pytest.raises(SigningKeyError):
        require_no_key_served(vendor.layout)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="there is no ssh-keygen")
def test_a_key_of_another_program(vendor: Vendor) -> None:
    path = vendor.layout.public / "id"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-f", str(path)], check=True)
    with pytest.raises(SigningKeyError, match=r"public/id is a private key, and lies where"):
        require_no_key_served(vendor.layout)


def test_what_is_no_private_key(vendor: Vendor) -> None:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    served = vendor.layout.public
    (served / "public.pem").write_bytes(public.public_bytes(serialization.Encoding.PEM, form))
    (served / "about.txt").write_text("the PRIVATE KEY is on a stick")
    (served / "large").write_bytes(bytes(1 << 20) + a_key(vendor).read_bytes())
    os.mkfifo(served / "pipe")
    (served / "nowhere").symlink_to("missing")
    (served / "loop").symlink_to(".")
    require_no_key_served(vendor.layout)


def test_a_link_to_the_keys(vendor: Vendor) -> None:
    (vendor.layout.public / "keys").symlink_to(vendor.keys)
    with pytest.raises(SigningKeyError, match=r"and [0-9]+ more") as caught:
        require_no_key_served(vendor.layout)
    assert len(caught.value.evidence) > 1
    (vendor.layout.public / "keys").unlink()
    (vendor.layout.public / "one").symlink_to(a_key(vendor))
    with pytest.raises(SigningKeyError, match="public/one is a private key"):
        require_no_key_served(vendor.layout)

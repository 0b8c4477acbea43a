"""Private keys: how they lie on the disk, and what is said when one does not fit."""

import shutil
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from applianceforge.model.errors import ForgeError, SigningKeyError
from applianceforge.release.publish import keys
from applianceforge.release.publish.expiry import Role
from applianceforge.release.publish.keys import KeyPlaces, MadeKey
from applianceforge.system.effects import Effects
from tests.release.vendor import Vendor, no_secrets


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    made = Vendor(tmp_path)
    made.create()
    return made


def _pem(private: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def test_where_keys_lie(vendor: Vendor) -> None:
    found = {
        path.relative_to(vendor.keys).as_posix(): path.stat().st_mode & 0o777
        for path in vendor.keys.rglob("*.pem")
    }
    assert found == {
        **{f"offline/root-{number}.pem": 0o600 for number in (1, 2, 3)},
        **{f"offline/targets-{number}.pem": 0o600 for number in (1, 2)},
        "online/snapshot-1.pem": 0o600,
        "online/timestamp-1.pem": 0o600,
    }
    assert vendor.keys.stat().st_mode & 0o777 == 0o700
    # None of them, nor anything of them, is in the repository.
    secrets = [path.read_bytes().splitlines()[1] for path in vendor.keys.rglob("*.pem")]
    for path in vendor.layout.directory.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"PRIVATE" not in content
            assert not any(secret in content for secret in secrets)


def test_a_key_with_a_passphrase(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def secrets(name: str, what: str) -> str:
        asked.append((name, what))
        return "correct horse"

    made = keys.make(tmp_path, Role.ROOT, 1, secrets)
    keys.store(made, Effects())
    assert made.path is not None
    assert made.path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    signer = KeyPlaces((tmp_path,), secrets).signer(made.entry, made.public)
    assert isinstance(signer, CryptoSigner)
    made.public.verify_signature(signer.sign(b"word"), b"word")
    assert asked == [("root-1", "new passphrase"), ("root-1", "passphrase")]
    with pytest.raises(SigningKeyError, match="wrong passphrase") as caught:
        KeyPlaces((tmp_path,), lambda *_: "battery staple").signer(made.entry, made.public)
    assert "correct horse" not in str(caught.value)
    with pytest.raises(SigningKeyError, match="is empty"):
        KeyPlaces((tmp_path,), lambda *_: "").signer(made.entry, made.public)
    with pytest.raises(SigningKeyError, match="is empty"):
        keys.make(tmp_path, Role.ROOT, 2, lambda *_: "")
    with pytest.raises(SigningKeyError, match="has 1024 bytes, and no key takes") as caught:
        keys.make(tmp_path, Role.ROOT, 2, lambda *_: "x" * 1022 + "\u00e9")
    assert "xxx" not in str(caught.value)
    assert keys.make(tmp_path, Role.ROOT, 2, lambda *_: "x" * 1023).content
    # With a passphrase others may read the file: a stick has no modes.
    made.path.chmod(0o644)
    assert isinstance(KeyPlaces((tmp_path,), secrets).signer(made.entry, made.public), CryptoSigner)


def test_a_key_that_others_may_read_is_refused(vendor: Vendor) -> None:
    vendor.key_file("timestamp-1").chmod(0o640)
    with pytest.raises(SigningKeyError, match="others than its owner may read it") as caught:
        vendor.renew()
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no key",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        _pem(Ed25519PrivateKey.generate())[:60],
        _pem(Ed25519PrivateKey.generate()),
        _pem(ec.generate_private_key(ec.SECP256R1())),
    ],
    ids=["empty", "text", "short", "torn", "another", "of another kind"],
)
def test_what_is_not_the_key_signs_nothing(content: bytes, vendor: Vendor) -> None:
    seen = vendor.box("box").look()
    path = vendor.key_file("timestamp-1")
    path.write_bytes(content)
    with pytest.raises(SigningKeyError) as caught:
        vendor.renew()
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert vendor.box("box").look() == seen


def test_keys_in_several_places(vendor: Vendor) -> None:
    stick = vendor.place / "stick"
    stick.mkdir()
    for path in vendor.keys.rglob("*.pem"):
        path.rename(stick / path.name)
    shutil.rmtree(vendor.keys)
    vendor.repository().publish(KeyPlaces((vendor.keys, stick), no_secrets), time.time())
    assert vendor.box("box").look().targets == 2


def test_a_key_is_never_overwritten(vendor: Vendor) -> None:
    made = keys.make(vendor.keys, Role.ROOT, 1)
    assert made.entry.name == "root-4"
    keys.store(made, Effects())
    with pytest.raises(SigningKeyError, match="never overwritten"):
        keys.store(made, Effects())
    with pytest.raises(SigningKeyError, match="never overwritten"):
        keys.require_none(vendor.keys)


@pytest.mark.parametrize("uri", ["hsm", "pkcs11:2", "hsm:two", "file:x", ""])
def test_what_is_no_uri_of_a_module(uri: str) -> None:
    with pytest.raises(SigningKeyError, match="is no URI"):
        keys.from_module(uri, Role.ROOT, 1, no_secrets)


def test_a_module_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without python-pkcs11, or with it and without a module: the same kind of error."""
    monkeypatch.delenv("PYKCS11LIB", raising=False)
    with pytest.raises(SigningKeyError, match="cannot be used") as caught:
        keys.from_module("hsm:2?label=none", Role.ROOT, 1, no_secrets)
    assert "PYKCS11LIB" in caught.value.hint


def test_a_repository_whose_module_went_away(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYKCS11LIB", raising=False)
    state = vendor.layout.state
    state.write_bytes(state.read_bytes().replace(b"file:timestamp-1.pem", b"hsm:2?label=none"))
    seen = vendor.box("box").look()
    with pytest.raises(SigningKeyError) as caught:
        vendor.renew()
    assert caught.value.hint
    assert vendor.box("box").look() == seen
    # Where others are enough, it is not needed.
    state.write_bytes(state.read_bytes().replace(b"hsm:2?label=none", b"file:timestamp-1.pem"))
    state.write_bytes(state.read_bytes().replace(b"file:root-1.pem", b"hsm:2?label=none"))
    vendor.publish(sign_root=True)
    assert vendor.box("box").look().root == 2


def test_nothing_of_a_key_is_shown(vendor: Vendor) -> None:
    made: MadeKey = keys.make(vendor.keys, Role.ROOT, 1)
    assert b"PRIVATE KEY" in made.content
    assert "PRIVATE KEY" not in repr(made)
    error: ForgeError = SigningKeyError("x")
    assert error.exit_status == 80

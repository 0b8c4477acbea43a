"""Private keys: Ed25519 in PEM files, with or without a passphrase, or in a security module.

A file is PKCS #8 in PEM, mode 0600. A key in a hardware security module is named by the URI that
securesystemslib's PKCS#11 signer reads, such as `hsm:2?label=NAME`; its environment variable
PYKCS11LIB names the module's library.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.exceptions import UnsupportedLibraryError
from securesystemslib.signer import CryptoSigner, HSMSigner, Key, Signer, SSlibKey

from applianceforge.model.errors import SigningKeyError
from applianceforge.release.publish.expiry import Role
from applianceforge.release.publish.state import FILE_SCHEME, KeyEntry
from applianceforge.system import files
from applianceforge.system.effects import Effects
from applianceforge.system.files import named_errors

HSM_SCHEME = "hsm:"
OFFLINE, ONLINE = "offline", "online"
_LARGEST_BYTES = 1 << 16
# What OpenSSL takes, and so `cryptography`.
_LONGEST_SECRET_BYTES = 1023
_FOR_OTHERS = 0o077
_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"

Secrets = Callable[[str, str], str]
"""Asked for the secret of a key: its name, and what it is, such as "passphrase" or "pin"."""


@dataclass(frozen=True)
class MadeKey:
    """A key that is new to a repository.

    Attributes:
        entry: What the repository notes of it.
        public: The public half.
        signer: What signs with it.
        path: Where its file will be; None in a security module.
        content: Of the file.
    """

    entry: KeyEntry
    public: Key
    signer: Signer
    path: Path | None = None
    content: bytes = field(default=b"", repr=False)


def make(directory: Path, role: Role, number: int, secrets: Secrets | None = None) -> MadeKey:
    """Make a key, in memory; `store` writes it.

    Args:
        directory: The keys' directory; the file goes into `offline` or `online` below it.
        role: What it will sign.
        number: The first number to try for its name.
        secrets: Asked for a passphrase to encrypt it with; None writes it as it is.

    Raises:
        SigningKeyError: The first key of a new repository is there already.
    """
    place = directory / (OFFLINE if role.offline else ONLINE)
    # A rotation that was stopped may have left one that never counted.
    while (path := place / f"{role.value}-{number}.pem").exists():
        number += 1
    name = f"{role.value}-{number}"
    private = Ed25519PrivateKey.generate()
    public = SSlibKey.from_crypto(private.public_key())
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if secrets is not None:
        encryption = serialization.BestAvailableEncryption(_secret(secrets, name, "new passphrase"))
    content = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    entry = KeyEntry(name, role, public.keyid, f"{FILE_SCHEME}{path.name}")
    return MadeKey(entry, public, CryptoSigner(private, public), path, content)


def require_none(directory: Path) -> None:
    """Let a directory pass for the keys of a new repository, if it holds no keys.

    Raises:
        SigningKeyError: It holds some.
    """
    for role in Role:
        place = directory / (OFFLINE if role.offline else ONLINE)
        found = sorted(place.glob(f"{role.value}-*.pem")) if place.is_dir() else []
        if found:
            raise SigningKeyError(
                f"{found[0]} is there already, and a key is never overwritten",
                hint="name another directory; or, if a `release init` that did not end left it,"
                " remove it",
            )


def store(made: MadeKey, effects: Effects) -> None:
    """Write a key's file, mode 0600, never over another.

    Raises:
        SigningKeyError: There is one of that name by now.
        AccessDeniedError: The directory may not be written.
        DiskFullError: No space is left.
    """
    if made.path is None:
        return
    files.make_directory(made.path.parent, effects)
    if made.path.exists():
        raise SigningKeyError(
            f"{made.path} is there already, and a key is never overwritten",
            hint="name another directory for new keys",
        )
    files.write_file(made.path, made.content, effects)


def from_module(uri: str, role: Role, number: int, secrets: Secrets) -> MadeKey:
    """Return a key that is in a hardware security module.

    Args:
        uri: Such as `hsm:2?label=NAME`.
        role: What it will sign.
        number: The number of its name.
        secrets: Asked for the PIN, if reading the public half needs it.

    Raises:
        SigningKeyError: There is no such key, or the module cannot be reached.
    """
    name = f"{role.value}-{number}"
    key_id, _, query = uri.removeprefix(HSM_SCHEME).partition("?")
    label = dict(parse_qsl(query)).get("label")
    if not uri.startswith(HSM_SCHEME) or not (key_id.isdigit() or not key_id):
        raise SigningKeyError(
            f"{uri} is no URI of a key in a security module", hint="write hsm:NUMBER?label=TOKEN"
        )
    try:
        told, public = HSMSigner.import_(
            int(key_id) if key_id else None, label, lambda what: secrets(name, what)
        )
        signer = Signer.from_priv_key_uri(told, public, lambda what: secrets(name, what))
    except (ValueError, UnsupportedLibraryError, RuntimeError, OSError) as error:
        raise SigningKeyError(
            f"the key {uri} cannot be used: {error or type(error).__name__}",
            hint="install python-pkcs11, set PYKCS11LIB to the module's library, and look whether"
            " the token is there and holds an ECDSA key of that number",
        ) from error
    return MadeKey(KeyEntry(name, role, public.keyid, told), public, signer)


@dataclass(frozen=True)
class Absent:
    """A key that is not at hand, and why if that is known; others may be enough."""

    reason: str = ""


@dataclass(frozen=True)
class KeyPlaces:
    """Where private keys are looked for, and who knows their secrets.

    Attributes:
        directories: Each is searched itself, then its `offline` and `online`.
        secrets: Asked for passphrases and PINs.
    """

    directories: tuple[Path, ...]
    secrets: Secrets

    def signer(self, entry: KeyEntry, public: Key) -> Signer | Absent:
        """Return what signs with a key, if it is at hand.

        Raises:
            SigningKeyError: A file cannot be read, or is another key than its name says.
        """
        if not entry.uri.startswith(FILE_SCHEME):
            return self._in_module(entry, public)
        name = Path(entry.uri.removeprefix(FILE_SCHEME)).name
        for directory in self.directories:
            for path in (directory / name, directory / OFFLINE / name, directory / ONLINE / name):
                if path.exists():
                    return _from_file(path, entry.name, public, self.secrets)
        gone = [str(directory) for directory in self.directories if not directory.is_dir()]
        return Absent(f"no directory: {', '.join(gone)}" if gone else "")

    def _in_module(self, entry: KeyEntry, public: Key) -> Signer | Absent:
        try:
            return Signer.from_priv_key_uri(
                entry.uri, public, lambda what: self.secrets(entry.name, what)
            )
        except (ValueError, UnsupportedLibraryError, OSError) as error:
            return Absent(str(error))


def _from_file(path: Path, name: str, public: Key, secrets: Secrets) -> CryptoSigner:
    with named_errors(path, "read"), open(path, "rb") as stream:
        mode = os.fstat(stream.fileno()).st_mode
        content = stream.read(_LARGEST_BYTES)
    encrypted = content.lstrip().startswith(_ENCRYPTED)
    if not encrypted and mode & _FOR_OTHERS:
        raise SigningKeyError(
            f"{path} is a private key without a passphrase, and others than its owner may read it",
            hint="run chmod 600 on it; a USB stick is mounted with umask=077. If others did read"
            " it, replace the key: release rotate-keys",
        )
    passphrase = _secret(secrets, name, "passphrase") if encrypted else None
    try:
        private = serialization.load_pem_private_key(content, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SigningKeyError(
            f"{path} cannot be opened: {'wrong passphrase' if encrypted else error}",
            hint="give the passphrase that the key was made with; if the file is damaged, take a"
            " copy, or replace the key: release rotate-keys",
        ) from error
    if not isinstance(public, SSlibKey) or not isinstance(private, Ed25519PrivateKey):
        raise _another(path, name)
    if SSlibKey.from_crypto(private.public_key()).keyid != public.keyid:
        raise _another(path, name)
    return CryptoSigner(private, public)


def _another(path: Path, name: str) -> SigningKeyError:
    return SigningKeyError(
        f"{path} is another key than the {name} of this repository",
        hint="name the directory with this repository's keys",
    )


def _secret(secrets: Secrets, name: str, what: str) -> bytes:
    secret = secrets(name, what).encode()
    if not secret:
        raise SigningKeyError(
            f"the {what} of {name} is empty", hint="give one, or make the keys without any"
        )
    if len(secret) > _LONGEST_SECRET_BYTES:
        raise SigningKeyError(
            f"the {what} of {name} has {len(secret)} bytes, and no key takes that many",
            hint=f"give one of at most {_LONGEST_SECRET_BYTES} bytes",
        )
    return secret

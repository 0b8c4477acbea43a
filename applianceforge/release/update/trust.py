"""What of a repository is believed: what its keys signed, and nothing that is older or expired.

The rules are those of The Update Framework, specification 1.0, as python-tuf's ngclient keeps
them: the shipped root is where trust begins, each newer root is signed by the one before, and
timestamp, snapshot and targets are each named and signed. docs/trust.md says what that gives.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from tuf.api.exceptions import DownloadHTTPError, LengthOrHashMismatchError
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from applianceforge.model.errors import (
    AccessDeniedError,
    DiskFullError,
    ForgeError,
    PayloadError,
    ServerAnswerError,
    SignatureError,
    WrongBundleError,
)
from applianceforge.release import clock, graph_file, manifest_file, metadata_limits
from applianceforge.release.fetch.source import MissingFileError, Source, read_whole
from applianceforge.release.graph import Graph, Offer
from applianceforge.release.manifest import Manifest
from applianceforge.release.update import trust_errors
from applianceforge.release.update.trust_cache import TrustCache
from applianceforge.system.effects import Effects
from applianceforge.system.files import describe

GRAPH = "graph.json"

_METADATA = "metadata/"
_TARGETS = "targets/"
_TELL_VENDOR = "tell your vendor: the repository was made wrongly"


def _config() -> UpdaterConfig:
    return UpdaterConfig(
        max_root_rotations=metadata_limits.MOST_ROOTS,
        max_delegations=0,  # All targets are signed by one role.
        root_max_length=metadata_limits.ROOT_BYTES,
        timestamp_max_length=metadata_limits.TIMESTAMP_BYTES,
        snapshot_max_length=metadata_limits.SNAPSHOT_BYTES,
        targets_max_length=metadata_limits.TARGETS_BYTES,
        prefix_targets_with_hash=True,
    )


class _Fetcher(FetcherInterface):
    """Fetch metadata for python-tuf from our source, and remember what it was."""

    def __init__(self, source: Source, name: str) -> None:
        self._source, self._name = source, name
        self.bodies: dict[str, bytes] = {}
        self.last = ""

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._source.fetch(url, metadata_limits.TARGETS_BYTES)

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Return metadata, in memory; our own errors go through python-tuf as they are."""
        role = url.removesuffix(".json").rpartition("/")[2].rpartition(".")[2]
        # What says how long it is may have been signed by a stolen key.
        largest = min(max_length, metadata_limits.BY_ROLE.get(role, 0))
        try:
            body = read_whole(self._source, url, largest)
        except MissingFileError as error:
            if role == "root":
                # So python-tuf learns that there is no newer root.
                raise DownloadHTTPError(error.message, 404) from None
            raise
        except PayloadError:
            raise trust_errors.too_large(self._name, f"the {role} metadata", largest) from None
        self.last = role
        self.bodies[role] = body
        return body


class Trust:
    """The trusted view of a repository.

    Args:
        directory: Where what was trusted last is kept; where it may not be written, nothing is.
        root: The shipped root metadata.
        source: Where the files come from.
        now: The time, seconds since 1970.
        effects: Told of each write.
        appliance: Whose releases they must be; "" does not ask.
        built_s: When the system that runs was built; 0 if that is not known.
        must_keep: What cannot be kept is an error; else it is only looked at.
    """

    def __init__(
        self,
        directory: Path,
        root: bytes,
        source: Source,
        now: Callable[[], float],
        effects: Effects,
        *,
        appliance: str = "",
        built_s: float = 0.0,
        must_keep: bool = True,
    ) -> None:
        self._cache = TrustCache(directory, effects)
        self._root, self._source, self._now = root, source, now
        self._appliance, self._built_s = appliance, built_s
        self._must_keep = must_keep
        self._name = str(getattr(source, "name", "the repository"))
        self._updater: Updater | None = None
        self._expires_s = 0.0

    def refresh(self) -> None:
        """Fetch what is new, and trust it if that is right; what was trusted is kept durably.

        Raises:
            WrongClockError: The clock cannot be right; nothing was asked for.
            NetworkError: The server cannot be reached, is too slow, or went away.
            ServerAnswerError: It lacks a file, or sends elsewhere.
            SignatureError: Something is not signed as it must be, or is no metadata.
            RollbackError: Something older than before is offered.
            ExpiredError: The metadata is out of date.
            DiskFullError: What is trusted now cannot be kept.
        """
        now_s = self._now()
        clock.check(now_s, self._built_s)
        self._updater = None
        try:
            with tempfile.TemporaryDirectory(prefix="forge-trust-") as place:
                self._refresh(Path(place), now_s)
        except OSError as error:
            raise describe(error, tempfile.gettempdir(), "write the metadata in") from error

    def _refresh(self, scratch: Path, now_s: float) -> None:
        self._cache.copy_to(scratch)
        fetcher = _Fetcher(self._source, self._name)
        try:
            updater = Updater(
                str(scratch),
                _METADATA,
                fetcher=fetcher,
                config=_config(),
                bootstrap=self._root,
            )
        except trust_errors.KINDS as error:
            raise SignatureError(
                f"the root of trust that this system was built with is damaged ({error})",
                hint="install the system's image again",
            ) from None
        # There is no public way to give it the time; nothing has been compared with it yet.
        updater._trusted_set.reference_time = _time(now_s)  # noqa: SLF001
        try:
            updater.refresh()
        except (*trust_errors.KINDS, ForgeError, OSError) as error:
            # What was accepted before that protects from older metadata from now on.
            with suppress(ForgeError):
                self._cache.keep(scratch, self._root)
            if not isinstance(error, trust_errors.KINDS):
                raise
            self._refuse(error, scratch, fetcher, now_s)
        with suppress(*(() if self._must_keep else (DiskFullError, AccessDeniedError))):
            self._cache.keep(scratch, self._root)
        self._expires_s = min(
            when.timestamp()
            for role in metadata_limits.BY_ROLE
            if (when := trust_errors.expiry((scratch / f"{role}.json").read_bytes()))
        )
        self._updater = updater

    def _refuse(self, error: Exception, scratch: Path, fetcher: _Fetcher, now_s: float) -> NoReturn:
        bodies = dict(fetcher.bodies)
        with suppress(OSError):
            # The root that counts is the one that was accepted.
            bodies["root"] = (scratch / "root.json").read_bytes()
        date = getattr(self._source, "server_date_s", None)
        server_s = date if isinstance(date, float) else None
        raise trust_errors.explained(
            error, self._name, bodies, fetcher.last, now_s, server_s
        ) from None

    def expires_s(self) -> float:
        """Return when the first of the trusted metadata expires, seconds since 1970."""
        self._trusted()
        return self._expires_s

    def graph(self) -> Graph:
        """Return which releases there are.

        Raises:
            SignatureError: It is not what was signed.
            ServerAnswerError: It is not there.
            NetworkError: The server cannot be reached.
            RepositoryError: It was signed, but is wrong.
            WrongBundleError: It is of another appliance.
        """
        graph = graph_file.decode(self._target(GRAPH, metadata_limits.GRAPH_BYTES), GRAPH)
        if self._appliance and graph.appliance != self._appliance:
            raise WrongBundleError(
                f"{self._name} has releases of the appliance {graph.appliance!r}, and this is a"
                f" {self._appliance!r}",
                hint="name the repository of this appliance in the settings",
            )
        return graph

    def manifest(self, offer: Offer) -> Manifest:
        """Return what the bundle of a release holds.

        Raises:
            SignatureError: It is not what was signed.
            ServerAnswerError: It is not there.
            NetworkError: The server cannot be reached.
            WrongBundleError: It is not that of the release.
        """
        if not offer.bundle:
            raise ServerAnswerError(
                f"{self._name} names no bundle for release {offer.version}", hint=_TELL_VENDOR
            )
        data = self._target(offer.bundle, metadata_limits.MANIFEST_BYTES)
        manifest = manifest_file.decode(data, offer.bundle)
        told, meant = manifest.release, offer.release
        different = [one for one in meant._fields if getattr(told, one) != getattr(meant, one)]
        if different:
            raise WrongBundleError(
                f"the bundle {offer.bundle} is not that of {meant.name}"
                f" ({meant.architecture.value}): it differs in {', '.join(different)}",
                hint=_TELL_VENDOR,
                evidence=tuple(
                    f"{one}: {getattr(told, one)!r} instead of {getattr(meant, one)!r}"[:300]
                    for one in different
                ),
            )
        return manifest

    def _trusted(self) -> Updater:
        if self._updater is None:
            self.refresh()
        assert self._updater is not None
        return self._updater

    def _target(self, path: str, largest_bytes: int) -> bytes:
        """Return a target, proved."""
        info = self._trusted().get_targetinfo(path)
        if info is None:
            raise ServerAnswerError(
                f"{self._name} has no {path} among what is signed", hint=_TELL_VENDOR
            )
        sha256 = info.hashes.get("sha256", "")
        if not sha256:
            raise ServerAnswerError(
                f"{self._name} names {path} without a SHA-256 digest", hint=_TELL_VENDOR
            )
        if info.length > largest_bytes:
            raise trust_errors.too_large(self._name, path, largest_bytes)
        parent, slash, name = path.rpartition("/")
        try:
            data = read_whole(
                self._source, f"{_TARGETS}{parent}{slash}{sha256}.{name}", info.length
            )
            info.verify_length_and_hashes(data)
        except (LengthOrHashMismatchError, PayloadError) as error:
            raise trust_errors.changed(self._name, path, str(error)) from None
        return data


def _time(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        clock.check(seconds, 1.0)  # Which says what is wrong with it.
        raise

"""The files of a repository from an HTTP server, of which nothing is believed.

What a server can do to us is bounded: in bytes by who asks, in time by `Limits`. What arrives is
proved by others. An outage is waited out, and the file is then continued where it stopped.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from applianceforge.model.errors import NetworkError, ServerAnswerError, SettingsError
from applianceforge.model.version import VERSION
from applianceforge.release.fetch.addresses import address, login, port_of, without_login
from applianceforge.release.fetch.answers import Asked, Expected, expected
from applianceforge.release.fetch.connection_errors import LostError, explained
from applianceforge.release.fetch.limits import HttpSettings
from applianceforge.release.fetch.paced import EndlessHeadError, Pace, TooSlowError, pools
from applianceforge.release.fetch.source import CHUNK_BYTES, MissingFileError, checked_path

_REDIRECTS = (301, 302, 303, 307, 308)
# 403: what a store without listing says of a file that is not there.
_MISSING = (403, 404, 410)
_BUSY = (408, 425, 429, 500, 502, 503, 504)


class HttpSource:
    """Fetch files from one host, over one connection at a time.

    Args:
        settings: Which server.

    Raises:
        SettingsError: The address of the server or of the proxy is none.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self._limits = settings.limits
        base = address(settings.url, "repository")
        self._base = without_login(base)._replace(
            path=base.path.rstrip("/") + "/", query="", fragment=""
        )
        self._headers = {
            "Accept-Encoding": "identity",
            "User-Agent": f"applianceforge/{VERSION}",
            **login(base, "Authorization"),
        }
        self._pace = Pace(self._limits.rate_bytes_s, self._limits.window_s, self._limits.read_s)
        self._proxy = ""
        self._pools = self._opened(settings)
        self._received = 0
        self._answered = False
        self.server_date_s: float | None = None

    def _opened(self, settings: HttpSettings) -> urllib3.PoolManager:
        context = _tls(settings.ca_file)
        if settings.proxy:
            proxy = address(settings.proxy, "proxy")
            bare = without_login(proxy)
            self._proxy = bare.netloc
            manager: urllib3.PoolManager = urllib3.ProxyManager(
                f"{bare.scheme}://{bare.netloc}",
                proxy_headers=login(proxy, "Proxy-Authorization"),
                num_pools=1,
                ssl_context=context,
            )
        else:
            manager = urllib3.PoolManager(num_pools=1, ssl_context=context)
        manager.pool_classes_by_scheme = dict(pools(self._pace))
        return manager

    @property
    def name(self) -> str:
        """Return what messages call the server: its address, without a password."""
        return self._base.geturl()

    @property
    def received_bytes(self) -> int:
        """Return how many bytes of bodies came in so far."""
        return self._received

    def close(self) -> None:
        """Close the connection."""
        self._pools.clear()

    def fetch(
        self, path: str, largest_bytes: int, at_bytes: int = 0, size_bytes: int | None = None
    ) -> Iterator[bytes]:
        """Return a file, or a part of it, as `Source.fetch` says."""
        asked = Asked(checked_path(path), largest_bytes, at_bytes, size_bytes)
        return self._chunks(asked)

    def _chunks(self, asked: Asked) -> Iterator[bytes]:
        if asked.size_bytes is not None and asked.size_bytes > asked.largest_bytes:
            raise asked.too_much(self.name)
        limits = self._limits
        # So much must come before a server that went away counts as one that is back.
        revival_bytes = limits.rate_bytes_s * limits.window_s
        done = done_at_loss = 0
        total: int | None = None
        lost_since: float | None = None
        pause_s = limits.first_pause_s
        while asked.size_bytes is None or done < asked.size_bytes:
            try:
                response, part = self._answer(asked, done, total)
                total = part.total_bytes
                for chunk in self._body(asked, response, part, done):
                    done += len(chunk)
                    yield chunk
                return
            except LostError as lost:
                now = time.monotonic()
                if lost_since is None or done - done_at_loss >= revival_bytes:
                    lost_since, done_at_loss, pause_s = now, done, limits.first_pause_s
                outage_s = limits.outage_s if self._answered else limits.first_outage_s
                if lost.final or now - lost_since + pause_s > outage_s:
                    raise self._gone(asked, done, lost, now - lost_since) from None
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, limits.longest_pause_s)

    def _gone(self, asked: Asked, done: int, lost: LostError, lost_s: float) -> NetworkError:
        where = f"in the middle of {asked.path}" if done else f"when asked for {asked.path}"
        waited = "" if lost.final or lost_s < 1 else f", for {lost_s:.0f} s"
        return NetworkError(
            f"{self.name} cannot be reached {where}: {lost.reason}{waited}", hint=lost.hint
        )

    def _answer(
        self, asked: Asked, done: int, total: int | None
    ) -> tuple[BaseHTTPResponse, Expected]:
        """Ask for what is missing, and check the head of the answer."""
        headers = self._headers | asked.range_header(done)
        url = urljoin(self.name, quote(asked.path, safe="/-._~+@=,"))
        for _ in range(self._limits.redirects + 1):
            response = self._request(url, headers)
            try:
                if response.status not in _REDIRECTS:
                    self._check_status(asked, done, response)
                    part = expected(
                        asked, done, total, response.status, response.headers, self.name
                    )
                    if part.skip_bytes > self._limits.skip_bytes:
                        raise ServerAnswerError(
                            f"{self.name} cannot send a part of {asked.path}, which is too large"
                            " to be sent as a whole",
                            hint="serve the repository with a server that knows byte ranges",
                        )
                    return response, part
                url = self._elsewhere(url, response)
            except BaseException:
                response.close()
                raise
            response.close()
        raise ServerAnswerError(
            f"{self.name} sends from one place to another for {asked.path}",
            hint="name the place where the repository really is in the settings",
        )

    def _request(self, url: str, headers: dict[str, str]) -> BaseHTTPResponse:
        timeout = urllib3.Timeout(connect=self._limits.connect_s, read=self._limits.read_s)
        try:
            response = self._pools.urlopen(
                "GET",
                url,
                headers=headers,
                timeout=timeout,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
                enforce_content_length=False,
            )
        except (
            HTTPError, HTTPException, OSError, ValueError, TooSlowError, EndlessHeadError
        ) as error:  # fmt: skip
            raise explained(error, self._limits, self._proxy, self.name) from None
        self._answered = True
        self._note_date(response.headers.get("Date", ""))
        return response

    def _note_date(self, date: str) -> None:
        try:
            self.server_date_s = parsedate_to_datetime(date[:80]).timestamp()
        except (ValueError, OverflowError, TypeError):
            self.server_date_s = None

    def _check_status(self, asked: Asked, done: int, response: BaseHTTPResponse) -> None:
        status = response.status
        if status in (200, 206):
            return
        if status in _BUSY:
            raise LostError(
                f"it answers with status {status}",
                hint="try again later; if it stays so, tell who runs the server",
            )
        if status in _MISSING:
            raise MissingFileError(
                f"{self.name} has no {asked.path} (status {status})",
                hint="check the repository's address in the settings; if it is right, tell your"
                " vendor",
            )
        if status == 416:
            raise asked.too_little(self.name, done)
        if status == 407:
            raise ServerAnswerError(
                f"the proxy {self._proxy} wants a name and password, or others",
                hint="give them in the settings: proxy = http://NAME:PASSWORD@HOST:PORT",
            )
        raise ServerAnswerError(
            f"{self.name} answers with status {status} for {asked.path}",
            hint="check the repository's address, and a name and password in it, in the settings"
            if status == 401
            else "check the repository's address in the settings; if it is right, tell your vendor",
        )

    def _elsewhere(self, url: str, response: BaseHTTPResponse) -> str:
        """Return where a redirect leads to, if that is on the same host."""
        location = response.headers.get("Location", "")
        target = ""
        try:
            target = urljoin(url, location)
            there = without_login(urlsplit(target))
            same = there.hostname == self._base.hostname and (
                (there.scheme, port_of(there)) == (self._base.scheme, port_of(self._base))
                or (self._base.scheme, there.scheme) == ("http", "https")
            )
        except ValueError:
            same = False
        if not location or not same:
            shown = "".join(one if one.isprintable() else "?" for one in target[:100])
            raise ServerAnswerError(
                f"{self.name} sends to another place, {shown or 'nowhere'}, which is not followed",
                hint="if the repository has moved, name its new address in the settings; a login"
                " page of a network sends elsewhere, too: log in to the network first",
            )
        return there._replace(fragment="").geturl()

    def _body(
        self, asked: Asked, response: BaseHTTPResponse, part: Expected, done: int
    ) -> Iterator[bytes]:
        """Return the rest of what was asked for."""
        skip = part.skip_bytes
        left = part.size_bytes
        whole = False
        try:
            while left is None or left > 0:
                most = CHUNK_BYTES if left is None else min(CHUNK_BYTES, left + skip)
                chunk = self._read(response, most)
                if not chunk:
                    break
                passed = min(skip, len(chunk))
                skip -= passed
                chunk = chunk[passed:]
                done += len(chunk)
                if done > asked.largest_bytes:
                    raise asked.too_much(self.name)
                if left is not None:
                    left -= len(chunk)
                if chunk:
                    yield chunk
            if left or skip:
                raise LostError(
                    "it closes the connection too early",
                    hint="try again later: what was fetched is kept",
                )
            if asked.size_bytes is not None and done < asked.size_bytes:
                raise asked.too_little(self.name, done)
            whole = True
        finally:
            if whole and part.exact:
                self._read(response, 1)  # Which finds the end, and frees the connection.
            else:
                response.close()

    def _read(self, response: BaseHTTPResponse, most: int) -> bytes:
        try:
            chunk = response.read1(most)
        except (
            HTTPError, HTTPException, OSError, ValueError, TooSlowError, EndlessHeadError
        ) as error:  # fmt: skip
            raise explained(error, self._limits, self._proxy, self.name) from None
        self._received += len(chunk)
        return chunk


def _tls(ca_file: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise SettingsError(
            f"the certificates {Path(ca_file)} cannot be used: {error.strerror}",
            hint="name a file with certificates in PEM form",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context

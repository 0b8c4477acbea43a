"""Say in our words what went wrong with a connection; the library's words may hold a password."""

from __future__ import annotations

import re
import ssl
from http.client import HTTPException, RemoteDisconnected

from urllib3 import exceptions

from applianceforge.model.errors import ServerAnswerError
from applianceforge.release.fetch.limits import Limits
from applianceforge.release.fetch.paced import EndlessHeadError, TooSlowError

_NETWORK = "check the network, the proxy and the server, then run the same command again"
_STATUS = re.compile(r"Tunnel connection failed: (\d{3})\b")


class LostError(Exception):
    """The server was lost, and may be back in a moment; with `final`, it is not waited for."""

    def __init__(self, reason: str, *, hint: str = _NETWORK, final: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.hint, self.final = reason, hint, final


def explained(
    error: Exception, waits: Limits, proxy: str, name: str
) -> LostError | ServerAnswerError:
    """Return what a library's error means.

    Args:
        error: What urllib3, http.client, ssl or the system raised.
        waits: The limits that were kept.
        proxy: Its host and port; "" if there is none.
        name: What messages call the server.
    """
    if isinstance(error, TooSlowError):
        return LostError(
            f"it is too slow: less than {waits.rate_bytes_s:.0f} bytes a second for"
            f" {waits.window_s:.0f} s",
            hint="try again at another time, or use a server that is nearer, or a USB stick",
            final=True,
        )
    if isinstance(error, EndlessHeadError):
        return _no_http(name)
    if isinstance(error, exceptions.ProxyError):
        return _of_proxy(error, waits, proxy, name)
    if isinstance(error, exceptions.NameResolutionError):
        return LostError(
            "its name cannot be resolved",
            hint="check the name in the settings, the network and its name server (DNS)",
        )
    if isinstance(error, exceptions.NewConnectionError):
        return LostError(_system_reason(error) or "no connection can be made")
    if isinstance(error, exceptions.ConnectTimeoutError):
        return LostError(f"it takes no connection within {waits.connect_s:.0f} s")
    if isinstance(error, exceptions.TimeoutError | TimeoutError):
        return LostError(f"it says nothing for {waits.read_s:.0f} s")
    certificate = _found(error, ssl.SSLCertVerificationError)
    if isinstance(certificate, ssl.SSLCertVerificationError):
        return LostError(
            f"its certificate is not accepted: {certificate.verify_message}",
            hint="check this system's clock and the name in the address; if both are right, the"
            " server is not the one that it says it is, or its certificate has run out",
            final=True,
        )
    if isinstance(error, exceptions.SSLError | ssl.SSLError):
        return LostError("no encrypted connection can be agreed on", hint=_NETWORK)
    if _found(error, RemoteDisconnected):
        return LostError("it closes the connection without an answer")
    if _found(error, ConnectionError):
        return LostError(_system_reason(error) or "it breaks the connection")
    if isinstance(error, exceptions.IncompleteRead) or _found(error, exceptions.IncompleteRead):
        return LostError("it closes the connection too early")
    if isinstance(error, HTTPException | ValueError) or _found(error, HTTPException):
        return _no_http(name)
    if isinstance(error, exceptions.ProtocolError | OSError):
        return LostError(_system_reason(error) or "it breaks the connection")
    return _no_http(name)


def _no_http(name: str) -> ServerAnswerError:
    return ServerAnswerError(
        f"{name} answers with what is not HTTP",
        hint="check the address and the port in the settings: another service may answer there",
    )


def _of_proxy(
    error: exceptions.ProxyError, waits: Limits, proxy: str, name: str
) -> LostError | ServerAnswerError:
    inner = error.original_error
    match = _STATUS.search(str(inner))
    if match is None:
        why = explained(inner, waits, "", name)
        reason = why.reason if isinstance(why, LostError) else "it does not speak HTTP"
        return LostError(f"the proxy {proxy} does not serve: {reason}", hint="check the proxy")
    if match[1] == "407":
        return ServerAnswerError(
            f"the proxy {proxy} wants a name and password, or others",
            hint="give them in the settings: proxy = http://NAME:PASSWORD@HOST:PORT",
        )
    if match[1].startswith("5"):
        return LostError(
            f"the proxy {proxy} answers with status {match[1]}", hint="check the proxy"
        )
    return ServerAnswerError(
        f"the proxy {proxy} refuses to connect to {name} (status {match[1]})",
        hint="let the proxy's administrator allow that host",
    )


def _found(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """Return the error of a kind that is behind another one."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(seen) < 20:
        current = waiting.pop()
        if not isinstance(current, BaseException) or current in seen:
            continue
        if isinstance(current, kind):
            return current
        seen.append(current)
        waiting += [current.__cause__, *current.args]
    return None


def _system_reason(error: BaseException) -> str:
    system = _found(error, OSError)
    return (system.strerror or "").lower() if isinstance(system, OSError) else ""

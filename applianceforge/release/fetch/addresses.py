"""The addresses of repositories and proxies: what they may be, and what of them may be shown."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import SplitResult, unquote, urlsplit

from applianceforge.model.errors import SettingsError

PORTS = {"http": 80, "https": 443}


def address(url: str, of: str) -> SplitResult:
    """Return the parts of an address of ours.

    Args:
        of: What it is the address of, for the message, which does not show a password.

    Raises:
        SettingsError: It is none, or not one of HTTP.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if (
        parts.scheme not in PORTS
        or not parts.hostname
        or port == 0
        or not (url.strip().isascii() and url.strip().isprintable() and " " not in url.strip())
    ):
        raise SettingsError(
            f"the address of the {of} is none of HTTP or HTTPS",
            hint=f"write it as http://HOST:PORT{'/PATH' if of == 'repository' else ''},"
            " with odd characters of a password as %XX",
        )
    return parts


def port_of(parts: SplitResult) -> int:
    """Return the port of an address, or that of its scheme."""
    return parts.port or PORTS.get(parts.scheme, 0)


def without_login(parts: SplitResult) -> SplitResult:
    """Return an address without name and password, as it may be shown."""
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    return parts._replace(netloc=host if parts.port is None else f"{host}:{parts.port}")


def login(parts: SplitResult, header: str) -> dict[str, str]:
    """Return the header with the name and password of an address; without one, none.

    Source: RFC 7617, section 2.
    """
    if not parts.username:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {header: "Basic " + b64encode(pair.encode()).decode("ascii")}

"""How long a server may take, and which one it is: values."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limits:
    """How long a server may take.

    Attributes:
        connect_s: To accept a connection, and to agree on TLS.
        read_s: Between any two bytes.
        rate_bytes_s: Less on the average over `window_s` of waiting is too slow.
        window_s: See above.
        outage_s: For how long a server that answered before may be gone.
        first_outage_s: For how long one may that never did.
        first_pause_s: Before the second attempt; each pause is twice as long as the one before,
        longest_pause_s: up to this.
        redirects: How often it may send elsewhere on the same host.
        skip_bytes: How much of a file is read for nothing, if the server cannot send parts.
    """

    connect_s: float = 10.0
    read_s: float = 30.0
    rate_bytes_s: float = 1024.0
    window_s: float = 30.0
    outage_s: float = 180.0
    first_outage_s: float = 12.0
    first_pause_s: float = 0.5
    longest_pause_s: float = 15.0
    redirects: int = 3
    skip_bytes: int = 256 << 20

    @property
    def silence_s(self) -> float:
        """Return for how long nothing may be heard of a source that keeps these limits."""
        attempt_s = self.connect_s * 2 + max(self.read_s, self.window_s) * (self.redirects + 1)
        return max(self.outage_s, self.first_outage_s) + attempt_s + self.longest_pause_s


@dataclass(frozen=True)
class HttpSettings:
    """Which server, and how to reach it.

    Attributes:
        url: The repository's root; a name and password in it are sent to that host only.
        proxy: `http://user:password@host:port`; "" is none.
        ca_file: Who is trusted to vouch for the server; "" is the system's certificates.
        limits: How long it may take.
    """

    url: str = field(repr=False)
    proxy: str = field(default="", repr=False)
    ca_file: str = ""
    limits: Limits = Limits()

"""The HTTP source against real servers on loopback: right ones, wrong ones, proxies and TLS."""

from __future__ import annotations

import datetime
import ipaddress
import logging
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from applianceforge.model.errors import (
    ForgeError,
    NetworkError,
    PayloadError,
    ServerAnswerError,
    SettingsError,
)
from applianceforge.release.fetch.answers import Asked, Expected, expected
from applianceforge.release.fetch.http_source import HttpSource
from applianceforge.release.fetch.limits import HttpSettings, Limits
from applianceforge.release.fetch.source import CHUNK_BYTES, MissingFileError
from tests.release.server import Fault, Kind, Server

SIZE = 300_000
LARGE = 48 << 20
QUICK = Limits(
    connect_s=5.0,
    read_s=1.0,
    rate_bytes_s=2000.0,
    window_s=1.0,
    outage_s=0.4,
    first_outage_s=0.4,
    first_pause_s=0.05,
)
PATIENT = replace(QUICK, outage_s=30.0, first_outage_s=30.0, longest_pause_s=0.2)
SECRET = "open sesame/@:"
QUOTED = "open%20sesame%2F%40%3A"


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    data = bytes(i * 7 % 251 for i in range(SIZE))
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo/file").write_bytes(data)
    return data


@pytest.fixture
def server(tmp_path: Path, content: bytes) -> Iterator[Server]:
    with Server(tmp_path / "repo") as running:
        yield running


def source_for(server: Server, limits: Limits = QUICK) -> HttpSource:
    return HttpSource(HttpSettings(server.url, limits=limits))


def whole(source: HttpSource, at: int = 0, size: int | None = None, most: int = SIZE) -> bytes:
    return b"".join(source.fetch("file", most, at, size))


@pytest.mark.parametrize(
    ("at", "size"),
    [(0, None), (0, 0), (0, 1), (0, SIZE), (1, None), (100, 1000), (SIZE - 1, 1), (SIZE - 1, None)],
)
def test_a_file_and_its_parts(server: Server, content: bytes, at: int, size: int | None) -> None:
    got = whole(source_for(server), at, size)
    assert got == content[at:] if size is None else got == content[at : at + size]


def test_chunks_are_small_and_counted(server: Server, content: bytes) -> None:
    source = source_for(server)
    chunks = list(source.fetch("file", SIZE))
    assert b"".join(chunks) == content
    assert max(len(chunk) for chunk in chunks) <= CHUNK_BYTES
    assert source.received_bytes == SIZE == server.settled().bytes_sent


def test_one_connection_serves_many_files_and_nothing_odd_is_asked_for(server: Server) -> None:
    source = source_for(server)
    for at in range(20):
        whole(source, at * 1000, 1000)
    assert server.connections == 1
    assert {one["Accept-Encoding"] for one in server.headers} == {"identity"}
    assert not any("Cookie" in one or "Authorization" in one for one in server.headers)


def test_a_cut_is_continued_where_it_was(server: Server, content: bytes) -> None:
    server.faults(Fault(Kind.CUT, at_bytes=70_000, times=2))
    source = source_for(server, PATIENT)
    assert whole(source) == content
    assert server.happened(Kind.CUT) == 2
    assert [one.range for one in server.settled().log] == ["", "bytes=70000-", "bytes=140000-"]
    assert source.received_bytes == SIZE


def test_a_part_that_was_cut_is_continued(server: Server, content: bytes) -> None:
    server.faults(Fault(Kind.CUT, at_bytes=10, times=1))
    assert whole(source_for(server, PATIENT), 1000, 500) == content[1000:1500]
    assert [one.range for one in server.settled().log] == ["bytes=1000-1499", "bytes=1010-1499"]


@pytest.mark.parametrize("kind", [Kind.STATUS, Kind.HANG_UP, Kind.HANG, Kind.RESET])
def test_trouble_that_passes(server: Server, content: bytes, kind: Kind) -> None:
    server.faults(Fault(kind, number=503, at_bytes=1000, times=2))
    assert whole(source_for(server, PATIENT)) == content
    assert server.happened(kind) == 2


def test_a_server_that_is_gone_for_a_while(tmp_path: Path, server: Server) -> None:
    with (tmp_path / "repo/large").open("wb") as stream:
        stream.truncate(LARGE)
    source = source_for(server, PATIENT)
    chunks = source.fetch("large", LARGE)
    got = len(next(chunks))
    server.stop()
    back = threading.Timer(0.5, server.start)
    back.start()
    got += sum(len(chunk) for chunk in chunks)
    back.join()
    assert got == LARGE
    assert server.connections >= 2
    assert any(one.get("Range", "").startswith("bytes=") for one in server.headers)
    assert source.received_bytes == LARGE


def test_a_server_that_stays_away_ends_it(server: Server) -> None:
    server.stop()
    with pytest.raises(NetworkError, match="refused") as caught:
        whole(source_for(server))
    assert "network" in caught.value.hint


def test_bytes_that_trickle_between_cuts_do_not_last_for_ever(server: Server) -> None:
    server.faults(Fault(Kind.CUT, at_bytes=1))
    with pytest.raises(NetworkError, match="too early"):
        whole(source_for(server))
    assert 2 <= server.happened(Kind.CUT) < 20


def test_parts_are_cut_out_of_the_whole(server: Server, content: bytes) -> None:
    server.faults(Fault(Kind.NO_RANGE))
    source = source_for(server)
    assert whole(source, 200_000, 1000) == content[200_000:201_000]
    assert server.happened(Kind.NO_RANGE) == 1
    assert SIZE > source.received_bytes >= 201_000


def test_but_not_out_of_any_whole(server: Server) -> None:
    server.faults(Fault(Kind.NO_RANGE))
    source = source_for(server, replace(QUICK, skip_bytes=1000))
    with pytest.raises(ServerAnswerError, match="cannot send a part"):
        whole(source, 200_000, 1000)
    assert source.received_bytes == 0


def test_a_redirect_on_the_same_host_is_followed(server: Server, content: bytes) -> None:
    (server.directory / "other").write_bytes(content)
    server.faults(Fault(Kind.REDIRECT, "file", text="/other"))
    assert whole(source_for(server)) == content
    assert server.asked == ["file", "other"]


def test_a_redirect_to_another_host_is_not(server: Server) -> None:
    with Server(server.directory) as other:
        server.faults(Fault(Kind.REDIRECT, "file", text=other.url + "file"))
        with pytest.raises(ServerAnswerError, match="another place"):
            whole(source_for(server))
        assert server.happened(Kind.REDIRECT) == 1
        assert not other.asked


def test_what_is_not_there_is_told_apart(server: Server) -> None:
    with pytest.raises(MissingFileError, match="404"):
        b"".join(source_for(server).fetch("nothing", 10))
    assert len(server.asked) == 1


@pytest.mark.parametrize("at", [SIZE, SIZE + 1])
def test_a_part_beyond_the_end(server: Server, at: int) -> None:
    with pytest.raises(PayloadError, match="too early"):
        whole(source_for(server), at, 10)


def test_more_than_is_wanted_is_not_taken(server: Server) -> None:
    source = source_for(server)
    with pytest.raises(PayloadError, match="more than 1000"):
        whole(source, most=1000)
    assert source.received_bytes == 0


def test_endless_data_is_cut_off(server: Server) -> None:
    server.faults(Fault(Kind.ENDLESS))
    source = source_for(server)
    with pytest.raises(PayloadError, match="more than"):
        whole(source, most=SIZE + 1000)
    assert server.happened(Kind.ENDLESS) == 1
    assert source.received_bytes <= SIZE + 1000 + CHUNK_BYTES


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../x", "a/../b", "a//b", "a?b", "a#b", "%2e%2e/x", "http://x/", "ä"],
)
def test_paths_that_lead_out(server: Server, path: str) -> None:
    with pytest.raises(ServerAnswerError, match="no path inside"):
        source_for(server).fetch(path, 10)
    assert not server.asked


@pytest.mark.parametrize(
    "url",
    ["", "ftp://x/", "http://", "http:///x", f"http://n:{QUOTED}@", f"http://n:{QUOTED}@h:99999/",
     f"https://n:{QUOTED}@h:0/", "http://a b/", "http://[::1/", "http://x/\x1b"],
)  # fmt: skip
@pytest.mark.parametrize("of", ["repository", "proxy"])
def test_addresses_that_are_none(url: str, of: str) -> None:
    if not url and of == "proxy":
        return
    settings = HttpSettings(
        url if of == "repository" else "http://h/", url if of == "proxy" else ""
    )
    with pytest.raises(SettingsError, match=of) as caught:
        HttpSource(settings)
    assert QUOTED not in repr((caught.value, caught.value.hint, settings))


def test_a_login_in_the_address_is_sent_and_never_shown(server: Server) -> None:
    url = server.url.replace("://", f"://vendor:{QUOTED}@")
    source = HttpSource(HttpSettings(url, limits=QUICK))
    whole(source)
    assert server.headers[-1]["Authorization"].startswith("Basic ")
    server.faults(Fault(Kind.STATUS, number=401))
    with pytest.raises(ServerAnswerError, match="401") as caught:
        whole(source)
    assert "sesame" not in repr((caught.value, caught.value.hint, source.name))


def _through_proxy(server: Server, url: str) -> HttpSource:
    proxy = f"http://someone:{QUOTED}@127.0.0.1:{server.port}"
    return HttpSource(HttpSettings(url, proxy, limits=QUICK))


def test_a_proxy_gets_the_password(server: Server, content: bytes) -> None:
    # The server takes what is asked of it in a proxy's way, too.
    assert whole(_through_proxy(server, "http://repository.invalid/")) == content
    assert server.headers[-1]["Host"] == "repository.invalid"
    assert server.headers[-1]["Proxy-Authorization"].startswith("Basic ")
    assert "Authorization" not in server.headers[-1]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("trouble", [407, 403, 502, 0])
def test_a_proxys_password_is_shown_nowhere(
    server: Server, caplog: pytest.LogCaptureFixture, scheme: str, trouble: int
) -> None:
    source = _through_proxy(server, f"{scheme}://repository.invalid/")
    if trouble:
        server.faults(Fault(Kind.STATUS, number=trouble))
    else:
        server.stop()
    with caplog.at_level(logging.DEBUG), pytest.raises(ForgeError) as caught:
        whole(source)
    shown = repr((caught.value, caught.value.hint, caught.value.evidence)) + caplog.text
    assert "sesame" not in shown
    assert "c29tZW9uZTpv" not in shown  # The beginning of it as the header has it.
    assert caught.value.__cause__ is None
    if trouble:
        assert server.asked


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        (Fault(Kind.WRONG_RANGE, number=1), ServerAnswerError, "another part"),
        (Fault(Kind.WRONG_LENGTH, number=1), ServerAnswerError, "not that of the part"),
        (Fault(Kind.GZIP), ServerAnswerError, "packed"),
        (Fault(Kind.SLOW, number=100), NetworkError, "too slow"),
        (Fault(Kind.SLOW, number=100, at_bytes=200), NetworkError, "too slow"),
        (Fault(Kind.SLOW_HEADERS, number=30), NetworkError, "too slow"),
        (Fault(Kind.ENDLESS_HEADERS), ServerAnswerError, "not HTTP"),
        (Fault(Kind.GARBAGE), ServerAnswerError, "not HTTP"),
        (Fault(Kind.HANG), NetworkError, "nothing for"),
        (Fault(Kind.HANG_UP), NetworkError, "without an answer"),
        (Fault(Kind.RESET, at_bytes=3), NetworkError, "reset"),
        (Fault(Kind.STATUS, number=500), NetworkError, "500"),
        (Fault(Kind.STATUS, number=418), ServerAnswerError, "418"),
        (Fault(Kind.SHORT, at_bytes=10), PayloadError, "too early"),
        (Fault(Kind.SHORT, at_bytes=150), PayloadError, "too early"),
    ],
    ids=lambda value: value.kind.value if isinstance(value, Fault) else None,
)
def test_wrong_answers_to_a_part(
    server: Server, fault: Fault, error: type[ForgeError], says: str
) -> None:
    server.faults(fault)
    with pytest.raises(error, match=says) as caught:
        whole(source_for(server), 100, 100_000)
    assert server.happened(fault.kind) >= 1
    assert caught.value.hint


def test_the_servers_time_is_noted(server: Server) -> None:
    source = source_for(server)
    whole(source)
    assert source.server_date_s is not None
    for odd in ("yesterday", "Thu, 99 Foo 1800 00:00:00 GMT", "", "Mon, 01 Jan 99999 00:00:00 GMT"):
        server.faults(Fault(Kind.DATE, text=odd))
        whole(source)
        assert source.server_date_s is None


# -- TLS


def _certificate(
    names: list[str], issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None, days: int
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    alternatives: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address(one)) if one[0].isdigit() else x509.DNSName(one)
        for one in names
    ]
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer[0].subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=400))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    return built, key


Making = Callable[..., ssl.SSLContext]


@pytest.fixture
def tls(tmp_path: Path) -> Making:
    authority = _certificate(["authority"], None, 30)
    pem = serialization.Encoding.PEM
    (tmp_path / "ca.pem").write_bytes(authority[0].public_bytes(pem))

    def made(name: str, days: int) -> ssl.SSLContext:
        certificate, key = _certificate([name], authority, days)
        both = tmp_path / "server.pem"
        both.write_bytes(
            certificate.public_bytes(pem)
            + key.private_bytes(
                pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both)
        return context

    return made


def _over_tls(server: Server, ca_file: str) -> bytes:
    return whole(HttpSource(HttpSettings(server.url, ca_file=ca_file, limits=QUICK)))


def test_tls_by_an_authority_that_is_trusted(tmp_path: Path, content: bytes, tls: Making) -> None:
    with Server(tmp_path / "repo", tls=tls("127.0.0.1", 30)) as server:
        assert _over_tls(server, str(tmp_path / "ca.pem")) == content


def test_tls_through_a_proxy(tmp_path: Path, content: bytes, tls: Making) -> None:
    context = tls("repository.invalid", 30)
    with Server(tmp_path / "repo", tls=context) as server, Server(tmp_path) as proxy:
        proxy.tunnel_to = ("127.0.0.1", server.port)
        source = HttpSource(
            HttpSettings(
                "https://repository.invalid/",
                f"http://someone:{QUOTED}@127.0.0.1:{proxy.port}",
                ca_file=str(tmp_path / "ca.pem"),
                limits=QUICK,
            )
        )
        assert whole(source) == content
        assert proxy.asked == ["repository.invalid:443"]
        assert proxy.headers[0]["Proxy-Authorization"].startswith("Basic ")
        assert "Proxy-Authorization" not in server.headers[0]


@pytest.mark.parametrize(
    ("name", "days", "known", "says"),
    [
        ("127.0.0.1", 30, False, "certificate is not accepted"),
        ("127.0.0.2", 30, True, "certificate is not accepted"),
        ("127.0.0.1", -3, True, "expired"),
    ],
    ids=["unknown authority", "another host", "run out"],
)
def test_tls_that_is_refused(
    tmp_path: Path, content: bytes, tls: Making, name: str, days: int, known: bool, says: str
) -> None:
    with Server(tmp_path / "repo", tls=tls(name, days)) as server:
        with pytest.raises(NetworkError, match=says) as caught:
            _over_tls(server, str(tmp_path / "ca.pem") if known else "")
        assert "clock" in caught.value.hint
        assert not server.asked


def test_tls_where_none_is_spoken(server: Server) -> None:
    url = server.url.replace("http:", "https:")
    with pytest.raises(NetworkError, match="encrypted"):
        whole(HttpSource(HttpSettings(url, limits=QUICK)))


def test_certificates_that_are_not_there() -> None:
    with pytest.raises(SettingsError, match="nowhere"):
        HttpSource(HttpSettings("https://h/", ca_file="/nowhere/ca.pem"))


# -- The head of an answer

WHOLE = Asked("f", 1000, 0, None)
PART = Asked("f", 1000, 100, 50)
REST = Asked("f", 1000, 100, None)


@pytest.mark.parametrize(
    ("asked", "done", "total", "status", "headers", "result"),
    [
        (WHOLE, 0, None, 200, {"Content-Length": "10"}, Expected(0, 10, True, 10)),
        (WHOLE, 0, None, 200, {}, Expected(0, None, False, None)),
        (WHOLE, 4, 10, 206, {"Content-Range": "bytes 4-9/10"}, Expected(0, 6, False, 10)),
        (WHOLE, 4, 10, 200, {"Content-Length": "10"}, Expected(4, 6, True, 10)),
        (PART, 0, None, 206, {"Content-Range": "bytes 100-149/900", "Content-Length": "50"},
         Expected(0, 50, True, 900)),
        (PART, 0, None, 206, {"Content-Range": "bytes 100-149/*"}, Expected(0, 50, False, None)),
        (PART, 0, None, 200, {"Content-Length": "900"}, Expected(100, 50, False, 900)),
        (PART, 0, None, 200, {}, Expected(100, 50, False, None)),
        (REST, 0, None, 206, {"Content-Range": "bytes 100-899/900"}, Expected(0, 800, False, 900)),
        (WHOLE, 0, None, 200, {"Content-Length": "99", "Transfer-Encoding": "chunked"},
         Expected(0, None, False, None)),
    ],
)  # fmt: skip
def test_heads_that_fit(
    asked: Asked, done: int, total: int | None, status: int, headers: dict[str, str],
    result: Expected,
) -> None:  # fmt: skip
    assert expected(asked, done, total, status, headers, "it") == result


@pytest.mark.parametrize(
    ("asked", "total", "status", "headers", "error"),
    [
        (WHOLE, None, 206, {"Content-Range": "bytes 0-9/10"}, ServerAnswerError),
        (WHOLE, None, 200, {"Content-Length": "1001"}, PayloadError),
        (WHOLE, None, 200, {"Content-Length": "-1"}, ServerAnswerError),
        (WHOLE, None, 200, {"Content-Length": "1e3"}, ServerAnswerError),
        (WHOLE, None, 200, {"Content-Length": "9" * 5000}, ServerAnswerError),
        (WHOLE, None, 200, {"Content-Encoding": "br"}, ServerAnswerError),
        (WHOLE, 10, 200, {"Content-Length": "11"}, ServerAnswerError),
        (PART, None, 206, {}, ServerAnswerError),
        (PART, None, 206, {"Content-Range": "bytes 0-49/900"}, ServerAnswerError),
        (PART, None, 206, {"Content-Range": "bytes 100-150/900"}, ServerAnswerError),
        (PART, None, 206, {"Content-Range": "bytes 100-99/900"}, ServerAnswerError),
        (PART, None, 206, {"Content-Range": "bytes 100-149/120"}, ServerAnswerError),
        (PART, None, 206, {"Content-Range": "bytes 100-109/110"}, PayloadError),
        (PART, None, 206, {"Content-Range": "items 100-149/900"}, ServerAnswerError),
        (PART, None, 206, {"Content-Range": "bytes 100-149/900", "Content-Length": "51"},
         ServerAnswerError),
        (PART, None, 200, {"Content-Length": "99"}, PayloadError),
        (PART, None, 200, {"Content-Length": "149"}, PayloadError),
        (REST, None, 206, {"Content-Range": "bytes 100-199/900"}, ServerAnswerError),
        (REST, None, 206, {"Content-Range": "bytes 100-2000/2001"}, PayloadError),
    ],
)  # fmt: skip
def test_heads_that_do_not(
    asked: Asked, total: int | None, status: int, headers: dict[str, str],
    error: type[ForgeError],
) -> None:  # fmt: skip
    with pytest.raises(error) as caught:
        expected(asked, 0, total, status, headers, "it")
    assert caught.value.hint

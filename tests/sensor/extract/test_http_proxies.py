"""Which host counts in a request to a proxy: what real proxies make of targets that were made to mislead."""

import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from main_job import wait_for
from proxies import reading_haproxy, squid

from sensor.extract.http import read_request
from sensor.extract.stream import read_stream

GOOD, BAD = "good.example", "bad.example"
# What Squid dials: BAD, whatever else the request says.
TARGETS = [
    f"GET http://{GOOD}@{BAD}/",
    f"GET http://{GOOD}:80@{BAD}/",
    f"GET http://u:p@{GOOD}@{BAD}/",
    f"GET http://{GOOD}%2f@{BAD}/",
    rf"GET http://{GOOD}\@{BAD}/",
    f"GET http://{BAD}#@{GOOD}/",
    f"GET http://{BAD}?@{GOOD}/",
    f"GET http://{BAD}/@{GOOD}/",
    f"GET HTTP://{BAD}/",
    f"GET http://{BAD}",
    f"GET http://{BAD}:8080/",
    f"GET http://{BAD}:443x/",
    f"GET http://{BAD}./",
    f"GET http://{BAD}../",
    "GET http://Bad.EXAMPLE/",
    f"GET ftp://{BAD}/",
    f"CONNECT {BAD}:443",
    f"CONNECT {BAD}",
    f"CONNECT {BAD}.:443",
    f"CONNECT {BAD}..:443",
    "CONNECT Bad.EXAMPLE:0443",
    f"CONNECT {BAD}:443@{GOOD}:443",
    f"CONNECT {BAD}:443/@{GOOD}:443",
    f"CONNECT {BAD}:443?@{GOOD}:443",
    f"CONNECT {BAD}:443#{GOOD}",
    rf"CONNECT {BAD}:443\@{GOOD}:443",
]
# Of these, as of TARGETS, HAProxy dials what the Host field says where it does not refuse them.
FURTHER = [
    "GET /",
    f"GET //{BAD}/",
    f"GET http:///{BAD}/",
    f"GET http://{BAD}?x@{GOOD}/",
    f"GET http://{BAD}?{GOOD}/",
    rf"GET http://{BAD}\.{GOOD}/",
    f"GET https://{BAD}/",
    "GET http://[::1]/",
    f"CONNECT http://{BAD}:443",
    f"CONNECT http://{BAD}:443/",
    f"CONNECT http://{GOOD}:443@{BAD}:443",
    "CONNECT [::1]:443",
]
# Beginnings of a request to BAD that no standard has, and that proxies take: `{}` stands for method, space and target.
LINES = [
    "\r\n{} HTTP/1.1\r\n",
    "\n{} HTTP/1.1\r\n",
    "\r\n\r\n\r\n{} HTTP/1.1\r\n",
    "{}  HTTP/1.1\r\n",
    "{}\tHTTP/1.1\r\n",
    "{}\x0bHTTP/1.1\r\n",
    "{} HTTP/1.2\r\n",
    "{} HTTP/2.0\r\n",
    "{} HTTP/0.9\r\n",
    "{} HTTP/1.1\r\r\n",
    "{} HTTP/1.1\n",
]
REFUSED = ["{} HTTP/1.1 \r\n", " {} HTTP/1.1\r\n", "{} HTTP/1\r\n", "{} http/1.1\r\n"]
REQUESTS = [
    f"GET http://{BAD}/",
    f"get  http://{BAD}/",
    f"g3t_x\thttp://{BAD}/",
    f"CONNECT {BAD}:443",
    f"connect {BAD}:443",
]
FIELDS = [
    f"Host: {GOOD}",
    f"Host: {BAD}",
    f"Host: {BAD}:443",
    f"Host:\t{BAD}\t ",
    f"Host:\r\n {BAD}",
    f"Host: {GOOD}, {BAD}",
    f"Host: {BAD}, {GOOD}",
    "Host: [::1]:443",
    f"Host: {GOOD}\r\nHost: {BAD}",
]


def request(line: str, field: str = f"Host: {GOOD}") -> bytes:
    return f"{line} HTTP/1.1\r\n{field}\r\nConnection: close\r\n\r\n".encode()


def hosts(octets: bytes) -> set[str | None]:
    """Return the hosts that are read from a request."""
    read = read_request(octets)
    return {read.host, read.other_host}


def answer(port: int, octets: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(octets)
        told = b""
        while more := connection.recv(4096):
            told += more
        return told


class Squid:
    """A Squid that knows both names, and its log."""

    def __init__(self, port: int, log: Path) -> None:
        self._port = port
        self._log = log

    def dialled(self, octets: bytes) -> str:
        """Return the URL, or the host and port, that Squid says it was asked for."""
        before = self._lines()
        with socket.create_connection(("127.0.0.1", self._port), timeout=10) as connection:
            connection.sendall(octets)
            connection.recv(4096)
        wait_for(lambda: len(self._lines()) > len(before))
        return self._lines()[-1].split()[6]

    def _lines(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []


@pytest.fixture(scope="module")
def proxy() -> Iterator[Squid]:
    with TemporaryDirectory(prefix="molecatcher-test-") as name:
        folder = Path(name)
        with squid(folder, [GOOD, BAD], denied="denied.example") as port:
            yield Squid(port, folder / "squid.log")


@pytest.fixture(scope="module")
def haproxy_port() -> Iterator[int]:
    with TemporaryDirectory(prefix="molecatcher-test-") as name, reading_haproxy(Path(name)) as port:
        yield port


@pytest.mark.parametrize("line", TARGETS)
def test_squid_dials_the_host_that_is_read(proxy: Squid, line: str) -> None:
    octets = request(line)
    dialled = proxy.dialled(octets).removeprefix("http://").removeprefix("ftp://")
    assert dialled.startswith((f"{BAD}/", f"{BAD}:"))
    assert read_request(octets).host == BAD


@pytest.mark.parametrize("line", TARGETS + FURTHER)
def test_the_host_that_haproxy_dials_is_among_those_read(haproxy_port: int, line: str) -> None:
    for octets in (request(line, field) for field in FIELDS):
        status, _, rest = answer(haproxy_port, octets).partition(b"\r\n")
        if b" 200 " in status:
            dialled = rest.rpartition(b"\r\n\r\n")[2].decode().strip("[]").rstrip(".").lower()
            assert dialled in hosts(octets), octets


@pytest.mark.parametrize("line", LINES + REFUSED)
@pytest.mark.parametrize("what", REQUESTS)
def test_a_request_that_a_proxy_takes_is_read(proxy: Squid, haproxy_port: int, what: str, line: str) -> None:
    octets = f"{line.format(what)}Host: {BAD}\r\nConnection: close\r\n\r\n".encode()
    is_taken = BAD in proxy.dialled(octets) or BAD.encode() in answer(haproxy_port, octets)
    assert not (is_taken and line in REFUSED)
    assert is_taken or line in REFUSED or what.startswith("connect")
    if is_taken:
        facts = read_stream(octets, is_final=True)
        assert {row.value for row in facts.indicators} == {BAD}
        assert facts.protocol == ("connect" if what.lower().startswith("connect") else "http-proxy")


def test_haproxy_dials_some_and_refuses_others(haproxy_port: int) -> None:
    """Of what no standard allows it takes these, so the test above compares something."""
    taken = [
        request("GET /", f"Host: {GOOD}, {BAD}"),
        request("GET /", f"Host:\r\n {BAD}"),
        request(f"GET http://{GOOD}?@{BAD}/", f"Host: {BAD}"),
        request(f"CONNECT http://{BAD}:443", f"Host: {BAD}"),
        request(f"CONNECT {GOOD}:443@{BAD}:443", f"Host: {BAD}"),
    ]
    assert [answer(haproxy_port, octets).rpartition(b"\r\n\r\n")[2].decode() for octets in taken] == [BAD] * 5
    assert b" 400 " in answer(haproxy_port, request(f"GET http://{BAD}/"))


@pytest.mark.parametrize(
    ("line", "other"),
    [
        (rf"GET http://{BAD}\@{GOOD}/", BAD),
        (rf"GET http://{BAD}\.{GOOD}/", BAD),
        (f"GET http://{GOOD}?@{BAD}/", BAD),
        (f"GET http://{BAD}?token=secret", None),
        (f"GET http://u:p@{BAD}?token=secret/", None),
        (f"CONNECT {GOOD}:443@{BAD}:443", BAD),
        (f"CONNECT http://{BAD}:443", BAD),
        (f"CONNECT {BAD}:443", None),
        (f"GET http://{GOOD}@{BAD}/", None),
        ("GET /", None),
    ],
)
def test_what_other_programs_take_for_the_host_is_read_too(line: str, other: str | None) -> None:
    read = read_request(request(line))
    assert read.other_host == other
    assert read.is_absolute == line.startswith("GET http")

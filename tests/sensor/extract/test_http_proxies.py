"""Which host counts in a request to a proxy: what a real Squid makes of targets that were made to mislead."""

import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from main_job import wait_for
from proxies import squid

from sensor.extract.http import read_request

GOOD, BAD = "good.example", "bad.example"
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
    f"CONNECT {BAD}:443",
    f"CONNECT {BAD}:443@{GOOD}:443",
    f"CONNECT {BAD}:443/@{GOOD}:443",
    f"CONNECT {BAD}:443#{GOOD}",
]


class Proxy:
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
        wait_for(lambda: len(self._lines()) > len(before), 10)
        return self._lines()[-1].split()[6]

    def _lines(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with TemporaryDirectory(prefix="molecatcher-test-") as name:
        folder = Path(name)
        with squid(folder, [GOOD, BAD], denied="denied.example") as port:
            yield Proxy(port, folder / "squid.log")


@pytest.mark.parametrize("line", TARGETS)
def test_squid_dials_the_host_that_is_read(proxy: Proxy, line: str) -> None:
    octets = f"{line} HTTP/1.1\r\nHost: {GOOD}\r\nConnection: close\r\n\r\n".encode()
    dialled = proxy.dialled(octets)
    assert dialled.startswith((f"http://{BAD}/", f"{BAD}:443"))
    assert read_request(octets).host == BAD


@pytest.mark.parametrize(
    ("line", "other"),
    [
        (rf"GET http://{BAD}\@{GOOD}/", BAD),
        (rf"GET http://{BAD}\.{GOOD}/", BAD),
        (f"CONNECT {GOOD}:443@{BAD}:443", BAD),
        (f"CONNECT {BAD}:443", None),
        (f"GET http://{GOOD}@{BAD}/", None),
        ("GET /", None),
    ],
)
def test_what_other_programs_take_for_the_host_is_read_too(line: str, other: str | None) -> None:
    request = read_request(f"{line} HTTP/1.1\r\nHost: {GOOD}\r\n\r\n".encode())
    assert request.other_host == other
    assert request.is_absolute == line.startswith("GET http")

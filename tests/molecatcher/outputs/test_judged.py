"""Messages to people go where outputs may speak, and nowhere else, whatever the address, a redirect or a name says."""

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from installation import event_of
from servers import in_background

from db.workflow.output_values import Output, OutputFilter, OutputKind
from molecatcher.outputs.errors import DeliveryFailed
from molecatcher.outputs.judged import judged_by
from molecatcher.outputs.senders import Means, send
from molecatcher.outputs.target import TargetGuard

# What apprise reads mail addresses with imports it.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
OUTPUT = Output(
    output_id="1",
    name="soc",
    kind=OutputKind.APPRISE,
    target={},
    wanted=OutputFilter(),
    secrets=b"",
    created_by="alice",
    created_at_ns=0,
    place=0,
)


@contextmanager
def receiver(host: str, redirect_to: str = "") -> Iterator[tuple[int, list[str]]]:
    """Yield the port of a server at `host` and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"] or 0))
            self.do_GET()

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(307 if redirect_to else 200)
            if redirect_to:
                self.send_header("Location", redirect_to)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer((host, 0), Handler)
    with in_background(server):
        yield server.server_port, asked


def tell(address: str, *networks: str) -> None:
    guard = TargetGuard([ipaddress.ip_network(network) for network in networks])
    means = Means(guard, ssl.create_default_context(), lambda: 0, "0", "host")
    send(OUTPUT, [address], [event_of()], means)


def test_a_message_goes_to_a_network_that_is_allowed() -> None:
    with receiver("127.0.0.1") as (port, asked):
        tell(f"ntfy://127.0.0.1:{port}/soc", "127.0.0.0/8")
    assert len(asked) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("scheme", ["ntfy", "gotify", "mmost", "mailto"])
def test_nothing_is_connected_to_that_is_not_allowed(scheme: str, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.3)
        port = listener.getsockname()[1]
        with pytest.raises(DeliveryFailed):
            tell(f"{scheme}://me:secret@{host}:{port}/soc/0123456789abcdef0123456789", "192.0.2.0/24")
        with pytest.raises(TimeoutError):
            listener.accept()


def test_a_redirect_leads_nowhere_else() -> None:
    with receiver("127.0.0.2") as (inner, reached):
        with receiver("127.0.0.1", f"http://127.0.0.2:{inner}/secret") as (port, asked), pytest.raises(DeliveryFailed):
            tell(f"ntfy://127.0.0.1:{port}/soc", "127.0.0.1/32")
        assert asked
        assert reached == []
        with receiver("127.0.0.1", f"http://127.0.0.2:{inner}/secret") as (port, asked):
            tell(f"ntfy://127.0.0.1:{port}/soc", "127.0.0.0/8")
        assert reached == ["/secret"]


def test_only_the_thread_that_tells_is_judged() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        failures: list[OSError] = []

        def connect() -> None:
            try:
                socket.create_connection(address).close()
            except OSError as error:
                failures.append(error)

        with judged_by(TargetGuard()):
            connect()
            assert len(failures) == 1
            other = threading.Thread(target=connect)
            other.start()
            other.join()
        connect()
    assert len(failures) == 1
    assert isinstance(failures[0], PermissionError)


@pytest.mark.parametrize("address", ["/run/docker.sock", ("name.example", 80), ("::ffff:10.0.0.1", 80), ("", 80)])
def test_what_is_no_public_address_is_refused(address: object) -> None:
    with pytest.raises(PermissionError):
        TargetGuard().require(address)
    TargetGuard().require(("1.1.1.1", 443))
    TargetGuard().require(("2606:4700:4700::1111", 443, 0, 0))

"""Real proxies on loopback that write their logs to a folder, and a client of theirs."""

import socket
import socketserver
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

import pytest
from free_ports import free_port
from main_job import wait_for
from servers import in_background

SQUID_FORMAT = "%ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt port=%>p out=%>st"


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while octets := self.request.recv(4096):
            self.request.sendall(octets)


@contextmanager
def echo_server() -> Iterator[int]:
    """Yield the port of a server on 127.0.0.1 that sends back what it gets."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo)
    server.daemon_threads = True
    with in_background(server):
        yield server.server_address[1]


@contextmanager
def squid(folder: Path, names: list[str], *, denied: str) -> Iterator[int]:
    """Yield the port of a Squid that takes `names` for 127.0.0.1, refuses `denied`, and logs in every format."""
    program = _program("squid")
    port = free_port()
    folder.chmod(0o777)  # Squid gives up root
    (folder / "hosts").write_text(f"127.0.0.1 {' '.join(names)}\n")
    config = folder / "squid.conf"
    config.write_text(
        f"http_port 127.0.0.1:{port}\npid_filename none\ncache deny all\nshutdown_lifetime 1 second\n"
        f"visible_hostname proxy.example\ncache_log {folder}/cache.log\nhosts_file {folder}/hosts\n"
        f"logformat further {SQUID_FORMAT}\n"
        + "".join(
            f"access_log stdio:{folder}/{name}.log logformat={name}\n" for name in ("squid", "common", "combined")
        )
        + f"access_log stdio:{folder}/further.log logformat=further\n"
        f"acl denied dstdomain {denied}\nhttp_access deny denied\nhttp_access allow all\n"
    )
    with _running([program, "-N", "-f", str(config)], port, folder / "squid.err"):
        wait_for(lambda: _has_lines(folder / "squid.log"))  # of who waited for it to listen: else it comes later
        yield port


@contextmanager
def haproxy(folder: Path, upstream: int, *, denied: str) -> Iterator[tuple[int, int]]:
    """Yield the ports of an HAProxy before the proxy at `upstream`, in HTTP and in TCP mode; it logs to `haproxy.log`.

    In TCP mode it leads to `upstream` too, which need not speak TLS.
    """
    program = _program("haproxy")
    http, tcp = free_port(), free_port()
    config = folder / "haproxy.cfg"
    config.write_text(
        "global\n  log stdout format rfc5424 local0\n"
        "defaults\n  timeout connect 2s\n  timeout client 5s\n  timeout server 5s\n  log global\n"
        f"frontend http\n  mode http\n  option httplog\n  bind 127.0.0.1:{http}\n"
        "  http-request capture req.hdr(Host) len 255\n"
        f"  http-request deny if {{ req.hdr(host) -m beg {denied} }}\n  default_backend http\n"
        f"backend http\n  mode http\n  server s 127.0.0.1:{upstream}\n"
        f"frontend tcp\n  mode tcp\n  bind 127.0.0.1:{tcp}\n  tcp-request inspect-delay 2s\n"
        "  tcp-request content capture req.ssl_sni len 255\n"
        f"  tcp-request content reject if {{ req.ssl_sni {denied} }}\n"
        "  tcp-request content accept if { req.ssl_hello_type 1 }\n"
        '  log-format "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq %hr"\n'
        f"  default_backend tcp\nbackend tcp\n  mode tcp\n  server t 127.0.0.1:{upstream}\n"
    )
    with _running([program, "-f", str(config)], http, folder / "haproxy.log"):
        yield http, tcp


@contextmanager
def reading_haproxy(folder: Path) -> Iterator[int]:
    """Yield the port of an HAProxy that answers a request with the host it would dial for it, or refuses it.

    A forward proxy in HAProxy resolves the Host field (`do-resolve`), which it holds against the target itself.
    """
    port = free_port()
    config = folder / "reading.cfg"
    config.write_text(
        "defaults\n  mode http\n  timeout connect 2s\n  timeout client 5s\n  timeout server 5s\n"
        f"frontend http\n  bind 127.0.0.1:{port}\n"
        '  http-request return status 200 content-type text/plain lf-string "%[req.hdr(host),host_only]"\n'
    )
    with _running([_program("haproxy"), "-f", str(config)], port, folder / "reading.log"):
        yield port


def ask(proxy: int, target: str, payload: bytes = b"ping") -> bytes:
    """Return the status line of a CONNECT through `proxy`; a tunnel that is made carries `payload` both ways."""
    with socket.create_connection(("127.0.0.1", proxy), timeout=10) as connection:
        connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head and (octets := connection.recv(4096)):
            head += octets
        status = head.partition(b"\r\n")[0]
        if b" 200 " in status:
            connection.sendall(payload)
            assert connection.recv(4096) == payload
        return status


def _program(name: str) -> str:
    path = which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@contextmanager
def _running(argv: list[str], port: int, output: Path) -> Iterator[None]:
    with output.open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for(lambda: _answers(port, process, output))
            yield
        finally:
            process.terminate()
            process.wait(60)


def _has_lines(log: Path) -> bool:
    return log.exists() and log.stat().st_size > 0


def _answers(port: int, process: subprocess.Popen[bytes], output: Path) -> bool:
    assert process.poll() is None, output.read_text()
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

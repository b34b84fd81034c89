"""What outputs speak to in tests: an HTTPS server that answers as it is told, and syslog-ng over TLS."""

import json
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope
from free_ports import free_port
from servers import in_background

Taken = tuple[str, Mapping[str, str], bytes]
SYSLOG_NG = """
@version: 3.38
options { keep-hostname(yes); };
source s_tls {
    syslog(transport("tls") port(%(port)d) ip("127.0.0.1")
        tls(key-file("%(pem)s") cert-file("%(pem)s") peer-verify(optional-untrusted)));
};
destination d_file { file("%(out)s" template("${PRI} ${ISODATE} ${HOST} ${PROGRAM} ${MSGID} ${MESSAGE}\\n")); };
log { source(s_tls); destination(d_file); };
"""


@dataclass
class Receiver:
    """What came in, and how the next requests are answered: a status and a body."""

    url: str = ""
    taken: list[Taken] = field(default_factory=list)
    answer: Callable[[Taken], tuple[int, bytes]] = lambda _taken: (204, b"")

    def bodies(self) -> list[object]:
        """Return the bodies as JSON."""
        return [json.loads(body) for _, _, body in self.taken]


@contextmanager
def https_receiver(pem: Path) -> Iterator[Receiver]:
    """Yield a receiver at localhost with the certificate and key in `pem`."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken = (self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            status, answer = receiver.answer(taken)
            receiver.taken.append(taken)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            if 300 <= status < 400:
                self.send_header("Location", receiver.url)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver.url = f"https://localhost:{server.server_port}"
    with in_background(server):
        yield receiver


@contextmanager
def syslog_ng(folder: Path, pem: Path) -> Iterator[tuple[int, Path]]:
    """Yield the port where syslog-ng takes syslog over TLS, and the file that it writes to."""
    port, out = free_port(), folder / "messages"
    config = folder / "syslog-ng.conf"
    config.write_text(SYSLOG_NG % {"port": port, "pem": pem, "out": out})
    state = [f"--{name}={folder / name}" for name in ("persist-file", "control", "pidfile")]
    argv = ["syslog-ng", "--foreground", "--no-caps", f"--cfgfile={config}", *state]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    try:
        yield port, out
    finally:
        process.terminate()
        process.communicate(timeout=60)


@contextmanager
def mail_server() -> Iterator[tuple[int, list[str]]]:
    """Yield the port of an SMTP server, and the mails that it takes, subject and text."""
    mails: list[str] = []

    class Handler:
        async def handle_DATA(  # noqa: N802 - the library's name
            self, _server: object, _session: object, envelope: Envelope
        ) -> str:
            content = envelope.original_content or b""
            mails.append(content.decode())
            return "250 taken"

    def accept(*_: object) -> AuthResult:
        return AuthResult(success=True)

    controller = Controller(
        Handler(),
        hostname="127.0.0.1",
        port=free_port(),
        ready_timeout=60,
        authenticator=accept,
        auth_require_tls=False,
    )
    controller.start()
    try:
        yield controller.port, mails
    finally:
        controller.stop()

"""Stand-ins for everything that ordinary clients talk to, run as a program: `everyday_servers.py FOLDER`.

FOLDER holds `stand-in.pem` (certificate and key), `authorized_keys`, and `www`, whose files are served under every name
over HTTP/1.1, HTTP/2 and HTTP/3 on ports 80 and 443. DNS answers every name, over UDP, TCP, TLS and HTTPS. SSH is on
22, a TLS service with a greeting on 993 and 6379.
"""

import asyncio
import base64
import hashlib
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncssh
import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset
from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

SERVERS = "198.51.100"  # names have an address of this network, by their hash
BASTION, QUIC = f"{SERVERS}.22", f"{SERVERS}.7"  # QUIC must answer from the address that it was sent to
SPECIAL = {"bastion.example.com": BASTION, "quic.example.com": QUIC, "video.example.com": QUIC}
GREETINGS = {993: b"* OK ready\r\n", 6379: b"", 8883: b"\x20\x02\x00\x00"}
TTL_S = 60


def answer(wire: bytes) -> bytes:
    """Return the answer to a DNS query: every name has an address, some behind an alias of a delivery network."""
    query = dns.message.from_wire(wire)
    response = dns.message.make_response(query)
    response.flags |= dns.flags.RA
    question = query.question[0]
    name = question.name.to_text(omit_final_dot=True).lower()
    owner = question.name.to_text()
    if question.rdtype == dns.rdatatype.A:
        if is_aliased(name):
            alias = f"{hashlib.sha256(name.encode()).hexdigest()[:12]}.edge.cdn.example.net."
            response.answer.append(dns.rrset.from_text(owner, TTL_S, "IN", "CNAME", alias))
            owner = alias
        response.answer.append(dns.rrset.from_text(owner, TTL_S, "IN", "A", address_of(name)))
    return response.to_wire()


def is_aliased(name: str) -> bool:
    return name not in SPECIAL and hashlib.sha256(name.encode()).digest()[0] % 3 == 0


def address_of(name: str) -> str:
    return SPECIAL.get(name) or f"{SERVERS}.{30 + hashlib.sha256(name.encode()).digest()[1] % 200}"


class DnsOverUdp(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(answer(data), addr)


async def dns_over_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            size = int.from_bytes(await reader.readexactly(2), "big")
            response = answer(await reader.readexactly(size))
            writer.write(len(response).to_bytes(2, "big") + response)
    except (asyncio.IncompleteReadError, OSError):
        writer.close()


async def dns_over_https(request: Request) -> Response:
    if request.method == "POST":
        wire = await request.body()
    else:
        text = request.query_params["dns"]
        wire = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return Response(answer(wire), media_type="application/dns-message")


async def echo(websocket: WebSocket) -> None:
    offered = websocket.scope.get("subprotocols") or [None]
    await websocket.accept(subprotocol=offered[0])
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def collect(request: Request) -> Response:
    await request.body()
    return Response(status_code=204)


def greeting(octets: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(octets)
            while data := await reader.read(4096):
                writer.write(b"+OK\r\n" if data else b"")
        except OSError:
            pass
        finally:
            writer.close()

    return serve_one


async def run_command(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run what an SSH client asks for: `git-upload-pack`, `true`."""
    command = process.command or "true"
    ran = await asyncio.create_subprocess_shell(command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    await process.redirect(stdin=ran.stdin, stdout=ran.stdout)
    process.exit(await ran.wait())


def application(www: Path) -> Starlette:
    return Starlette(
        routes=[
            Route("/dns-query", dns_over_https, methods=["GET", "POST"]),
            Route("/collect", collect, methods=["POST"]),
            WebSocketRoute("/socket", echo),
            Mount("/", StaticFiles(directory=www, html=True)),
        ]
    )


async def main(folder: Path) -> None:
    certificate = str(folder / "stand-in.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    config = Config()
    config.bind, config.quic_bind, config.insecure_bind = ["0.0.0.0:443"], [f"{QUIC}:443"], ["0.0.0.0:80"]
    config.certfile = config.keyfile = certificate
    config.alpn_protocols = ["h2", "http/1.1"]
    config.graceful_timeout, config.keep_alive_timeout = 0, 300
    config.errorlog = config.accesslog = None
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(DnsOverUdp, ("0.0.0.0", 53))
    await asyncio.start_server(dns_over_stream, "0.0.0.0", 53)
    await asyncio.start_server(dns_over_stream, "0.0.0.0", 853, ssl=context)
    for port, octets in GREETINGS.items():
        await asyncio.start_server(greeting(octets), "0.0.0.0", port, ssl=context)
    await asyncssh.listen(
        "0.0.0.0",
        22,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        authorized_client_keys=str(folder / "authorized_keys"),
        process_factory=run_command,
        encoding=None,
    )
    await serve(application(folder / "www"), config)  # type: ignore[arg-type]


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

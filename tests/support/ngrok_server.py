"""A stand-in for the server of an ngrok agent's session, so that a real agent stays idle: `ngrok_server.py PEM`.

Inside TLS lies muxado (ngrok/ngrok-rust:muxado/SPEC.md): frames of streams, the first four octets of a stream its
type. A request is one JSON value, answered by another and the end of the stream; a heartbeat is four octets, echoed.
"""

import asyncio
import json
import ssl
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import Any

DATA, FIN = 1, 1  # a frame's type, and the flag of the last one of a direction
HEARTBEAT = 0xFFFFFFFF


class Request(IntEnum):
    """What an agent asks for (ngrok/ngrok-rust:ngrok/src/internals/proto.rs)."""

    AUTH = 0
    BIND = 1
    SERVER_INFO = 8


def authenticated(_: dict[str, Any]) -> dict[str, Any]:
    extra = {"Version": "2", "Region": "us", "AccountName": "nobody", "PlanName": "Free", "SessionDuration": 0}
    return {"Version": "2", "ClientId": "stand-in", "Extra": extra, "Error": ""}


def bound(request: dict[str, Any]) -> dict[str, Any]:
    more = {"URL": "https://abc.example.net", "Extra": {"Token": "t"}, "Error": ""}
    return {"ClientId": "one", "Id": "one", "Proto": request["Proto"], "Opts": request["Opts"]} | more


ANSWERS: dict[Request, Callable[[dict[str, Any]], dict[str, Any]]] = {
    Request.AUTH: authenticated,
    Request.BIND: bound,
    Request.SERVER_INFO: lambda _: {"Region": "us", "Error": ""},
}


def frame(stream: int, body: bytes, flags: int = 0) -> bytes:
    return len(body).to_bytes(3, "big") + bytes([DATA << 4 | flags]) + stream.to_bytes(4, "big") + body


class Session:
    """The streams of one agent: octets in, octets to send out."""

    def __init__(self) -> None:
        self._streams: dict[int, bytes] = {}

    def receive(self, stream: int, body: bytes) -> bytes:
        had = self._streams.get(stream, b"")
        now = self._streams[stream] = had + body
        if len(now) < 4:
            return b""
        kind, rest = int.from_bytes(now[:4], "big"), now[4:]
        if kind == HEARTBEAT:
            self._streams[stream] = now[:4]
            return frame(stream, rest) if rest else b""
        try:
            request = json.loads(rest)
        except ValueError:  # not all of it yet
            return b""
        return frame(stream, json.dumps(ANSWERS[Request(kind)](request)).encode(), FIN)


async def serve_agent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    session = Session()
    try:
        while True:
            header = await reader.readexactly(8)
            body = await reader.readexactly(int.from_bytes(header[:3], "big"))
            if header[3] >> 4 == DATA:
                writer.write(session.receive(int.from_bytes(header[4:], "big"), body))
    except (asyncio.IncompleteReadError, OSError):
        writer.close()


async def main(certificate: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(serve_agent, "0.0.0.0", 443, ssl=context)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

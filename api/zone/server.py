"""The sockets of the zone server: UDP and TCP on one port, bounded, in an event loop of its own.

A client that is slow is cut off: it has `IDLE_S` to send a question, and `WRITE_S` to take the next part of an answer.
"""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import dns.name
import structlog

from api.access.addresses import parse_address
from api.errors import RefusedListenAddress
from api.serving.server import ListenAddress
from api.zone.answers import HEADER_OCTETS, Answers, is_response
from api.zone.notices import Notices, Target
from api.zone.policy_zone import PolicyZone

log = structlog.get_logger("api")

IDLE_S = 10.0
WRITE_S = 10.0
TICK_S = 0.2
MAX_CONNECTIONS = 128
MAX_AN_ADDRESS = 16
MAKERS = 2  # threads that make zones; questions of other connections wait for them
BIND_TRIES = 20


def bind_both(address: ListenAddress) -> tuple[socket.socket, socket.socket]:
    """Return a UDP socket and a listening TCP socket on the same port.

    Raises:
        RefusedListenAddress: it is taken or not there.
    """
    for _ in range(BIND_TRIES):
        stream = socket.socket(address.family, socket.SOCK_STREAM)
        datagrams = socket.socket(address.family, socket.SOCK_DGRAM)
        try:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            stream.bind((address.host, address.port))
            stream.listen(MAX_CONNECTIONS)
            datagrams.bind((address.host, stream.getsockname()[1]))
        except OSError as error:
            stream.close()
            datagrams.close()
            reason = error.strerror
            if address.port:  # a port that the system chose for TCP may be taken for UDP: another one then
                break
        else:
            return datagrams, stream
    raise RefusedListenAddress(f"Cannot serve the zone on {address} ({reason}): give another address.") from None


class ZoneServer:
    """Serves zones until it is stopped.

    Args:
        sockets: what `bind_both` returned; closed in the end.
        zones: each zone by its name.
        answers: what is answered.
        targets: who is told of new serials; asked for at each.
    """

    def __init__(
        self,
        sockets: tuple[socket.socket, socket.socket],
        zones: Mapping[dns.name.Name, PolicyZone],
        answers: Answers,
        targets: Callable[[], tuple[Target, ...]],
    ) -> None:
        self.is_started = False
        self._sockets = sockets
        self._zones = zones
        self._answers = answers
        self._targets = targets
        self._notices = Notices()
        self._told: dict[dns.name.Name, int] = {}
        self._connections: Counter[str] = Counter()
        self._cut = 0
        self._makers = ThreadPoolExecutor(MAKERS, "zone")
        self._is_stopping = False
        host, port, *_ = sockets[1].getsockname()
        self.address = ListenAddress(host, port)

    def counts(self) -> dict[str, int]:
        """Return how often what was answered, and what became of notices."""
        told = {"notified": self._notices.heard_count, "notify_given_up": self._notices.given_up_count}
        return {**self._answers.counts, **told, "cut": self._cut}

    def run(self) -> None:
        """Serve until `stop`."""
        try:
            asyncio.run(self._serve())
        finally:
            self._makers.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        """End `run` within `TICK_S`. Any thread may call it."""
        self._is_stopping = True

    async def _serve(self) -> None:
        datagrams, stream = self._sockets
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self._hear), sock=datagrams)
        server = await asyncio.start_server(self._converse, sock=stream)
        log.info("zone_listening", address=str(self.address), zones=[name.to_text(True) for name in self._zones])
        self.is_started = True
        try:
            while not self._is_stopping:
                self._tell(transport)
                await asyncio.sleep(TICK_S)
        finally:
            server.close()
            transport.close()

    def _tell(self, transport: asyncio.DatagramTransport) -> None:
        """Send the notices that are due; those of a new serial are. After a start every serial is new."""
        now_s = time.monotonic()
        for name, zone in self._zones.items():
            snapshot = zone.current()
            if snapshot is not None and self._told.get(name) != snapshot.serial:
                self._told[name] = snapshot.serial
                told = tuple(target for target in self._targets() if target.profile == zone.profile)
                self._notices.announce(name, snapshot.serial, told, now_s)
        for target, wire in self._notices.due(now_s):
            self._send(transport, wire, target)

    def _send(self, transport: asyncio.DatagramTransport, wire: bytes, target: Target) -> None:
        """Send a notice; to IPv6 only from an IPv6 socket, which takes IPv4 addresses in its own form."""
        is_wide = self.address.family is socket.AF_INET6
        if is_wide or ":" not in target.host:
            host = f"::ffff:{target.host}" if is_wide and ":" not in target.host else target.host
            transport.sendto(wire, (host, target.port))

    def _hear(self, wire: bytes, sender: tuple[str, int], transport: asyncio.DatagramTransport) -> None:
        host, port = sender[0], sender[1]
        client = parse_address(host)
        if client is None:
            return
        if len(wire) >= HEADER_OCTETS and is_response(wire):
            self._notices.heard(wire, str(client), port)
            return
        for reply in self._answers.answer(wire, client, over_tcp=False):
            transport.sendto(reply, sender)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the questions of one connection, one after the other."""
        host = writer.get_extra_info("peername")[0]
        if self._connections.total() >= MAX_CONNECTIONS or self._connections[host] >= MAX_AN_ADDRESS:
            self._cut += 1
            writer.transport.abort()
            return
        self._connections[host] += 1
        writer.transport.set_write_buffer_limits(0)  # what the kernel has no room for is waited for
        try:
            await self._answer_all(host, reader, writer)
        except (TimeoutError, ConnectionError):
            self._cut += 1
        finally:
            self._connections[host] -= 1
            self._connections += Counter()  # forget who has none
            writer.transport.abort()

    async def _answer_all(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client, loop = parse_address(host), asyncio.get_running_loop()
        while client is not None and (wire := await _question(reader)):
            answer = partial(self._answers.answer, wire, client, over_tcp=True)
            replies = iter(await loop.run_in_executor(self._makers, answer))
            while reply := await loop.run_in_executor(self._makers, next, replies, b""):
                writer.write(len(reply).to_bytes(2) + reply)
                await asyncio.wait_for(writer.drain(), WRITE_S)


class _Datagrams(asyncio.DatagramProtocol):
    """Passes datagrams on; a question that cannot be answered must not end the listening."""

    def __init__(self, hear: Callable[[bytes, tuple[str, int], asyncio.DatagramTransport], None]) -> None:
        self._hear = hear
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # it is one
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None:
            self._hear(data, addr, self._transport)


async def _question(reader: asyncio.StreamReader) -> bytes:
    """Return a whole message, nothing when the client went or does not ask any more."""
    try:
        length = await asyncio.wait_for(reader.readexactly(2), IDLE_S)
        return await asyncio.wait_for(reader.readexactly(int.from_bytes(length)), IDLE_S)
    except (asyncio.IncompleteReadError, TimeoutError):
        return b""

"""What one call of each parser costs, beside dnspython and scapy on the same octets in the same run.

Run `python bench/extract.py`; times are microseconds of CPU a call, the best of five rounds.
"""

import sys
import time
import timeit
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import dns.message  # noqa: E402 - the paths come first
from hellos import extension, hello_message, records, server_name, vector  # noqa: E402 - the same
from initials import crypto, initial  # noqa: E402 - the same
from recordings import read_recording  # noqa: E402 - the same
from scapy.layers.dns import DNS  # noqa: E402 - the same
from scapy.layers.tls.record import TLS  # noqa: E402 - the same

from sensor.errors import NeedMoreData  # noqa: E402 - the same
from sensor.extract.dns import DnsMessage, is_likely_dns, parse_message  # noqa: E402 - the same
from sensor.extract.handshake import read_handshake  # noqa: E402 - the same
from sensor.extract.quic import QuicInitialReader  # noqa: E402 - the same
from sensor.extract.stream import read_stream  # noqa: E402 - the same
from sensor.extract.tls import read_client_hello  # noqa: E402 - the same
from sensor.names.dns_shapes import DnsShapes  # noqa: E402 - the same

ROUNDS = 5
ROUND_SECONDS = 0.2
TXT = 16
LONG_NAME = "k5fq" * 12 + ".t.example.net"


def cost_us(call: Callable[[], object]) -> float:
    """Return the CPU microseconds of one call, the best of `ROUNDS`."""
    once = max(min(timeit.repeat(call, number=1, repeat=3)), 1e-7)
    number = max(1, int(ROUND_SECONDS / once))
    return min(timeit.repeat(call, timer=time.process_time, number=number, repeat=ROUNDS)) / number * 1e6


def quic_hello(first: bytes, second: bytes) -> Callable[[], object]:
    """Return a call that reads a hello from two datagrams."""

    def read() -> object:
        reader = QuicInitialReader()
        try:
            reader.feed(first)
        except NeedMoreData:
            return reader.feed(second)
        raise AssertionError("the first datagram must not be enough")

    return read


def large_hello() -> bytes:
    """Return a ClientHello of 1.7 kB in a record, extensions as many and as large as a browser's."""
    others = [extension(kind, bytes(20)) for kind in (5, 10, 11, 18, 23, 35, 45, 27, 17513, 65281)]
    named = [server_name(b"connect.ngrok-agent.com"), extension(51, bytes(1216))]
    lists = [
        extension(16, vector(2, vector(1, b"h2") + vector(1, b"http/1.1"))),
        extension(43, vector(1, b"\x03\x04\x03\x03")),
        extension(13, vector(2, b"\x04\x03\x08\x04\x04\x01\x05\x03\x08\x05\x05\x01\x08\x06\x06\x01")),
    ]
    message = hello_message(*others, *named, *lists, ciphers=bytes(range(32)))
    return records(message)


def row(name: str, own: float, **peers: float) -> None:
    """Print one line: our cost and, of each peer, its cost and how many times ours it is."""
    ratios = ", ".join(f"{peer} {cost:.1f} ({cost / own:.0f}x)" for peer, cost in peers.items())
    print(f"{name:38} {own:8.2f}   {ratios}")


def dns_messages() -> tuple[bytes, bytes]:
    """Return a query of a recorded agent and the answer to it."""
    datagrams = [payload for flow, payload in read_recording("ngrok2-default").datagrams if 53 in flow[1::2]]  # noqa: PLR2004 - DNS
    answers = [payload for payload in datagrams if parse_message(payload).addresses]
    return datagrams[0], max(answers, key=len)


def main() -> None:
    """Print the table."""
    query, answer = dns_messages()
    hello = large_hello()
    middle = len(hello) // 2
    first, second = (initial(crypto(at, hello[5 + at :][:middle])) for at in (0, middle))
    print(f"{'call':38} {'us':>8}   peers")
    for name, wire in (("DNS query", query), ("DNS answer", answer)):
        row(
            f"{name}, {len(wire)} octets",
            cost_us(lambda wire=wire: parse_message(wire)),  # type: ignore[misc]
            dnspython=cost_us(lambda wire=wire: dns.message.from_wire(wire)),  # type: ignore[misc]
            scapy=cost_us(lambda wire=wire: DNS(wire)),  # type: ignore[misc]
        )
    row("is it DNS?", cost_us(lambda: is_likely_dns(query)))
    row(
        f"ClientHello with JA4, {len(hello)} octets",
        cost_us(lambda: read_client_hello(hello)),
        scapy=cost_us(lambda: TLS(hello)),  # type: ignore[no-untyped-call]
    )
    row("the same through read_stream", cost_us(lambda: read_stream(hello)))
    row("QUIC hello in two datagrams", cost_us(quic_hello(first, second)))
    address, token = bytes((192, 0, 2, 1)), b""
    row("is a datagram a VPN's first?", cost_us(lambda: read_handshake(hello, address, 443, token)))
    plain, long = DnsMessage(1, False, 0, 0, "www.example.com", 1), DnsMessage(1, False, 0, 0, LONG_NAME, TXT)
    shapes = DnsShapes()
    row("shape of an ordinary query", cost_us(lambda: shapes.note_query(address, plain, 0)))
    row("shape of a query that carries data", cost_us(lambda: shapes.note_query(address, long, 0)))


if __name__ == "__main__":
    main()

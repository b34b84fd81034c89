"""NOTIFY (RFC 1996): secondaries are told of a new serial until each has said that it heard.

Sans-I/O: `announce` and `heard` change what waits, `due` says what to send now. One notice a secondary and zone waits
at most; a newer one takes its place.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import structlog

from api.feeds.rpz import TTL_S, soa_text
from rules.policy.profiles import DEFAULT_PROFILE

log = structlog.get_logger("api")

FIRST_WAIT_S = 2.0
MAX_TRIES = 6  # after 2, 4, 8, 16, 32 and 64 seconds; the secondary's own refresh does the rest


@dataclass(frozen=True, slots=True)
class Target:
    """A secondary to tell, at an address and port, the key it knows us by, and the profile whose zone it has."""

    host: str
    port: int
    key: dns.tsig.Key | None = field(default=None, repr=False, compare=False)
    profile: str = DEFAULT_PROFILE
    key_name: str = field(init=False)

    def __post_init__(self) -> None:
        """Tell two keys of one secondary apart."""
        object.__setattr__(self, "key_name", self.key.name.to_text() if self.key else "")

    def __str__(self) -> str:
        return f"{self.host}#{self.port}"


@dataclass(slots=True)
class _Notice:
    serial: int
    message: dns.message.Message
    wire: bytes
    next_s: float
    tries: int = 0


class Notices:
    """What has to be told, and to whom."""

    def __init__(self) -> None:
        self.heard_count = 0
        self.given_up_count = 0
        self._waiting: dict[tuple[dns.name.Name, Target], _Notice] = {}

    def announce(self, zone: dns.name.Name, serial: int, targets: tuple[Target, ...], now_s: float) -> None:
        """Begin to tell `targets` of a serial."""
        for target in targets:
            message = _notice(zone, serial, target.key)
            self._waiting[zone, target] = _Notice(serial, message, message.to_wire(), now_s)

    def due(self, now_s: float) -> Iterator[tuple[Target, bytes]]:
        """Yield what is to be sent now."""
        for place, notice in list(self._waiting.items()):
            if notice.next_s > now_s:
                continue
            if notice.tries == MAX_TRIES:
                del self._waiting[place]
                self.given_up_count += 1
                log.warning("zone_notify_unanswered", secondary=str(place[1]), serial=notice.serial)
                continue
            notice.next_s = now_s + FIRST_WAIT_S * 2**notice.tries
            notice.tries += 1
            yield place[1], notice.wire

    def heard(self, wire: bytes, host: str, port: int) -> None:
        """Take a secondary's answer: it has heard, or it does not want to."""
        for place, notice in list(self._waiting.items()):
            target = place[1]
            if (target.host, target.port) != (host, port) or wire[:2] != notice.wire[:2]:
                continue
            answer = _read(wire, notice.message, target.key)
            if answer is None:
                continue
            del self._waiting[place]
            self.heard_count += 1
            if answer.rcode() != dns.rcode.NOERROR:
                said = dns.rcode.to_text(answer.rcode())
                log.warning("zone_notify_refused", secondary=str(target), serial=notice.serial, answer=said)


def _notice(zone: dns.name.Name, serial: int, key: dns.tsig.Key | None) -> dns.message.Message:
    message = dns.message.make_query(zone, dns.rdatatype.SOA)
    message.flags = dns.flags.AA
    message.set_opcode(dns.opcode.NOTIFY)
    soa = dns.rrset.from_text(zone, TTL_S, dns.rdataclass.IN, dns.rdatatype.SOA, soa_text(serial))
    message.answer.append(soa)
    if key is not None:
        message.use_tsig(key, algorithm=key.algorithm)
    return message


def _read(wire: bytes, sent: dns.message.Message, key: dns.tsig.Key | None) -> dns.message.Message | None:
    """Return the answer to what was sent, None when it is not one or not signed as it should be."""
    try:
        answer = dns.message.from_wire(wire, keyring=key, request_mac=sent.mac if key else b"")
    except (dns.exception.DNSException, ValueError):
        return None
    return answer if answer.opcode() == dns.opcode.NOTIFY else None

"""Look-ups over UDP, port 53: a plain query is held until its answer comes; if no name is of interest, both are dull.

As `screen_message` of screen_flows.h. What nearly all messages are is matched by one regular expression each, with the
name asked for as octets: those of no interest are known in this form (`Names.questions`).
"""

from collections.abc import Sequence
from typing import Final

from sensor.capture.screening.plain_dns import (
    DNS_SHORTEST,
    HEADER_OCTETS,
    is_like_dns,
    match_answer,
    match_query,
    read_addresses,
    read_message,
)
from sensor.capture.screening.plain_held import HELD, LARGEST_HELD, MOST_HELD, NO_PACKETS, Flow, Held
from sensor.capture.screening.plain_names import Names
from sensor.capture.screening.plain_suspects import Suspects
from sensor.capture.screening.plain_tables import first_quarter
from sensor.capture.screening.plain_told import AskedFor, Told
from sensor.capture.screening.screen import Asked
from sensor.packet import Packet

LOOKUPS: Final = 16_384

_QUESTION: Final = Asked.QUESTION
_NAME: Final = Asked.NAME
_RESPONSE: Final = 0x80
_IPV4_MULTICAST: Final = 0xE
_IPV6_MULTICAST: Final = 0xFF
_IPV4_OCTETS: Final = 4
_NOBODY: Final = ()
_UDP_OCTETS: Final = 8

_Dull = tuple[str, Sequence[str], Sequence[bytes]]  # a message of no interest: question, aliases, addresses


class Lookup(Flow):
    """A look-up: the messages with one number between two ends, of which `table` has it; about the name `question`."""

    __slots__ = ("place", "question", "table")

    is_lookup = True

    def __init__(self, table: "dict[bytes, Lookup]", place: bytes, ends: bytes, question: str) -> None:
        self.table = table
        self.place = place
        self.ends = ends
        self.question = question
        self.state = HELD
        self.packets = NO_PACKETS

    def forget(self) -> None:
        """As `Flow.forget`."""
        self.table.pop(self.place, None)


class Lookups:
    """The look-ups that are held or were handed out; `messages` counts those passed over."""

    def __init__(self, names: Names, suspects: Suspects, held: Held) -> None:
        self.messages = 0
        self.told = Told()
        self.asked = AskedFor()
        self._names = names
        self._suspects = suspects
        self._held = held
        self._lookups: dict[bytes, Lookup] = {}

    def forget(self) -> None:
        """Forget which look-ups were handed out."""
        for key in [key for key, lookup in self._lookups.items() if not lookup.packets]:
            del self._lookups[key]

    def take(  # noqa: PLR0917 - once a packet: each keyword costs
        self,
        packet: Packet,
        key: bytes,
        to_server: bytes,
        length: int,
        payload: bytes,
        octets: int,
        now_ns: int,
        found: list[Packet],
    ) -> bool:
        """Tell whether a packet of the direction `key` is to be handed out, behind what goes to `found` of its look-up.

        `to_server` is the direction to the server. The packet has `octets` of payload, `length` by its UDP header, of
        which `payload` was captured.
        """
        if octets < DNS_SHORTEST or len(payload) < HEADER_OCTETS:
            return True
        half = (len(key) - 4) >> 1
        is_response = payload[2] >= _RESPONSE
        client = key[half : 2 * half] if is_response else key[:half]
        if client not in self.asked.watched:
            if _is_multicast(client):
                return True
            if is_like_dns(payload):
                self.asked.watch(client, now_ns)
        place = to_server + payload[:2]
        lookup = self._lookups.get(place)
        is_whole = length - _UDP_OCTETS == octets == len(payload) <= LARGEST_HELD
        read = self._read_answer if is_response else self._read_query
        dull = read(payload if is_whole else b"", client, now_ns)
        if dull is None or key[:-4] in self._suspects.marked or (lookup is not None and not lookup.packets):
            if lookup is not None and lookup.packets:
                self._held.hand_over(lookup, found)
            return True
        if client not in self.asked.watched:
            self.asked.watch(client, now_ns)
        self.messages += 1
        if is_response:
            self._pass_over(packet.ts_ns, payload, client, dull, lookup, now_ns)
            return False
        self.asked.note(client, dull[0], now_ns)
        if lookup is None:
            lookup = self._begin(place, key[:-4], dull[0], now_ns, found)
        return self._hold(lookup, packet, dull[0], now_ns, found)

    def _hold(self, lookup: Lookup, packet: Packet, question: str, now_ns: int, found: list[Packet]) -> bool:
        """Hold a query back; True if that cannot be."""
        if lookup.question != question:  # two with the same number: nobody knows which of them is answered
            self._held.hand_over(lookup, found)
            return True
        if len(lookup.packets) < MOST_HELD:
            self._held.hold(lookup, packet, now_ns, found)
        return False

    def _begin(self, place: bytes, ends: bytes, question: str, now_ns: int, found: list[Packet]) -> Lookup:
        lookups = self._lookups
        if len(lookups) >= LOOKUPS:
            for old in first_quarter(lookups):
                if (lookup := lookups[old]).packets:
                    self._held.give_up(lookup, now_ns, found)
                lookups.pop(old, None)
        lookup = lookups[place] = Lookup(lookups, place, ends, question)
        lookup.last_ns = now_ns
        return lookup

    def _pass_over(  # noqa: PLR0917 - as `take`
        self, ts_ns: int, answer: bytes, client: bytes, dull: _Dull, lookup: Lookup | None, now_ns: int
    ) -> None:
        """Pass over an answer of no interest that came at `ts_ns`, with the query that it answers."""
        question, aliases, addresses = dull
        if lookup is None:
            self.asked.note(client, question, now_ns)
        elif lookup.question == question:
            self._held.pass_over(lookup)
        for alias in aliases:
            self.asked.note(client, alias, now_ns)
        if addresses:
            self.told.keep(client, addresses, question, answer, ts_ns)

    def _read_query(self, payload: bytes, client: bytes, now_ns: int) -> _Dull | None:
        """Return what a query says if it is plain and of no interest."""
        matched = match_query(payload)
        if matched is not None:
            question = self._names.question(matched[1] or matched[2])
            if question is not None:
                return question, _NOBODY, _NOBODY
        return self._read(payload, client, now_ns)

    def _read_answer(self, payload: bytes, client: bytes, now_ns: int) -> _Dull | None:
        matched = match_answer(payload)
        if matched is not None:
            question = self._names.question(matched[2])
            if question is not None:
                addresses = read_addresses(payload[matched.end() :], matched[1][0])
                if addresses is not None:
                    return question, _NOBODY, addresses
        return self._read(payload, client, now_ns)

    def _read(self, payload: bytes, client: bytes, now_ns: int) -> _Dull | None:
        """Return what a message says if it is plain and of no interest; else take note of what that means."""
        message = read_message(payload)
        if message is None:
            self._suspects.doubt(client, now_ns)
            return None
        names = self._names
        if (  # upper case is perhaps of the program's own questions
            message.has_upper
            or names.is_of_interest(_QUESTION, message.question)
            or any(names.is_of_interest(_NAME, alias) for alias in message.aliases)
        ):
            self._suspects.note_interest(client)
            for address in message.addresses if payload[2] >= _RESPONSE else ():
                self._suspects.mark(client, address)
            return None
        names.note_question(payload[HEADER_OCTETS : payload.index(0, HEADER_OCTETS) + 1], message.question)
        return message.question, message.aliases, message.addresses


def _is_multicast(address: bytes) -> bool:
    if len(address) == _IPV4_OCTETS:
        return address[0] >> 4 == _IPV4_MULTICAST
    return address[0] == _IPV6_MULTICAST

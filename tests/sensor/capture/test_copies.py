"""Packets that several interfaces carry are handed on once, by rules that are looked at one by one."""

import msgspec
import pytest
from frames import ACK, MS, PSH, SYN, S, dns_answer, dns_query, frame, packet, tcp, udp
from hypothesis import given
from hypothesis import strategies as st

from sensor.capture.copies import MOVED_NS, RENEWED_NS, Copies
from sensor.flows.flow import UDP_IDLE_NS
from sensor.packet import Packet

INSIDE, OUTSIDE, SERVER = "10.0.0.2", "203.0.113.2", "198.51.100.7"
US = 1000
OUT = (INSIDE, 40000, SERVER, 443)
BACK = (SERVER, 443, INSIDE, 40000)
TRANSLATED = (OUTSIDE, 61000, SERVER, 443)
TRANSLATED_BACK = (SERVER, 443, OUTSIDE, 61000)


def on(interface: str, made: Packet, *, at_ns: int | None = None) -> Packet:
    return msgspec.structs.replace(made, interface=interface, ts_ns=made.ts_ns if at_ns is None else at_ns)


def shown(*rows: tuple[str, Packet], copies: Copies | None = None) -> str:
    """One letter a packet: `k` for kept, `c` for a copy."""
    copies = Copies() if copies is None else copies
    return "".join("c" if copies.is_copy(on(*row)) else "k" for row in rows)


@pytest.mark.parametrize("version", [4, 6])
def test_a_forwarded_flow_is_taken_from_where_each_direction_shows_first(version: int) -> None:
    out = OUT if version == 4 else ("2001:db8::2", 40000, "2001:db8:1::7", 443)
    back = (*out[2:], *out[:2])
    syn, answer = tcp(0, out, (1, 0, SYN)), tcp(MS, back, (9, 2, SYN | ACK))
    data = tcp(2 * MS, out, (2, 10, ACK | PSH), b"GET /")
    rows = [("lan", syn), ("wan", syn), ("wan", answer), ("lan", answer), ("lan", data), ("wan", data)]
    assert shown(*rows) == "kckckc"


def test_what_is_sent_twice_on_one_interface_is_no_copy() -> None:
    data = tcp(0, OUT, (2, 10, ACK | PSH), b"GET /")
    assert shown(("lan", data), ("lan", data)) == "kk"


def test_with_asymmetric_routes_both_directions_are_kept() -> None:
    rows = [("eth0", tcp(t * MS, OUT, (t, 0, ACK), b"x")) for t in range(3)]
    rows += [("eth1", tcp(t * MS, BACK, (t, 0, ACK), b"x")) for t in range(3)]
    assert shown(*sorted(rows, key=lambda row: row[1].ts_ns)) == "kkkkkk"


def test_a_direction_that_moved_to_another_interface_is_followed() -> None:
    rows = [("eth0", tcp(0, OUT, (1, 0, ACK), b"x")), ("eth1", tcp(MOVED_NS + 1, OUT, (2, 0, ACK), b"x"))]
    rows += [("eth0", tcp(MOVED_NS + 2, OUT, (2, 0, ACK), b"x"))]
    assert shown(*rows) == "kkc"


def test_a_new_connection_may_take_another_way_at_once() -> None:
    first, second = tcp(0, OUT, (1, 0, SYN)), tcp(MS, OUT, (77, 0, SYN))
    assert shown(("eth0", first), ("eth1", second), ("eth0", second)) == "kkc"


def test_the_translated_copy_of_a_connection_is_left_out_in_both_directions() -> None:
    rows = [
        ("lan", tcp(0, OUT, (5, 0, SYN))),
        ("wan", tcp(US, TRANSLATED, (5, 0, SYN))),
        ("wan", tcp(MS, TRANSLATED_BACK, (9, 6, SYN | ACK))),
        ("lan", tcp(MS + US, BACK, (9, 6, SYN | ACK))),
        ("lan", tcp(2 * MS, OUT, (6, 10, ACK), b"hello")),
        ("wan", tcp(2 * MS + US, TRANSLATED, (6, 10, ACK), b"hello")),
    ]
    assert shown(*rows) == "kcckkc"


def test_the_ports_of_a_translation_may_be_used_again() -> None:
    copies = Copies()
    again = ("10.0.0.3", 5, SERVER, 443)
    rows = [("lan", tcp(0, OUT, (5, 0, SYN))), ("wan", tcp(US, TRANSLATED, (5, 0, SYN)))]
    assert shown(*rows, copies=copies) == "kc"
    own = tcp(S, TRANSLATED, (99, 0, SYN))  # the gateway itself
    assert shown(("wan", own), ("wan", tcp(S, TRANSLATED_BACK, (1, 100, SYN | ACK))), copies=copies) == "kk"
    rows = [("lan", tcp(2 * S, again, (7, 0, SYN))), ("wan", tcp(2 * S + US, TRANSLATED, (7, 0, SYN)))]
    assert shown(*rows, copies=copies) == "kc"


@pytest.mark.parametrize(
    ("interface", "ends", "seq", "at_ns"),
    [
        ("lan", TRANSLATED, 5, US),  # the same interface
        ("wan", TRANSLATED, 6, US),  # another sequence number
        ("wan", (OUTSIDE, 61000, SERVER, 8443), 5, US),  # another port
        ("wan", (OUTSIDE, 61000, "198.51.100.8", 443), 5, US),  # another server
        ("wan", TRANSLATED, 5, 2 * S),  # much later
    ],
)
def test_another_connection_is_no_translation(
    interface: str, ends: tuple[str, int, str, int], seq: int, at_ns: int
) -> None:
    assert shown(("lan", tcp(0, OUT, (5, 0, SYN))), (interface, tcp(at_ns, ends, (seq, 0, SYN)))) == "kk"


def test_translated_look_ups_are_known_by_id_and_name() -> None:
    ends, there = (INSIDE, 5000, SERVER, 53), (OUTSIDE, 7000, SERVER, 53)
    question, other = dns_query("connect.ngrok-agent.com", ident=7), dns_query("connect.ngrok-agent.com", ident=8)
    answer = dns_answer("connect.ngrok-agent.com", [SERVER], ident=7)
    rows = [
        ("lan", udp(0, ends, question)),
        ("wan", udp(US, there, question)),
        ("wan", udp(MS, (*there[2:], *there[:2]), answer)),
        ("lan", udp(MS + US, (*ends[2:], *ends[:2]), answer)),
        ("wan", udp(2 * MS, (OUTSIDE, 7001, SERVER, 53), other)),  # the gateway's own
    ]
    assert shown(*rows) == "kcckk"


def test_a_short_datagram_tells_nothing() -> None:
    ends = (OUTSIDE, 7000, SERVER, 9999)
    assert shown(("lan", udp(0, (INSIDE, 5, SERVER, 9999), b"ping")), ("wan", udp(US, ends, b"ping"))) == "kk"


def test_a_translation_that_is_made_anew_is_known_again() -> None:
    copies = Copies()
    ends = (INSIDE, 5000, SERVER, 51820)
    first, later = b"handshake initiation 1", b"handshake initiation 2"
    there, anew = (OUTSIDE, 7000, SERVER, 51820), (OUTSIDE, 7001, SERVER, 51820)
    assert shown(("lan", udp(0, ends, first)), ("wan", udp(US, there, first)), copies=copies) == "kc"
    at_ns = RENEWED_NS + S
    assert shown(("lan", udp(at_ns, ends, later)), ("wan", udp(at_ns + US, anew, later)), copies=copies) == "kc"


def test_five_tuples_are_forgotten_with_their_flows() -> None:
    data = b"handshake initiation"
    rows = [("eth0", udp(0, OUT, data)), ("eth1", udp(UDP_IDLE_NS + 1, OUT, data))]
    assert shown(*rows) == "kk"


def test_fragments_follow_the_same_rule() -> None:
    made = frame(17, INSIDE, SERVER, bytes(16))
    first = made[:20] + b"\x20\x00" + made[22:]
    assert shown(("lan", packet(0, first)), ("wan", packet(US, first)), ("lan", packet(MS, first))) == "kck"


def test_what_cannot_be_read_is_no_copy() -> None:
    for data in (b"", bytes(20), frame(17, INSIDE, SERVER, b"\0"), frame(47, INSIDE, SERVER, bytes(30))):
        assert shown(("lan", packet(0, data)), ("wan", packet(0, data))) == "kk"


def test_copies_are_counted_and_tables_are_bounded() -> None:
    copies = Copies(directions=10, marks=5)
    packets = [tcp(number * MS, (INSIDE, number, SERVER, 443), (number, 0, SYN)) for number in range(1, 100)]
    for made in packets:
        assert copies.leave_out([on("lan", made), on("wan", made)]) == [on("lan", made)]
    assert copies.found == 99
    assert len(copies) == 10
    assert len(copies._marks) == 5
    assert copies.evicted == 89 + 94
    late = tcp(10 * S, (INSIDE, 100, SERVER, 443), (100, 0, SYN))
    copies.leave_out([on("lan", late)])
    assert copies.evicted == 90 + 94  # no copy would have come of a mark that is so old


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(1, 200)), min_size=1, max_size=60))
def test_whatever_is_forwarded_shows_once(steps: list[tuple[bool, int, int]]) -> None:
    """Any mix of directions and pauses over a gateway: what is kept is what one interface alone shows."""
    copies, now_ns, kept, sent = Copies(), 0, [], []
    for number, (is_out, port, pause_ms) in enumerate(steps):
        now_ns += pause_ms * 10 * MS
        ends = (INSIDE, 40000 + port, SERVER, 443)
        made = tcp(now_ns, ends if is_out else (*ends[2:], *ends[:2]), (number, 0, ACK), b"payload")
        sent.append(made.data)
        order = ("lan", "wan") if is_out else ("wan", "lan")
        for delay, interface in enumerate(order):
            kept += copies.leave_out([on(interface, made, at_ns=now_ns + delay * US)])
    assert [made.data for made in kept] == sent

"""What somebody might do so that a screen holds back what would be detected without one."""

import random
import struct
from itertools import accumulate
from pathlib import Path

import pytest
from conversations import APPLICATION, BANNER, SERVER_HELLO, client_hello
from crafted import write_pcap
from frames import (
    ACK,
    CLIENT,
    MS,
    RESOLVER,
    SERVER,
    SYN,
    Conversation,
    S,
    dns_answer,
    dns_query,
    packet,
    tell,
    told,
    udp,
)
from hellos import extension, records
from screened import (
    CLIENT_OCTETS,
    LISTED,
    detected,
    greeting,
    handed_out,
    hello,
    is_listed,
    new_screen,
    nothing,
    said,
    ssh,
    through,
)

from sensor.detection.detection import Detection
from sensor.packet import Packet

pytestmark = pytest.mark.usefixtures("each_screen")

IDLE_NS = 100 * S


def told_of(found: list[Detection]) -> list[tuple[object, ...]]:
    """What is said in the end of each flow and look-up, and of which packets."""
    last = {row.observation.key: row for row in found}
    rows = [(row.observation, row.verdict) for row in last.values()]
    return sorted(
        (seen.observed_at_ns, seen.five_tuple, verdict.outcome, verdict.service, seen.state, seen.told, seen.traffic)
        for seen, verdict in rows
    )


def assert_alike(packets: list[Packet], tmp_path: Path) -> None:
    """Check that something is detected, and the same with a screen as without one."""
    path = tmp_path / "packets.pcap"
    write_pcap(path, sorted(packets, key=lambda row: row.ts_ns))
    without = told_of(detected(path, None))
    assert without
    assert told_of(detected(path, new_screen())) == without


def slow_hello(name: str) -> list[Packet]:
    """A connection whose client waits before it says hello, as browsers do that connect in advance."""
    talk = Conversation((CLIENT, 41_000, "192.0.2.66", 443), start_ns=S)
    opening = talk.open()
    talk.now_ns += IDLE_NS
    return [*opening, *talk.send(hello(name)), *talk.answer(SERVER_HELLO), *talk.send(APPLICATION)]


def bulk(*, start_ns: int, until_ns: int) -> list[Packet]:
    """A download of which only the head is handed on: time passes, and no packet says so."""
    talk = Conversation((CLIENT, 42_000, "192.0.2.77", 80), start_ns=start_ns)
    packets = [*talk.open(), *talk.send(b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n")]
    while talk.now_ns < until_ns:
        packets += talk.answer(bytes(1400))
        talk.now_ns += 100 * MS
    return packets


@pytest.mark.parametrize("beside", [[], bulk(start_ns=S, until_ns=IDLE_NS)], ids=["quiet", "beside a download"])
def test_a_client_that_waits_before_its_hello_does_not_seem_to_be_another_capture(
    beside: list[Packet], tmp_path: Path
) -> None:
    before = [*ssh(start_ns=2 * S), *told(LISTED, at_ns=3 * S)]
    more = Conversation((CLIENT, 40_000, SERVER, 443), start_ns=IDLE_NS + 2 * S)
    more.next_seq = {True: 1001 + len(BANNER), False: 501_001 + len(BANNER)}
    packets = [*slow_hello("Www.example.org"), *before, *beside, *more.send(BANNER), *more.answer(BANNER)]
    assert_alike(packets, tmp_path)


@pytest.mark.parametrize("beside", [[], bulk(start_ns=S, until_ns=IDLE_NS)], ids=["quiet", "beside a download"])
def test_nothing_is_held_for_longer_than_half_a_minute(beside: list[Packet], tmp_path: Path) -> None:
    unanswered = [Conversation((CLIENT, 43_000, SERVER, 443), start_ns=S).segment(SYN), *told("a.example", at_ns=S)[:1]]
    one_way = [row for row in greeting(start_ns=5 * S) if row.data[26:30] == CLIENT_OCTETS]
    later = [*told(LISTED, at_ns=IDLE_NS), *greeting(LISTED, start_ns=IDLE_NS + 5 * S)]
    packets = [*slow_hello(LISTED), *unanswered, *one_way, *beside, *later]
    found = handed_out(sorted(packets, key=lambda row: row.ts_ns), is_listed, tmp_path)
    newest = accumulate((row.ts_ns for row in found), max)
    assert max(now_ns - row.ts_ns for now_ns, row in zip(newest, found, strict=True)) < 60 * S
    assert not [row for row in unanswered if row in found]
    assert not [row for row in (*one_way, *slow_hello(LISTED)) if row not in found]


def test_a_server_that_answers_late_begins_another_flow_with_and_without_a_screen(tmp_path: Path) -> None:
    talk = Conversation(start_ns=S)
    syn = talk.segment(SYN)
    talk.now_ns += 4 * S
    rest = [talk.segment(SYN | ACK, is_client=False), talk.segment(ACK), *talk.send(hello(LISTED))]
    assert_alike([syn, *rest, *talk.answer(SERVER_HELLO)], tmp_path)


def test_a_name_that_leads_to_the_server_before_it_answers_is_not_missed(tmp_path: Path) -> None:
    talk = Conversation(start_ns=S)
    begun = [*talk.open(), *talk.send(hello())]
    lookup = told(LISTED, at_ns=talk.now_ns)
    talk.now_ns += 2 * MS
    assert_alike([*begun, *lookup, *talk.answer(SERVER_HELLO), *talk.send(APPLICATION)], tmp_path)


def test_a_server_that_lets_a_dull_hello_wait_for_a_minute_is_seen(tmp_path: Path) -> None:
    """Also where a listed name has led its client there meanwhile."""
    for lookup in ([], told(LISTED, at_ns=10 * S)):
        talk = Conversation(start_ns=S)
        begun = [*talk.open(), *talk.send(hello())]
        talk.now_ns += IDLE_NS
        packets = [*begun, *lookup, *talk.answer(BANNER)]
        path = tmp_path / "late.pcap"
        write_pcap(path, sorted(packets, key=lambda row: row.ts_ns))
        assert said(detected(path, new_screen())) == said(detected(path, None)) != set()


def test_a_hello_before_the_look_up_that_leads_there_is_no_tunnel(tmp_path: Path) -> None:
    talk = Conversation(start_ns=S)
    begun = [*talk.open(), *talk.send(hello())]
    path = tmp_path / "before.pcap"
    write_pcap(path, [*begun, *told(LISTED, at_ns=10 * S), *told("other.example", "192.0.2.99", at_ns=IDLE_NS)])
    found = detected(path, new_screen())
    assert [row.observation.dns is not None for row in found] == [True] * len(found)
    assert said(found) == said(detected(path, None)) != set()


def test_a_silent_connection_is_seen_where_a_listed_name_leads_later(tmp_path: Path) -> None:
    silent = Conversation(start_ns=S).open()
    assert_alike([*silent, *told(LISTED, at_ns=10 * S), *told("other.example", "192.0.2.99", at_ns=IDLE_NS)], tmp_path)


def test_octets_in_front_of_a_dull_hello_are_not_missed_without_its_syn(tmp_path: Path) -> None:
    talk = Conversation(start_ns=S)
    opening = talk.open()[1:]
    mark, rest = talk.send(b"\x17")[0], talk.send(hello())
    late = Packet(rest[-1].ts_ns, mark.link_type, mark.data, mark.wire_octets)
    assert_alike([*opening, *rest, late, *talk.answer(SERVER_HELLO), *talk.send(APPLICATION)], tmp_path)


def test_fragments_do_not_overtake_the_hello_that_they_go_on_with(tmp_path: Path) -> None:
    """The first copy of an octet is the one that counts: of a hello in parts, then a dull one in its place."""
    talk = Conversation(start_ns=S)
    opening, begun = talk.open(), dict(talk.next_seq)
    message = client_hello(LISTED, random.Random(3), is_split=False, extra=extension(21, bytes(1400)))
    first, last = talk.send(records(message))
    talk.next_seq = begun
    decoy = fragments(talk.send(hello())[0])
    packets = [*opening, first, *decoy, *fragments(last), *told("www.example.org", at_ns=9 * S)]
    path = tmp_path / "fragments.pcap"
    write_pcap(path, packets)
    assert said(detected(path, new_screen())) == said(detected(path, None)) != set()


def fragments(row: Packet) -> list[Packet]:
    """A TCP segment in two IPv4 fragments (RFC 791 section 3.2)."""
    ethernet, header, payload = row.data[:14], row.data[14:34], row.data[34:]
    parts = ((0x2000, payload[:24]), (24 // 8, payload[24:]))
    number = struct.pack(">H", row.ts_ns // MS % 65536)
    return [
        packet(
            row.ts_ns,
            ethernet
            + header[:2]
            + struct.pack(">H", 20 + len(part))
            + number
            + struct.pack(">H", place)
            + header[8:]
            + part,
        )
        for place, part in parts
    ]


def test_of_many_hellos_in_parts_each_is_judged(tmp_path: Path) -> None:
    begun, ended = [], []
    for number in range(600):
        talk = Conversation((CLIENT, 20_000 + number, SERVER, 443), start_ns=S + number * 1000)
        first, rest = [*talk.open()], talk.send(hello(LISTED if number == 1 else "www.example.org", is_split=True))
        begun += [*first, rest[0]]
        ended += [*rest[1:], *talk.answer(SERVER_HELLO)]
    found = handed_out([*begun, *ended], is_listed, tmp_path)
    assert any(row in found for row in ended if row.data[34:36] == struct.pack(">H", 20_001))
    assert len(found) == 2 * 256 * 6  # so many wait at a time


def test_an_answer_to_another_question_leaves_a_look_up_waiting_for_its_own(tmp_path: Path) -> None:
    query, answer = told("cdn.example", at_ns=S)[0], dns_answer("cdn.example", [SERVER], aliases=[LISTED])
    forged = tell(S + MS, dns_answer("other.example", ["192.0.2.99"]))
    assert_alike([query, forged, tell(S + 2 * MS, answer)], tmp_path)


@pytest.mark.parametrize("cut", [0, 2, 20], ids=["whole", "behind its length", "in its midst"])
def test_an_answer_over_tcp_from_whatever_port_leaves_its_client_s_connections_to_the_pipeline(
    cut: int, tmp_path: Path
) -> None:
    talk = Conversation((CLIENT, 44_000, RESOLVER, 5300), start_ns=S)
    query, answer = dns_query(LISTED), dns_answer(LISTED, [SERVER])
    asked = [*talk.open(), *talk.send(struct.pack(">H", len(query)) + query)]
    message = struct.pack(">H", len(answer)) + answer
    answered = [*(talk.answer(message[:cut]) if cut else ()), *talk.answer(message[cut:])]
    assert_alike([*asked, *answered, *greeting()], tmp_path)


def test_what_is_no_dns_on_its_port_does_not_make_its_client_watched(tmp_path: Path) -> None:
    mesh = [udp(S, (CLIENT, 51820, SERVER, 53), b"\x01\0\0\0" + bytes(range(1, 145)))]
    assert through(mesh, nothing, tmp_path)[1].asked(CLIENT_OCTETS, "www.example.org") == (-1, -1)
    assert through(told("a.example", at_ns=S), nothing, tmp_path)[1].asked(CLIENT_OCTETS, "b.example") == (-1, S)


def test_a_name_that_new_rules_speak_of_is_known_where_it_led_before(tmp_path: Path) -> None:
    lookup, packets = told(LISTED, at_ns=S, ttl=3600), greeting(start_ns=20 * S)
    found, screen = through(lookup, nothing, tmp_path)
    assert found == []
    assert through(packets, is_listed, tmp_path, screen)[0] == []  # the rules of before say nothing of it
    screen.ask_again()  # that a DNS tunnel was found is no news of what was told
    assert through(greeting(start_ns=30 * S, isn=5000), is_listed, tmp_path, screen)[0] == []
    screen.follow([])
    again = greeting(start_ns=40 * S, isn=9000)
    assert through(again, is_listed, tmp_path, screen)[0] == again


@pytest.mark.parametrize("count", [2, 3])
def test_a_hello_in_records_of_their_own_is_handed_out(count: int, tmp_path: Path) -> None:
    whole = hello(LISTED)[5:]
    talk = Conversation(start_ns=S)
    cuts = [len(whole) * part // count for part in range(1, count)]
    assert_alike([*talk.open(), *talk.send(records(whole, *cuts)), *talk.answer(SERVER_HELLO)], tmp_path)


@pytest.mark.parametrize("port", [53, 5300])
@pytest.mark.parametrize("ends", [(CLIENT, SERVER, RESOLVER), ("2001:db8::2", "2001:db8::10", "2001:db8::53")])
def test_an_answer_whose_udp_header_gives_no_length(ends: tuple[str, str, str], port: int, tmp_path: Path) -> None:
    """As of datagrams that IPv6 alone can carry (RFC 2675 section 4)."""
    client, server, resolver = ends
    row = udp(S, (resolver, port, client, 5000), dns_answer(LISTED, [server]))
    data = bytearray(row.data)
    length_at = data.index(struct.pack(">HH", port, 5000)) + 4
    data[length_at : length_at + 2] = b"\0\0"
    talk = Conversation((client, 40_000, server, 443), start_ns=S + 5 * MS)
    connection = [*talk.open(), *talk.send(hello()), *talk.answer(SERVER_HELLO), *talk.send(APPLICATION)]
    assert_alike([Packet(row.ts_ns, row.link_type, bytes(data), row.wire_octets), *connection], tmp_path)


def test_a_look_up_behind_a_packet_of_a_clock_that_is_ahead(tmp_path: Path) -> None:
    """Several queues of an interface do not stamp in order."""
    ahead = udp(10 * S + 20 * MS, ("10.0.0.77", 1000, "10.0.0.78", 1000), b"x" * 30)
    talk = Conversation(start_ns=10 * S + 10 * MS)
    rows = [ahead, *told("host.example.org", at_ns=10 * S), *talk.open(), *talk.answer(BANNER), *talk.send(BANNER)]
    path = tmp_path / "packets.pcap"
    write_pcap(path, rows)
    without = told_of(detected(path, None))
    assert without[-1][5] == (("host.example.org",),)
    assert told_of(detected(path, new_screen())) == without

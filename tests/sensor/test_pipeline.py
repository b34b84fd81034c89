import struct
from itertools import chain

import pytest
from frames import (
    ACK,
    CLIENT,
    FIN,
    MS,
    RST,
    SERVER,
    SYN,
    Conversation,
    S,
    ask,
    dns_answer,
    frame,
    last_revisions,
    packed,
    packet,
    replay,
    tcp,
    tell,
    told,
    udp,
)
from hellos import hello_message, records, server_name
from initials import crypto, initial

from rules.values.observation import Evidence, FlowState, Indicator, Kind, NameSource, Observation, Refusal, Transport
from sensor.flow_reader import FLOW_HEAD_OCTETS
from sensor.packet import Packet
from sensor.pipeline import Limits, Pipeline

NAME = "agent.example"
HELLO = records(hello_message(server_name(NAME.encode())))
SERVER_HELLO = b"\x16\x03\x03\x00\x40\x02" + bytes(63)
ALERT = b"\x15\x03\x03\x00\x02\x02\x28"
UNKNOWN = b"\xa5" * 200
SNI = Indicator(Evidence.TLS_SNI, NAME)
CONNECT = b"CONNECT agent.example:443 HTTP/1.1\r\nHost: agent.example:443\r\n\r\n"
ACCEPTED = b"HTTP/1.1 200 Connection established\r\nVia: proxy\r\n\r\n"


def unreachable(ts_ns: int, quoted: Packet, code: int = 13) -> Packet:
    body = struct.pack(">BBHI", 3, code, 0, 0) + quoted.data[14:42]
    return packet(ts_ns, frame(1, SERVER, CLIENT, body))


def only(observations: list[Observation]) -> Observation:
    """The last revision of the only flow."""
    (found,) = last_revisions(row for row in observations if row.dns is None)
    return found


def test_a_hello_is_reported_at_once_and_again_when_it_is_answered() -> None:
    pipeline, talk = Pipeline(), Conversation()
    pipeline.feed_batch(told(NAME))
    assert pipeline.feed_batch(talk.open()) == []
    (first,) = pipeline.feed_batch(talk.send(HELLO))
    assert (first.kind, first.state, first.revision) == (Kind.TLS, FlowState.ATTEMPTED, 1)
    assert first.indicators[0] == SNI
    assert first.told_names == (NAME,)
    assert first.observed_at_ns == S
    assert (first.five_tuple.src, first.five_tuple.dst_port) == (packed(CLIENT), 443)
    assert first.hello is not None
    (second,) = pipeline.feed_batch(talk.answer(SERVER_HELLO))
    assert (second.key, second.revision, second.state) == (first.key, 2, FlowState.LIVE)
    assert second.indicators == first.indicators
    assert pipeline.feed_batch([*talk.send(UNKNOWN * 50), *talk.answer(UNKNOWN * 50), talk.segment(RST)]) == []
    assert pipeline.flush() == []


@pytest.mark.parametrize("size", [1, 5, 40])
def test_a_hello_in_small_segments(size: int) -> None:
    talk = Conversation()
    assert SNI in only(replay(talk.open() + talk.send(HELLO, size=size))).indicators


def test_a_hello_that_is_cut_off_is_read_as_far_as_it_goes() -> None:
    talk = Conversation()
    hello = records(hello_message(server_name(NAME.encode()), bytes.fromhex("002b00050403040303")))
    found = only(replay([*talk.open(), *talk.send(hello[:-4]), talk.segment(RST)]))
    assert SNI in found.indicators


def test_a_hello_with_the_syn() -> None:
    talk = Conversation()
    assert SNI in only(replay([talk.segment(SYN, HELLO), talk.segment(SYN | ACK, is_client=False)])).indicators


def test_a_connection_whose_lower_port_is_the_client_s() -> None:
    ends = (CLIENT, 443, SERVER, 50000)
    without_syn = Conversation(ends).send(HELLO)
    talk = Conversation(ends)
    for packets in (without_syn, talk.open() + talk.send(HELLO)):
        assert only(replay(packets)).five_tuple.src == packed(CLIENT)


def test_a_connection_seen_from_its_answer_on() -> None:
    talk = Conversation((CLIENT, 443, SERVER, 50000))
    packets = talk.open()[1:] + talk.send(b"SSH-2.0-agent\r\n") + talk.answer(b"SSH-2.0-server\r\n")
    found = only(replay(packets))
    assert found.five_tuple.src == packed(CLIENT)
    assert [row.value for row in found.indicators] == ["SSH-2.0-agent", "SSH-2.0-server"]


def test_nobody_s_address_and_no_content_is_nothing() -> None:
    talk = Conversation()
    assert replay(talk.open() + talk.send(UNKNOWN) + talk.answer(UNKNOWN)) == []


@pytest.mark.parametrize("is_answered", [True, False])
def test_unknown_content_to_a_told_address_is_reported_once_after_three_seconds(is_answered: bool) -> None:
    pipeline, talk = Pipeline(), Conversation()
    talk_packets = talk.open() + talk.send(UNKNOWN * 40) + (talk.answer(UNKNOWN * 40) if is_answered else [])
    assert [row for row in pipeline.feed_batch(told(NAME) + talk_packets) if row.dns is None] == []
    found = only(pipeline.advance(5 * S))
    assert (found.kind, found.indicators, found.told_names) == (Kind.CONNECTION, (), (NAME,))
    assert found.state is (FlowState.LIVE if is_answered else FlowState.ATTEMPTED)
    assert pipeline.feed_batch(talk.send(UNKNOWN)) + pipeline.flush() == []


def test_the_told_client_is_the_initiator() -> None:
    packets = [udp(S, (CLIENT, 443, SERVER, 50000), UNKNOWN), udp(S, (SERVER, 50000, CLIENT, 443), UNKNOWN)]
    found = only(replay(told(NAME) + packets[::-1]))
    assert found.five_tuple.src == packed(CLIENT)
    assert (found.five_tuple.transport, found.state) == (Transport.UDP, FlowState.LIVE)


def test_a_syn_without_an_answer_is_blocked_after_three_seconds() -> None:
    pipeline, talk = Pipeline(), Conversation()
    pipeline.feed_batch([*told(NAME), talk.segment(SYN)])
    assert pipeline.advance(4 * S - 1) == []
    found = only(pipeline.advance(4 * S))
    assert (found.state, found.refusal, found.told_names) == (FlowState.BLOCKED, None, (NAME,))
    talk.now_ns = 5 * S
    (answered,) = pipeline.feed(talk.segment(SYN | ACK, is_client=False))
    assert (answered.key, answered.revision, answered.state) == (found.key, 2, FlowState.ATTEMPTED)


def test_a_syn_sent_again_without_an_answer_is_blocked() -> None:
    ends = (CLIENT, 40000, SERVER, 443)
    again = [tcp(S, ends, (5, 0, SYN)), tcp(2 * S, ends, (5, 0, SYN))]
    assert only(replay(told(NAME) + again)).state is FlowState.BLOCKED
    assert only(replay(told(NAME) + again[:1] * 2)).state is FlowState.ATTEMPTED


def test_unanswered_syns_to_nobody_s_address_leave_no_flow() -> None:
    pipeline = Pipeline()
    pipeline.feed(tcp(S, (CLIENT, 40000, SERVER, 443), (5, 0, SYN)))
    assert pipeline.advance(9 * S) == []
    assert pipeline.flush() == []
    assert len(pipeline._table) == 0


@pytest.mark.parametrize("has_hello", [True, False])
def test_a_reset_by_the_other_side_is_a_block(has_hello: bool) -> None:
    talk = Conversation()
    packets = talk.open() + talk.send(HELLO) if has_hello else [talk.segment(SYN)]
    found = only(replay([*told(NAME), *packets, talk.segment(RST | ACK, b"Go away.", is_client=False)]))
    assert (found.state, found.refusal) == (FlowState.BLOCKED, Refusal.RESET)


def test_a_reset_by_the_client_or_after_its_end_is_none() -> None:
    talk = Conversation()
    assert only(replay([*talk.open(), *talk.send(HELLO), talk.segment(RST)])).state is FlowState.ATTEMPTED
    talk = Conversation()
    packets = [*talk.open(), *talk.send(HELLO), talk.segment(FIN | ACK), talk.segment(RST, is_client=False)]
    assert only(replay(packets)).state is FlowState.ATTEMPTED


def test_an_unreachable_destination_is_a_block() -> None:
    talk = Conversation()
    hello = talk.open() + talk.send(HELLO)
    found = only(replay([*hello, unreachable(2 * S, hello[-1])]))
    assert (found.state, found.refusal) == (FlowState.BLOCKED, Refusal.UNREACHABLE)
    query = udp(S, (CLIENT, 40000, SERVER, 51820), UNKNOWN)
    assert only(replay([*told(NAME), query, unreachable(S, query)])).state is FlowState.BLOCKED
    assert only(replay([*told(NAME), query, unreachable(S, query, code=4)])).state is FlowState.ATTEMPTED


def test_a_block_that_is_answered_after_all_is_live() -> None:
    talk = Conversation()
    packets = [*talk.open(), *talk.send(HELLO), talk.segment(RST, is_client=False), *talk.answer(SERVER_HELLO)]
    found = [(row.state, row.refusal) for row in replay(packets)]
    assert found == [(FlowState.ATTEMPTED, None), (FlowState.BLOCKED, Refusal.RESET), (FlowState.LIVE, None)]


def test_an_alert_is_no_tunnel() -> None:
    talk = Conversation()
    assert only(replay(talk.open() + talk.send(HELLO) + talk.answer(ALERT))).state is FlowState.ATTEMPTED


def test_a_proxy_s_own_answer_is_no_tunnel() -> None:
    talk = Conversation((CLIENT, 40000, SERVER, 3128))
    packets = talk.open() + talk.send(CONNECT) + talk.answer(ACCEPTED) + talk.send(HELLO)
    found = only(replay(packets))
    assert [row.evidence for row in found.indicators] == [Evidence.HTTP_CONNECT, Evidence.TLS_SNI, Evidence.JA4]
    assert found.state is FlowState.ATTEMPTED
    live = only(replay(packets + talk.answer(SERVER_HELLO)))
    assert (live.state, live.indicators) == (FlowState.LIVE, found.indicators)


@pytest.mark.parametrize("split", [1400, 7])
def test_a_proxy_that_asks_for_credentials_first(split: int) -> None:
    talk = Conversation((CLIENT, 40000, SERVER, 3128))
    denied = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 4\r\n\r\nnope"
    packets = talk.open() + talk.send(CONNECT) + talk.answer(denied, size=split)
    assert only(replay(packets)).state is FlowState.ATTEMPTED
    packets += talk.send(CONNECT) + talk.answer(ACCEPTED, size=split) + talk.send(HELLO)
    assert only(replay(packets)).state is FlowState.ATTEMPTED
    assert only(replay(packets + talk.answer(SERVER_HELLO))).state is FlowState.LIVE


def test_a_proxy_that_forbids_is_a_block() -> None:
    talk = Conversation((CLIENT, 40000, SERVER, 3128))
    packets = talk.open() + talk.send(CONNECT)
    packets += talk.answer(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    found = only(replay(packets))
    assert (found.state, found.refusal) == (FlowState.BLOCKED, Refusal.PROXY)


def test_a_socks_proxy_s_own_answer_is_no_tunnel() -> None:
    talk = Conversation((CLIENT, 40000, SERVER, 1080))
    packets = talk.open() + talk.send(b"\x05\x01\x00") + talk.answer(b"\x05\x00")
    packets += talk.send(b"\x05\x01\x00\x03\x0dagent.example\x01\xbb") + talk.answer(b"\x05\x00\x00\x01" + bytes(6))
    packets += talk.send(HELLO)
    found = only(replay(packets))
    assert [row.evidence for row in found.indicators] == [Evidence.SOCKS, Evidence.TLS_SNI, Evidence.JA4]
    assert found.state is FlowState.ATTEMPTED
    assert only(replay(packets + talk.answer(SERVER_HELLO))).state is FlowState.LIVE


def test_a_syn_begins_the_five_tuple_anew() -> None:
    first, second = Conversation(isn=1000), Conversation(isn=900_000, start_ns=2 * S)
    other = records(hello_message(server_name(b"other.example")))
    packets = first.open() + first.send(HELLO) + first.answer(SERVER_HELLO)
    packets += second.open() + second.send(other) + second.answer(SERVER_HELLO)
    found = last_revisions(replay(packets))
    assert [row.indicators[0].value for row in found] == [NAME, "other.example"]
    assert {row.state for row in found} == {FlowState.LIVE}


def test_a_connection_that_was_never_closed_ends_with_the_answer_to_another_syn() -> None:
    """A SYN alone says nothing: an open connection goes on (RFC 9293 section 3.10.7.4)."""
    first, second = Conversation(isn=1000), Conversation(isn=900_000, start_ns=2 * S)
    begun, other = first.open() + first.send(HELLO[:20]), records(hello_message(server_name(b"other.example")))
    syn, *opened = second.open()
    found = last_revisions(replay([*begun, syn, *first.send(HELLO[20:]), *first.answer(SERVER_HELLO)]))
    assert [row.indicators[0].value for row in found] == [NAME]
    found = last_revisions(replay([*begun, syn, *opened, *second.send(other), *second.answer(SERVER_HELLO)]))
    assert [row.indicators[0].value for row in found if row.indicators] == ["other.example"]
    assert found[-1].state is FlowState.LIVE


def test_copies_of_the_handshake_begin_nothing() -> None:
    talk = Conversation()
    handshake = talk.open()
    packets = handshake + talk.send(HELLO) + talk.answer(SERVER_HELLO)
    assert len(last_revisions(replay(packets + handshake))) == 1
    assert len(last_revisions(replay(packets[2:] + handshake))) == 1


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_a_quic_hello_over_two_datagrams(order: list[int]) -> None:
    message = hello_message(server_name(NAME.encode()))
    ends = (CLIENT, 50000, SERVER, 443)
    halves = [udp(S, ends, initial(crypto(0, message[:30]))), udp(S, ends, initial(crypto(30, message[30:]), number=1))]
    found = only(replay([halves[place] for place in order]))
    assert found.indicators[0] == Indicator(Evidence.QUIC_SNI, NAME)
    assert (found.kind, found.state) == (Kind.TLS, FlowState.ATTEMPTED)
    answer = udp(S + MS, (SERVER, 443, CLIENT, 50000), initial(b"\x01", dcid=b"server", side="server in"))
    for packets in ([answer, *halves], [*halves, answer], [halves[0], answer, halves[1]]):
        live = only(replay(packets))
        assert (live.state, live.five_tuple.src) == (FlowState.LIVE, packed(CLIENT))


def test_a_damaged_quic_initial_is_counted() -> None:
    pipeline = Pipeline()
    pipeline.feed(udp(S, (CLIENT, 50000, SERVER, 443), initial(b"\x1f")))
    assert pipeline.counters.malformed == {"MalformedQuic": 1}


def test_quiet_flows_are_only_counted() -> None:
    pipeline, talk = Pipeline(), Conversation()
    pipeline.feed_batch(talk.open() + talk.send(HELLO) + talk.answer(SERVER_HELLO))
    (flow,) = pipeline._table
    assert (flow.quiet, flow.head) == (3, None)
    before = flow.octets_0, flow.octets_1
    bulk = [*talk.send(UNKNOWN * 7), *talk.answer(UNKNOWN * 7)]
    pipeline.feed_batch(bulk)
    assert (flow.octets_0 - before[0], flow.octets_1 - before[1]) == tuple(row.wire_octets for row in bulk)


def test_the_interface_is_that_of_the_first_packet() -> None:
    packets = Conversation().send(HELLO)
    packets[0].interface = "eth7"
    assert only(replay(packets)).interface == "eth7"


def test_packets_without_payload_begin_no_flow() -> None:
    pipeline, talk = Pipeline(), Conversation()
    pipeline.feed_batch([talk.segment(ACK), talk.segment(FIN), talk.segment(RST)])
    assert pipeline.counters.flows == 0


def test_a_second_capture_of_earlier_packets() -> None:
    late, early = Conversation(start_ns=10**18), Conversation(start_ns=S, isn=77)
    packets = late.open() + late.send(HELLO) + early.open() + early.send(HELLO) + early.answer(SERVER_HELLO)
    assert [row.state for row in last_revisions(replay(packets))] == [FlowState.ATTEMPTED, FlowState.LIVE]


def test_a_damaged_packet_from_before_loses_no_report() -> None:
    late = Conversation(start_ns=10**18)
    pipeline = Pipeline()
    pipeline.feed_batch(told(NAME, at_ns=10**18 - S) + late.open() + late.send(UNKNOWN))
    assert only(pipeline.feed(packet(S, bytes(10)))).told_names == (NAME,)


def test_counters() -> None:
    pipeline, talk = Pipeline(), Conversation()
    packets = [*told(NAME), *talk.open(), packet(S, bytes(60)), packet(S, bytes(10)), Packet(S, 1, bytes(10), 60)]
    pipeline.feed_batch(packets)
    counters = pipeline.counters
    assert (counters.packets, counters.octets) == (len(packets), sum(row.wire_octets for row in packets))
    assert (counters.dns_messages, counters.flows, counters.not_ip, counters.truncated) == (2, 1, 1, 1)
    assert counters.malformed == {"MalformedPacket": 1}


def test_segments_that_contradict_each_other_are_counted() -> None:
    pipeline, talk = Pipeline(), Conversation()
    packets = talk.open() + talk.send(HELLO[:40])
    talk.next_seq[True] -= 20
    pipeline.feed_batch(packets + talk.send(bytes(20)) + talk.send(HELLO[40:]))
    assert not [row for row in pipeline.flush() if row.indicators]
    assert pipeline.counters.conflicts == 1


def test_the_flow_table_is_bounded_and_no_hello_is_lost() -> None:
    pipeline = Pipeline(Limits(flows=20))
    talks = [Conversation((CLIENT, 40000 + number, SERVER, 443)) for number in range(100)]
    opened = chain.from_iterable(talk.open() + talk.send(HELLO) for talk in talks)
    found = pipeline.feed_batch(opened) + pipeline.flush()
    assert len(last_revisions(found)) == 100
    assert pipeline.counters.flows_evicted == 80


def test_evicted_flows_are_reported_as_they_are() -> None:
    pipeline = Pipeline(Limits(flows=20))
    talks = [Conversation((CLIENT, 40000 + number, SERVER, 443)) for number in range(100)]
    opened = chain.from_iterable(talk.open() + talk.send(UNKNOWN) for talk in talks)
    found = pipeline.feed_batch(told(NAME)) + pipeline.feed_batch(opened)
    assert len([row for row in found if row.dns is None]) == 80


def test_heads_are_bounded_in_all() -> None:
    limit = 20 * (1000 + FLOW_HEAD_OCTETS)
    pipeline = Pipeline(Limits(head_octets=limit))
    talks = [Conversation((CLIENT, 40000 + number, SERVER, 443)) for number in range(100)]
    pipeline.feed_batch(
        chain.from_iterable(talk.open() + talk.send(b"\x16\x03\x01\x20\x00" + bytes(995)) for talk in talks)
    )
    assert pipeline._flows._held_octets == 20 * 1000
    assert pipeline.counters.reassembly_evicted == 80
    pipeline.flush()
    assert pipeline._flows._held_octets == 0


def test_alarms_of_flows_that_are_gone_are_cleared_away() -> None:
    pipeline = Pipeline(Limits(flows=10))
    for number in range(30_000):
        pipeline.feed(tcp(S, (SERVER, 443, CLIENT, number + 1), (5, 6, SYN | ACK)))
    assert len(pipeline._flows._alarms) < 17_000


def test_where_a_flow_s_name_is_from() -> None:
    hour = 3600 * S
    asked = told("resolver.example", at_ns=0) + told(NAME, at_ns=hour, address="192.0.2.77")
    early, late = Conversation(), Conversation((CLIENT, 40001, SERVER, 443), start_ns=hour + S)
    other = Conversation((CLIENT, 40002, SERVER, 443), start_ns=hour + 2 * S)
    unasked = records(hello_message(server_name(b"hidden.example")))
    packets = asked[:2] + early.open() + early.send(HELLO) + asked[2:] + late.open() + late.send(HELLO)
    found = last_revisions(replay(packets + other.open() + other.send(unasked)))
    sources = [row.name_source for row in found if row.dns is None]
    assert sources == [NameSource.NO_DNS_SEEN, NameSource.DNS, NameSource.NOT_ASKED]


def test_the_chain_that_led_to_a_flow_is_known() -> None:
    talk = Conversation()
    answer = tell(MS, dns_answer(NAME, [SERVER], aliases=["edge.example", "pop.example"]))
    found = only(replay([ask(0, NAME), answer, *talk.open(), *talk.send(HELLO)]))
    assert found.told == ((NAME, "edge.example", "pop.example"),)

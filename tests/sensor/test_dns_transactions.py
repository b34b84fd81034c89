import pytest
from frames import CLIENT, MS, RESOLVER, Conversation, S, ask, dns_answer, dns_query, packed, replay, tell, told, udp

from rules.values.observation import DnsTransaction, Evidence, FiveTuple, FlowState, Indicator, Kind, Refusal, Transport
from sensor.pipeline import Limits, Pipeline
from sensor.reassembly import HEAD_OCTETS

NAME = "www.example"


def test_query_and_answer_are_one_observation() -> None:
    answer = dns_answer(NAME, ["192.0.2.1", "192.0.2.2"], aliases=["edge.example", "pop.example"])
    (found,) = replay([ask(S, NAME), tell(S + MS, answer)])
    assert found.kind is Kind.DNS
    assert (found.key, found.revision, found.observed_at_ns) == (1, 1, S)
    assert found.five_tuple == FiveTuple(Transport.UDP, packed(CLIENT), 5000, packed(RESOLVER), 53)
    assert found.indicators == (
        Indicator(Evidence.DNS_QUERY, NAME),
        Indicator(Evidence.DNS_CNAME, "edge.example"),
        Indicator(Evidence.DNS_CNAME, "pop.example"),
    )
    addresses = (packed("192.0.2.1"), packed("192.0.2.2"))
    assert found.dns == DnsTransaction(NAME, 1, 0, ("edge.example", "pop.example"), addresses)
    assert found.state is FlowState.ATTEMPTED


def test_a_query_without_an_answer_is_reported_after_a_second() -> None:
    pipeline = Pipeline()
    assert pipeline.feed(ask(S, NAME)) == []
    assert pipeline.advance(2 * S - 1) == []
    (found,) = pipeline.advance(2 * S)
    assert found.dns == DnsTransaction(NAME, 1)
    assert pipeline.advance(9 * S) == []
    (late,) = pipeline.feed(tell(9 * S, dns_answer(NAME, ["192.0.2.1"])))
    assert (late.key, late.revision, late.observed_at_ns) == (found.key, 2, S)
    assert pipeline.flush() == []


def test_another_packet_tells_that_the_second_is_over() -> None:
    pipeline = Pipeline()
    pipeline.feed(ask(S, NAME))
    assert [row.dns.qname for row in pipeline.feed(ask(3 * S, "b.example", port=6000)) if row.dns] == [NAME]
    assert [row.dns.qname for row in pipeline.flush() if row.dns] == ["b.example"]


def test_retransmissions_and_copies_are_the_same_transaction() -> None:
    answer = tell(6 * S, dns_answer(NAME, ["192.0.2.1"]))
    found = replay([ask(0, NAME), ask(0, NAME), ask(5 * S, NAME), answer, answer, ask(6 * S + 1, NAME)])
    assert [(row.key, row.revision) for row in found] == [(1, 1), (1, 2)]


def test_an_answer_that_leads_to_other_names_than_the_first_is_reported_too() -> None:
    first, alias = (
        dns_answer("www.example.org", rcode=3),
        dns_answer("www.example.org", [CLIENT], aliases=["a.example"]),
    )
    other = dns_answer("www.example.org", [CLIENT], aliases=["b.example"])
    answers = [tell((row + 2) * MS, message) for row, message in enumerate((first, alias, alias, other, first))]
    found = replay([ask(MS, "www.example.org"), *answers])
    assert [row.dns and row.dns.cnames for row in found] == [(), ("a.example",), ("b.example",)]
    assert len({row.key for row in found}) == 3


@pytest.mark.parametrize(
    "other",
    [
        ask(MS, NAME, ident=8),
        ask(MS, NAME, port=5001),
        ask(MS, NAME, qtype=28),
        ask(MS, "x.example"),
        ask(60 * S, NAME),
    ],
)
def test_what_makes_another_transaction(other: object) -> None:
    found = replay([ask(0, NAME), tell(1, dns_answer(NAME, ["192.0.2.1"])), other])  # type: ignore[list-item]
    assert len({row.key for row in found}) == 2


def test_an_answer_alone_is_reported_as_the_client_s() -> None:
    packets = [tell(S, dns_answer(NAME, ["192.0.2.1"])), ask(S + MS, NAME)]
    (found,) = replay(packets)
    assert found.five_tuple.src == packed(CLIENT)
    assert found.observed_at_ns == S


@pytest.mark.parametrize(
    ("addresses", "rcode", "state"),
    [
        ([], 3, FlowState.BLOCKED),
        ([], 5, FlowState.BLOCKED),
        ([], 2, FlowState.ATTEMPTED),
        ([], 0, FlowState.ATTEMPTED),
        (["0.0.0.0"], 0, FlowState.BLOCKED),
        (["127.0.0.53", "0.0.0.0"], 0, FlowState.BLOCKED),
        (["::"], 0, FlowState.BLOCKED),
        (["::1"], 0, FlowState.BLOCKED),
        (["0.0.0.0", "192.0.2.1"], 0, FlowState.ATTEMPTED),
    ],
)
def test_refusals_and_sinkholes_are_blocks(addresses: list[str], rcode: int, state: FlowState) -> None:
    answer = dns_answer(NAME, addresses, rcode=rcode)
    qtype = 28 if any(":" in row for row in addresses) else 1
    (found,) = replay([ask(0, NAME, qtype=qtype), tell(MS, answer)])
    assert found.state is state
    assert found.refusal is (Refusal.DNS if rcode in {3, 5} else None)


@pytest.mark.parametrize("port", [53, 5353, 5355, 10053])
def test_dns_is_recognised_on_any_port(port: int) -> None:
    (found,) = replay([udp(0, (CLIENT, 5000, RESOLVER, port), dns_query(NAME))])
    assert found.five_tuple.dst_port == port


def test_an_answer_to_a_multicast_group_is_nobody_s() -> None:
    assert replay([udp(0, (CLIENT, 5353, "224.0.0.251", 5353), dns_answer(NAME, ["192.0.2.1"]))]) == []


@pytest.mark.parametrize("size", [1400, 1, 3])
def test_dns_over_tcp(size: int) -> None:
    talk = Conversation((CLIENT, 40000, RESOLVER, 53))
    query, answer = dns_query(NAME), dns_answer(NAME, ["192.0.2.1"])
    packets = talk.open()
    packets += talk.send(len(query).to_bytes(2) + query, size=size)
    packets += talk.answer(len(answer).to_bytes(2) + answer, size=size)
    query = dns_query("second.example", ident=9)
    packets += talk.send(len(query).to_bytes(2) + query, size=size)
    found = replay(packets)
    assert [(row.dns.qname, row.dns.rcode) for row in found if row.dns] == [(NAME, 0), ("second.example", None)]
    assert {row.five_tuple.transport for row in found} == {Transport.TCP}
    assert {row.five_tuple.src for row in found} == {packed(CLIENT)}


@pytest.mark.parametrize("at_once", [1, 7, 400])
@pytest.mark.parametrize("size", [33, 1400, 30_000])
def test_a_connection_of_dns_over_tcp_carries_any_number_of_messages(size: int, at_once: int) -> None:
    """What was read makes room, in the head and in memory; copies of segments bring nothing again."""
    talk, number = Conversation((CLIENT, 40000, RESOLVER, 53)), 400
    packets = talk.open()
    for first in range(0, number, at_once):
        names = [(at, f"host{at}.example") for at in range(first, min(first + at_once, number))]
        packets += talk.send(b"".join(framed(dns_query(name, ident=at)) for at, name in names), size=size)
        answers = b"".join(framed(dns_answer(name, ["192.0.2.1"], ident=at)) for at, name in names)
        packets += talk.answer(answers, size=size)
    for repeated in (packets, [row for pair in zip(packets, packets, strict=True) for row in pair]):
        pipeline = Pipeline()
        found = {row.key: row for row in pipeline.feed_batch(repeated)}
        assert pipeline._flows._held_octets < HEAD_OCTETS
        assert pipeline.counters.conflicts == 0
        assert [(row.dns.qname, row.dns.rcode) for row in found.values() if row.dns] == [
            (f"host{at}.example", 0) for at in range(number)
        ]


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


def test_a_damaged_answer_is_counted_and_leaves_the_query() -> None:
    pipeline = Pipeline()
    damaged = bytearray(dns_answer(NAME, ["192.0.2.1"]))
    damaged[-16:-14] = b"\xc0\xff"
    found = pipeline.feed_batch([ask(0, NAME), tell(MS, bytes(damaged))]) + pipeline.flush()
    assert [row.dns for row in found] == [DnsTransaction(NAME, 1)]
    assert pipeline.counters.malformed == {"MalformedDns": 1}


def test_the_table_is_bounded_and_no_query_is_lost() -> None:
    pipeline = Pipeline(Limits(dns_transactions=10))
    found = pipeline.feed_batch(ask(number, f"{number}.example", port=1024 + number) for number in range(50))
    assert pipeline.counters.dns_evicted == 40
    found += pipeline.flush()
    assert sorted(row.dns.qname for row in found if row.dns) == sorted(f"{number}.example" for number in range(50))


def test_answered_transactions_leave_without_being_counted() -> None:
    pipeline = Pipeline(Limits(dns_transactions=2))
    for number in range(20):
        pipeline.feed_batch(told(f"{number}.example", at_ns=number * S))
    assert pipeline.counters.dns_evicted == 0

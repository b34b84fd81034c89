import pytest
from frames import (
    ACK,
    CLIENT,
    FIN,
    MS,
    PSH,
    RESOLVER,
    SERVER,
    SYN,
    Conversation,
    S,
    ask,
    dns_query,
    replay,
    tcp,
    udp,
)
from hellos import hello_message, records, server_name
from initials import crypto, initial

from rules.values.observation import Evidence, Indicator
from sensor.pipeline import Limits, Pipeline

NAME = "agent.example"
SNI = Indicator(Evidence.TLS_SNI, NAME)
HELLO = records(hello_message(server_name(NAME.encode())))
ENDS = (CLIENT, 40000, SERVER, 443)


def test_a_syn_begins_anew_what_was_only_heard_from_the_server() -> None:
    talk = Conversation(ENDS)
    heard = [*talk.answer(bytes(100)), talk.segment(FIN | ACK, is_client=False), talk.segment(FIN | ACK)]
    again = [tcp(10 * S, ENDS, (77_777, 0, SYN)), tcp(10 * S + MS, ENDS, (77_778, 5, ACK | PSH), HELLO)]
    (seen,) = replay([*heard, *again])
    assert seen.indicators[0] == SNI


@pytest.mark.parametrize("wait_ns", [MS, 9 * S])
def test_no_rubbish_on_a_dns_port_hides_the_questions_behind_it(wait_ns: int) -> None:
    pair = (CLIENT, 5000, RESOLVER, 53)
    rubbish = [udp(S + at * MS, ends, b"\xff" * 1200) for at in range(3) for ends in (pair, (*pair[2:], *pair[:2]))]
    others = [ask(S + 5 * S, "other.example", port=5001)]
    seen = replay(sorted([*rubbish, *others, udp(S + 10 * MS + wait_ns, pair, dns_query(NAME))], key=lambda p: p.ts_ns))
    assert NAME in [row.dns.qname for row in seen if row.dns is not None]


def test_half_quic_hellos_are_bounded_with_all_heads() -> None:
    pipeline = Pipeline(Limits(head_octets=1 << 20))
    sparse = initial(crypto(16_000, bytes(300)))
    for at in range(200):
        pipeline.feed(udp(S + at, (CLIENT, 1000 + at, SERVER, 443), sparse))
    assert pipeline.counters.reassembly_evicted > 150


def test_a_hello_behind_a_dns_message_on_one_stream_is_reported() -> None:
    talk = Conversation(ENDS)
    query = dns_query("other.example")
    seen = replay([*talk.open(), *talk.send(len(query).to_bytes(2, "big") + query + HELLO)])
    assert SNI in [indicator for row in seen for indicator in row.indicators]

import pytest
from frames import ACK, CLIENT, MS, PSH, RST, SERVER, SYN, Conversation, S, packed, packet, replay, tcp, told

from rules.values.observation import FlowState
from sensor.flow import NEVER_NS
from sensor.half_open import HalfOpen, HalfOpenTable
from sensor.pipeline import Limits, Pipeline

NAME = "agent.example"
ENDS = (CLIENT, 40000, SERVER, 443)


def row(number: int) -> HalfOpen:
    return HalfOpen(number, number, 0, 54, "")


def test_the_oldest_syn_makes_room_and_is_counted() -> None:
    table = HalfOpenTable(2)
    rows = [(bytes([number]) * 12, row(number)) for number in range(3)]
    assert [table.add(*each) for each in rows] == [[], [], [rows[0]]]
    assert (len(table), table.evicted, table.first_ns) == (2, 1, 1)
    assert list(table.pop_until(1)) == [rows[1]]
    assert table.clear() == [rows[2]]
    assert table.first_ns == NEVER_NS


def test_both_directions_find_the_syn() -> None:
    table = HalfOpenTable(2)
    key = packed(CLIENT) + packed(SERVER) + b"\x01\x02\x03\x04"
    for asked in (key, packed(SERVER) + packed(CLIENT) + b"\x03\x04\x01\x02"):
        waiting = row(1)
        table.add(key, waiting)
        assert table.pop(asked) == (key, waiting)
        assert table.pop(asked) is None


def test_a_bare_syn_is_no_flow_yet_and_any_packet_makes_it_one() -> None:
    talk = Conversation(ENDS)
    pipeline = Pipeline()
    pipeline.feed(talk.segment(SYN))
    assert (len(pipeline._table), pipeline.counters.flows) == (0, 1)
    pipeline.feed(talk.segment(SYN | ACK, is_client=False))
    (flow,) = pipeline._table
    assert (flow.octets_0, flow.octets_1, flow.isn, flow.first_ns) == (54, 54, 1000, S)
    assert pipeline.counters.flows == 1


@pytest.mark.parametrize(
    ("later", "state"),
    [
        ([], FlowState.ATTEMPTED),
        ([tcp(S + 950 * MS, ENDS, (1000, 0, SYN))], FlowState.BLOCKED),
        ([tcp(S + MS, (SERVER, 443, CLIENT, 40000), (0, 1001, RST | ACK))], FlowState.BLOCKED),
        ([packet(5 * S, bytes(60))], FlowState.BLOCKED),
        ([tcp(S + MS, ENDS, (1001, 1, ACK)), packet(5 * S, bytes(60))], FlowState.ATTEMPTED),  # answered, unseen here
        ([packet(5 * S, bytes(60)), tcp(6 * S, ENDS, (1001, 1, ACK))], FlowState.ATTEMPTED),
    ],
)
def test_a_syn_to_an_address_the_client_was_told_is_reported(later: list[object], state: FlowState) -> None:
    pipeline = Pipeline()
    found = pipeline.feed_batch([*told(NAME), tcp(S, ENDS, (1000, 0, SYN)), *later])  # type: ignore[list-item]
    found += pipeline.flush()
    flows = [each for each in found if each.dns is None]
    assert flows[-1].state is state
    assert flows[-1].told_names == (NAME,)
    assert len({each.key for each in flows}) == 1


def test_an_evicted_syn_is_reported_as_it_is() -> None:
    pipeline = Pipeline(Limits(half_open=1))
    found = pipeline.feed_batch([*told(NAME), *(tcp(S, (CLIENT, port, SERVER, 443), (1, 0, SYN)) for port in (1, 2))])
    (flow,) = [each for each in found if each.dns is None]
    assert (flow.state, flow.five_tuple.src_port) == (FlowState.ATTEMPTED, 1)
    assert pipeline.counters.half_open_evicted == 1


def test_a_flow_whose_syn_was_evicted_is_read_all_the_same() -> None:
    talk = Conversation(ENDS)
    others = [tcp(S, (CLIENT, port, SERVER, 443), (1, 0, SYN)) for port in range(1, 100)]
    opened = talk.open()
    request = talk.send(b"GET / HTTP/1.1\r\nHost: agent.example\r\n\r\n")
    (seen,) = replay([opened[0], *others, *opened[1:], *request], Limits(half_open=10))
    assert seen.indicators[0].value == NAME
    assert seen.five_tuple.src == packed(CLIENT)


def test_a_new_syn_on_the_same_ports_is_another_flow() -> None:
    pipeline = Pipeline()
    pipeline.feed_batch([tcp(S, ENDS, (1000, 0, SYN)), tcp(S + MS, ENDS, (9000, 0, SYN))])
    assert pipeline.counters.flows == 2
    pipeline.feed(tcp(S + 2 * MS, ENDS, (9001, 1, ACK | PSH), b"x"))
    (flow,) = pipeline._table
    assert flow.isn == 9000

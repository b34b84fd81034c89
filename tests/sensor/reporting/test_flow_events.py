"""What an event says where its flows turn out to be something else, or do not all do the same."""

from collections.abc import Iterable

import pytest
from frames import ACK, CLIENT, MS, RST, SERVER, SYN, S, tcp, told
from hellos import hello_message, records, server_name

from rules.catalogue.catalogue import load_catalogue
from rules.policy.policy import Policy
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset
from rules.values.event import Event, Origin
from rules.values.observation import FlowState, Kind
from rules.values.source import Source
from rules.values.verdict import Outcome
from sensor.detection.detect import Detector
from sensor.packet import Packet
from sensor.pipeline import Pipeline
from sensor.reporting.report import Reporter

ONE, OTHER = "connect.ngrok-agent.com", "tunnel.us.ngrok.com"
OTHERS = "region1.v2.argotunnel.com"  # of another service
PROXY = "10.0.0.9"
REPLY = b"\x16\x03\x03\x00\x7a" + bytes(122)
LATE_NS = 7 * S  # the third time that a SYN is sent: the flow was reported as blocked by then
END_NS = 50 * S
RULES = Ruleset(load_catalogue(), Policy())


def segments(port: int, at_ns: int, *payloads: bytes, server: str = SERVER, server_port: int = 443) -> list[Packet]:
    """A connection in which client and server speak in turn, 20 ms apart."""
    up, down = (CLIENT, port, server, server_port), (server, server_port, CLIENT, port)
    seq, rows = [1001, 5001], [tcp(at_ns, up, (1000, 0, SYN)), tcp(at_ns + MS, down, (5000, 1001, SYN | ACK))]
    for number, payload in enumerate(payloads):
        side = number % 2
        numbers = seq[side], seq[1 - side], ACK
        rows.append(tcp(at_ns + 20 * (number + 1) * MS, (up, down)[side], numbers, payload))
        seq[side] += len(payload)
    return rows


def hello(name: str) -> bytes:
    return records(hello_message(server_name(name.encode())))


def live(port: int, at_s: float, name: str = ONE) -> list[Packet]:
    return segments(port, int(at_s * S), hello(name), REPLY)


def attempt(port: int, at_s: float, name: str = ONE) -> list[Packet]:
    return segments(port, int(at_s * S), hello(name))


def reset(port: int, at_s: float) -> list[Packet]:
    """Refused once it said where it goes."""
    refusal = tcp(int(at_s * S) + 50 * MS, (SERVER, 443, CLIENT, port), (5001, 1001 + len(hello(ONE)), RST | ACK))
    return [*attempt(port, at_s), refusal]


def silence(port: int, at_s: float) -> list[Packet]:
    return [tcp(int(at_s * S), (CLIENT, port, SERVER, 443), (1000, 0, SYN))]


def late(port: int, at_s: float, name: str = ONE) -> list[Packet]:
    """Answered after it was given up: what it says is known then."""
    return silence(port, at_s) + segments(port, int(at_s * S) + LATE_NS, hello(name), REPLY)


def proxied(port: int, at_s: float) -> list[Packet]:
    connect = f"CONNECT {ONE}:443 HTTP/1.1\r\nHost: {ONE}:443\r\n\r\n".encode()
    said = connect, b"HTTP/1.1 200 OK\r\n\r\n", hello(ONE), REPLY
    return segments(port, int(at_s * S), *said, server=PROXY, server_port=3128)


def report(*connections: Iterable[Packet]) -> list[Event]:
    """Every report of connections, of which nothing waits for anything: no flip is spared by luck."""
    detector, reporter = Detector(Pipeline(), lambda: RULES), Reporter(Origin("s"))
    reports: list[Event] = []
    for packet in sorted((row for rows in connections for row in rows), key=lambda row: row.ts_ns):
        for found in (detector.advance(packet.ts_ns), detector.feed([packet])):
            reports += reporter.take(found, packet.ts_ns)
        reporter.update(detector.watch.look(packet.ts_ns))
    reports += reporter.take(detector.advance(END_NS), END_NS)
    return [*reports, *reporter.flush()]


def excepting(service: str) -> Ruleset:
    """Rules in which alice may use a service, or those of a category."""
    table = f'[[exception]]\nusers = ["alice"]\nservice = "{service}"\nowner = "o"\nreason = "r"\n'
    return Ruleset(RULES.catalogue, parse_policy(table, "policy.toml", RULES.catalogue, 0))


def said(reports: list[Event]) -> list[tuple[str | None, Outcome, FlowState, int]]:
    """What a store holds of connections in the end."""
    rows = {row.event_id: row for row in sorted(reports, key=lambda row: row.revision) if row.kind is not Kind.DNS}
    return [(row.dst_name, row.verdict, row.state, row.count) for _, row in sorted(rows.items())]


LIVE_ONE = ONE, Outcome.UNSANCTIONED, FlowState.LIVE
LIVE_OTHER = OTHER, Outcome.UNSANCTIONED, FlowState.LIVE
BLOCKED_ONE = ONE, Outcome.SUSPICIOUS, FlowState.BLOCKED
TOLD, TOLD_LATER = told(ONE, at_ns=0), told(OTHER, at_ns=5 * S)


def test_a_flow_that_turns_out_to_go_elsewhere_takes_its_event_along() -> None:
    assert said(report(TOLD, TOLD_LATER, late(1, 1, OTHER))) == [(*LIVE_OTHER, 1)]


@pytest.mark.parametrize(
    ("service", "name", "is_excepted"),
    [
        ("ngrok", OTHER, True),
        ("ngrok", OTHERS, False),
        ("reverse-tunnel", OTHER, True),
        ("reverse-tunnel", OTHERS, True),
    ],
)
def test_an_exception_goes_along_to_another_name_where_it_speaks_of_its_service(
    service: str, name: str, *, is_excepted: bool
) -> None:
    rules = excepting(service)
    detector, reporter = Detector(Pipeline(), lambda: rules), Reporter(Origin("s"), exception_for=rules.exception_for)
    found = [*detector.feed([*TOLD, *silence(1, 1), *told(name, at_ns=5 * S)]), *detector.advance(6 * S)]
    reporter.take(found, 6 * S)
    key = next(row.observation.key for row in found if row.observation.dns is None)
    known = reporter.attribute([(key, Source(uid=7, user="alice"))], 6 * S)
    excepted = next(row for row in known if row.kind is not Kind.DNS)
    exception = rules.policy.exceptions[0].id
    assert (excepted.dst_name, excepted.exception_id) == (ONE, exception)
    reports = reporter.take(detector.feed(segments(1, S + LATE_NS, hello(name), REPLY)), 9 * S)
    last = max(
        (row for row in [*reports, *reporter.flush()] if row.event_id == excepted.event_id),
        key=lambda row: row.revision,
    )
    assert (last.dst_name, last.src_user, last.exception_id) == (name, "alice", exception if is_excepted else None)


def test_later_flows_to_where_it_was_taken_to_go_are_not_counted_there() -> None:
    again = told(ONE, at_ns=9 * S)
    assert said(report(TOLD, TOLD_LATER, late(1, 1, OTHER), again, silence(2, 10))) == [
        (*LIVE_OTHER, 1),
        (*BLOCKED_ONE, 1),
    ]


def test_later_flows_to_where_it_goes_are() -> None:
    assert said(report(told(OTHER, at_ns=0), told(ONE, at_ns=S), late(1, 2, OTHER), live(2, 12, OTHER))) == [
        (*LIVE_OTHER, 2)
    ]


def test_one_of_several_leaves_their_event_with_what_it_carried() -> None:
    reports = report(TOLD, TOLD_LATER, silence(2, 1), silence(3, 1), late(4, 1, OTHER))
    assert sorted(said(reports)) == [(*BLOCKED_ONE, 2), (*LIVE_OTHER, 1)]
    blocked = max((row for row in reports if row.state is FlowState.BLOCKED), key=lambda row: row.revision)
    assert blocked.bytes_out == sum(packet.wire_octets for packet in silence(2, 1) + silence(3, 1))
    assert (blocked.bytes_in, blocked.packets) == (0, 2)


def test_a_suspicion_does_not_take_the_place_of_what_is_known_of_another_flow() -> None:
    assert said(report(TOLD, late(1, 1), silence(2, 10))) == [(*LIVE_ONE, 2)]


def test_what_is_live_stays_so_while_another_flow_that_never_was_tries_again() -> None:
    again = [row for after_s in (0, 1, 3, 7, 15, 31) for row in silence(2, 10 + after_s)]
    assert said(report(TOLD, late(1, 1), again)) == [(*LIVE_ONE, 2)]


def test_what_is_live_stays_so_while_another_flow_is_only_attempted_and_it_is_no_news() -> None:
    first = report(live(1, 1))
    more = report(live(1, 1), live(2, 5), live(3, 9), attempt(4, 13))
    assert said(more) == [(*LIVE_ONE, 4)]
    assert len(more) == len(first) + 1  # of the counters, in the end


def test_another_flow_through_a_proxy_is_no_news_before_it_got_through_either() -> None:
    first, more = report(proxied(1, 1)), report(proxied(1, 1), proxied(2, 5), proxied(3, 9))
    assert said(more) == [(*LIVE_ONE, 3)]
    assert len(more) == len(first) + 1


def test_a_flow_that_is_refused_is_news_and_so_is_one_that_gets_through_again() -> None:
    reports = report(live(1, 1), reset(2, 5), live(3, 9))
    states = [row.state for row in reports]
    assert states == [FlowState.ATTEMPTED, FlowState.LIVE, FlowState.BLOCKED, FlowState.LIVE]
    assert said(reports) == [(*LIVE_ONE, 3)]

from frames import ACK, CLIENT, FIN, SERVER, SYN, S, tcp
from msgspec.structs import replace

from rules.catalogue.catalogue import load_catalogue
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from rules.values.event import Origin
from rules.values.observation import Action, FlowState
from sensor.detect import Detector
from sensor.detection import Detection
from sensor.flow import Flow
from sensor.packet import Packet
from sensor.pipeline import Pipeline
from sensor.report import Reporter
from sensor.watch import PERIOD_NS, Watch

RULES = Ruleset(load_catalogue(), Policy())
GREETING = b"SSH-2.0-Go\r\n"
UP = (CLIENT, 40000, SERVER, 443)
DOWN = (SERVER, 443, CLIENT, 40000)
MINUTE = 60 * S
BULK_OCTETS = 54 + 1400


def opening() -> list[Packet]:
    """An SSH tunnel on port 443, so far."""
    return [
        tcp(S, UP, (1, 0, SYN), b""),
        tcp(S, DOWN, (1, 2, SYN | ACK), b""),
        tcp(S, UP, (2, 2, ACK), GREETING),
        tcp(S, DOWN, (2, 14, ACK), GREETING),
    ]


def bulk(at_ns: int, packets: int) -> list[Packet]:
    return [tcp(at_ns, UP, (14 + number * 1400, 14, ACK), bytes(1400)) for number in range(packets)]


def carried(detection: Detection) -> tuple[int, int, int]:
    traffic = detection.observation.traffic
    return traffic.octets_out, traffic.octets_in, traffic.packets


def begun(watch: Watch | None = None) -> tuple[Detector, tuple[int, int, int]]:
    detector = Detector(Pipeline(), lambda: RULES, watch)
    found = detector.feed(opening()) + detector.advance(5 * S)
    assert found
    octets = [row.wire_octets for row in opening()]
    return detector, (octets[0] + octets[2], octets[1] + octets[3], 4)


def test_what_a_tunnel_carries_grows_while_it_lives() -> None:
    detector, (out, into, packets) = begun()
    detector.watch.look(MINUTE)
    for minute in range(2, 200):  # longer than the flow table keeps one that is idle
        detector.feed(bulk(minute * MINUTE, 10))
        (grown,) = detector.watch.look(minute * MINUTE)
        sent = 10 * (minute - 1)
        assert carried(grown) == (out + sent * BULK_OCTETS, into, packets + sent)
        assert grown.observation.traffic.last_ns == minute * MINUTE


def answered(at_ns: int) -> list[Packet]:
    return [tcp(at_ns, DOWN, (14, 14, ACK), b"x")]


def test_a_tunnel_that_nothing_answers_any_more_is_blocked_and_live_again_when_it_is_heard() -> None:
    """As its event says, too: a firewall that begins to drop what an open connection sends leaves no other trace."""
    detector = Detector(Pipeline(), lambda: RULES)
    reporter = Reporter(Origin("sensor"), update_ns=S)
    reporter.take(detector.feed(opening()) + detector.advance(5 * S), 5 * S)
    states = []
    for at_s in range(60, 200, 10):
        is_heard = not 80 <= at_s < 140
        detector.feed(bulk(at_s * S, 2) + (answered(at_s * S) if is_heard else []))
        reporter.update(detector.watch.look(at_s * S))
        reports = reporter.expire(at_s * S)
        states += [(at_s, row.state) for row in reports]
        assert all(row.action is not Action.REJECTED for row in reports)
    said = {at_s: state for at_s, state in states if state is not FlowState.ATTEMPTED}
    assert {at_s for at_s, state in said.items() if state is FlowState.BLOCKED} == {100, 110, 120, 130}
    assert {said[60], said[140], said[190]} == {FlowState.LIVE}


def test_a_flow_is_looked_at_once_a_period_and_not_when_it_is_quiet() -> None:
    detector, _ = begun()
    detector.watch.look(MINUTE)
    detector.feed(bulk(MINUTE, 3))
    assert detector.watch.look(MINUTE + PERIOD_NS - 1) == []
    assert len(detector.watch.look(MINUTE + PERIOD_NS)) == 1
    assert detector.watch.look(MINUTE + 2 * PERIOD_NS) == []


def test_a_flow_that_ended_is_looked_at_once_more() -> None:
    detector, (out, _, packets) = begun()
    detector.watch.look(MINUTE)
    end = [tcp(2 * MINUTE, ends, (15, 15, FIN | ACK), b"") for ends in (UP, DOWN)]
    detector.feed([*end, tcp(2 * MINUTE + S, UP, (16, 16, ACK), b"")])
    (grown,) = detector.watch.look(3 * MINUTE)
    assert carried(grown)[2] == packets + 3
    assert grown.observation.traffic.octets_out > out
    assert len(detector.watch) == 0


def test_what_the_source_counted_apart_is_added() -> None:
    counted = [1000]

    def count_apart(flow: Flow) -> None:
        flow.octets_0 += counted.pop() if counted else 0
        flow.last_ns = MINUTE

    detector, (out, into, packets) = begun(Watch(count_apart))
    (grown,) = detector.watch.look(MINUTE)
    assert carried(grown) == (out + 1000, into, packets)
    assert grown.observation.traffic.last_ns == MINUTE


def test_a_full_watch_gives_up_the_flow_looked_at_least_recently() -> None:
    watch = Watch(limit=2)
    detector = Detector(Pipeline(), lambda: RULES, watch)
    (*_, detection) = detector.feed(opening()) + detector.advance(5 * S)
    flow = detector.pipeline.flow(detection.observation.key)
    assert flow is not None
    for key in (101, 102):
        watch.add(replace(detection, observation=replace(detection.observation, key=key)), flow, S)
    assert (len(watch), watch.evicted) == (2, 1)

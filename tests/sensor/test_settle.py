import msgspec
from observations import NOW_NS, hello

from rules.catalogue.catalogue import load_catalogue
from rules.classification.classify import classify
from rules.policy.policy import Policy
from rules.values.observation import FlowState
from sensor.detection import Detection
from sensor.settle import HORIZON_NS, Settler

CATALOGUE = load_catalogue()


def detection(key: int, revision: int = 1, state: FlowState = FlowState.ATTEMPTED, *, at_ns: int = NOW_NS) -> Detection:
    observation = msgspec.structs.replace(
        hello("connect.ngrok-agent.com", key=key, at_ns=at_ns), revision=revision, state=state
    )
    return Detection(observation, classify(observation, Policy(), CATALOGUE))


def test_a_flow_comes_out_once_with_its_last_revision_in_order_of_first_sight() -> None:
    settler = Settler()
    assert settler.take([detection(1), detection(2)], NOW_NS) == []
    assert settler.take([detection(1, 2, FlowState.LIVE)], NOW_NS + 1) == []
    final = settler.take([], NOW_NS + HORIZON_NS)
    assert [(row.observation.key, row.observation.revision) for row in final] == [(1, 2), (2, 1)]
    assert settler.take([detection(1, 3)], NOW_NS + HORIZON_NS) == []
    assert settler.flush() == []


def test_what_was_made_late_comes_out_in_packet_order() -> None:
    settler = Settler()
    settler.take([detection(2, at_ns=NOW_NS + 1)], NOW_NS + 1)
    settler.take([detection(1)], NOW_NS + 3)  # a query that nobody answered
    assert settler.take([], NOW_NS + 1 + HORIZON_NS) == []
    final = settler.take([detection(3, at_ns=NOW_NS + 4)], NOW_NS + 3 + HORIZON_NS)
    assert [row.observation.key for row in final] == [1, 2]


def test_what_is_held_at_the_end_comes_out() -> None:
    settler = Settler()
    settler.take([detection(7)], NOW_NS)
    assert [row.observation.key for row in settler.flush()] == [7]


def test_no_more_than_the_limit_is_held_and_the_first_come_out_early() -> None:
    settler = Settler(max_held=2)
    rows = [detection(key, at_ns=NOW_NS + key) for key in range(4)]
    assert [row.observation.key for row in settler.take(rows, NOW_NS)] == [0, 1]
    assert settler.released_early == 2
    assert len(settler.flush()) == 2

"""What a reporter does with what becomes known of who is behind its events."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace
from observations import NOW_NS, flow, hello, lookup

from rules.catalogue.catalogue import load_catalogue
from rules.classification.classify import classify
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset
from rules.values.event import Event, Origin
from rules.values.observation import Evidence, FlowState, Kind, Observation
from rules.values.source import Source
from sensor.detection.detection import Detection
from sensor.reporting.report import Reporter

CATALOGUE = load_catalogue()
LISTED = "connect.ngrok-agent.com"
PILOT = """
[[exception]]
service = "ngrok"
owner = "o"
reason = "r"
users = ["alice"]
executables = ["/opt/agent"]
"""
ALICE = Source(user="alice", uid=1000, exe="/opt/agent", process="agent", pid=7)
BOB = Source(user="bob", uid=1001, exe="/opt/agent", process="agent", pid=8)
RULES = Ruleset(CATALOGUE, parse_policy(PILOT, "policy.toml", CATALOGUE, NOW_NS))
(EXCEPTION,) = RULES.policy.exceptions


def detect(observation: Observation) -> Detection:
    return Detection(observation, classify(observation, RULES.policy, CATALOGUE))


@pytest.fixture
def attribute() -> Callable[..., list[Event]]:
    """Take observations, then answers by key, and return the events after the last of them."""

    def run(observations: list[Observation], *answers: tuple[int, Source]) -> list[Event]:
        reporter = Reporter(Origin("s"), exception_for=RULES.exception_for)
        rows = {event.event_id: event for event in reporter.take(map(detect, observations), NOW_NS)}
        for answer in answers:
            for event in reporter.attribute([answer], NOW_NS):
                assert event.revision > rows[event.event_id].revision
                rows[event.event_id] = event
        return list(rows.values())

    return run


def test_who_it_is_comes_as_a_later_revision(attribute: Callable[..., list[Event]]) -> None:
    (event,) = attribute([hello(LISTED)], (1, BOB))
    assert (event.src_user, event.src_exe, event.src_process, event.src_pid) == ("bob", "/opt/agent", "agent", 8)
    assert (event.revision, event.exception_id, event.count) == (2, None, 1)


def test_an_exception_by_source_holds_once_the_source_is_known(attribute: Callable[..., list[Event]]) -> None:
    (before,) = attribute([hello(LISTED)])
    (after,) = attribute([hello(LISTED)], (1, ALICE))
    assert (before.exception_id, after.exception_id) == (None, EXCEPTION.id)
    assert after.verdict == before.verdict


def test_an_event_of_two_is_excepted_only_if_both_are(attribute: Callable[..., list[Event]]) -> None:
    flows = [hello(LISTED, key=1), hello(LISTED, key=2)]
    (same,) = attribute(flows, (1, ALICE), (2, ALICE))
    (event,) = attribute(flows, (1, ALICE), (2, BOB))
    assert (same.exception_id, event.exception_id, event.src_user) == (EXCEPTION.id, None, "alice")


def test_who_connects_stands_behind_the_look_up_too(attribute: Callable[..., list[Event]]) -> None:
    """The process that asks the DNS is a local resolver, or gone before it is asked for."""
    stub = Source(user="systemd-resolve", uid=101, exe="/usr/lib/systemd/systemd-resolved", pid=3)
    events = attribute([lookup(LISTED, key=1), hello(LISTED, key=2)], (1, stub), (2, ALICE))
    assert {event.kind for event in events} == {Kind.DNS, Kind.TLS}
    assert {(event.src_user, event.exception_id) for event in events} == {("alice", EXCEPTION.id)}


def test_a_later_restatement_keeps_who_it_is() -> None:
    reporter = Reporter(Origin("s"), exception_for=RULES.exception_for)
    (first,) = reporter.take([detect(hello(LISTED))], NOW_NS)
    reporter.attribute([(1, ALICE)], NOW_NS)
    (event,) = reporter.take([detect(replace(hello(LISTED), state=FlowState.LIVE))], NOW_NS)
    assert (event.event_id, event.state, event.src_user) == (first.event_id, FlowState.LIVE, "alice")
    assert event.exception_id == EXCEPTION.id


BOTHS = PILOT.replace('"alice"', '"alice", "bob"')


@pytest.mark.parametrize(
    ("exceptions", "is_excepted"),
    [
        (BOTHS.replace("ngrok", "reverse-tunnel"), True),
        (BOTHS + PILOT.replace("ngrok", "cloudflared"), False),
    ],
)
def test_an_event_of_two_that_is_of_another_service_after_all_is_excepted_only_if_both_are(
    exceptions: str, *, is_excepted: bool
) -> None:
    rules = Ruleset(CATALOGUE, parse_policy(exceptions, "policy.toml", CATALOGUE, NOW_NS))
    reporter = Reporter(Origin("s"), exception_for=rules.exception_for)
    first, second = detect(hello(LISTED, key=1)), detect(hello(LISTED, key=2))
    (before,) = reporter.take([first, second], NOW_NS)
    (excepted,) = reporter.attribute([(1, ALICE), (2, BOB)], NOW_NS)
    assert excepted.exception_id == rules.policy.exceptions[0].id
    other = Detection(second.observation, replace(second.verdict, service="cloudflared"))
    (event,) = reporter.take([other], NOW_NS)
    assert (event.event_id, event.service, event.count) == (before.event_id, "cloudflared", 2)
    assert event.exception_id == (excepted.exception_id if is_excepted else None)


def test_an_exception_for_a_category_holds_where_no_service_is_named() -> None:
    exceptions = PILOT.replace("ngrok", "reverse-tunnel")
    rules = Ruleset(CATALOGUE, parse_policy(exceptions, "policy.toml", CATALOGUE, NOW_NS))
    reporter = Reporter(Origin("s"), exception_for=rules.exception_for)
    (event,) = reporter.take([detect(flow((Evidence.PROTOCOL, "reverse-http")))], NOW_NS)
    assert (event.service, event.service_category) == (None, "reverse-tunnel")
    (known,) = reporter.attribute([(1, ALICE)], NOW_NS)
    assert known.exception_id == rules.policy.exceptions[0].id


def test_an_answer_about_a_flow_that_is_forgotten_says_nothing() -> None:
    assert Reporter(Origin("s")).attribute([(9, ALICE)], NOW_NS) == []

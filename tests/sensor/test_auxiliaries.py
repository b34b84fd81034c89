"""Look-ups of updates and revocation lists: explained by a sanctioned agent of the same client, or informational."""

import pytest
from frames import CLIENT, RESOLVER, S, dns_query, udp
from observations import NOW_NS, hello

from rules.catalogue.catalogue import load_catalogue
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset
from rules.values.verdict import Outcome, Role, Severity
from sensor.auxiliaries import HOLD_NS, Auxiliaries
from sensor.clients import SANCTIONED_NS
from sensor.detect import Detector
from sensor.detection import Detection
from sensor.packet import Packet
from sensor.pipeline import Pipeline

CRL, INGRESS = "crl.ngrok-agent.com", "tunnels.example.com"
HOUR = 3600 * S
DAY = 24 * HOUR


def detector(text: str = "") -> Detector:
    catalogue = load_catalogue()
    sanction = f'[[sanctioned]]\ndomain = "{INGRESS}"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'
    rules = Ruleset(catalogue, parse_policy(sanction + text, "policy.toml", catalogue, NOW_NS))
    return Detector(Pipeline(), lambda: rules)


def asks(name: str, at_ns: int, client: str = CLIENT) -> Packet:
    return udp(at_ns, (client, 5000, RESOLVER, 53), dns_query(name))


def auxiliary(rows: list[Detection]) -> list[Detection]:
    return [row for row in rows if row.verdict.role is Role.AUXILIARY]


@pytest.mark.parametrize("apart_ns", [-30 * S, 30 * S, 6 * HOUR, SANCTIONED_NS - 2 * S])
def test_a_sanctioned_agent_of_the_same_client_explains_it_before_and_after(apart_ns: int) -> None:
    """From half a minute before the agent dials to a week after it was last seen."""
    here = detector()
    rows = sorted([asks(INGRESS, NOW_NS), asks(CRL, NOW_NS + apart_ns)], key=lambda row: row.ts_ns)
    found = [row for packet in rows for row in here.feed([packet])]
    found += here.advance(NOW_NS + apart_ns + HOLD_NS + 5 * S)
    assert auxiliary(found) == []
    assert {row.verdict.outcome for row in found} == {Outcome.SANCTIONED}
    assert auxiliary(here.flush()) == []


def test_without_one_it_is_informational_a_minute_later_once() -> None:
    here = detector()
    rows = [asks(INGRESS, NOW_NS, "10.0.0.3"), asks(CRL, NOW_NS)]
    found = here.feed(rows) + here.advance(NOW_NS + HOLD_NS - 1)
    assert auxiliary(found) == []
    (late,) = auxiliary(here.advance(NOW_NS + HOLD_NS))
    assert (late.verdict.outcome, late.verdict.service) == (Outcome.UNSANCTIONED, "ngrok")
    assert late.verdict.severity is Severity.INFORMATIONAL
    assert here.evidence(late)
    assert here.advance(NOW_NS + 2 * HOLD_NS) == here.flush() == []


def test_an_agent_seen_longer_ago_than_a_week_explains_nothing() -> None:
    here = detector()
    here.feed([asks(INGRESS, NOW_NS)])
    later_ns = NOW_NS + SANCTIONED_NS + DAY
    here.feed([asks(CRL, later_ns)])
    assert len(auxiliary(here.advance(later_ns + HOLD_NS))) == 1


def test_an_ignored_service_stays_ignored() -> None:
    here = detector('[services]\nhookdeck = "ignore"\n')
    assert here.feed([asks("api.hookdeck.com", NOW_NS)]) + here.advance(NOW_NS + 2 * HOLD_NS) == []


def test_a_flood_of_them_is_bounded() -> None:
    held = Auxiliaries(limit=3)
    for key in range(5):
        held.hold(hello(CRL, key=key))
    assert (len(held), held.evicted) == (3, 2)
    assert held.take(NOW_NS + HOLD_NS - 1) == []
    assert [row.key for row in held.take(NOW_NS + HOLD_NS)] == [2, 3, 4]

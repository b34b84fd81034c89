"""No page and no list reads all events: each statement finds them by an index, or walks one as far as a page goes."""

import httpx
import pytest
from installation import NOW_NS, SECOND_NS, Installation
from query_plans import plans, statements

from rules.values.event import rfc3339
from rules.values.observation import FlowState
from rules.values.verdict import Outcome

IN_ORDER = "SCAN events USING INDEX ix_events_observed_at_ns_event_id"  # the newest first, up to the limit
EVENTS_OR_THEIR_INDEXES = ("SCAN events", "SCAN each_facet")
MONTH = f"from={rfc3339(NOW_NS - 30 * 86_400 * SECOND_NS)}"
PAGES = ("/", "/fragments/live", "/findings", "/services", "/lists", "/sensors", "/policy", "/events", "/metrics")
FILTERS = (
    "",
    "service=ngrok",
    "verdict=suspicious&state=live",
    "severity=low",
    "action=blocked",
    "sensor=nowhere",
    "src=10.20.0.7",
    "src=10.20.0.7&service=bore",
    "src=10.20.0.0/24&verdict=suspicious",
    "dst=203.0.113.0/25",
    "dst=connect.ngrok-agent.com&state=blocked",
    "dst=203.0.113.9&role=visitor",
)
COUNTED = ("", "by=service,verdict", "interval=1h&by=state", "by=sensor&metric=bytes", "verdict=sanctioned")
ASKED = (
    *PAGES,
    *(f"/v1/events?{query}" for query in FILTERS),
    *(f"/v1/events?{MONTH}&{query}" for query in FILTERS),
    *(f"/v1/events/aggregate?{MONTH}&{query}" for query in COUNTED),
    f"/v1/services?{MONTH}",
    "/v1/findings?state=open",
)


@pytest.fixture
def filled(installation: Installation) -> Installation:
    for at in range(60):
        installation.add(
            observed_at_ns=NOW_NS - at * 3600 * SECOND_NS,
            service=("ngrok", "bore")[at % 2],
            verdict=(Outcome.UNSANCTIONED, Outcome.SANCTIONED, Outcome.SUSPICIOUS)[at % 3],
            state=list(FlowState)[at % 3],
            src_ip=f"10.20.0.{at % 7}",
        )
    installation.publish_both()
    installation.beat()
    return installation


def test_nothing_reads_all_events(filled: Installation, client: httpx.Client) -> None:
    finding = client.get("/v1/findings").json()["items"][0]
    for asked in (*ASKED, f"/findings/{finding['finding_id']}", f"/events/{finding['event_id']}"):
        with statements(filled.store) as noted:
            assert client.get(asked).status_code == 200, asked
        for statement in noted:
            walks = [plan for plan in plans(filled.store, [statement]) if plan.startswith(EVENTS_OR_THEIR_INDEXES)]
            is_a_page = "LIMIT" in statement[0] and "GROUP BY" not in statement[0]
            assert walks in ([], [IN_ORDER]), (asked, walks)
            assert is_a_page or not walks, (asked, statement[0])

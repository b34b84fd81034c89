from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from installation import NOW_NS, SECOND_NS, Installation

from molecatcher.recordings.replay import Replay
from rules.catalogue.catalogue import load_catalogue
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from rules.values.direction import Direction
from rules.values.event import Event, EventReason

AGENT = Path(__file__).parents[3] / "pcaps" / "ngrok-py-default.pcap"


@pytest.fixture
def recorded(installation: Installation) -> Event:
    replay = Replay(Ruleset(load_catalogue(), Policy()), installation.store, keeps_packets=True)
    list(replay.play(str(AGENT)))
    return next(row.event for row in installation.store.ingested_after(0, 10) if row.event.tls_sni)


def test_a_recorded_agents_event_is_explained_with_its_packets(client: httpx.Client, recorded: Event) -> None:
    answer = client.get(f"/events/{recorded.event_id}")
    assert answer.status_code == 200
    sentences = client.get(f"/v1/events/{recorded.event_id}").json()["explanation"]
    assert sentences[0] in answer.text
    assert recorded.reasons[0].detail in answer.text
    assert f'href="/v1/events/{recorded.event_id}/evidence.pcap"' in answer.text
    assert "DNS Qry" in answer.text
    assert "###[ TCP ]###" in answer.text
    assert "None" not in answer.text.replace("None, None", "").split("<details", 1)[0]


def test_what_is_downloaded_gives_the_detection_again(client: httpx.Client, recorded: Event, tmp_path: Path) -> None:
    path = tmp_path / "evidence.pcap"
    path.write_bytes(client.get(f"/v1/events/{recorded.event_id}/evidence.pcap").content)
    again = list(Replay(Ruleset(load_catalogue(), Policy())).play(str(path)))
    assert (recorded.verdict, recorded.service, recorded.role) in {
        (row.verdict, row.service, row.role) for row in again
    }


def test_an_event_without_packets_says_so(
    client: httpx.Client, installation: Installation, make_event: Callable[..., Event]
) -> None:
    event = make_event()
    installation.store.append([event])
    assert "No packets are stored with this event" in client.get(f"/events/{event.event_id}").text


def test_an_event_says_who_saw_it_and_which_rules_decided(
    client: httpx.Client, installation: Installation, make_event: Callable[..., Event]
) -> None:
    digest = client.get("/v1/policy").json()["digest"]
    known = {"sensor_name": "gateway", "site": "Berlin", "rule_id": "listed_name", "rule_version": "2026.11.23"}
    event = make_event(**known, policy_digest=digest, direction=Direction.OUTBOUND)
    late = make_event(observed_at_ns=NOW_NS - 300 * SECOND_NS, policy_digest="an older one", rule_id="a_rule_of_later")
    installation.store.append([event, late])
    text = client.get(f"/events/{event.event_id}").text
    for said in ("gateway</span>, Berlin", "a listed name; catalogue 2026.11.23, the policy in force", "tcp, outbound"):
        assert said in text
    assert "after it was seen" not in text
    text = client.get(f"/events/{late.event_id}").text
    assert "5 min after it was seen" in text
    assert "a_rule_of_later, a policy that is not in force here now" in text


def test_nothing_that_a_packet_said_becomes_markup(
    client: httpx.Client, installation: Installation, make_event: Callable[..., Event]
) -> None:
    hostile = "<script>alert(1)</script>"
    event = make_event(dst_name=hostile, reasons=(EventReason("tls_sni", hostile, hostile),), evidence=b"no capture")
    installation.store.append([event])
    answer = client.get(f"/events/{event.event_id}")
    assert answer.status_code == 200
    assert hostile not in answer.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text


def test_an_event_that_is_not_there(client: httpx.Client) -> None:
    assert client.get("/events/none").status_code == 404

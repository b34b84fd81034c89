"""Lists as people look at them."""

import httpx
import pytest
from installation import NOW_NS, Installation, names_of, snapshot_of

from api.schemas.lists import DiffDocument, EntryPage, ListList, SnapshotList
from db.lists.values import SnapshotRow
from rules.lists.blocklist import ListName
from rules.lists.changes import stamp
from rules.lists.encoding import encode
from rules.lists.guards import Guard, HeldList, Refusal
from rules.values.event import rfc3339

DIGEST = "ab" * 32
DOMAINS = "/v1/lists/unsanctioned-domains"


def store_snapshot(installation: Installation, blocked: str) -> int:
    snapshot = snapshot_of(names_of(blocked))
    row = SnapshotRow(snapshot.list_name, 1, NOW_NS, snapshot.digest, encode(snapshot.body))
    serial = installation.store.publish_snapshot(row).serial
    installation.publish(snapshot.body, serial)
    return serial


def test_every_list_is_there_before_it_is_built(installation: Installation, client: httpx.Client) -> None:
    found = client.get("/v1/lists").json()
    ListList.model_validate(found)
    assert {row["list_name"]: row["serial"] for row in found["items"]} == dict.fromkeys(ListName)
    assert client.get(f"{DOMAINS}/entries").status_code == 404
    installation.publish_both()
    assert client.get(DOMAINS).json()["serial"] == 7
    assert client.get("/v1/lists/another").status_code == 422


def test_entries_are_in_order_and_paged(installation: Installation, client: httpx.Client) -> None:
    installation.publish(names_of("ngrok-agent.com =tunnel.ngrok.com serveo.net", "tunnels.example.com"))
    found = client.get(f"{DOMAINS}/entries").json()
    EntryPage.model_validate(found)
    texts = [row["entry"] for row in found["items"]]
    assert texts == ["*.ngrok-agent.com", "*.serveo.net", "*.tunnels.example.com", "tunnel.ngrok.com"]
    assert [row["action"] for row in found["items"]] == ["block", "block", "allow", "block"]
    first = client.get(f"{DOMAINS}/entries", params={"limit": 3}).json()
    rest = client.get(f"{DOMAINS}/entries", params={"limit": 3, "after": first["next"]}).json()
    assert [row["entry"] for row in first["items"] + rest["items"]] == texts
    assert rest["next"] is None
    assert len(client.get(f"{DOMAINS}/entries", params={"q": "NGROK"}).json()["items"]) == 2


def test_snapshots_are_kept_and_compared(installation: Installation, client: httpx.Client) -> None:
    serials = [store_snapshot(installation, words) for words in ("a.example b.example", "b.example =c.example")]
    kept = client.get(f"{DOMAINS}/snapshots").json()
    SnapshotList.model_validate(kept)
    assert [row["serial"] for row in kept["items"]] == serials[::-1]
    found = client.get(f"{DOMAINS}/diff", params={"from": serials[0]}).json()
    DiffDocument.model_validate(found)
    assert found == {"added": ["c.example"], "removed": ["*.a.example"], "is_truncated": False}
    back = client.get(f"{DOMAINS}/diff", params={"from": serials[1], "to": serials[0]}).json()
    assert (back["added"], back["removed"]) == (found["removed"], found["added"])
    assert client.get(f"{DOMAINS}/diff", params={"from": 99}).status_code == 404
    earlier = client.get(f"{DOMAINS}/entries", params={"serial": serials[0]}).json()["items"]
    assert [row["entry"] for row in earlier] == ["*.a.example", "*.b.example"]


def test_a_held_list_says_why_and_can_be_confirmed(installation: Installation, client: httpx.Client) -> None:
    held = HeldList(DIGEST, (Refusal(Guard.SHRINK, "60 of 114 entries would go at once"),), 54)
    installation.held[ListName.UNSANCTIONED_DOMAINS] = held
    installation.publish_both()
    assert client.get(DOMAINS).json()["held"] == {
        "digest": DIGEST,
        "entries": 54,
        "refusals": [{"guard": "shrink", "detail": "60 of 114 entries would go at once"}],
        "is_confirmable": True,
    }
    assert 'molecatcher_feed_held{list="unsanctioned-domains",profile="agents-only"} 1.0' in client.get("/metrics").text
    assert "A newer state is held: 60 of 114 entries would go at once." in client.get("/").text
    assert client.post(f"{DOMAINS}/confirm", json={"digest": "cd" * 32}).status_code == 409
    assert client.post(f"{DOMAINS}/confirm", json={"digest": DIGEST}).status_code == 202
    assert installation.confirmed == [(ListName.UNSANCTIONED_DOMAINS, DIGEST)]


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded"])
def test_what_a_web_page_elsewhere_can_post_changes_nothing(
    installation: Installation, client: httpx.Client, media_type: str
) -> None:
    installation.held[ListName.UNSANCTIONED_DOMAINS] = HeldList(DIGEST, (), 1)
    body = f'{{"digest": "{DIGEST}"}}'
    answer = client.post(f"{DOMAINS}/confirm", content=body, headers={"Content-Type": media_type})
    assert answer.status_code == 422
    assert installation.confirmed == []


def test_an_entry_says_since_when(installation: Installation, client: httpx.Client) -> None:
    installation.publish(stamp(names_of("a.example"), None, NOW_NS))
    assert client.get(f"{DOMAINS}/entries").json()["items"][0]["first_listed"] == rfc3339(NOW_NS)

"""The directory of a MISP feed, read as MISP reads it: the manifest, then its events."""

import hashlib

import httpx
import pytest
from installation import Installation

from rules.lists.blocklist import ListName


def test_the_manifest_leads_to_every_event(installation: Installation, client: httpx.Client) -> None:
    installation.publish_both()
    manifest = client.get("/misp/manifest.json").json()
    found: dict[str, str] = {}
    for uuid, described in manifest.items():
        event = client.get(f"/misp/{uuid}.json").json()["Event"]
        assert event["uuid"] == uuid
        assert {key: event[key] for key in described} == described
        found |= {row["value"]: row["type"] for row in event["Attribute"]}
    assert found == {"ngrok-agent.com": "domain", "tunnel.ngrok.com": "domain", "203.0.113.9": "ip-dst"}
    hashes = dict(line.split(",") for line in client.get("/misp/hashes.csv").text.splitlines())
    assert set(hashes) == {hashlib.md5(value.encode(), usedforsecurity=False).hexdigest() for value in found}
    assert set(hashes.values()) == set(manifest)


def test_a_new_state_is_a_newer_version_of_the_same_event(installation: Installation, client: httpx.Client) -> None:
    installation.publish_both()
    before = client.get("/misp/manifest.json").json()
    installation.publish(
        installation.snapshots[ListName.UNSANCTIONED_DOMAINS, "agents-only"].body, 8, installation.now_ns + 60 * 10**9
    )
    after = client.get("/misp/manifest.json").json()
    assert set(after) == set(before)
    assert [int(after[it]["timestamp"]) - int(before[it]["timestamp"]) for it in before] == [60, 0]


@pytest.mark.parametrize("path", ["manifest.json", "hashes.csv"])
def test_nothing_is_not_a_feed(client: httpx.Client, path: str) -> None:
    assert client.get(f"/misp/{path}").status_code == 503


def test_an_unknown_event_is_404(installation: Installation, client: httpx.Client) -> None:
    installation.publish_both()
    assert client.get("/misp/none.json").status_code == 404

"""Which profile a request is answered in."""

import httpx
import pytest
from installation import Installation, add_token, names_of

from api.schemas.lists import ListList

DOMAINS = "/feeds/unsanctioned-domains.txt"


@pytest.fixture
def both(installation: Installation) -> Installation:
    installation.publish(names_of("=agent.example"), 3)
    installation.publish(names_of("=agent.example =visitor.example"), 9, profile="strict")
    return installation


def test_a_query_or_the_path_names_the_profile(both: Installation, client: httpx.Client) -> None:
    for path, serial in (
        (DOMAINS, "3"),
        (f"{DOMAINS}?profile=strict", "9"),
        ("/feeds/p/strict/unsanctioned-domains.txt", "9"),
    ):
        answer = client.get(path)
        assert answer.headers["x-feed-serial"] == serial
        assert ("visitor.example" in answer.text) is (serial == "9")
        assert ("profile strict" in answer.text) is (serial == "9")
    assert both.used == ["agents-only", "strict", "strict"]
    assert client.get(f"{DOMAINS}.sha256?profile=strict").text != client.get(f"{DOMAINS}.sha256").text


def test_a_token_that_is_made_for_a_profile_opens_that_one(both: Installation, client: httpx.Client) -> None:
    token = add_token(both.store, profile="strict")
    key, free = {"X-Api-Key": token}, {"X-Api-Key": add_token(both.store)}
    assert client.get(DOMAINS, headers=key).headers["x-feed-profile"] == "strict"
    assert client.get(f"/feeds/t/{token}/unsanctioned-domains.txt").headers["x-feed-serial"] == "9"
    assert client.get(f"{DOMAINS}?profile=agents-only", headers=key).status_code == 403
    assert client.get(f"{DOMAINS}?profile=strict", headers=free).status_code == 200


def test_a_profile_that_is_not_there_is_404_and_one_not_built_503(both: Installation, client: httpx.Client) -> None:
    answer = client.get(f"{DOMAINS}?profile=another")
    assert answer.status_code == 404
    assert "agents-only, strict" in answer.json()["detail"]
    assert "another" not in both.used
    both.snapshots.clear()
    assert client.get(f"{DOMAINS}?profile=strict").status_code == 503


def test_other_readers_take_the_profile_of_their_token(both: Installation, client: httpx.Client) -> None:
    key = {"X-Api-Key": add_token(both.store, profile="strict", scopes=("feeds:read", "decisions:read"))}
    (event,) = client.get("/misp/manifest.json", headers=key).json()
    attributes = client.get(f"/misp/{event}.json", headers=key).json()["Event"]["Attribute"]
    assert {row["value"] for row in attributes} == {"agent.example", "visitor.example"}
    taxii = "/taxii2/lists/collections/"
    ids = {row["title"]: row["id"] for row in client.get(taxii, headers=key).json()["collections"]}
    objects = client.get(f"{taxii}{ids['unsanctioned-domains']}/objects/", headers=key).json()["objects"]
    assert len(objects) == 2
    stream = client.get("/v1/decisions/stream", params={"startup": "true", "scopes": "domain"}, headers=key)
    assert {row["value"] for row in stream.json()["new"]} == {"agent.example", "visitor.example"}


def test_lists_of_profiles_in_use_are_shown(both: Installation, client: httpx.Client) -> None:
    found = client.get("/v1/lists").json()
    ListList.model_validate(found)
    assert {row["profile"] for row in found["items"]} == {"agents-only"}
    both.profiles = tuple((profile, True) for profile, _ in both.profiles)
    found = client.get("/v1/lists").json()
    strict = [row for row in found["items"] if row["profile"] == "strict"]
    assert {row["list_name"]: row["serial"] for row in strict}["unsanctioned-domains"] == 9
    assert all(path.endswith("?profile=strict") for row in strict for path in row["feeds"])
    assert [row["roles"] for row in found["profiles"]] == [["agent"], ["agent", "visitor"]]
    url = "/v1/lists/unsanctioned-domains"
    assert client.get(url, params={"profile": "strict"}).json()["serial"] == 9
    entries = client.get(f"{url}/entries", params={"profile": "strict"}).json()["items"]
    assert [row["entry"] for row in entries] == ["agent.example", "visitor.example"]
    assert 'id="list-unsanctioned-domains-strict"' in client.get("/").text

"""TAXII and MISP open to a token what the feeds open to it."""

import httpx
import pytest
from installation import NOW_NS, SECOND_NS, Installation

from api.access.secrets import digest_of, new_id, new_secret, written
from api.feeds.collections import COLLECTION_IDS
from api.feeds.formats.misp import EVENT_IDS
from db.access.values import Token, TokenScope
from rules.lists.blocklist import ListName

NAMES, ADDRESSES = ListName.UNSANCTIONED_DOMAINS, ListName.UNSANCTIONED_ADDRESSES
ALL = ["/taxii2/", "/taxii2/lists/", "/taxii2/lists/collections/", "/misp/manifest.json", "/misp/hashes.csv"]


@pytest.fixture
def headers(installation: Installation) -> dict[str, str]:
    """Return the credential of a token that is for addresses only."""
    installation.publish_both()
    token_id, secret = new_id(), new_secret()
    token = Token(
        token_id=token_id,
        name="tip",
        scopes=(TokenScope.FEEDS_READ,),
        digest=digest_of(secret),
        created_at_ns=NOW_NS,
        list_name=ADDRESSES,
    )
    assert installation.store.add_token(token, 100)
    installation.now_ns += 2 * SECOND_NS
    return {"Authorization": f"Bearer {written(token_id, secret)}"}


def paths(name: ListName) -> list[str]:
    collection = f"/taxii2/lists/collections/{COLLECTION_IDS[name]}"
    return [f"{collection}/objects/", f"{collection}/manifest/", f"/misp/{EVENT_IDS[name]}.json"]


def test_a_token_opens_its_list_only(client: httpx.Client, headers: dict[str, str]) -> None:
    assert {client.get(path, headers=headers).status_code for path in (*ALL, *paths(ADDRESSES))} == {200}
    assert {client.get(path, headers=headers).status_code for path in paths(NAMES)} == {403}
    collections = client.get("/taxii2/lists/collections/", headers=headers).json()["collections"]
    assert [row["title"] for row in collections if row["can_read"]] == [ADDRESSES]
    assert set(client.get("/misp/manifest.json", headers=headers).json()) == {EVENT_IDS[ADDRESSES]}
    assert EVENT_IDS[NAMES] not in client.get("/misp/hashes.csv", headers=headers).text


@pytest.mark.usefixtures("headers")
def test_a_wrong_token_opens_nothing(client: httpx.Client) -> None:
    wrong = {"Authorization": "Bearer mc_000000000000_" + "0" * 64}
    for path in (*ALL, *paths(NAMES)):
        assert client.get(path, headers=wrong).status_code == 401, path

"""The collections, read by the client that others use, and page by page."""

import warnings
from collections.abc import Callable

import httpx
import pytest
from installation import NOW_NS, SECOND_NS, Installation

from api.feeds.collections import COLLECTION_IDS
from rules.lists.blocklist import AddressEntry, AddressList, ListName, NameEntry, NameList, Scope

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import taxii2client.v21 as taxii

ACCEPT = {"Accept": "application/taxii+json;version=2.1"}
DOMAINS = f"/taxii2/lists/collections/{COLLECTION_IDS[ListName.UNSANCTIONED_DOMAINS]}/"


@pytest.fixture
def listed(installation: Installation) -> Installation:
    """Return an installation whose names were listed a second apart."""
    entries = tuple(
        NameEntry(f"n{at}.example", Scope.SUBTREE, "ngrok", first_listed_ns=NOW_NS + at * SECOND_NS) for at in range(5)
    )
    installation.publish(NameList(blocked=entries, wide=entries))
    installation.publish(AddressList((AddressEntry("203.0.113.0/24", "ngrok", first_listed_ns=NOW_NS),)))
    return installation


def patterns(objects: dict[str, list[dict[str, str]]]) -> list[str]:
    return [row["pattern"] for row in objects.get("objects", [])]


def pattern(at: int) -> str:
    return f"[domain-name:value = 'n{at}.example' OR domain-name:value LIKE '%.n{at}.example']"


def test_a_client_finds_and_reads_the_lists(listed: Installation) -> None:
    with taxii.Server(f"{listed.url}/taxii2/") as server:
        collections = {it.title: it for it in server.default.collections}
        assert set(collections) == set(ListName)
        names = collections["unsanctioned-domains"]
        assert names.can_read
        assert not names.can_write
        assert patterns(names.get_objects()) == [pattern(at) for at in range(5)]
        assert patterns(names.get_objects(added_after="2026-11-23T19:00:02.000000Z")) == [pattern(3), pattern(4)]
        rows = names.get_manifest()["objects"]
        assert [row["date_added"] for row in rows][:2] == ["2026-11-23T19:00:00.000000Z", "2026-11-23T19:00:01.000000Z"]
        assert patterns(names.get_object(rows[2]["id"])) == [pattern(2)]
        addresses = collections["unsanctioned-addresses"].get_objects()
        assert patterns(addresses) == ["[ipv4-addr:value ISSUBSET '203.0.113.0/24']"]


def test_a_client_reads_page_by_page(listed: Installation) -> None:
    url = f"{listed.url}{DOMAINS}"
    with taxii.Collection(url) as collection:
        pages = [patterns(page) for page in taxii.as_pages(collection.get_objects, per_request=2)]
    assert pages == [[pattern(0), pattern(1)], [pattern(2), pattern(3)], [pattern(4)]]


@pytest.mark.usefixtures("listed")
def test_pages_say_their_dates_and_the_next(client: httpx.Client) -> None:
    first = client.get(f"{DOMAINS}objects/", params={"limit": 4}, headers=ACCEPT)
    assert first.headers["content-type"] == "application/taxii+json;version=2.1"
    assert first.headers["x-taxii-date-added-first"] == "2026-11-23T19:00:00.000000Z"
    assert first.headers["x-taxii-date-added-last"] == "2026-11-23T19:00:03.000000Z"
    assert first.json()["more"] is True
    last = client.get(f"{DOMAINS}objects/", params={"limit": 4, "next": first.json()["next"]}, headers=ACCEPT)
    assert patterns(last.json()) == [pattern(4)]
    assert "more" not in last.json()


@pytest.mark.usefixtures("listed")
@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"match[type]": "indicator"}, 5),
        ({"match[type]": "malware"}, 0),
        ({"match[spec_version]": "2.0"}, 0),
        ({"match[id]": "indicator--nobody"}, 0),
        ({"added_after": "2030-01-01T00:00:00Z"}, 0),
    ],
)
def test_filters(client: httpx.Client, query: dict[str, str], count: int) -> None:
    answer = client.get(f"{DOMAINS}objects/", params=query, headers=ACCEPT)
    assert answer.status_code == 200
    assert len(patterns(answer.json())) == count


def test_an_indicator_keeps_its_id_while_the_list_changes(listed: Installation, client: httpx.Client) -> None:
    before = client.get(f"{DOMAINS}manifest/").json()["objects"]
    entry = NameEntry("n3.example", Scope.SUBTREE, "ngrok", first_listed_ns=NOW_NS + 3 * SECOND_NS)
    listed.publish(NameList(blocked=(entry,), wide=(entry,)), serial=8)
    after = client.get(f"{DOMAINS}manifest/").json()["objects"]
    assert after == [before[3]]
    assert client.get(f"{DOMAINS}objects/{before[3]['id']}/versions/").json() == {"versions": [before[3]["version"]]}
    assert client.get(f"{DOMAINS}objects/{before[0]['id']}/").status_code == 404


def test_no_list_and_an_empty_list_are_not_answered_with_nothing(
    installation: Installation, client: httpx.Client, make_names: Callable[..., NameList]
) -> None:
    assert client.get(f"{DOMAINS}objects/").status_code == 503
    installation.publish(NameList())
    assert client.get(f"{DOMAINS}objects/").json()["type"] == "urn:molecatcher:problem:empty-list"
    installation.publish(make_names("A.example"), serial=9)
    assert client.get(f"{DOMAINS}objects/").json()["type"] == "urn:molecatcher:problem:unrenderable-list"


@pytest.mark.usefixtures("listed")
def test_what_cannot_be_answered_is_refused(client: httpx.Client) -> None:
    assert client.get("/taxii2/", headers={"Accept": "text/html"}).status_code == 406
    assert client.get("/taxii2/lists/collections/none/objects/").status_code == 404
    for query in ("limit=0", "next=x", "next=1_indicator--x", "added_after=yesterday", "unknown=1"):
        assert client.get(f"{DOMAINS}objects/?{query}").status_code == 422, query
    assert client.post(f"{DOMAINS}objects/").status_code == 405

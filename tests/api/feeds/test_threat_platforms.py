"""STIX, TAXII and MISP as the libraries of those who made the formats read them: stix2, its pattern grammar, PyMISP."""

import json
import warnings
from typing import Any

import httpx
import pytest
from feed_programs import BLOCKED, shipped_names
from installation import NOW_NS, Installation, snapshot_of

from api.feeds import FeedFormat, render
from api.feeds.collections import COLLECTION_IDS
from rules.lists.blocklist import AddressEntry, AddressList, Body, ListName, UrlEntry, UrlList

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import stix2
    import taxii2client.v21 as taxii
    from pymisp import MISPEvent
    from stix2patterns.validator import run_validator

NAMES = shipped_names()
LISTS: dict[ListName, Body] = {
    ListName.UNSANCTIONED_DOMAINS: NAMES,
    ListName.UNSANCTIONED_URLS: UrlList(NAMES.blocked, (UrlEntry("files.example/it's%20here?a=\\b", "ngrok"),)),
    ListName.UNSANCTIONED_ADDRESSES: AddressList(
        tuple(AddressEntry(it, "ngrok", first_listed_ns=NOW_NS) for it in ("2001:db8::/32", "203.0.113.9/32"))
    ),
}
SIZES = {
    ListName.UNSANCTIONED_DOMAINS: len(NAMES.blocked),
    ListName.UNSANCTIONED_URLS: len(NAMES.blocked) + 1,
    ListName.UNSANCTIONED_ADDRESSES: 2,
}


@pytest.fixture
def published(installation: Installation) -> Installation:
    for body in LISTS.values():
        installation.publish(body)
    return installation


@pytest.mark.parametrize("name", LISTS, ids=str)
def test_a_bundle_is_stix(name: ListName) -> None:
    bundle = stix2.parse(render(snapshot_of(LISTS[name]), FeedFormat.STIX), allow_custom=False, version="2.1")
    indicators = [row for row in bundle.objects if row.type == "indicator"]
    assert len(indicators) == SIZES[name]
    wrong = {row.pattern: found for row in indicators if (found := run_validator(row.pattern, stix_version="2.1"))}
    assert not wrong


@pytest.mark.parametrize("name", LISTS, ids=str)
def test_a_collection_is_a_source_of_stix(published: Installation, name: ListName) -> None:
    url = f"{published.url}/taxii2/lists/collections/{COLLECTION_IDS[name]}/"
    with taxii.Collection(url) as collection:
        source = stix2.TAXIICollectionSource(collection, allow_custom=False)
        found = source.query([stix2.Filter("type", "=", "indicator")])
        assert len(found) == SIZES[name]
        assert source.get(found[0].id).pattern == found[0].pattern


@pytest.mark.usefixtures("published")
def test_the_feed_is_one_of_misp(client: httpx.Client) -> None:
    manifest, hashes = client.get("/misp/manifest.json").json(), set(client.get("/misp/hashes.csv").text.split())
    values, hashed = set(), set()
    for uuid, described in manifest.items():
        event = MISPEvent(strict_validation=True)
        event.from_json(client.get(f"/misp/{uuid}.json").text)
        assert spelled(event.manifest[uuid]) == spelled(described)
        values |= {row.value for row in event.attributes}
        hashed |= {f"{it},{uuid}" for it in event.attributes_hashes("md5")}
    assert {*BLOCKED, "203.0.113.9"} <= values
    assert hashes == hashed


def spelled(described: dict[str, Any]) -> dict[str, object]:
    """Return an event's row of the manifest as MISP compares it: numbers as text, tags by name."""
    row: dict[str, Any] = json.loads(json.dumps(described))
    numbers = {key: str(row[key]) for key in ("timestamp", "analysis", "threat_level_id")}
    return row | numbers | {"Tag": [tag["name"] for tag in row["Tag"]]}

"""What programs read: each entry with where it comes from."""

import csv
import json

import pytest
from installation import NOW_NS, SECOND_NS, snapshot_of

from api.errors import UnrenderableSnapshot
from api.feeds import FeedFormat, render
from rules.lists.blocklist import AddressEntry, AddressList, NameEntry, NameList, Origin, Scope

ENTRY = NameEntry(
    "a.example",
    Scope.SUBTREE,
    "ngrok",
    Origin.MANUAL,
    'Nürnberg, "ticket 7"\n',
    NOW_NS - SECOND_NS,
    expires_ns=NOW_NS + 604_800 * SECOND_NS,
)
EXPIRES = "2026-11-30T19:00:00.000000Z"


def test_json_has_everything_whatever_somebody_wrote() -> None:
    snapshot = snapshot_of(NameList(blocked=(ENTRY,), wide=(ENTRY,)))
    assert json.loads(render(snapshot, FeedFormat.JSON)) == {
        "list": "unsanctioned-domains",
        "serial": 7,
        "created_at": "2026-11-23T19:00:00.000000Z",
        "entries": [
            {
                "name": "a.example",
                "scope": "subtree",
                "service": "ngrok",
                "source": "manual",
                "first_listed": "2026-11-23T18:59:59.000000Z",
                "role": "agent",
                "expires": EXPIRES,
                "reason": 'Nürnberg, "ticket 7"\n',
            }
        ],
    }


def test_what_would_be_a_line_of_its_own_stops_the_list() -> None:
    for service in ("a\nb", "b\u00f6se"):
        entry = NameEntry("a.example", Scope.EXACT, service)
        with pytest.raises(UnrenderableSnapshot):
            render(snapshot_of(NameList(blocked=(entry,))), FeedFormat.CSV)


def test_csv_has_rows_of_the_same_length() -> None:
    rows = list(csv.reader(render(snapshot_of(NameList(blocked=(ENTRY,))), FeedFormat.CSV).decode().splitlines()))
    assert rows == [
        ["name", "scope", "service", "source", "first_listed", "role", "expires"],
        ["a.example", "subtree", "ngrok", "manual", "2026-11-23T18:59:59.000000Z", "agent", EXPIRES],
    ]
    addresses = render(snapshot_of(AddressList((AddressEntry("203.0.113.9/32", "bore"),))), FeedFormat.CSV)
    assert list(csv.reader(addresses.decode().splitlines()))[1][:3] == ["203.0.113.9/32", "bore", "catalogue"]

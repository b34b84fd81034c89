import ipaddress
from collections.abc import Callable

import pytest

from api.errors import UnrenderableSnapshot
from api.feeds import FORMATS, FeedFormat, render
from rules.lists.blocklist import AddressEntry, AddressList, ListName, NameEntry, NameList, Scope, Snapshot


@pytest.fixture
def lines(make_snapshot: Callable[..., Snapshot]) -> Callable[..., list[str]]:
    def rendered(body: NameList | AddressList, feed_format: FeedFormat = FeedFormat.TXT) -> list[str]:
        return render(make_snapshot(body), feed_format, comments=False).decode("ascii").splitlines()

    return rendered


def test_an_exact_name_is_one_line_and_a_subtree_two(
    lines: Callable[..., list[str]], make_names: Callable[..., NameList]
) -> None:
    body = make_names("=tunnel.ngrok.com ngrok-agent.com")
    assert lines(body) == ["ngrok-agent.com", "*.ngrok-agent.com", "tunnel.ngrok.com"]


def test_the_head_explains_the_list(
    make_snapshot: Callable[..., Snapshot], make_names: Callable[..., NameList]
) -> None:
    text = render(make_snapshot(make_names("ngrok-agent.com =tunnel.ngrok.com")), FeedFormat.TXT).decode()
    assert text.splitlines()[:4] == [
        "# Molecatcher unsanctioned-domains",
        "# one name a line; *.name stands for every name below it",
        "# serial 7, created 2026-11-23T19:00:00.000000Z",
        "# 2 entries in 3 lines",
    ]


@pytest.mark.parametrize("feed_format", FORMATS[ListName.UNSANCTIONED_DOMAINS])
def test_a_list_is_ascii_with_a_final_newline(
    make_snapshot: Callable[..., Snapshot], make_names: Callable[..., NameList], feed_format: FeedFormat
) -> None:
    body = render(make_snapshot(make_names("ngrok-agent.com")), feed_format)
    assert body.isascii()
    assert body.endswith(b"\n")
    assert b"\r" not in body
    assert b"\n\n" not in body


def test_rendering_twice_gives_the_same_bytes(
    make_snapshot: Callable[..., Snapshot], make_names: Callable[..., NameList]
) -> None:
    snapshot = make_snapshot(make_names("b.example a.example"))
    assert render(snapshot, FeedFormat.RPZ) == render(snapshot, FeedFormat.RPZ)


@pytest.mark.parametrize(
    "name",
    [
        "a.example\nevil.example",
        "*.a.example",
        "A.example",
        "a.example.",
        "com",
        "",
        "a..example",
        "<b>.example",
        "192.0.2.1",
    ],
)
@pytest.mark.parametrize("feed_format", FORMATS[ListName.UNSANCTIONED_DOMAINS])
def test_a_name_that_is_not_canonical_stops_the_list(
    lines: Callable[..., list[str]], name: str, feed_format: FeedFormat
) -> None:
    entries = (NameEntry(name, Scope.EXACT, "ngrok"),)
    with pytest.raises(UnrenderableSnapshot):
        lines(NameList(blocked=entries, wide=entries), feed_format)


def test_addresses_are_in_numeric_order_each_once(lines: Callable[..., list[str]]) -> None:
    prefixes = ("203.0.113.10/32", "203.0.113.9/32", "2001:db8::/48", "198.51.100.0/24", "2001:db8::9/128")
    body = AddressList(tuple(AddressEntry(prefix, "ngrok") for prefix in (*prefixes, "203.0.113.9/32")))
    expected = ["198.51.100.0/24", "203.0.113.9", "203.0.113.10", "2001:db8::/48", "2001:db8::9"]
    assert lines(body) == expected


@pytest.mark.parametrize(
    "prefix",
    [
        "0.0.0.0/0",
        "10.0.0.0/7",
        "2000::/3",
        "connect.example",
        "203.0.113.9/24",
        "203.0.113.9/33",
        "203.0.113.9/032",
        "203.0.113.010",
        "2001:DB8::/64",
        "",
    ],
)
def test_a_prefix_that_cannot_be_true_stops_the_list(lines: Callable[..., list[str]], prefix: str) -> None:
    with pytest.raises(UnrenderableSnapshot):
        lines(AddressList((AddressEntry(prefix, "ngrok"),)))


def test_every_usual_form_of_an_address_is_taken(lines: Callable[..., list[str]]) -> None:
    written = [
        "0.0.0.9",
        "203.0.113.9",
        "::9",
        "::c000:201",
        "64:ff9b::c000:201",
        "2001:db8::/32",
        "2001:db8:0:1:0:1:0:1",
    ]
    assert lines(AddressList(tuple(AddressEntry(str(ipaddress.ip_network(it)), "ngrok") for it in written))) == written


def test_addresses_have_no_zone(lines: Callable[..., list[str]]) -> None:
    with pytest.raises(UnrenderableSnapshot):
        lines(AddressList(), FeedFormat.RPZ)

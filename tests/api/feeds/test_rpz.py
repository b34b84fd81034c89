"""The zone, judged as a resolver judges it: by the nearest name that exists (RFC 4592)."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from policy_zone import Zone

from api.errors import UnrenderableSnapshot
from api.feeds import FeedFormat, render
from rules.lists.blocklist import NameEntry, NameList, Scope, Snapshot
from rules.matching.names import is_at_or_below


def expected(name: str, body: NameList) -> str:
    """Return what should happen to `name`, entry by entry: a sanction wins over every list."""
    for entries, answer in ((body.allowed, "passed"), (body.wide, "blocked")):
        for entry in entries:
            if name == entry.name or (entry.scope is Scope.SUBTREE and is_at_or_below(name, entry.name)):
                return answer
    return "nothing"


@pytest.fixture
def zone_of(make_snapshot: Callable[..., Snapshot]) -> Callable[..., Zone]:
    def parsed(body: NameList, serial: int = 7) -> Zone:
        return Zone(render(make_snapshot(body, serial), FeedFormat.RPZ).decode())

    return parsed


def test_the_zone_in_full(make_snapshot: Callable[..., Snapshot], make_names: Callable[..., NameList]) -> None:
    body = make_names("tunnel.example =api.other.example", "ok.deep.tunnel.example")
    text = render(make_snapshot(body), FeedFormat.RPZ, comments=False).decode()
    assert text.splitlines() == [
        "$TTL 60",
        "@ IN SOA localhost. molecatcher.localhost. 7 300 60 2592000 60",
        "@ IN NS localhost.",
        "api.other.example CNAME .",
        "deep.tunnel.example CNAME .",
        "*.deep.tunnel.example CNAME .",
        "ok.deep.tunnel.example CNAME rpz-passthru.",
        "*.ok.deep.tunnel.example CNAME rpz-passthru.",
        "tunnel.example CNAME .",
        "*.tunnel.example CNAME .",
    ]


def test_siblings_of_an_exemption_stay_blocked(
    zone_of: Callable[..., Zone], make_names: Callable[..., NameList]
) -> None:
    zone = zone_of(make_names("tunnel.example", "ok.very.deep.tunnel.example"))
    names = {
        "ok.very.deep.tunnel.example": "passed",
        "a.b.ok.very.deep.tunnel.example": "passed",
        "evil.very.deep.tunnel.example": "blocked",
        "very.deep.tunnel.example": "blocked",
        "evil.deep.tunnel.example": "blocked",
        "deep.tunnel.example": "blocked",
        "evil.tunnel.example": "blocked",
        "nottunnel.example": "nothing",
        "example": "nothing",
    }
    assert {name: zone.judge(name) for name in names} == names


def test_an_exempted_name_alone_does_not_exempt_what_is_below_it(
    zone_of: Callable[..., Zone], make_names: Callable[..., NameList]
) -> None:
    zone = zone_of(make_names("tunnel.example", "=crl.tunnel.example"))
    assert zone.judge("crl.tunnel.example") == "passed"
    assert zone.judge("evil.crl.tunnel.example") == "blocked"


def test_an_entry_that_a_subtree_covers_is_dropped_and_opens_no_hole(
    zone_of: Callable[..., Zone], make_names: Callable[..., NameList]
) -> None:
    zone = zone_of(make_names("tunnel.example =deep.evil.tunnel.example"))
    assert zone.judge("other.evil.tunnel.example") == "blocked"
    assert len(zone.zone.nodes) == 3  # the apex, the name and its wildcard


def test_a_blocked_name_below_a_sanctioned_one_passes(
    zone_of: Callable[..., Zone], make_names: Callable[..., NameList]
) -> None:
    zone = zone_of(make_names("connect.tunnels.example", "tunnels.example"))
    assert zone.judge("connect.tunnels.example") == "passed"


def test_the_serial_is_the_snapshot_s(zone_of: Callable[..., Zone], make_names: Callable[..., NameList]) -> None:
    for serial, written in ((1, 1), (2**32 - 1, 2**32 - 1), (2**32 + 5, 5)):
        zone = zone_of(make_names("tunnel.example"), serial)
        assert zone.zone.get_soa().serial == written


def test_comments_are_zone_comments(
    make_snapshot: Callable[..., Snapshot], make_names: Callable[..., NameList]
) -> None:
    text = render(make_snapshot(make_names("tunnel.example")), FeedFormat.RPZ).decode()
    assert text.startswith("; Molecatcher unsanctioned-domains\n")
    assert "# " not in text


def test_a_name_too_long_for_a_zone_stops_the_list(
    make_snapshot: Callable[..., Snapshot], make_names: Callable[..., NameList]
) -> None:
    name = ".".join(["a" * 48] * 4)
    with pytest.raises(UnrenderableSnapshot):
        render(make_snapshot(make_names(name)), FeedFormat.RPZ)


labels = st.sampled_from("abc")
names = st.lists(labels, min_size=1, max_size=4).map(lambda parts: ".".join([*parts, "example"]))
entries = st.builds(NameEntry, names, st.sampled_from(Scope), st.just("ngrok"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(wide=st.lists(entries, max_size=6), allowed=st.lists(entries, max_size=4), asked=st.lists(names, min_size=8))
def test_every_name_is_judged_as_the_entries_say(
    zone_of: Callable[..., Zone], wide: list[NameEntry], allowed: list[NameEntry], asked: list[str]
) -> None:
    body = NameList(wide=tuple(wide), allowed=tuple(allowed))
    zone = zone_of(body)
    listed = [entry.name for entry in (*wide, *allowed)]
    for name in [*asked, *listed, *(f"x.{name}" for name in listed)]:
        assert zone.judge(name) == expected(name, body), f"{name} in {body}"

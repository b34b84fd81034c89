"""What a profile's lists hold, and that they never hold what is sanctioned."""

import pytest
from observations import NOW_NS

from rules.catalogue.catalogue import Catalogue
from rules.errors import InvalidPolicy
from rules.lists.address_building import build_addresses, names_to_resolve
from rules.lists.blocklist import NameEntry, Origin, Scope
from rules.lists.building import FoundName, build_names, build_urls, listed_services
from rules.lists.guards import Guard, Spared, refusals
from rules.policy.policy import Policy
from rules.policy.profiles import AGENTS_ONLY, MAX_PROFILES, STRICT, Profile
from rules.policy.reader import parse_policy
from rules.values.verdict import Role

DAY_NS = 86_400 * 10**9
SANCTION = '[[sanctioned]]\ndomain = "acme.ngrok.app"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'


def policy_of(text: str, catalogue: Catalogue) -> Policy:
    return parse_policy(text, "policy.toml", catalogue, NOW_NS)


def profile_of(body: str, catalogue: Catalogue, rest: str = "") -> tuple[Profile, Policy]:
    policy = policy_of(f'{rest}\n[[profile]]\nname = "here"\n{body}', catalogue)
    return policy.profiles[-1], policy


def is_blocked(entries: tuple[NameEntry, ...], name: str) -> bool:
    return any(
        name == entry.name or (entry.scope is Scope.SUBTREE and name.endswith(f".{entry.name}")) for entry in entries
    )


def test_strict_also_holds_visitors_names_and_what_is_weakly_sourced(catalogue: Catalogue) -> None:
    default, strict = (build_names(catalogue, Policy(), NOW_NS, profile).blocked for profile in (AGENTS_ONLY, STRICT))
    assert not is_blocked(default, "abc.ngrok.app")
    assert is_blocked(strict, "abc.ngrok.app")
    assert all(is_blocked(strict, entry.name) for entry in default)
    assert {entry.role for entry in default} <= {Role.AGENT, Role.UNCLEAR}
    assert Role.VISITOR in {entry.role for entry in strict}
    weak = {service.id for service in catalogue.services.values() if service.confidence == "low"}
    assert weak & {entry.service for entry in strict}
    assert not weak & {entry.service for entry in default}


def test_a_sanctioned_name_below_a_visitors_name_is_on_no_list(catalogue: Catalogue) -> None:
    policy = policy_of(SANCTION, catalogue)
    names = build_names(catalogue, policy, NOW_NS, STRICT)
    urls = build_urls(names, policy, NOW_NS)
    for sanctioned in ("acme.ngrok.app", "x.acme.ngrok.app"):
        assert not is_blocked(names.blocked, sanctioned)
        assert not is_blocked(urls.names, sanctioned)
        assert is_blocked(names.allowed, sanctioned)
    assert is_blocked(names.wide, "other.ngrok.app")


def test_a_profile_names_services_whatever_was_decided_but_ignored_ones(catalogue: Catalogue) -> None:
    decided = '[services]\ntailscale = "monitor"\nzerotier = "ignore"\nbore = "block"'
    profile, policy = profile_of('services = ["tailscale", "zerotier"]', catalogue, decided)
    assert [service.id for service in listed_services(catalogue, policy, profile, NOW_NS)] == ["tailscale"]


def test_a_category_of_a_profile_leaves_out_what_was_decided_by_id(catalogue: Catalogue) -> None:
    decided = '[services]\nreverse-tunnel = "monitor"\nngrok = "monitor"'
    profile, policy = profile_of('services = ["reverse-tunnel"]\nminimum_confidence = "low"', catalogue, decided)
    listed = {service.id for service in listed_services(catalogue, policy, profile, NOW_NS)}
    assert "bore" in listed
    assert "ngrok" not in listed
    assert {catalogue.services[name].category for name in listed} == {"reverse-tunnel"}
    assert not listed_services(catalogue, policy, AGENTS_ONLY, NOW_NS) or "bore" not in {
        service.id for service in listed_services(catalogue, policy, AGENTS_ONLY, NOW_NS)
    }


@pytest.mark.parametrize(("networks", "is_listed"), [('"10.20.5.0/24"', False), ('"10.20.0.0/15"', True), ("", True)])
def test_an_exception_counts_where_it_covers_every_network_of_a_profile(
    catalogue: Catalogue, networks: str, is_listed: bool
) -> None:
    exception = '[[exception]]\nsources = ["10.20.0.0/16"]\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'
    profile, policy = profile_of(f"networks = [{networks}]", catalogue, exception)
    listed = {service.id for service in listed_services(catalogue, policy, profile, NOW_NS)}
    assert ("ngrok" in listed) is is_listed
    assert ("ngrok" in names_to_resolve(catalogue, policy, NOW_NS, profile).values()) is is_listed


def test_an_exception_for_somebody_is_none_for_a_network(catalogue: Catalogue) -> None:
    exception = '[[exception]]\nsources = ["10.20.0.0/16"]\nusers = ["alice"]\nservice = "ngrok"\nowner = "o"\n'
    profile, policy = profile_of('networks = ["10.20.0.0/16"]', catalogue, f'{exception}reason = "r"\n')
    assert "ngrok" in {service.id for service in listed_services(catalogue, policy, profile, NOW_NS)}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('name = "strict"', "is taken"),
        ('name = "Two Words"', "is taken or no name"),
        ('name = "a"\nroles = []', "choose agent"),
        ('name = "a"\nroles = ["boss"]', "roles"),
        ('name = "a"\nservices = ["ngrokk"]', "did you mean ngrok"),
        ('name = "a"\nmax_entries = 0', "1 or more"),
        ('name = "a"\nmax_shrink = 2.0', "max_shrink"),
        ('name = "a"\nnetworks = ["10.0.0.1/8"]', "host bits"),
        ('name = "a"\n[[profile]]\nname = "a"', "twice"),
    ],
)
def test_a_profile_that_cannot_be_meant_is_refused(catalogue: Catalogue, body: str, message: str) -> None:
    with pytest.raises(InvalidPolicy, match=message):
        policy_of(f"[[profile]]\n{body}", catalogue)


def test_profiles_are_bounded(catalogue: Catalogue) -> None:
    tables = [f'[[profile]]\nname = "p{at}"' for at in range(MAX_PROFILES + 1)]
    assert len(policy_of("\n".join(tables[1:]), catalogue).profiles) == MAX_PROFILES + 2
    with pytest.raises(InvalidPolicy, match="more than are built"):
        policy_of("\n".join(tables), catalogue)


def test_a_list_with_more_than_a_profile_takes_is_refused_for_good(catalogue: Catalogue) -> None:
    profile = Profile("small", max_entries=20)
    names = build_names(catalogue, Policy(), NOW_NS, profile)
    found = refusals(names, None, Spared(), profile)
    assert [row.guard for row in found] == [Guard.TOO_MANY]
    assert "more than small takes: 20" in found[0].detail
    assert not refusals(names, None, Spared(), AGENTS_ONLY)


FOUND = FoundName("ingress.colleague.example", "ngrok", "its zone is delegated to the service", NOW_NS + DAY_NS)


def test_a_found_name_is_listed_alone_until_it_expires(catalogue: Catalogue) -> None:
    names = build_names(catalogue, Policy(), NOW_NS, STRICT, [FOUND]).blocked
    (entry,) = [entry for entry in names if entry.source is Origin.FINDING]
    assert (entry.name, entry.scope, entry.expires_ns) == (FOUND.name, Scope.EXACT, NOW_NS + DAY_NS)
    later = build_names(catalogue, Policy(), NOW_NS + DAY_NS, STRICT, [FOUND]).blocked
    assert not is_blocked(later, FOUND.name)


@pytest.mark.parametrize(
    "name", ["connect.ngrok-agent.com", "acme.ngrok.app", "www.acme.ngrok.app", "co.uk", "localhost", "github.com"]
)
def test_a_found_name_that_is_known_or_sanctioned_or_everybodys_is_not_listed(catalogue: Catalogue, name: str) -> None:
    policy = policy_of(SANCTION, catalogue)
    found = FoundName(name, "ngrok", "seen", NOW_NS + DAY_NS)
    names = build_names(catalogue, policy, NOW_NS, STRICT, [found])
    assert not [entry for entry in names.wide if entry.source is Origin.FINDING]


URLS = """
[[blocked]]
entry = "https://Share.Example/team/a?b"
owner = "o"
reason = "r"
"""


def test_single_urls_are_on_the_url_list_alone(catalogue: Catalogue) -> None:
    policy = policy_of(URLS.replace("?b", ""), catalogue)
    names = build_names(catalogue, policy, NOW_NS)
    assert not is_blocked(names.wide, "share.example")
    assert [row.url for row in build_urls(names, policy, NOW_NS).urls] == ["share.example/team/a"]
    assert not [
        row
        for row in build_addresses(catalogue, policy, NOW_NS, resolved={}, sanctioned=()).blocked
        if row.service == "policy"
    ]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("https://share.example/a?b", "without port, query"),
        ("https://share.example:8443/a", "without port"),
        ("https://share.example/*", "without port, query and"),
        ("https://user@share.example/", "no URL"),
        ("https://x.acme.ngrok.app/a", "which is sanctioned"),
        (f"https://share.example/{'a' * 250}", "longer than 250"),
    ],
)
def test_a_url_that_a_list_cannot_say_or_that_is_sanctioned_is_refused(
    catalogue: Catalogue, entry: str, message: str
) -> None:
    with pytest.raises(InvalidPolicy, match=message):
        policy_of(f'{SANCTION}[[blocked]]\nentry = "{entry}"\nowner = "o"\nreason = "r"', catalogue)


def test_a_url_of_a_host_that_becomes_sanctioned_leaves_the_list(catalogue: Catalogue) -> None:
    sanctioned = policy_of(SANCTION, catalogue)
    blocked = policy_of('[[blocked]]\nentry = "https://acme.ngrok.app/x"\nowner = "o"\nreason = "r"', catalogue)
    both = Policy(sanctions=sanctioned.sanctions, blocked=blocked.blocked)
    names = build_names(catalogue, both, NOW_NS)
    assert not build_urls(names, both, NOW_NS).urls
    listed = build_urls(build_names(catalogue, blocked, NOW_NS), blocked, NOW_NS)
    spared = Spared(names={"acme.ngrok.app": NameEntry("acme.ngrok.app", Scope.SUBTREE, "ngrok")})
    assert [row.guard for row in refusals(listed, None, spared)] == [Guard.SANCTIONED_NAME]

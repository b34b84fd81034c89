import re
from datetime import date

import pytest
from observations import NOW_NS, lookup

from rules.catalogue.catalogue import Catalogue, build_catalogue, load_catalogue, read_files, version_key
from rules.catalogue.check import Level, Problem, check_catalogue
from rules.catalogue.diff import Change, diff
from rules.catalogue.service import ListKind
from rules.classification.classify import classify
from rules.errors import InvalidPolicy
from rules.policy.policy import Policy
from rules.policy.reader import parse_policy
from rules.values.verdict import Outcome, Role

ENTRY = """
name = "X"
homepage = "https://x.example"
category = "reverse-tunnel"
confidence = "high"
agent_domains = ["agents.x.example"]
endpoint_domains = ["x.example"]
ports = ["tcp/443"]
sources = ["x"]
"""
SANCTION = '[[sanctioned]]\ndomain = "{}"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'
# A name in the lists of agents and of visitors alike is unclear.
ROLES = {
    ListKind.AGENT: {Role.AGENT, Role.UNCLEAR},
    ListKind.ENDPOINT: {Role.VISITOR, Role.UNCLEAR},
    ListKind.AUXILIARY: {Role.AUXILIARY},
}
DAY_NS = 86_400 * 1_000_000_000


def with_entry(text: str) -> Catalogue:
    return build_catalogue(read_files(), {"x.toml": text})


def problems(text: str, policy: str = "") -> list[Problem]:
    catalogue = with_entry(text)
    sanctions = parse_policy(policy, "policy.toml", catalogue, NOW_NS).active_sanctions(NOW_NS)
    return check_catalogue(catalogue, [sanction.domain for sanction in sanctions], ["x"])


def test_the_shipped_catalogue_has_no_error(catalogue: Catalogue) -> None:
    assert check_catalogue(catalogue, ()) == []


@pytest.mark.parametrize("service_id", load_catalogue().services)
def test_every_entry_shows_by_example_what_each_of_its_lists_says(catalogue: Catalogue, service_id: str) -> None:
    """A look-up of an example has the verdict and role of its list, and one of a near miss is not of this service."""
    service = catalogue.services[service_id]
    assert service.near_misses
    kinds = {kind for kind, _ in service.entries()} - {ListKind.EXCLUDED}
    assert {kind for kind in kinds if not getattr(service.examples, kind.value)} == set()
    for kind in kinds:
        for name in getattr(service.examples, kind.value):
            verdict = classify(lookup(name), Policy(), catalogue)
            assert (verdict.outcome, verdict.service) == (Outcome.UNSANCTIONED, service_id), name
            assert verdict.role in ROLES[kind], name
    for name in service.near_misses:
        assert classify(lookup(name), Policy(), catalogue).service != service_id, name


@pytest.mark.parametrize("name", ["ngrok.com", "NGROK.com", "ngrok.com."])
def test_no_spelling_of_an_entry_hides_what_it_covers(name: str) -> None:
    found = problems(ENTRY.replace("agents.x.example", name))
    assert "it covers ngrok.com, which many services share" in {row.message for row in found}


def test_a_good_entry_has_no_problem() -> None:
    more = 'near_misses = ["notx.example"]\n[examples]\nagent = ["1.agents.x.example"]\nendpoint = ["abc.x.example"]\n'
    assert problems(ENTRY + more) == []


@pytest.mark.parametrize(
    ("more", "level", "says"),
    [
        ('[examples]\nagent = ["abc.x.example"]', Level.ERROR, r"abc\.x\.example matches x \(endpoint\)"),
        ('[examples]\nagent = ["y.example"]', Level.ERROR, r"y\.example matches nothing"),
        ('near_misses = ["WWW.x.example."]', Level.ERROR, r"matches the entry x\.example"),
        ('auxiliary_domains = ["co.uk"]', Level.ERROR, "public suffix"),
        ('auxiliary_domains = ["github.com"]', Level.ERROR, r"covers github\.com"),
        ('auxiliary_domains = ["=github.com"]', Level.ERROR, r"covers github\.com"),
        ('auxiliary_domains = ["a.ngrok-agent.com"]', Level.WARNING, "lies at or below a name of ngrok"),
        ('auxiliary_domains = ["=tunnel.ngrok.com"]', Level.WARNING, "lies at or below a name of ngrok"),
        ('addresses = ["198.41.128.0/20"]', Level.WARNING, "which many share"),
        ('alpn = ["argotunnel"]', Level.ERROR, "has it too"),
    ],
)
def test_what_is_wrong_is_said(more: str, level: Level, says: str) -> None:
    (found,) = [row for row in problems(ENTRY + more) if re.search(says, row.message)]
    assert (found.service, found.level) == ("x", level)


def test_a_sanctioned_name_below_an_entry_is_pointed_at() -> None:
    found = problems(ENTRY.replace("agents.x.example", "example.com"), SANCTION.format("tunnels.example.com"))
    assert [(row.level, row.key) for row in found] == [(Level.WARNING, "agent name example.com")]


def test_an_entry_below_a_sanctioned_name_does_not_fit_the_policy() -> None:
    with pytest.raises(
        InvalidPolicy, match=r"tunnels\.example\.com covers the catalogue name dial\.tunnels\.example\.com"
    ):
        problems(ENTRY.replace("agents.x.example", "dial.tunnels.example.com"), SANCTION.format("tunnels.example.com"))


def test_a_diff_says_what_lists_gain_and_lose_and_which_services_come_and_go(catalogue: Catalogue) -> None:
    files = read_files()
    del files["services/horizon.toml"]
    files["services/bore.toml"] = files["services/bore.toml"].replace('confidence = "high"', 'confidence = "low"')
    new = build_catalogue(
        files, {"x.toml": ENTRY, "y.toml": 'extends = "ngrok"\n[add]\nports = ["tcp/1"]\n[remove]\nalpn = []'}
    )
    assert diff(catalogue, new) == [
        Change("bore", "confidence", (catalogue.services["bore"].confidence,), ("low",)),
        Change("horizon", "service", ("hrzn.run",), ()),
        Change("ngrok", "ports", (), ("tcp/1",)),
        Change("x", "service", (), ("agents.x.example", "x.example")),
    ]
    assert diff(new, new) == []


def test_age_and_order_of_versions(catalogue: Catalogue) -> None:
    made_ns = (catalogue.generated - date(1970, 1, 1)).days * DAY_NS
    assert catalogue.age_days(made_ns - DAY_NS) == 0
    assert catalogue.age_days(made_ns + 90 * DAY_NS) == 90
    assert not catalogue.warning(made_ns + 90 * DAY_NS)
    assert "91 days old" in catalogue.warning(made_ns + 91 * DAY_NS)
    mixed = ["2026.12.01", "2026.11.23.10", "2026.11.23", "2026.11.23.1"]
    assert sorted(mixed, key=version_key) == ["2026.11.23", "2026.11.23.1", "2026.11.23.10", "2026.12.01"]
    for wrong in ("", "1.0", "2026.1.1", "2026.11.23.", "2026.11.23-1", "\u0662026.11.23"):
        with pytest.raises(ValueError, match="version"):
            version_key(wrong)

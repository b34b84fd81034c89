"""Names that are nearly, but not quite, those of the catalogue raise no alarm: made from every entry there is."""

import pytest
from near_misses import Oracle, names, spared, variants, visited
from observations import NOW_NS, hello, lookup

from rules.catalogue.catalogue import Catalogue
from rules.classification.classify import classify
from rules.policy.policy import Policy
from rules.policy.reader import parse_policy
from rules.values.verdict import Outcome, Role, Severity

SANCTION = '[[sanctioned]]\ndomain = "tunnels.example.com"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'


@pytest.fixture(scope="module")
def listed(catalogue: Catalogue) -> Oracle:
    return Oracle(catalogue)


def test_near_misses_of_every_entry_are_nothing(catalogue: Catalogue, listed: Oracle) -> None:
    policy, tried = parse_policy(SANCTION, "policy.toml", catalogue, NOW_NS), 0
    for name in names(catalogue):
        for variant in variants(name):
            if variant in listed:
                continue
            tried += 1
            for observation in (hello(variant), hello(variant, alpn=("h2", "http/1.1")), lookup(variant)):
                assert classify(observation, policy, catalogue).outcome is Outcome.UNKNOWN, (name, variant)
    assert tried > 5 * len(names(catalogue))


def test_the_oracle_knows_every_entry(catalogue: Catalogue, listed: Oracle) -> None:
    for name in names(catalogue):
        assert name in listed


def test_a_listed_name_in_another_spelling_is_the_same(catalogue: Catalogue) -> None:
    for name in names(catalogue):
        plain = classify(hello(name), Policy(), catalogue)
        for spelling in (name.upper(), f"{name}.", name.title()):
            assert classify(hello(spelling), Policy(), catalogue) == plain, spelling


def test_excluded_and_shared_names_are_nothing(catalogue: Catalogue) -> None:
    assert len(spared(catalogue)) > len(catalogue.shared)
    for name in spared(catalogue):
        for observation in (hello(name), lookup(name)):
            verdict = classify(observation, Policy(), catalogue)
            assert verdict.outcome is Outcome.UNKNOWN or verdict.role is Role.AUXILIARY, name


def test_a_name_of_ones_own_that_leads_to_a_visited_tunnel_is_a_visit_and_no_more(catalogue: Catalogue) -> None:
    for alias in visited(catalogue):
        verdict = classify(lookup("docs.customer.example", alias), Policy(), catalogue)
        assert verdict.outcome is Outcome.UNKNOWN or (verdict.role, verdict.severity) == (Role.VISITOR, Severity.LOW), (
            alias
        )

"""Names that are nearly, but not quite, those of the catalogue raise no alarm: made from every entry there is."""

import re
from collections.abc import Iterator

import pytest
from observations import NOW_NS, hello, lookup

from rules.catalogue import Catalogue, ListKind
from rules.classify import classify
from rules.matcher import EXACT_MARK, WILDCARDS
from rules.policy import Policy, parse_policy
from rules.public_suffix import is_registry_suffix
from rules.verdict import Outcome, Role, Severity

SANCTION = '[[sanctioned]]\ndomain = "tunnels.example.com"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'


@pytest.fixture(scope="module")
def listed(catalogue: Catalogue) -> "Oracle":
    return Oracle(catalogue)


class Oracle:
    """Whether a name is listed, told plainly: every entry tried one after the other."""

    def __init__(self, catalogue: Catalogue) -> None:
        entries = {entry for service in catalogue.services.values() for _, entry in service.entries()}
        self.exact = {entry.removeprefix(EXACT_MARK) for entry in entries if entry.startswith(EXACT_MARK)}
        self.subtrees = {entry for entry in entries if not entry.startswith(EXACT_MARK) and not is_pattern(entry)}
        # `*` and `?` stand for characters of one label
        escaped = (re.escape(entry) for entry in entries if is_pattern(entry))
        self.patterns = [re.compile(text.replace(r"\*", "[^.]*").replace(r"\?", "[^.]")) for text in escaped]

    def __contains__(self, name: str) -> bool:
        return (
            name in self.exact
            or any(name == entry or name.endswith(f".{entry}") for entry in self.subtrees)
            or any(pattern.fullmatch(name) for pattern in self.patterns)
        )


def is_pattern(entry: str) -> bool:
    return any(wildcard in entry for wildcard in WILDCARDS)


def names(catalogue: Catalogue) -> list[str]:
    """Return every name of the catalogue, without those that hold wildcards."""
    found = {entry.removeprefix(EXACT_MARK) for row in catalogue.services.values() for _, entry in row.entries()}
    return sorted(name for name in found if not is_pattern(name))


def variants(name: str) -> Iterator[str]:
    """Yield siblings, parents, prefixes, suffixes and other look-alikes of a name."""
    first, _, rest = name.partition(".")
    yield from (f"mc-sibling.{rest}", f"{first}-2.{rest}", f"{first}.mc.{rest}")
    yield from (f"not{name}", f"x-{name}", f"evil{first}.{rest}")
    yield from (f"{name}.example.net", f"{name}.corp.example", f"{name.replace('.', '-')}.example.org")
    yield from (f"{name.rpartition('.')[0]}.example", f"{name}x", f"{name}.localdomain")
    while not is_registry_suffix(rest) and "." in rest:
        yield rest
        rest = rest.partition(".")[2]


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
    excluded = [
        entry.removeprefix(EXACT_MARK)
        for service in catalogue.services.values()
        for kind, entry in service.entries()
        if kind is ListKind.EXCLUDED and not is_pattern(entry)
    ]
    assert excluded
    for name in {*excluded, *catalogue.shared}:
        for observation in (hello(name), lookup(name)):
            verdict = classify(observation, Policy(), catalogue)
            assert verdict.outcome is Outcome.UNKNOWN or verdict.role is Role.AUXILIARY, name


def test_a_name_of_ones_own_that_leads_to_a_visited_tunnel_is_a_visit_and_no_more(catalogue: Catalogue) -> None:
    endpoints = [
        entry
        for service in catalogue.services.values()
        for kind, entry in service.entries()
        if kind is ListKind.ENDPOINT and not is_pattern(entry) and not entry.startswith(EXACT_MARK)
    ]
    for endpoint in endpoints:
        alias = f"abc123.{endpoint}"
        match = catalogue.match(alias)
        if match is None or match.kinds != {ListKind.ENDPOINT}:
            continue
        verdict = classify(lookup("docs.customer.example", alias), Policy(), catalogue)
        assert verdict.outcome is Outcome.UNKNOWN or (verdict.role, verdict.severity) == (Role.VISITOR, Severity.LOW), (
            alias
        )

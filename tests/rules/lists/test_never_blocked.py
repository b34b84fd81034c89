"""What the organisation keeps off every list."""

import pytest
from observations import NOW_NS

from rules.catalogue.catalogue import Catalogue
from rules.errors import InvalidPolicy
from rules.lists.address_building import build_addresses
from rules.lists.building import build_names, build_urls, protected_names
from rules.lists.guards import Guard, Spared, refusals
from rules.policy.policy import Policy
from rules.policy.profiles import STRICT
from rules.policy.reader import parse_policy

ENTRY = '[[never_blocked]]\nentry = "{}"\nowner = "o"\nreason = "r"\n'
BLOCKED = '[[blocked]]\nentry = "{}"\nowner = "o"\nreason = "r"\n'


def policy(catalogue: Catalogue, *entries: str, more: str = "") -> Policy:
    return parse_policy("".join(map(ENTRY.format, entries)) + more, "policy.toml", catalogue, NOW_NS)


def test_a_name_leaves_the_lists_of_every_profile(catalogue: Catalogue) -> None:
    kept = policy(catalogue, "connect.ngrok-agent.com", "=bore.pub", more=BLOCKED.format("https://bore.pub/x"))
    names = build_names(catalogue, kept, NOW_NS, STRICT)
    assert "bore.pub" not in {row.name for row in names.blocked}
    assert {"bore.pub", "connect.ngrok-agent.com"} <= {row.name for row in names.allowed}
    assert build_urls(names, kept, NOW_NS).urls == ()
    spared = Spared(names=protected_names(catalogue, kept, NOW_NS))
    assert refusals(names, None, spared) == []
    before = build_names(catalogue, Policy(), NOW_NS, STRICT)
    assert Guard.SANCTIONED_NAME in {row.guard for row in refusals(before, None, spared)}


def test_a_network_is_spared_with_its_reason(catalogue: Catalogue) -> None:
    kept = policy(catalogue, "3.9.8.0/24", more=BLOCKED.format("3.9.8.7"))
    built = build_addresses(
        catalogue, kept, NOW_NS, resolved={"connect.ngrok-agent.com": ["3.9.8.9", "3.9.9.9"]}, sanctioned=()
    )
    assert "3.9.9.9/32" in {row.prefix for row in built.blocked}
    assert not {row.prefix for row in built.blocked if row.prefix.startswith("3.9.8.")}
    assert [row.reason for row in built.spared if row.address == "3.9.8.9"] == ["the policy never blocks it"]


@pytest.mark.parametrize(
    ("entry", "word"),
    [("com", "public suffix"), ("https://a.example/b", "URL"), ("0.0.0.0/0", "empty the list"), ("a b", "give a name")],
)
def test_what_cannot_be_kept_off_is_refused(catalogue: Catalogue, entry: str, word: str) -> None:
    with pytest.raises(InvalidPolicy, match=word) as error:
        policy(catalogue, entry)
    assert error.value.key == "never_blocked[0].entry"


def test_an_expired_entry_has_no_effect(catalogue: Catalogue) -> None:
    kept = policy(catalogue, "bore.pub", more="expires = 2020-01-01\n")
    assert "expired" in kept.warnings[0]
    assert "bore.pub" in {row.name for row in build_names(catalogue, kept, NOW_NS).blocked}

"""A guard refuses what must not be on a list, whatever built it."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.lists.blocklist import AddressEntry, AddressList, NameEntry, NameList, Scope
from rules.lists.guards import Guard, HeldList, Spared, refusals

SPARED = Spared(
    names={
        "tunnels.example.com": NameEntry("tunnels.example.com", Scope.SUBTREE, "ngrok"),
        "crl.ngrok.com": NameEntry("crl.ngrok.com", Scope.EXACT, "ngrok"),
    }
)
EXEMPT = tuple(sorted(SPARED.names.values()))


def names(*words: str) -> NameList:
    entries = tuple(
        sorted(
            NameEntry(word.removeprefix("*."), Scope.SUBTREE if word.startswith("*.") else Scope.EXACT, "ngrok")
            for word in words
        )
    )
    return NameList(blocked=entries, wide=entries, allowed=EXEMPT)


def addresses(*prefixes: str) -> AddressList:
    return AddressList(tuple(AddressEntry(prefix, "ngrok") for prefix in prefixes))


def guards(new: NameList | AddressList, before: NameList | AddressList | None = None) -> set[Guard]:
    return {refusal.guard for refusal in refusals(new, before, SPARED)}


@pytest.mark.parametrize(
    "word",
    [
        *("tunnels.example.com", "*.tunnels.example.com", "a.tunnels.example.com", "*.a.tunnels.example.com"),
        *("*.example.com", "*.ngrok.com", "crl.ngrok.com", "*.crl.ngrok.com"),
    ],
)
def test_what_would_block_a_sanctioned_name_is_refused(word: str) -> None:
    assert Guard.SANCTIONED_NAME in guards(names("tunnel.ngrok.com", word))


def test_what_lies_beside_a_sanctioned_name_passes() -> None:
    assert guards(names("*.tunnel.ngrok.com", "ngrok.com", "example.com", "a.crl.ngrok.com", "*.ngrok.io")) == set()


def test_a_subtree_without_its_exemption_is_refused() -> None:
    entries = (NameEntry("ngrok.com", Scope.SUBTREE, "ngrok"),)
    assert Guard.SANCTIONED_NAME in guards(NameList(wide=entries, allowed=EXEMPT[1:]))
    assert guards(NameList(wide=entries, allowed=EXEMPT)) == set()


@pytest.mark.parametrize("word", ["com", "*.com", "*.co.uk"])
def test_a_registrys_suffix_is_refused(word: str) -> None:
    assert Guard.PUBLIC_SUFFIX in guards(names("tunnel.ngrok.com", word))


@pytest.mark.parametrize(
    ("prefix", "guard"),
    [
        ("32.0.0.0/7", Guard.WIDE_PREFIX),
        ("2600::/18", Guard.WIDE_PREFIX),
        ("10.1.2.3/32", Guard.OWN_ADDRESS),
        ("fe80::1/128", Guard.OWN_ADDRESS),
    ],
)
def test_addresses_that_no_list_may_hold_are_refused(prefix: str, guard: Guard) -> None:
    assert guard in guards(addresses("198.51.100.7/32", prefix))


def test_a_prefix_with_a_sanctioned_address_is_refused() -> None:
    spared = Spared(networks=(ipaddress.ip_network("198.51.100.9/32"),))
    found = refusals(addresses("198.51.100.0/24"), None, spared)
    assert [refusal.guard for refusal in found] == [Guard.SANCTIONED_ADDRESS]
    assert refusals(addresses("198.51.100.8/32"), None, spared) == []


def test_a_list_may_change_by_steps_and_not_at_once() -> None:
    many = [f"n{number}.ngrok.io" for number in range(200)]
    assert guards(names(*many[:100]), names(*many)) == set()
    assert guards(names(*many[:99]), names(*many)) == {Guard.SHRINK}
    assert guards(names(*many), names(*many[:66])) == {Guard.GROWTH}
    assert guards(names(*many), names(*many[:67])) == set()
    assert guards(names(*many[:3]), names(*many[:9])) == set()
    assert guards(names(), names(*many[:3])) == {Guard.EMPTY}
    assert guards(names(), None) == set()


def test_only_steps_can_be_confirmed() -> None:
    found = tuple(refusals(names("co.uk"), names(*(f"n{number}.ngrok.io" for number in range(20))), SPARED))
    assert {refusal.guard for refusal in found} == {Guard.PUBLIC_SUFFIX, Guard.SHRINK}
    assert not HeldList("d", found, 1).is_confirmable
    assert HeldList("d", found[1:], 1).is_confirmable


LABELS = st.lists(st.sampled_from(["a", "b", "tunnels", "example", "ngrok", "crl"]), min_size=1, max_size=4)


@given(st.lists(LABELS.map(lambda labels: ".".join([*labels, "com"])), max_size=4), st.booleans())
def test_the_guard_agrees_with_a_plain_oracle(words: list[str], is_subtree: bool) -> None:
    entries = names(*(f"*.{word}" if is_subtree else word for word in dict.fromkeys(words)))
    below = [f"{label}.tunnels.example.com" for label in ("a", "b", "tunnels", "a.b", "crl", "ngrok", "example")]
    reachable = ["crl.ngrok.com", "tunnels.example.com", *below]
    hit = any(
        name == entry.name or (entry.scope is Scope.SUBTREE and name.endswith("." + entry.name))
        for entry in entries.blocked
        for name in reachable
    )
    if hit:
        assert Guard.SANCTIONED_NAME in guards(entries)
    elif not any(entry.name.endswith(".tunnels.example.com") for entry in entries.blocked):
        assert Guard.SANCTIONED_NAME not in guards(entries)

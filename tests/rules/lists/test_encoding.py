"""A list as it is stored, and the identity of what it says."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from list_bodies import bodies
from observations import NOW_NS

from rules.catalogue.catalogue import Catalogue
from rules.lists.blocklist import Body, NameEntry, NameList, Origin, Scope
from rules.lists.building import build_names
from rules.lists.encoding import decode, digest, encode
from rules.policy.policy import Policy
from rules.policy.reader import parse_policy
from rules.values.verdict import Role


@given(body=bodies())
def test_a_stored_list_is_the_list(body: Body) -> None:
    stored = encode(body)
    assert decode(stored) == body
    assert digest(decode(stored)) == digest(body)
    back = decode(stored)
    if isinstance(back, NameList) and isinstance(body, NameList):
        assert (back.wide is back.blocked) is (body.wide is body.blocked)


def test_the_same_rules_make_a_list_of_the_same_identity(catalogue: Catalogue) -> None:
    blocking = parse_policy('[services]\nmesh-vpn = "block"\n', "policy.toml", catalogue, NOW_NS)
    names = build_names(catalogue, blocking, NOW_NS)
    assert decode(encode(names)) == names
    assert digest(names) == digest(build_names(catalogue, blocking, NOW_NS))
    assert digest(names) != digest(build_names(catalogue, Policy(), NOW_NS))


@given(body=bodies(), cut=st.integers(1, 40))
def test_a_damaged_list_is_refused(body: Body, cut: int) -> None:
    stored = encode(body)
    with pytest.raises(msgspec.MsgspecError):
        decode(stored[: max(0, len(stored) - cut)])


def test_a_list_as_it_was_stored_before_there_were_profiles_is_read() -> None:
    entry = {"name": "a.example", "scope": "exact", "service": "ngrok", "first_listed_ns": 5}
    old = msgspec.json.encode({"type": "names", "blocked": [entry], "wide": [entry], "allowed": []})
    body = decode(old)
    assert isinstance(body, NameList)
    assert body.blocked == (NameEntry("a.example", Scope.EXACT, "ngrok", first_listed_ns=5),)
    assert body.wide is body.blocked


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        (lambda row: msgspec.structs.replace(row, first_listed_ns=9), True),
        (lambda row: msgspec.structs.replace(row, source=Origin.FINDING, expires_ns=9), False),
        (lambda row: msgspec.structs.replace(row, expires_ns=9), False),
        (lambda row: msgspec.structs.replace(row, role=Role.VISITOR), False),
        (lambda row: msgspec.structs.replace(row, reason="another"), False),
    ],
)
def test_what_counts_for_the_identity(change: Callable[[NameEntry], NameEntry], is_same: bool) -> None:
    row = NameEntry("a.example", Scope.EXACT, "ngrok")
    assert (digest(NameList((row,), (row,))) == digest(NameList((change(row),), (change(row),)))) is is_same


def test_a_finding_that_is_seen_again_changes_nothing() -> None:
    rows = [NameEntry("a.example", Scope.EXACT, "ngrok", Origin.FINDING, expires_ns=at) for at in (5, 9)]
    assert len({digest(NameList((row,), (row,))) for row in rows}) == 1

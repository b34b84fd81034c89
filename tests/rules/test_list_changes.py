"""From one state of a list to the next, and a list as it is stored."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.blocklist import (
    AddressEntry,
    AddressList,
    Body,
    NameEntry,
    NameList,
    Origin,
    Scope,
    UrlEntry,
    UrlList,
    WithheldAddress,
    count,
)
from rules.list_changes import differences, stamp
from rules.list_encoding import decode, digest, encode
from rules.verdict import Role

words = st.sets(st.sampled_from([f"{letter}.example" for letter in "abcdefgh"]))
scopes = st.sampled_from(Scope)
entries = st.dictionaries(words.map(lambda names: min(names, default="z.example")), scopes).map(
    lambda found: tuple(sorted(NameEntry(name, scope, "s") for name, scope in found.items()))
)


def bodies() -> st.SearchStrategy[Body]:
    names = st.builds(NameList, entries, entries, entries)
    same = entries.map(lambda rows: NameList(rows, rows))
    urls = st.builds(
        lambda names, texts: UrlList(names, tuple(UrlEntry(f"{it}/x", "s") for it in sorted(texts))), entries, words
    )
    addresses = st.sets(st.integers(1, 9)).map(
        lambda found: AddressList(
            tuple(AddressEntry(f"198.51.100.{number}/32", "s") for number in sorted(found)),
            {"ngrok": "it shares them"},
            (WithheldAddress("192.0.2.1", "a.example", "s", "a sanctioned name resolves to it"),),
        )
    )
    return st.one_of(names, same, urls, addresses)


def texts(body: Body) -> set[str]:
    if isinstance(body, NameList):
        return {row.text for row in body.wide}
    return {row.text for row in body.blocked}


@given(body=bodies())
def test_a_stored_list_is_the_list(body: Body) -> None:
    stored = encode(body)
    assert decode(stored) == body
    assert digest(decode(stored)) == digest(body)
    back = decode(stored)
    if isinstance(back, NameList) and isinstance(body, NameList):
        assert (back.wide is back.blocked) is (body.wide is body.blocked)


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


@given(before=bodies(), after=bodies())
def test_differences_are_those_of_the_texts(before: Body, after: Body) -> None:
    if type(before) is not type(after):
        return
    found = list(differences(before, after))
    assert sorted(text for is_new, text in found if is_new) == sorted(texts(after) - texts(before))
    assert sorted(text for is_new, text in found if not is_new) == sorted(texts(before) - texts(after))
    assert count(after) == len(texts(after))


@given(before=entries, after=entries)
def test_an_entry_keeps_its_date_and_stays_the_same_object(
    before: tuple[NameEntry, ...], after: tuple[NameEntry, ...]
) -> None:
    first = stamp(NameList(before, before), None, 1)
    second = stamp(NameList(after, after), first, 2)
    assert isinstance(first, NameList)
    assert isinstance(second, NameList)
    had = {(row.name, row.scope): row for row in first.wide}
    for row in second.wide:
        earlier = had.get((row.name, row.scope))
        assert row.first_listed_ns == (1 if earlier else 2)
        assert earlier is None or row is earlier
    assert second.wide is second.blocked


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

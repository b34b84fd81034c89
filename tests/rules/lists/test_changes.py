"""From one state of a list to the next."""

from hypothesis import given
from list_bodies import bodies, entries

from rules.lists.blocklist import Body, NameEntry, NameList, count
from rules.lists.changes import differences, stamp


def texts(body: Body) -> set[str]:
    if isinstance(body, NameList):
        return {row.text for row in body.wide}
    return {row.text for row in body.blocked}


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

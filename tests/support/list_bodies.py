"""Small lists of every kind, for tests of what holds for all lists."""

from hypothesis import strategies as st

from rules.lists.blocklist import (
    AddressEntry,
    AddressList,
    Body,
    NameEntry,
    NameList,
    Scope,
    UrlEntry,
    UrlList,
    WithheldAddress,
)

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

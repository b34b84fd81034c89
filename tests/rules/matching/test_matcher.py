import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.errors import InvalidName
from rules.matching.matcher import NameTable, canonical

LABEL = st.text(alphabet="ab", min_size=1, max_size=2)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
PATTERN = st.tuples(st.sampled_from(["*", "a*", "?", "*b", "a.*"]), NAME).map(".".join)
ENTRY = st.one_of(NAME, NAME.map("={}".format), PATTERN)


def first(table: NameTable[str], name: str) -> str | None:
    return next((values[0] for values in table.matches(name)), None)


def naive(entries: list[str], name: str) -> str | None:
    """Every entry tried one by one, then ranked as DESIGN.md section 3 says."""
    ranked = []
    for entry in entries:
        if "*" in entry or "?" in entry:
            regex = re.escape(entry).replace(r"\*", "[^.]*").replace(r"\?", "[^.]")
            if re.fullmatch(regex, name):
                ranked.append((1, -len(entry.split(".")), entry))
        elif entry.startswith("="):
            if name == entry[1:]:
                ranked.append((0, 0, entry))
        elif name.split(".")[-len(entry.split(".")) :] == entry.split("."):
            ranked.append((2, -len(entry), entry))
    return min(ranked)[2] if ranked else None


@given(st.lists(ENTRY, unique=True, max_size=12), NAME)
def test_the_table_agrees_with_a_naive_matcher(entries: list[str], name: str) -> None:
    table: NameTable[str] = NameTable()
    for entry in entries:
        table.add(entry, entry)
    found, expected = first(table, name), naive(entries, name)
    if found != expected:  # two patterns may both match: then only their rank has to agree
        assert found is not None
        assert expected is not None
        assert "*" in found or "?" in found
        assert "*" in expected or "?" in expected


def is_at_an_end(name: str, ends: set[str]) -> bool:
    """Whether `name` is one of `ends` or below one, or has the letter of one in its place."""
    labels = name.split(".")
    parts = [labels[at:] for at in range(len(labels))]
    return any(".".join(part) in ends or ".".join([f"{part[0][:1]}*", *part[1:]]) in ends for part in parts)


@given(st.lists(ENTRY, max_size=6), NAME)
def test_whatever_matches_is_at_an_end_or_below_one(entries: list[str], name: str) -> None:
    table: NameTable[str] = NameTable()
    for entry in entries:
        table.add(entry, entry)
    if first(table, name) is not None:
        assert is_at_an_end(name, table.ends())


def test_the_end_of_a_pattern_has_the_letter_that_its_last_label_begins_with() -> None:
    table: NameTable[str] = NameTable()
    for entry in ["frp-???.com", "tunnel.*.ngrok.com", "*.free.pinggy.io", "a.b-*.example.com", "=x.y", "n.net"]:
        table.add(entry, entry)
    assert table.ends() == {"f*.com", "ngrok.com", "free.pinggy.io", "b*.example.com", "x.y", "n.net"}


def test_exact_beats_pattern_beats_suffix_and_longer_beats_shorter() -> None:
    table: NameTable[str] = NameTable()
    for entry in ["com", "ngrok.com", "tunnel.*.ngrok.com", "=tunnel.us.ngrok.com"]:
        table.add(entry, entry)
    assert first(table, "tunnel.us.ngrok.com") == "=tunnel.us.ngrok.com"
    assert first(table, "tunnel.eu.ngrok.com") == "tunnel.*.ngrok.com"
    assert first(table, "x.tunnel.us.ngrok.com") == "ngrok.com"
    assert first(table, "notngrok.com") == "com"
    assert first(table, "tunnel.a.b.ngrok.com") == "ngrok.com"


def test_what_is_added_under_one_entry_twice_is_found_together() -> None:
    table: NameTable[str] = NameTable()
    for entry in ["=a.example", "b.example", "c*.example", "c*.example.", "cc*.example"]:
        table.add(entry, f"first {entry}")
        table.add(entry, f"second {entry}")
    assert list(table.matches("a.example")) == [["first =a.example", "second =a.example"]]
    assert list(table.matches("x.b.example")) == [["first b.example", "second b.example"]]
    assert [len(values) for values in table.matches("c1.example")] == [4]
    assert next(table.matches("cc1.example")) == ["first cc*.example", "second cc*.example"]


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("Tunnels.Example.COM.", "tunnels.example.com"),
        ("=B\u00fccher.example", "=xn--bcher-kva.example"),
        ("Connect.*.B\u00fccher.example.", "connect.*.xn--bcher-kva.example"),
        ("fe4_*.b5p.us", "fe4_*.b5p.us"),
    ],
)
def test_an_entry_has_one_canonical_form(written: str, compared: str) -> None:
    assert canonical(written) == compared
    table: NameTable[str] = NameTable()
    table.add(written, written)
    assert first(table, compared.removeprefix("=").replace("*", "x")) == written


@pytest.mark.parametrize("entry", ["*", "a.*", "=", "=10.0.0.1", "", "\u00fc*.example", f"*.{'a.' * 200}example"])
def test_entries_that_would_match_everything_or_nothing_are_refused(entry: str) -> None:
    table: NameTable[None] = NameTable()
    with pytest.raises(InvalidName):
        table.add(entry, None)


def test_a_million_names_cost_no_more_lookups_than_one() -> None:
    """The work is counted, not timed: one probe a label. `bench/matcher.py` has the times."""
    table: NameTable[int] = NameTable()
    for number in range(1_000_000):
        table.add(f"n{number}.example.net", number)

    class CountingDict(dict[str, list[int]]):
        probes = 0

        def get(self, key: str, default: object = None) -> object:  # type: ignore[override]
            CountingDict.probes += 1
            return super().get(key, default)

    table._exact, table._suffixes = CountingDict(table._exact), CountingDict(table._suffixes)
    name = ".".join([*string.ascii_lowercase[:3], "n999999.example.net"])
    assert [*table.matches(name)] == [[999_999]]
    assert CountingDict.probes <= len(name.split(".")) + 1

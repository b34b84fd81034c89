"""Name look-up by whole labels: exact entries beat patterns, patterns beat suffixes, longer beats shorter.

A look-up probes one dictionary for each label of the name, whatever the number of entries; patterns are bucketed by the
labels behind their last wildcard. `bench/matcher.py` shows it with a million entries.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from rules.errors import InvalidName
from rules.matching.names import ancestors, normalise

T = TypeVar("T")

EXACT_MARK: Final = "="
WILDCARDS: Final = "*?"
MAX_PATTERN_OCTETS: Final = 253


def is_pattern(entry: str) -> bool:
    """Tell whether an entry is a glob, not a name."""
    return any(wildcard in entry for wildcard in WILDCARDS)


def canonical(entry: str) -> str:
    """Return an entry (`=name`, a glob, or a name) in the one form in which entries and names are compared.

    Raises:
        InvalidName: the entry is not a name or a glob over one.
    """
    if not is_pattern(entry):
        return EXACT_MARK + normalise(entry[1:]) if entry.startswith(EXACT_MARK) else normalise(entry)
    wild, literal = _split_pattern(entry.lower().rstrip("."))
    if not literal or len(entry) > MAX_PATTERN_OCTETS or not wild.isascii():
        advice = "must end in a name, such as connect.*.example.com, and have ASCII letters beside its wildcards"
        raise InvalidName(f"the pattern {entry[:80]!r} {advice}")
    return f"{wild}.{normalise(literal)}"


def _end_of_pattern(pattern: str) -> str:
    """Return the name that all matches of a pattern are below, with the letter of the next label if it has one."""
    wild, literal = _split_pattern(pattern)
    first = wild.rpartition(".")[2][:1]
    return literal if is_pattern(first) else f"{first}*.{literal}"


def _split_pattern(pattern: str) -> tuple[str, str]:
    """Return the labels up to the last wildcard, and those behind it."""
    end = pattern.find(".", max(map(pattern.rfind, WILDCARDS)))
    return (pattern[:end], pattern[end + 1 :]) if end >= 0 else (pattern, "")


class NameTable(Generic[T]):
    """Values by exact name, by pattern and by suffix. Filled once with `add`, then only read.

    Memory: one dictionary slot an entry. A look-up costs O(labels) plus the patterns that share the name's suffix.
    """

    __slots__ = ("_exact", "_patterns", "_suffixes")

    def __init__(self) -> None:
        self._exact: dict[str, list[T]] = {}
        self._suffixes: dict[str, list[T]] = {}
        self._patterns: dict[str, list[tuple[str, re.Pattern[str], list[T]]]] = defaultdict(list)

    def add(self, entry: str, value: T) -> None:
        """Add `value` under `entry`: `=name` (that name alone), a glob, or a name (itself and everything below it).

        In a glob `*` and `?` stand for characters of one label: they never cross a dot.

        Raises:
            InvalidName: the entry is not a name or a glob over one.
        """
        entry = canonical(entry)
        if is_pattern(entry):
            self._add_pattern(entry, value)
        elif entry.startswith(EXACT_MARK):
            self._exact.setdefault(entry[1:], []).append(value)
        else:
            self._suffixes.setdefault(entry, []).append(value)

    def matches(self, name: str) -> Iterator[list[T]]:
        """Yield the values of each entry that matches folded `name`, the most specific entry first."""
        if (exact := self._exact.get(name)) is not None:
            yield exact
        above = ancestors(name)
        if self._patterns:
            yield from self._matching_patterns(name, above)
        for suffix in above:
            if (found := self._suffixes.get(suffix)) is not None:
                yield found

    def ends(self) -> set[str]:
        """Return what a name that an entry matches is, or is below: names, and `f*.example.com`.

        That is each name whose label above `example.com` begins with an f: an end such as `com` would say too little.
        """
        patterns = (pattern for bucket in self._patterns.values() for pattern, _, _ in bucket)
        return {*self._exact, *self._suffixes, *map(_end_of_pattern, patterns)}

    def _add_pattern(self, pattern: str, value: T) -> None:
        bucket = self._patterns[_split_pattern(pattern)[1]]
        for known, _, values in bucket:
            if known == pattern:
                values.append(value)
                return
        regex = re.escape(pattern).replace(r"\*", "[^.]*").replace(r"\?", "[^.]")
        bucket.append((pattern, re.compile(regex), [value]))
        bucket.sort(key=lambda row: -len(row[0]))

    def _matching_patterns(self, name: str, above: list[str]) -> Iterator[list[T]]:
        for suffix in above:
            for _, regex, values in self._patterns.get(suffix, ()):
                if regex.fullmatch(name):
                    yield values

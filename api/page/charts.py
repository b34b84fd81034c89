"""Charts and bars: numbers as the script draws them, and as a sentence says them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from api.times import NS_PER_S
from db.values import Group

SPLIT = ("live", "attempted", "blocked")


@dataclass(frozen=True, slots=True)
class Chart:
    """Numbers in intervals by name, the names from the lowest part of a bar upwards.

    `series` is what the script draws: the intervals' beginnings in seconds, then a column a name.
    """

    names: tuple[str, ...]
    series: str
    summary: str
    total: int


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a bar chart: `parts` are (name, where it begins, how long it is) in hundredths of the longest bar."""

    label: str
    value: int
    address: str
    parts: tuple[tuple[str, float, float], ...]
    said: str


def make_chart(starts: Sequence[int], groups: Iterable[Group], names: Sequence[str], what: str) -> Chart:
    """Return groups of one dimension in intervals that begin at `starts`; `what` begins the sentence."""
    found: dict[tuple[int | None, str], int] = {}
    for group in groups:
        key = (group.start_ns, str(group.values[0]))
        found[key] = found.get(key, 0) + group.value
    columns = [[found.get((start, name), 0) for start in starts] for name in names]
    totals = {name: sum(column) for name, column in zip(names, columns, strict=True)}
    worded = ", ".join(f"{total} {name}" for name, total in totals.items())
    series = json.dumps([[start // NS_PER_S for start in starts], *columns], separators=(",", ":"))
    return Chart(tuple(names), series, f"{what}: {worded}", sum(totals.values()))


def make_bar(label: str, split: Mapping[str, int], longest: int, address: str) -> Bar:
    """Return the bar of one line, split by whether tunnels got through."""
    parts, at = [], 0.0
    for name in SPLIT:
        length = 100 * split.get(name, 0) / longest
        if length:
            parts.append((name, round(at, 2), round(length, 2)))
            at += length
    said = ", ".join(f"{split[name]} {name}" for name in SPLIT if split.get(name))
    return Bar(label, sum(split.values()), address, tuple(parts), said)

"""From one state of a list to the next: what changed, and since when each entry is listed.

Both are walks along two sorted states: a list may have a million entries.
"""

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge

import msgspec

from rules.lists.blocklist import (
    AddressList,
    AnyEntry,
    Body,
    Entry,
    NameEntry,
    NameList,
    UrlList,
    paired,
    shared,
    shown_parts,
    sort_key,
)


def differences(before: Body | None, after: Body) -> Iterator[tuple[bool, str]]:
    """Yield what changed as text, in order: True with each entry that is new, False with each that is gone.

    Costs O(entries) in time and nothing in memory.
    """
    parts = shown_parts(after)
    earlier = shown_parts(before) if before is not None else ((),) * len(parts)
    for had, has in zip(earlier, parts, strict=True):
        yield from _part_differences(had, has)


def stamp(body: Body, before: Body | None, now_ns: int) -> Body:
    """Return the list with its blocked entries stamped: when each was first listed, without a gap since."""
    if isinstance(body, AddressList):
        had = before.blocked if isinstance(before, AddressList) else ()
        return msgspec.structs.replace(body, blocked=_stamped(body.blocked, had, now_ns))
    if isinstance(body, UrlList):
        names, urls = (before.names, before.urls) if isinstance(before, UrlList) else ((), ())
        return UrlList(_stamped(body.names, names, now_ns), _stamped(body.urls, urls, now_ns))
    earlier: Iterable[NameEntry] = ()
    if isinstance(before, NameList):
        both = (before.blocked, before.wide)
        earlier = before.wide if before.wide is before.blocked else merge(*both, key=sort_key)
    if body.wide is body.blocked:
        wide = blocked = _stamped(body.wide, earlier, now_ns)
    else:
        kept = tuple(earlier)
        blocked = _stamped(body.blocked, kept, now_ns)
        wide = shared(_stamped(body.wide, kept, now_ns), blocked)
    return NameList(blocked, wide, body.allowed)


def _stamped(rows: tuple[AnyEntry, ...], earlier: Iterable[AnyEntry], now_ns: int) -> tuple[AnyEntry, ...]:
    """Return the rows stamped; one that was there before and says the same is the same object."""
    return tuple(_since(row, known, now_ns) for row, known in paired(rows, earlier))


def _since(row: AnyEntry, known: AnyEntry | None, now_ns: int) -> AnyEntry:
    since = (known.first_listed_ns if known is not None else 0) or now_ns
    if row.first_listed_ns == since:
        return row
    stamped = msgspec.structs.replace(row, first_listed_ns=since)
    return known if known is not None and stamped == known else stamped


def _part_differences(before: Sequence[Entry], after: Sequence[Entry]) -> Iterator[tuple[bool, str]]:
    if before is after:
        return
    olds, news = iter(before), iter(after)
    old, new = next(olds, None), next(news, None)
    while old is not None or new is not None:
        if new is None or (old is not None and sort_key(old) < sort_key(new)):
            yield False, old.text if old is not None else ""
            old = next(olds, None)
        elif old is None or sort_key(new) < sort_key(old):
            yield True, new.text
            new = next(news, None)
        else:
            old, new = next(olds, None), next(news, None)

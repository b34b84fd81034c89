"""A filter list for AdGuard Home: `|` begins a name, `||` a name or anything below it; `@@` exempts and always wins."""

from collections.abc import Iterator

from api.feeds.formats.base import FeedFormat, Format
from api.feeds.names import exempted_names
from rules.lists.blocklist import ListName, Snapshot


def filter_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return the rules of blocked names, then those of exemptions."""
    blocked, allowed = exempted_names(snapshot)
    yield from (f"{_mark(below)}{name}^" for name, below in blocked.items())
    yield from (f"@@{_mark(below)}{name}^" for name, below in allowed.items())


def _mark(below: bool) -> str:
    return "||" if below else "|"


NAMES = Format(
    extension=FeedFormat.ADGUARD,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="AdGuard Home, as a DNS blocklist",
    meaning="||name^ blocks the name and every name below it; |name^ that name alone; @@ exempts",
    lines=filter_lines,
    comment="!",
    has_exemptions=True,
)

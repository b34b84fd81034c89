"""Entries, one a line, for whatever reads text: `name`, `*.name` for everything below it, or a prefix."""

from collections.abc import Iterator

from api.feeds.addresses import prefixes
from api.feeds.formats.base import FeedFormat, Format
from api.feeds.names import blocked_names
from api.feeds.urls import url_lines
from rules.lists.blocklist import ListName, Snapshot


def name_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return for an exact name its line, and for a subtree `*.name` as well, sorted by name."""
    for name, below in blocked_names(snapshot):
        yield name
        if below:
            yield f"*.{name}"


def bare_name_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return a line for each name, for consumers that cannot say what lies below it."""
    return (name for name, _below in blocked_names(snapshot))


def address_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return a line for each network; a single address has no prefix length."""
    return (prefix.shortest for prefix in prefixes(snapshot))


NAMES = Format(
    extension=FeedFormat.TXT,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="anything that reads lines",
    meaning="one name a line; *.name stands for every name below it",
    lines=name_lines,
)
ADDRESSES = Format(
    extension=FeedFormat.TXT,
    list_name=ListName.UNSANCTIONED_ADDRESSES,
    consumer="anything that reads lines",
    meaning="one address or network a line",
    lines=address_lines,
)
URLS = Format(
    extension=FeedFormat.TXT,
    list_name=ListName.UNSANCTIONED_URLS,
    consumer="anything that reads lines",
    meaning="one URL a line, without scheme; name/ stands for all of a host, *.name/ for every host below it",
    lines=url_lines,
)

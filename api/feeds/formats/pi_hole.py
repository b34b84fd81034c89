"""A list for Pi-hole's gravity: `||name^` is the name with everything below it, a bare name is itself."""

from collections.abc import Iterator

from api.feeds.formats.base import FeedFormat, Format
from api.feeds.names import blocked_names
from rules.lists.blocklist import ListName, Snapshot


def gravity_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return a line for each name."""
    return (f"||{name}^" if below else name for name, below in blocked_names(snapshot))


NAMES = Format(
    extension=FeedFormat.PI_HOLE,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="Pi-hole, as a subscribed list",
    meaning="one name a line; ||name^ stands for the name and every name below it",
    lines=gravity_lines,
)

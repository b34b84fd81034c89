"""A hosts file (hosts(5)): each name at no address of both families, so that neither is looked up elsewhere."""

from collections.abc import Iterator

from api.feeds.formats.base import FeedFormat, Format
from api.feeds.names import blocked_names
from rules.lists.blocklist import ListName, Snapshot


def host_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return two lines for each name."""
    for name, _below in blocked_names(snapshot):
        yield f"0.0.0.0 {name}"
        yield f":: {name}"


NAMES = Format(
    extension=FeedFormat.HOSTS,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="a hosts file",
    meaning="one name a line at no address",
    lines=host_lines,
    says_subtrees=False,
)

"""An ACL file of Squid, type `dstdomain`: `name`, or `.name` for the name with everything below it.

Squid 5 ends with "Bungled" where an entry lies below another: the snapshot is minimised, and no entry is written twice.
"""

from collections.abc import Iterator

from api.feeds.formats.base import FeedFormat, Format
from api.feeds.names import blocked_names
from rules.lists.blocklist import ListName, Snapshot


def acl_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return a line for each name."""
    return (f".{name}" if below else name for name, below in blocked_names(snapshot))


NAMES = Format(
    extension=FeedFormat.SQUID,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="Squid, as a dstdomain ACL",
    meaning="one name a line; .name stands for the name and every name below it",
    lines=acl_lines,
    is_tested=True,
)

"""A feed list of F5 BIG-IP IP intelligence: address, prefix length, `bl` for refused, category."""

from collections.abc import Iterator

from api.feeds.addresses import prefixes
from api.feeds.formats.base import FeedFormat, Format
from rules.lists.blocklist import ListName, Snapshot

CATEGORY = "proxy"


def rows(snapshot: Snapshot) -> Iterator[str]:
    """Return a row for each network."""
    return (f"{prefix.address},{prefix.length},bl,{CATEGORY}" for prefix in prefixes(snapshot))


ADDRESSES = Format(
    extension=FeedFormat.F5,
    list_name=ListName.UNSANCTIONED_ADDRESSES,
    consumer="a feed list of F5 BIG-IP IP intelligence",
    meaning=f"address,prefix length,bl,{CATEGORY}",
    lines=rows,
    comment="",
)

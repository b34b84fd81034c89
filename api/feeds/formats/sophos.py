"""Third-party threat feeds of Sophos Firewall: an indicator a line, no comments, wildcards, networks or IPv6."""

from collections.abc import Iterator

from api.errors import UnrenderableSnapshot
from api.feeds.addresses import prefixes
from api.feeds.formats.base import FeedFormat, Format
from api.feeds.formats.plain import bare_name_lines
from rules.lists.blocklist import ListName, Snapshot

WIDEST_PREFIX = 24


def single_address_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return the IPv4 addresses, those of small networks one by one.

    Raises:
        UnrenderableSnapshot: a network of more than 256 addresses.
    """
    seen: set[str] = set()
    for prefix in prefixes(snapshot, (4,)):
        if prefix.length < WIDEST_PREFIX:
            raise UnrenderableSnapshot(f"{prefix.full} is too wide for single addresses (/{WIDEST_PREFIX})")
        fresh = [address for address in map(str, prefix.network) if address not in seen]
        seen.update(fresh)
        yield from fresh


NAMES = Format(
    extension=FeedFormat.SOPHOS,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="a Sophos third-party threat feed of domains",
    meaning="one name a line",
    lines=bare_name_lines,
    comment="",
    says_subtrees=False,
)
ADDRESSES = Format(
    extension=FeedFormat.SOPHOS,
    list_name=ListName.UNSANCTIONED_ADDRESSES,
    consumer="a Sophos third-party threat feed of IPv4 addresses",
    meaning="one address a line",
    lines=single_address_lines,
    comment="",
    versions=(4,),
)

"""A script for MikroTik RouterOS that replaces two address lists, one for each family.

The router runs it line by line: the lists in use stay as they were until those beside them are complete.
"""

from collections.abc import Iterator

from api.feeds.addresses import prefixes
from api.feeds.formats.base import FeedFormat, Format
from rules.lists.blocklist import ListName, Snapshot

PATHS = {4: "/ip firewall address-list", 6: "/ipv6 firewall address-list"}
LIST = "molecatcher"


def script_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return the commands: fill a list beside the one in use, then take its place."""
    for version, path in PATHS.items():
        yield f"{path} remove [find list={LIST}-new]"
        for prefix in prefixes(snapshot, (version,)):
            yield f"{path} add list={LIST}-new address={prefix.shortest} comment=molecatcher"
        yield f"{path} remove [find list={LIST}]"
        yield f"{path} set [find list={LIST}-new] list={LIST}"


ADDRESSES = Format(
    extension=FeedFormat.MIKROTIK,
    list_name=ListName.UNSANCTIONED_ADDRESSES,
    consumer="MikroTik RouterOS, /import",
    meaning="the address lists molecatcher of /ip and /ipv6 firewall",
    lines=script_lines,
)

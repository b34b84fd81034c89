"""A chain for each family (iptables-restore(8), `--noflush`): replaced as a whole, all other rules stay.

Each packet is compared with every rule, so this is for short lists; ipset is for long ones.
"""

from collections.abc import Callable, Iterator

from api.feeds.addresses import prefixes
from api.feeds.formats.base import FeedFormat, Format
from rules.lists.blocklist import ListName, Snapshot

CHAIN = "MOLECATCHER"
MAX_LINES = 10_000


def _chain_lines(version: int) -> Callable[[Snapshot], Iterator[str]]:
    def lines(snapshot: Snapshot) -> Iterator[str]:
        yield "*filter"
        yield f":{CHAIN} - [0:0]"
        yield from (f"-A {CHAIN} -d {prefix.shortest} -j REJECT" for prefix in prefixes(snapshot, (version,)))
        yield "COMMIT"

    return lines


def _format(extension: FeedFormat, program: str, version: int) -> Format:
    return Format(
        extension=extension,
        list_name=ListName.UNSANCTIONED_ADDRESSES,
        consumer=f"{program} --noflush",
        meaning=f"the chain {CHAIN}; jump to it from OUTPUT or FORWARD",
        lines=_chain_lines(version),
        versions=(version,),
        max_lines=MAX_LINES,
        is_tested=True,
    )


ADDRESSES_4 = _format(FeedFormat.IPTABLES, "iptables-restore", 4)
ADDRESSES_6 = _format(FeedFormat.IP6TABLES, "ip6tables-restore", 6)

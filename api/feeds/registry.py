"""Every list in every format: what the API serves, the command line prints and docs/feeds.md describes."""

from api.feeds.formats import dnsmasq, ipset, iptables, nftables, pan_os, plain, policy_zone, squid, unbound
from api.feeds.formats.base import FeedFormat, Format
from rules.blocklist import ListName

REGISTRY: tuple[Format, ...] = (
    *(plain.NAMES, policy_zone.NAMES, plain.ADDRESSES),
    *(pan_os.NAMES, pan_os.URLS, pan_os.ADDRESSES),
    *(unbound.NAMES, dnsmasq.NAMES, squid.NAMES),
    *(nftables.ADDRESSES, ipset.ADDRESSES, iptables.ADDRESSES_4, iptables.ADDRESSES_6),
)
BY_FEED = {(feed.list_name, feed.extension): feed for feed in REGISTRY}
FORMATS: dict[ListName, tuple[FeedFormat, ...]] = {
    name: tuple(feed.extension for feed in REGISTRY if feed.list_name is name) for name in ListName
}

"""Every list in every format: what the API serves, the command line prints and docs/feeds.md describes."""

from api.feeds.formats import (
    adguard,
    aws,
    banip,
    check_point,
    cisco,
    dnsmasq,
    f5,
    fortigate,
    hosts,
    ipset,
    iptables,
    juniper,
    mikrotik,
    misp,
    nftables,
    pan_os,
    pf,
    pi_hole,
    plain,
    policy_zone,
    sonicwall,
    sophos,
    squid,
    stix,
    suricata,
    table,
    unbound,
    zeek,
    zscaler,
)
from api.feeds.formats.base import FeedFormat, Format
from rules.lists.blocklist import ListName

REGISTRY: tuple[Format, ...] = (
    *(plain.NAMES, policy_zone.NAMES, plain.ADDRESSES, plain.URLS),
    *(pan_os.NAMES, pan_os.URLS, pan_os.ADDRESSES, pan_os.WHOLE_URLS),
    *(unbound.NAMES, dnsmasq.NAMES, squid.NAMES),
    *(nftables.ADDRESSES, ipset.ADDRESSES, iptables.ADDRESSES_4, iptables.ADDRESSES_6),
    *(fortigate.NAMES, fortigate.ADDRESSES, fortigate.URLS, cisco.NAMES, cisco.ADDRESSES, cisco.URLS),
    *(check_point.NAMES, check_point.ADDRESSES),
    *(check_point.NAME_INDICATORS, check_point.ADDRESS_INDICATORS, check_point.URL_INDICATORS),
    *(sophos.NAMES, sophos.ADDRESSES, sonicwall.NAMES, sonicwall.ADDRESSES),
    *(juniper.ADDRESSES, pf.ADDRESSES, mikrotik.ADDRESSES, banip.ADDRESSES),
    *(f5.ADDRESSES, zscaler.NAMES, aws.FIREWALL, aws.ROUTE_53),
    *(hosts.NAMES, pi_hole.NAMES, adguard.NAMES),
    *(suricata.RULES, suricata.DATASET, zeek.NAMES, zeek.ADDRESSES),
    *(*table.CSV, *table.JSON, stix.NAMES, stix.ADDRESSES, stix.URLS, misp.NAMES, misp.ADDRESSES, misp.URLS),
)
BY_FEED = {(feed.list_name, feed.extension): feed for feed in REGISTRY}
FORMATS: dict[ListName, tuple[FeedFormat, ...]] = {
    name: tuple(feed.extension for feed in REGISTRY if feed.list_name is name) for name in ListName
}

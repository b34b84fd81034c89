"""Name lists of AWS, which a script of one's own pushes: Network Firewall and Route 53 Resolver DNS Firewall.

A rule group of Network Firewall has a capacity of 30,000: for a list, names x protocols + protocols, here TLS and HTTP.
"""

from api.feeds.formats.base import FeedFormat, Format
from api.feeds.formats.plain import name_lines
from api.feeds.formats.squid import acl_lines
from rules.lists.blocklist import ListName

CAPACITY, PROTOCOLS = 30_000, 2
MAX_NAMES = (CAPACITY - PROTOCOLS) // PROTOCOLS
MAX_NAME_OCTETS = 255

FIREWALL = Format(
    extension=FeedFormat.AWS_FIREWALL,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="a push to a stateful domain list of AWS Network Firewall",
    meaning="one name a line; .name stands for the name and every name below it",
    lines=acl_lines,
    comment="",
    max_lines=MAX_NAMES,
    max_line_octets=MAX_NAME_OCTETS,
)
ROUTE_53 = Format(
    extension=FeedFormat.ROUTE_53,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="an import into a domain list of Route 53 Resolver DNS Firewall",
    meaning="one name a line; *.name stands for every name below it",
    lines=name_lines,
    comment="",
    max_line_octets=MAX_NAME_OCTETS,
)

"""Security Intelligence lists and feeds of Cisco Secure Firewall (FMC, FTD): names, addresses, URLs, 500 MB each."""

from api.feeds.formats.base import FeedFormat, Format
from api.feeds.formats.plain import address_lines, name_lines
from api.feeds.urls import url_lines
from rules.lists.blocklist import ListName

MAX_OCTETS = 500_000_000

NAMES = Format(
    extension=FeedFormat.CISCO,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="a Cisco Security Intelligence DNS list",
    meaning="one name a line; *.name stands for every name below it",
    lines=name_lines,
    max_octets=MAX_OCTETS,
)
ADDRESSES = Format(
    extension=FeedFormat.CISCO,
    list_name=ListName.UNSANCTIONED_ADDRESSES,
    consumer="a Cisco Security Intelligence network list",
    meaning="one address or network a line",
    lines=address_lines,
    max_octets=MAX_OCTETS,
)
URLS = Format(
    extension=FeedFormat.CISCO,
    list_name=ListName.UNSANCTIONED_URLS,
    consumer="a Cisco Security Intelligence URL list",
    meaning="one URL a line; name/ stands for all of a host, *.name/ for every host below it",
    lines=url_lines,
    max_octets=MAX_OCTETS,
)

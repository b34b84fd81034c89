"""External resources of FortiGate, types domain, address and category; the limits are those before FortiOS 7.4.4."""

from api.feeds.formats.base import FeedFormat, Format
from api.feeds.formats.plain import address_lines, name_lines
from api.feeds.urls import url_lines
from rules.lists.blocklist import ListName

MAX_LINES = 128_000
MAX_LINE_OCTETS = 4_000
MAX_OCTETS = 10_000_000

NAMES = Format(
    extension=FeedFormat.FORTIGATE,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="a FortiGate external resource of type domain",
    meaning="one name a line; *.name stands for every name below it",
    lines=name_lines,
    comment="",
    max_lines=MAX_LINES,
    max_line_octets=MAX_LINE_OCTETS,
    max_octets=MAX_OCTETS,
)
ADDRESSES = Format(
    extension=FeedFormat.FORTIGATE,
    list_name=ListName.UNSANCTIONED_ADDRESSES,
    consumer="a FortiGate external resource of type address",
    meaning="one address or network a line",
    lines=address_lines,
    comment="",
    max_lines=MAX_LINES,
    max_line_octets=MAX_LINE_OCTETS,
    max_octets=MAX_OCTETS,
)
URLS = Format(
    extension=FeedFormat.FORTIGATE,
    list_name=ListName.UNSANCTIONED_URLS,
    consumer="a FortiGate external resource of type category",
    meaning="one URL a line; name/ stands for all of a host, *.name/ for every host below it",
    lines=url_lines,
    comment="",
    max_lines=MAX_LINES,
    max_line_octets=MAX_LINE_OCTETS,
    max_octets=MAX_OCTETS,
)

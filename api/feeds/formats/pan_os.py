"""External dynamic lists of PAN-OS, one type for each list (FEEDS: 50,000 entries on the smallest firewalls).

A name with everything below it is two lines, `name` and `*.name`, as the vendor's own exporter writes them. In a
URL list each ends in `/`: without it `name` would also match `name.example.net`.
"""

from collections.abc import Iterator

from api.feeds.formats.base import FeedFormat, Format
from api.feeds.formats.plain import address_lines, name_lines
from api.feeds.urls import url_lines
from rules.lists.blocklist import ListName, Snapshot

MAX_LINES = 50_000
MAX_NAME_OCTETS, MAX_URL_OCTETS = 255, 254


def host_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return the lines of a URL list: every URL of the names."""
    return (f"{line}/" for line in name_lines(snapshot))


NAMES = Format(
    extension=FeedFormat.PAN_OS,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="a PAN-OS external dynamic list of type Domain",
    meaning="one name a line; *.name stands for every name below it",
    lines=name_lines,
    comment="",
    max_lines=MAX_LINES,
    max_line_octets=MAX_NAME_OCTETS,
)
URLS = Format(
    extension=FeedFormat.PAN_OS_URL,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="a PAN-OS external dynamic list of type URL",
    meaning="one host a line with a slash; *.name/ stands for every host below it",
    lines=host_lines,
    comment="",
    max_lines=MAX_LINES,
    max_line_octets=MAX_URL_OCTETS,
)
WHOLE_URLS = Format(
    extension=FeedFormat.PAN_OS,
    list_name=ListName.UNSANCTIONED_URLS,
    consumer="a PAN-OS external dynamic list of type URL",
    meaning="one URL a line; name/ stands for all of a host, *.name/ for every host below it",
    lines=url_lines,
    comment="",
    max_lines=MAX_LINES,
    max_line_octets=MAX_URL_OCTETS,
)
ADDRESSES = Format(
    extension=FeedFormat.PAN_OS,
    list_name=ListName.UNSANCTIONED_ADDRESSES,
    consumer="a PAN-OS external dynamic list of type IP",
    meaning="one address or network a line",
    lines=address_lines,
    comment="",
    max_lines=MAX_LINES,
)

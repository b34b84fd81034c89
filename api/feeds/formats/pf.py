"""URL tables of pfSense and OPNsense. OPNsense takes the words of a comment for host names, so there is none."""

from api.feeds.formats.base import FeedFormat, Format
from api.feeds.formats.plain import address_lines
from rules.lists.blocklist import ListName

MAX_LINES = 200_000  # half of the default room for table entries: a reload holds the old table beside the new one

ADDRESSES = Format(
    extension=FeedFormat.PF,
    list_name=ListName.UNSANCTIONED_ADDRESSES,
    consumer="a URL table of pfSense or OPNsense",
    meaning="one address or network a line",
    lines=address_lines,
    comment="",
    max_lines=MAX_LINES,
)

"""Custom URL categories of Zscaler, which a script of one's own pushes: it takes lines and gives nothing back."""

from api.feeds.formats.base import FeedFormat, Format
from api.feeds.formats.squid import acl_lines
from rules.lists.blocklist import ListName

MAX_LINE_OCTETS = 1_024

NAMES = Format(
    extension=FeedFormat.ZSCALER,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="a push to a URL category of Zscaler",
    meaning="one name a line; .name stands for the name and every name below it",
    lines=acl_lines,
    comment="",
    max_line_octets=MAX_LINE_OCTETS,
)

"""A feed of banIP (OpenWrt): addresses without comments, so that its rule may take whole lines."""

from api.feeds.formats.base import FeedFormat, Format
from api.feeds.formats.plain import address_lines
from rules.lists.blocklist import ListName

ADDRESSES = Format(
    extension=FeedFormat.BANIP,
    list_name=ListName.UNSANCTIONED_ADDRESSES,
    consumer="a custom feed of banIP (OpenWrt)",
    meaning="one address or network a line",
    lines=address_lines,
    comment="",
)

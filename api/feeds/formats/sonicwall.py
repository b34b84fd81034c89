"""Dynamic external address groups of SonicWall: one kind of entry a file, and no comments."""

from api.feeds.formats.base import FeedFormat, Format
from api.feeds.formats.plain import address_lines, bare_name_lines
from rules.lists.blocklist import ListName

NAMES = Format(
    extension=FeedFormat.SONICWALL,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="a SonicWall external address group of type FQDN",
    meaning="one name a line",
    lines=bare_name_lines,
    comment="",
    says_subtrees=False,
)
ADDRESSES = Format(
    extension=FeedFormat.SONICWALL,
    list_name=ListName.UNSANCTIONED_ADDRESSES,
    consumer="a SonicWall external address group of type address",
    meaning="one address or network a line",
    lines=address_lines,
    comment="",
)

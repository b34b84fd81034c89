"""A response policy zone as a file, for resolvers that read or pull one (`api.feeds.rpz` has the records)."""

from api.feeds import rpz
from api.feeds.formats.base import FeedFormat, Format
from api.feeds.names import name_list
from rules.lists.blocklist import ListName, Snapshot


def zone_lines(snapshot: Snapshot) -> list[str]:
    """Return the zone file's lines."""
    return rpz.render_zone(name_list(snapshot), snapshot.serial)


NAMES = Format(
    extension=FeedFormat.RPZ,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="a resolver with response policy zones",
    meaning=rpz.EXPLANATION,
    lines=zone_lines,
    comment=";",
    has_exemptions=True,
    is_tested=True,
)

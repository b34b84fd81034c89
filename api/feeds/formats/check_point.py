"""Check Point: a network feed (flat list) and an IoC feed (CSV)."""

from collections.abc import Iterator

from api.feeds.addresses import prefixes
from api.feeds.formats.base import FeedFormat, Format
from api.feeds.formats.plain import address_lines, name_lines
from api.feeds.names import blocked_names
from api.feeds.urls import patterns, url_entries
from rules.lists.blocklist import ListName, Snapshot

RATING = "high,high,AB,Molecatcher"


def name_rows(snapshot: Snapshot) -> Iterator[str]:
    """Return a row for each name."""
    return (f"molecatcher-{name},{name},Domain,{RATING}" for name, _below in blocked_names(snapshot))


def address_rows(snapshot: Snapshot) -> Iterator[str]:
    """Return a row for each address, or for a network its first and last."""
    for prefix in prefixes(snapshot):
        if prefix.is_single:
            yield f"molecatcher-{prefix.shortest},{prefix.shortest},IP,{RATING}"
        else:
            network = prefix.network
            yield f"molecatcher-{prefix.full},{network[0]}-{network[-1]},IP Range,{RATING}"


def url_rows(snapshot: Snapshot) -> Iterator[str]:
    """Return a row for each URL; of a name with those below it, one for the name."""
    for entry in url_entries(snapshot):
        pattern = patterns(entry)[0]
        yield f"molecatcher-{pattern},http://{pattern},URL,{RATING}"


NAMES = Format(
    extension=FeedFormat.CHECK_POINT,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="a Check Point network feed of domains, flat list",
    meaning="one name a line; *.name stands for every name below it",
    lines=name_lines,
    comment="",
)
ADDRESSES = Format(
    extension=FeedFormat.CHECK_POINT,
    list_name=ListName.UNSANCTIONED_ADDRESSES,
    consumer="a Check Point network feed of addresses, flat list",
    meaning="one address or network a line",
    lines=address_lines,
    comment="",
)
NAME_INDICATORS = Format(
    extension=FeedFormat.CHECK_POINT_IOC,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="a Check Point IoC feed",
    meaning="UNIQ-NAME,VALUE,TYPE,CONFIDENCE,SEVERITY,PRODUCT,COMMENT",
    lines=name_rows,
    says_subtrees=False,
)
ADDRESS_INDICATORS = Format(
    extension=FeedFormat.CHECK_POINT_IOC,
    list_name=ListName.UNSANCTIONED_ADDRESSES,
    consumer="a Check Point IoC feed",
    meaning="UNIQ-NAME,VALUE,TYPE,CONFIDENCE,SEVERITY,PRODUCT,COMMENT",
    lines=address_rows,
)
URL_INDICATORS = Format(
    extension=FeedFormat.CHECK_POINT_IOC,
    list_name=ListName.UNSANCTIONED_URLS,
    consumer="a Check Point IoC feed",
    meaning="UNIQ-NAME,VALUE,TYPE,CONFIDENCE,SEVERITY,PRODUCT,COMMENT",
    lines=url_rows,
    says_subtrees=False,
)

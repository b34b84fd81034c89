"""An input file of Zeek's intelligence framework: fields divided by tabs, named in the first line."""

from collections.abc import Iterator

from api.feeds.addresses import prefixes
from api.feeds.formats.base import FeedFormat, Format
from api.feeds.names import blocked_names
from rules.lists.blocklist import ListName, Snapshot

FIELDS = "#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc"


def name_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return the fields and a line for each name."""
    yield FIELDS
    yield from (_line(name, "DOMAIN") for name, _below in blocked_names(snapshot))


def address_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return the fields and a line for each address or network."""
    yield FIELDS
    for prefix in prefixes(snapshot):
        yield _line(prefix.shortest, "ADDR" if prefix.is_single else "SUBNET")


def _line(indicator: str, kind: str) -> str:
    return f"{indicator}\tIntel::{kind}\tMolecatcher\tunsanctioned tunnel"


NAMES = Format(
    extension=FeedFormat.ZEEK,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="Zeek's intelligence framework",
    meaning="one Intel::DOMAIN a line",
    lines=name_lines,
    comment="",
    says_subtrees=False,
)
ADDRESSES = Format(
    extension=FeedFormat.ZEEK,
    list_name=ListName.UNSANCTIONED_ADDRESSES,
    consumer="Zeek's intelligence framework",
    meaning="one Intel::ADDR or Intel::SUBNET a line",
    lines=address_lines,
    comment="",
)

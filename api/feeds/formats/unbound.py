"""Local zones of Unbound (unbound.conf(5), `local-zone`): the nearest zone at or above a name decides.

There is no zone for a single name. A listed one becomes a zone that answers from elsewhere except for the name itself,
which has no data but a text: NODATA. An exemption lets through what lies below it as well.
"""

from collections.abc import Iterator

from api.feeds.formats.base import FeedFormat, Format
from api.feeds.names import exempted_names
from rules.lists.blocklist import ListName, Snapshot


def zone_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return the clause and its zones."""
    blocked, allowed = exempted_names(snapshot)
    yield "server:"
    for name, below in blocked.items():
        if name in allowed:
            continue
        if below:
            yield f'local-zone: "{name}." always_nxdomain'
        else:
            yield f'local-zone: "{name}." transparent'
            yield f"local-data: '{name}. TXT \"blocked\"'"
    for name in allowed:
        yield f'local-zone: "{name}." always_transparent'


NAMES = Format(
    extension=FeedFormat.UNBOUND,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="Unbound, as an included file",
    meaning="local zones: blocked names answer NXDOMAIN or have no data, sanctioned names below them are resolved",
    lines=zone_lines,
    has_exemptions=True,
    exempts_subtrees=True,
    is_tested=True,
)

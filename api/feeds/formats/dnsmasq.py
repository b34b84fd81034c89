"""Servers of dnsmasq (dnsmasq(8), `--server`): the most specific line decides.

`server=/name/` has no server to ask, so the name and all below it do not exist; `#` is the usual server, and `*.name`
what lies below the name. A `servers-file` with these lines is read again on SIGHUP, unlike `address=` lines.
"""

from collections.abc import Iterator

from api.feeds.formats.base import FeedFormat, Format
from api.feeds.names import exempted_names
from rules.lists.blocklist import ListName, Snapshot


def server_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return the lines of blocked names, then those of exemptions."""
    blocked, allowed = exempted_names(snapshot)
    for name, below in blocked.items():
        if name in allowed:
            continue
        yield f"server=/{name}/"
        if not below:
            yield f"server=/*.{name}/#"
    for name, below in allowed.items():
        yield f"server=/{name}/#"
        if not below:
            yield f"server=/*.{name}/"


NAMES = Format(
    extension=FeedFormat.DNSMASQ,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="dnsmasq, as a servers-file",
    meaning="blocked names do not exist, sanctioned names below them are resolved",
    lines=server_lines,
    has_exemptions=True,
    is_tested=True,
)

"""Two sets of ipset (ipset(8), `ipset restore`), each filled beside the one in use and swapped in.

A restore is no transaction and stops at the first bad line: until the swap the set in use is as it was.
"""

from collections.abc import Iterator

from api.feeds.addresses import prefixes
from api.feeds.formats.base import FeedFormat, Format
from rules.lists.blocklist import ListName, Snapshot

SETS = {4: ("molecatcher4", "inet"), 6: ("molecatcher6", "inet6")}
MAX_ELEMENTS = 1_000_000  # part of a set's identity: it cannot follow the list's size
_FIXED_LINES = 10


def restore_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return the commands; a family without addresses is emptied."""
    for version, (name, family) in SETS.items():
        kind = f"hash:net family {family} maxelem {MAX_ELEMENTS}"
        yield f"create {name} {kind} -exist"
        yield f"create {name}-new {kind} -exist"
        yield f"flush {name}-new"
        yield from (f"add {name}-new {prefix.shortest}" for prefix in prefixes(snapshot, (version,)))
        yield f"swap {name} {name}-new"
        yield f"destroy {name}-new"


ADDRESSES = Format(
    extension=FeedFormat.IPSET,
    list_name=ListName.UNSANCTIONED_ADDRESSES,
    consumer="ipset restore",
    meaning="sets of addresses for rules such as: -m set --match-set molecatcher4 dst -j REJECT",
    lines=restore_lines,
    max_lines=MAX_ELEMENTS + _FIXED_LINES,
    is_tested=True,
)

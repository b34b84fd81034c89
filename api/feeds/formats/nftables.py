"""Two sets of nftables, replaced in one transaction (nft(8), `nft -f`): a mistake in it changes nothing.

Only sets: rules that use them are the host's own, and survive every load.
"""

from collections.abc import Iterator

from api.feeds.addresses import prefixes
from api.feeds.formats.base import FeedFormat, Format
from rules.lists.blocklist import ListName, Snapshot

TABLE = "inet molecatcher_feed"
SETS = {4: "blocked4", 6: "blocked6"}


def set_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return the script; a family without addresses is emptied."""
    yield f"add table {TABLE}"
    for version, name in SETS.items():
        yield f"add set {TABLE} {name} {{ type ipv{version}_addr; flags interval; auto-merge; }}"
        yield f"flush set {TABLE} {name}"
    for version, name in SETS.items():
        members = prefixes(snapshot, (version,))
        if members:
            yield f"add element {TABLE} {name} {{"
            yield from (f"{prefix.shortest}," for prefix in members)
            yield "}"


ADDRESSES = Format(
    extension=FeedFormat.NFTABLES,
    list_name=ListName.UNSANCTIONED_ADDRESSES,
    consumer="nft -f",
    meaning="sets of addresses for rules such as: ip daddr @blocked4 reject",
    lines=set_lines,
    is_tested=True,
)

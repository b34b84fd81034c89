"""One door to the renderers: which formats each list has, and the bytes of a snapshot in one of them."""

from enum import StrEnum

from api.errors import UnrenderableSnapshot
from api.feeds import addresses, plain, rpz
from rules.blocklist import AddressList, ListName, NameList, Snapshot
from rules.event import rfc3339


class FeedFormat(StrEnum):
    """The formats there are; the value is the file extension."""

    TXT = "txt"
    RPZ = "rpz"


FORMATS: dict[ListName, tuple[FeedFormat, ...]] = {
    ListName.UNSANCTIONED_DOMAINS: (FeedFormat.TXT, FeedFormat.RPZ),
    ListName.UNSANCTIONED_ADDRESSES: (FeedFormat.TXT,),
}
COMMENT_MARKS = {FeedFormat.TXT: "#", FeedFormat.RPZ: ";"}


def render(snapshot: Snapshot, feed_format: FeedFormat, *, comments: bool = True) -> bytes:
    """Return the whole file: ASCII, LF, a final newline; `comments` decides about the explaining lines at its head.

    Raises:
        UnrenderableSnapshot: the list has no such format, or an entry that the format cannot carry.
    """
    lines = _lines(snapshot, feed_format)
    head = _head(snapshot, len(lines), feed_format) if comments else []
    return "".join(f"{line}\n" for line in head + lines).encode("ascii")


def count_entries(snapshot: Snapshot, feed_format: FeedFormat = FeedFormat.TXT) -> int:
    """Return how many entries the list blocks in a format; a subtree counts once however many lines it takes."""
    body = snapshot.body
    if isinstance(body, NameList) and feed_format is FeedFormat.RPZ:
        return len(body.wide)
    return len(body.blocked)


def _lines(snapshot: Snapshot, feed_format: FeedFormat) -> list[str]:
    body = snapshot.body
    if feed_format not in FORMATS[snapshot.list_name]:
        raise UnrenderableSnapshot(f"{snapshot.list_name} has no format {feed_format}")
    if isinstance(body, AddressList) and snapshot.list_name is ListName.UNSANCTIONED_ADDRESSES:
        return addresses.render_addresses(body)
    if isinstance(body, NameList) and snapshot.list_name is ListName.UNSANCTIONED_DOMAINS:
        return rpz.render_zone(body, snapshot.serial) if feed_format is FeedFormat.RPZ else plain.render_names(body)
    raise UnrenderableSnapshot(f"{snapshot.list_name} {snapshot.serial} holds {type(body).__name__}")


def _head(snapshot: Snapshot, line_count: int, feed_format: FeedFormat) -> list[str]:
    explanations = {
        FeedFormat.RPZ: rpz.EXPLANATION,
        FeedFormat.TXT: plain.EXPLANATION
        if snapshot.list_name is ListName.UNSANCTIONED_DOMAINS
        else addresses.EXPLANATION,
    }
    texts = (
        f"Molecatcher {snapshot.list_name}",
        explanations[feed_format],
        f"serial {snapshot.serial}, created {rfc3339(snapshot.created_at_ns)}",
        f"{count_entries(snapshot, feed_format)} entries in {line_count} lines",
    )
    return [f"{COMMENT_MARKS[feed_format]} {text}" for text in texts]

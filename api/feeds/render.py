"""One door to the renderers: the bytes of a snapshot in one of its list's formats."""

from collections.abc import Iterator

from api.errors import UnrenderableSnapshot
from api.feeds.formats.base import FeedFormat, Format
from api.feeds.registry import BY_FEED, FORMATS
from rules.lists.blocklist import ListName, Snapshot

__all__ = ["FORMATS", "FeedFormat", "count_entries", "format_of", "render", "stream"]


def format_of(list_name: ListName, feed_format: FeedFormat) -> Format:
    """Return what `feed_format` means for a list.

    Raises:
        UnrenderableSnapshot: the list has no such format.
    """
    found = BY_FEED.get((list_name, feed_format))
    if found is None:
        raise UnrenderableSnapshot(f"{list_name} has no format {feed_format}")
    return found


def render(snapshot: Snapshot, feed_format: FeedFormat, *, comments: bool = True) -> bytes:
    """Return the whole file; `comments` decides about the explaining lines at its head, where the format has them.

    Raises:
        UnrenderableSnapshot: the list has no such format, or the format cannot carry it.
    """
    return b"".join(stream(snapshot, feed_format, comments=comments))


def stream(snapshot: Snapshot, feed_format: FeedFormat, *, comments: bool = True) -> Iterator[bytes]:
    """Return the file in pieces; it has been checked whole before this returns, and raises what `render` does."""
    return format_of(snapshot.list_name, feed_format).render(snapshot, comments=comments)


def count_entries(snapshot: Snapshot, feed_format: FeedFormat = FeedFormat.TXT) -> int:
    """Return how many entries the list blocks in a format; a subtree counts once however many lines it takes."""
    return format_of(snapshot.list_name, feed_format).count(snapshot)

"""Rendered lists, kept: each snapshot is written out once per format, and pulled many times from the same bytes."""

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate

from api.feeds.render import FeedFormat, count_entries, format_of, render
from api.times import NS_PER_S
from rules.blocklist import ListName, Snapshot
from rules.event import rfc3339

ETAG_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Encoding:
    """The bytes of one content encoding, with their own strong entity tag."""

    body: bytes
    etag: str

    @classmethod
    def of(cls, body: bytes) -> "Encoding":
        """Return `body` with the tag that follows from it."""
        return cls(body, f'"{hashlib.sha256(body).hexdigest()[:ETAG_DIGITS]}"')


@dataclass(frozen=True, slots=True)
class Edition:
    """One snapshot in one format."""

    serial: int
    digest: str
    count: int
    created_at_s: int
    headers: dict[str, str]
    media_type: str
    plain: Encoding
    gzipped: Encoding


class Publication:
    """The newest edition of every list and format.

    Two requests that meet a new snapshot at the same time may both render it; the results are the same bytes.
    """

    def __init__(self, snapshot: Callable[[ListName], Snapshot | None]) -> None:
        self._snapshot = snapshot
        self._editions: dict[tuple[ListName, FeedFormat, bool], Edition] = {}

    def edition(self, list_name: ListName, feed_format: FeedFormat, *, comments: bool) -> Edition | None:
        """Return the edition of the current snapshot, None before the first snapshot.

        Raises:
            UnrenderableSnapshot: the format cannot carry it.
        """
        snapshot = self._snapshot(list_name)
        if snapshot is None:
            return None
        key = (list_name, feed_format, comments)
        kept = self._editions.get(key)
        if kept is None or (kept.serial, kept.digest) != (snapshot.serial, snapshot.digest):
            kept = self._editions[key] = _make_edition(snapshot, feed_format, comments=comments)
        return kept


def _make_edition(snapshot: Snapshot, feed_format: FeedFormat, *, comments: bool) -> Edition:
    body = render(snapshot, feed_format, comments=comments)
    created_at_s, count = snapshot.created_at_ns // NS_PER_S, count_entries(snapshot, feed_format)
    headers = {
        "Last-Modified": formatdate(created_at_s, usegmt=True),
        "Cache-Control": "private, no-cache",
        "Vary": "Accept-Encoding",
        "X-Feed-Serial": str(snapshot.serial),
        "X-Feed-Count": str(count),
        "X-Feed-Created": rfc3339(snapshot.created_at_ns),
    }
    plain, gzipped = Encoding.of(body), Encoding.of(gzip.compress(body, mtime=0))
    media_type = format_of(snapshot.list_name, feed_format).media_type
    return Edition(snapshot.serial, snapshot.digest, count, created_at_s, headers, media_type, plain, gzipped)

"""Rendered lists, kept: each snapshot is written out once per format, and pulled many times from the same bytes."""

import hashlib
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from io import BytesIO

import msgspec

from api.context import Snapshots
from api.feeds.render import FeedFormat, count_entries, format_of, stream
from api.times import NS_PER_S
from rules.blocklist import AddressEntry, AddressList, Body, ListName, NameEntry, NameList, Scope, Snapshot, UrlList
from rules.event import rfc3339
from rules.profiles import DEFAULT_PROFILE

ETAG_DIGITS = 32
GZIP_LEVEL = 4  # 0.3 s for a million names; 6 takes 1.7 s and 9 takes 13 s to save nothing
GZIP_WINDOW = 31  # the largest, with a header of gzip (RFC 1952)
MAX_KEPT_OCTETS = 256 * 1024 * 1024
CHECKSUMS = ("md5", "sha256")  # against damage, not against malice
NOBODY_NAME, NOBODY_ADDRESS = "empty.invalid", "192.0.2.1"  # RFC 6761 section 6.4, RFC 5737


@dataclass(frozen=True, slots=True)
class Encoding:
    """The bytes of one content encoding, with their own strong entity tag."""

    body: bytes
    etag: str

    @classmethod
    def of(cls, body: bytes, sha256: str = "") -> "Encoding":
        """Return `body` with the tag that follows from it, whose SHA-256 may be known already."""
        return cls(body, f'"{(sha256 or hashlib.sha256(body).hexdigest())[:ETAG_DIGITS]}"')


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
    checksums: dict[str, Encoding]

    @property
    def octets(self) -> int:
        """Return how much memory its bytes take."""
        return len(self.plain.body) + len(self.gzipped.body)


class Publication:
    """The newest edition of every list and format, rendered whole before anybody sees a byte of it.

    Bounded: `MAX_KEPT_OCTETS` of bytes; those rendered longest ago are rendered again when they are asked for.
    """

    def __init__(self, snapshot: Snapshots, max_kept_octets: int = MAX_KEPT_OCTETS) -> None:
        self._snapshot = snapshot
        self._max_kept_octets = max_kept_octets
        self._editions: dict[_Key, Edition] = {}
        self._rendering = threading.Lock()

    @property
    def kept_octets(self) -> int:
        """Return how many octets are kept."""
        return sum(edition.octets for edition in self._editions.values())

    def has(self, list_name: ListName, feed_format: FeedFormat, profile: str, *, comments: bool) -> bool:
        """Tell whether the newest edition is there already: `edition` returns it at once."""
        snapshot, kept = (
            self._snapshot(list_name, profile),
            self._editions.get((list_name, feed_format, profile, comments, False)),
        )
        return snapshot is not None and kept is not None and _is_of(kept, snapshot)

    def edition(
        self,
        list_name: ListName,
        feed_format: FeedFormat,
        profile: str = DEFAULT_PROFILE,
        *,
        comments: bool,
        sentinel: bool = False,
    ) -> Edition | None:
        """Return the edition of the current snapshot, None before the first snapshot.

        With `sentinel` an empty list has one entry that blocks nothing.

        Raises:
            UnrenderableSnapshot: the format cannot carry it.
        """
        snapshot = self._snapshot(list_name, profile)
        if snapshot is None:
            return None
        if sentinel and not count_entries(snapshot, feed_format):
            snapshot = msgspec.structs.replace(snapshot, body=_nobody(snapshot))
        else:
            sentinel = False
        key = (list_name, feed_format, profile, comments, sentinel)
        kept = self._editions.get(key)
        return kept if kept is not None and _is_of(kept, snapshot) else self._make(key, snapshot)

    def _make(self, key: "_Key", snapshot: Snapshot) -> Edition:
        with self._rendering:
            kept = self._editions.get(key)
            if kept is not None and _is_of(kept, snapshot):
                return kept
            self._editions.pop(key, None)
            _, feed_format, _, comments, _ = key
            made = _make_edition(snapshot, feed_format, comments=comments)
            while self._editions and self.kept_octets + made.octets > self._max_kept_octets:
                del self._editions[next(iter(self._editions))]
            self._editions[key] = made
            return made


_Key = tuple[ListName, FeedFormat, str, bool, bool]


def _is_of(edition: Edition, snapshot: Snapshot) -> bool:
    return (edition.serial, edition.digest) == (snapshot.serial, snapshot.digest)


def _nobody(snapshot: Snapshot) -> Body:
    """Return a list that blocks a name, an address or a host that nobody has."""
    if isinstance(snapshot.body, AddressList):
        return AddressList(blocked=(AddressEntry(NOBODY_ADDRESS, ""),))
    entries = (NameEntry(NOBODY_NAME, Scope.EXACT, ""),)
    if isinstance(snapshot.body, UrlList):
        return UrlList(entries)
    return NameList(blocked=entries, wide=entries, allowed=())


def _make_edition(snapshot: Snapshot, feed_format: FeedFormat, *, comments: bool) -> Edition:
    plain, gzipped, checksums = _written(stream(snapshot, feed_format, comments=comments))
    created_at_s, count = snapshot.created_at_ns // NS_PER_S, count_entries(snapshot, feed_format)
    headers = {
        "Last-Modified": formatdate(created_at_s, usegmt=True),
        "Cache-Control": "private, no-cache",
        "Vary": "Accept-Encoding",
        "X-Feed-Serial": str(snapshot.serial),
        "X-Feed-Profile": snapshot.profile,
        "X-Feed-Count": str(count),
        "X-Feed-Created": rfc3339(snapshot.created_at_ns),
    }
    media_type = format_of(snapshot.list_name, feed_format).media_type
    return Edition(
        serial=snapshot.serial,
        digest=snapshot.digest,
        count=count,
        created_at_s=created_at_s,
        headers=headers,
        media_type=media_type,
        plain=plain,
        gzipped=gzipped,
        checksums=checksums,
    )


def _written(pieces: Iterator[bytes]) -> tuple[Encoding, Encoding, dict[str, Encoding]]:
    """Return the pieces joined, the same packed, and their checksums as files, all in one walk.

    A checksum file has the digits and nothing else, which is what Cisco's devices take.
    """
    whole, packed = BytesIO(), BytesIO()
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WINDOW)
    sums = {name: hashlib.new(name, usedforsecurity=False) for name in CHECKSUMS}
    for piece in pieces:
        whole.write(piece)
        packed.write(packer.compress(piece))
        for state in sums.values():
            state.update(piece)
    packed.write(packer.flush())
    digits = {name: state.hexdigest() for name, state in sums.items()}
    checksums = {name: Encoding.of(f"{text}\n".encode()) for name, text in digits.items()}
    return Encoding.of(whole.getvalue(), digits["sha256"]), Encoding.of(packed.getvalue()), checksums

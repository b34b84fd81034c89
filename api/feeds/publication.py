"""Rendered lists, kept: each snapshot is written out once per format, and pulled many times from the same bytes."""

import hashlib
import math
import threading
import time
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from io import BytesIO

import msgspec
import structlog

from api.context import Snapshots
from api.errors import UnrenderableSnapshot
from api.feeds.render import FeedFormat, count_entries, format_of, stream
from api.times import NS_PER_S
from rules.lists.blocklist import (
    AddressEntry,
    AddressList,
    Body,
    ListName,
    NameEntry,
    NameList,
    Scope,
    Snapshot,
    UrlList,
)
from rules.policy.profiles import DEFAULT_PROFILE
from rules.values.event import rfc3339

ETAG_DIGITS = 32
GZIP_LEVEL = 4  # 0.3 s for a million names; 6 takes 1.7 s and 9 takes 13 s to save nothing
GZIP_WINDOW = 31  # the largest, with a header of gzip (RFC 1952)
MAX_KEPT_OCTETS = 256 * 1024 * 1024
CHECKSUMS = ("md5", "sha256")  # against damage, not against malice
NOBODY_NAME, NOBODY_ADDRESS = "empty.invalid", "192.0.2.1"  # RFC 6761 section 6.4, RFC 5737

log = structlog.get_logger("api")


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
    `prepare` renders a state before it is in force, so that nobody who pulls it waits.
    """

    def __init__(self, snapshot: Snapshots, max_kept_octets: int = MAX_KEPT_OCTETS) -> None:
        self._snapshot = snapshot
        self._max_kept_octets = max_kept_octets
        self._editions: dict[_Key, Edition] = {}
        self._ahead: dict[_Key, Edition] = {}  # of states that are not in force yet
        self._rendering = threading.Lock()

    @property
    def kept_octets(self) -> int:
        """Return how many octets are kept."""
        return sum(edition.octets for edition in (*self._editions.values(), *self._ahead.values()))

    def has(self, list_name: ListName, feed_format: FeedFormat, profile: str, *, comments: bool) -> bool:
        """Tell whether the newest edition is there already: `edition` returns it at once."""
        snapshot = self._snapshot(list_name, profile)
        return (
            snapshot is not None
            and self._kept((list_name, feed_format, profile, comments, False), snapshot) is not None
        )

    def prepare(self, snapshot: Snapshot, formats: Collection[FeedFormat], until_s: float = math.inf) -> None:
        """Render a state that will be in force, in `formats`, each as the state before it was asked for.

        What is not begun by `until_s` (monotonic clock), or has no room, is rendered when it is asked for.
        """
        wanted = [(snapshot.list_name, feed_format, snapshot.profile, True, False) for feed_format in formats]
        asked = [key for key in list(self._editions) if (key[0], key[2]) == (snapshot.list_name, snapshot.profile)]
        for key in dict.fromkeys([*wanted, *(key for key in asked if key[1] in formats and not key[4])]):
            if time.monotonic() > until_s:
                log.warning("list_not_prepared", list=snapshot.list_name.value, format=key[1].value)
            else:
                self._make_ahead(key, snapshot)

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
        return self._kept(key, snapshot) or self._make(key, snapshot)

    def _kept(self, key: "_Key", snapshot: Snapshot) -> Edition | None:
        """Return the edition of this state, where it is rendered."""
        ahead = self._ahead.get(key)
        if ahead is not None and _is_of(ahead, snapshot):
            self._editions[key] = ahead  # first, so that whoever looks at the same time finds it
            self._ahead.pop(key, None)
        kept = self._editions.get(key)
        return kept if kept is not None and _is_of(kept, snapshot) else None

    def _make(self, key: "_Key", snapshot: Snapshot) -> Edition:
        with self._rendering:
            kept = self._kept(key, snapshot)
            if kept is not None:
                return kept
            self._editions.pop(key, None)
            made = _make_edition(snapshot, key[1], comments=key[3])
            for held in (self._editions, self._ahead):
                while held and self.kept_octets + made.octets > self._max_kept_octets:
                    held.pop(next(iter(held), key), None)  # others take editions out of `_ahead` meanwhile
            self._editions[key] = made
            return made

    def _make_ahead(self, key: "_Key", snapshot: Snapshot) -> None:
        with self._rendering:
            if self._kept(key, snapshot) is not None:
                return
            self._ahead.pop(key, None)
            try:
                made = _make_edition(snapshot, key[1], comments=key[3])
            except UnrenderableSnapshot:  # whoever asks is told
                return
            if self.kept_octets + made.octets <= self._max_kept_octets:
                self._ahead[key] = made


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

"""Block lists as they are stored, and the identity of what they say. Both walk a list without a copy of it."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import chain, islice

import msgspec

from rules.lists.blocklist import (
    AddressEntry,
    AddressList,
    AnyEntry,
    Body,
    Entry,
    NameEntry,
    NameList,
    Origin,
    UrlEntry,
    UrlList,
    WithheldAddress,
    shared,
)

CHUNK = 4096  # entries that are encoded at once
INFLATED_OCTETS = 1 << 20  # that are decoded at once
FAST = 1


def digest(body: Body) -> str:
    """Return the identity of a list's content; which addresses are spared besides does not count."""
    listed = msgspec.structs.replace(body, spared=()) if isinstance(body, AddressList) else body
    state = sha256(_head(listed))
    for lines in _encoded(map(_identity, chain.from_iterable(_parts(body)))):
        state.update(lines)
    return state.hexdigest()


def encode(body: Body) -> bytes:
    """Return the list as it is stored: lines of JSON, the head first, compressed (RFC 1950)."""
    packer = zlib.compressobj(FAST)
    pieces = [packer.compress(_head(body))]
    pieces += (packer.compress(lines) for lines in _encoded(chain.from_iterable(_parts(body))))
    return b"".join([*pieces, packer.flush()])


def decode(stored: bytes) -> Body:
    """Return a stored list, also one that was stored as a single object of JSON, as lists once were.

    Raises:
        msgspec.MsgspecError: the bytes are not what `encode` made.
    """
    if stored[:1] == b"{":
        body = msgspec.json.decode(stored, type=NameList | AddressList)
        is_shared = isinstance(body, NameList) and body.wide == body.blocked
        return msgspec.structs.replace(body, wide=body.blocked) if is_shared else body
    lines = _lines(stored)
    try:
        body = _decoded(lines)
        if next(lines, None) is not None:  # reads to the end, where damage shows
            raise msgspec.DecodeError("the stored list has more entries than it says")
    except zlib.error as error:
        raise msgspec.DecodeError(str(error)) from None
    return body


def _decoded(lines: Iterator[bytes]) -> Body:
    head = msgspec.json.decode(next(lines, b""), type=_Head)
    if head.kind == AddressList.__name__:
        return AddressList(_read(lines, AddressEntry, head.counts[0]), head.withheld, head.spared)
    names = _read(lines, NameEntry, head.counts[0])
    if head.kind == UrlList.__name__:
        return UrlList(names, _read(lines, UrlEntry, head.counts[1]))
    wide = names if head.is_wide_blocked else shared(_read(lines, NameEntry, head.counts[1]), names)
    return NameList(names, wide, _read(lines, NameEntry, head.counts[2]))


def _read(lines: Iterator[bytes], kind: type[AnyEntry], expected: int) -> tuple[AnyEntry, ...]:
    """Return the next entries; texts and times that many of them have are kept once."""
    decoder, known = msgspec.json.Decoder(kind), _Known()
    rows = tuple(known.take(decoder.decode(line)) for line in islice(lines, expected))
    if len(rows) != expected:
        raise msgspec.DecodeError(f"{expected} entries were stored and {len(rows)} are there")
    return rows


def _parts(body: Body) -> tuple[Sequence[Entry], ...]:
    """Return the tuples of entries that make up a list; `wide` is left out where it is `blocked`."""
    if isinstance(body, NameList):
        return (body.blocked, () if body.wide is body.blocked else body.wide, body.allowed)
    return (body.names, body.urls) if isinstance(body, UrlList) else (body.blocked,)


class _Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first line of a stored list: which kind it is, and how many entries each of its parts has."""

    kind: str
    counts: tuple[int, ...]
    is_wide_blocked: bool = False
    withheld: dict[str, str] = {}
    spared: tuple[WithheldAddress, ...] = ()


def _head(body: Body) -> bytes:
    head = _Head(
        kind=type(body).__name__,
        counts=tuple(map(len, _parts(body))),
        is_wide_blocked=isinstance(body, NameList) and body.wide is body.blocked,
        withheld=body.withheld if isinstance(body, AddressList) else {},
        spared=body.spared if isinstance(body, AddressList) else (),
    )
    return msgspec.json.encode(head) + b"\n"


class _Known:
    """Values that entries have in common, as one object each."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._times: dict[int, int] = {}

    def take(self, row: AnyEntry) -> AnyEntry:
        """Return the row with the known values in place of its own."""
        return msgspec.structs.replace(
            row,
            service=self._texts.setdefault(row.service, row.service),
            reason=self._texts.setdefault(row.reason, row.reason),
            first_listed_ns=self._times.setdefault(row.first_listed_ns, row.first_listed_ns),
            expires_ns=self._times.setdefault(row.expires_ns, row.expires_ns),
        )


def _lines(stored: bytes) -> Iterator[bytes]:
    """Yield the lines of a stored list, inflated a piece at a time."""
    unpacker, rest = zlib.decompressobj(), b""
    waiting = stored
    while waiting and not unpacker.eof:
        *lines, rest = (rest + unpacker.decompress(waiting, INFLATED_OCTETS)).split(b"\n")
        waiting = unpacker.unconsumed_tail
        yield from lines
    if rest or not unpacker.eof:
        raise msgspec.DecodeError("the stored list is cut off")


def _encoded(rows: Iterable[Entry]) -> Iterator[bytes]:
    """Yield the entries as lines of JSON, many at once."""
    encoder, waiting = msgspec.json.Encoder(), iter(rows)
    while chunk := list(islice(waiting, CHUNK)):
        yield encoder.encode_lines(chunk)


def _identity(row: Entry) -> Entry:
    """Return an entry without what does not count for a list's identity."""
    expires_ns = 0 if row.source is Origin.FINDING else row.expires_ns
    if not row.first_listed_ns and row.expires_ns == expires_ns:
        return row
    return msgspec.structs.replace(row, first_listed_ns=0, expires_ns=expires_ns)

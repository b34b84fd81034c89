"""Which names a client asked for, which addresses it was told for them, and until when."""

from collections import OrderedDict
from contextlib import suppress
from typing import Final, Protocol

from rules.values.observation import NameSource
from sensor.errors import MalformedInput
from sensor.extract.dns import DnsMessage, parse_message

MIN_TTL_S: Final = 60  # programs keep an answer in use for longer than a short TTL says
MAX_TTL_S: Final = 86_400
MAX_CHAINS: Final = 16  # names asked for that led to one address
MAX_NAMES: Final = 16  # of one chain; resolvers follow no more aliases (BIND 16, unbound 11)
_S: Final = 1_000_000_000
ASKED_FOR_NS: Final = MAX_TTL_S * _S
_NEVER: Final = -1
WATCH_NS: Final = 3600 * _S  # what a client asked before it was watched for so long may still be in its cache

LIMIT_OCTETS: Final = 16 << 20
LIMIT_BESIDE_OCTETS: Final = 10 << 20  # where others know of what is passed over
_PAIR_OCTETS: Final = 288  # key, tuple and place in the table
_NAME_OCTETS: Final = 176  # a name with its time, besides its characters
_DNS: Final = NameSource.DNS
_NO_DNS_SEEN: Final = NameSource.NO_DNS_SEEN
_NOT_ASKED: Final = NameSource.NOT_ASKED

Chain = tuple[str, ...]  # the name asked for, then its aliases in order
_Pair = bytes
_Told = tuple[Chain, int]  # and when the answer expires in nanoseconds


class PassedOver(Protocol):
    """What is known of DNS messages that were not read (sensor.capture.screening)."""

    def answers(self, client: bytes, address: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        """Take out those that led `client` to `address` by `now_ns`, with their times, the oldest first."""

    def asked(self, client: bytes, name: str) -> tuple[int, int]:
        """When `client` last asked for `name`, and since when it is watched, in nanoseconds; -1: never."""

    def mark(self, client: bytes, address: bytes) -> None:
        """Take note that a message that was read led `client` to `address`."""


class ToldNames:
    """CNAME chains by client and address; `evicted` counts those dropped early, told longest ago.

    At most `limit` pairs of `MAX_CHAINS` chains of `MAX_NAMES` names, and `limit_octets` of memory; a pair with one
    name takes about 500 octets. An address learned, and a look-up, cost constant time. What `passed_over` knows of an
    address is learned when it is looked up.
    """

    def __init__(
        self,
        limit: int = 131_072,
        limit_octets: int | None = None,
        asked_limit: int = 32_768,
        passed_over: PassedOver | None = None,
    ) -> None:
        self.asked = AskedNames(asked_limit, passed_over)
        self._passed_over = passed_over
        self.evicted = 0
        self.held_octets = 0
        self._limit = limit
        default_octets = LIMIT_OCTETS if passed_over is None else LIMIT_BESIDE_OCTETS
        self._limit_octets = limit_octets if limit_octets is not None else default_octets
        self._pairs: OrderedDict[_Pair, tuple[_Told, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pairs)

    def learn(self, client: bytes, message: DnsMessage, now_ns: int) -> None:
        """Remember for each address of the response `message` the chain that led to it."""
        if self._passed_over is not None:
            for address, _ in message.addresses:
                self._passed_over.mark(client, address)
                self._recall(client, address, now_ns)
        self._learn(client, message, now_ns)

    def _recall(self, client: bytes, address: bytes, now_ns: int) -> None:
        """Learn what was passed over before `now_ns`."""
        rows = self._passed_over.answers(client, address, now_ns) if self._passed_over is not None else ()
        for told_ns, octets in rows:
            with suppress(MalformedInput):  # never: only what is whole was passed over
                self._learn(client, parse_message(octets), told_ns)

    def _learn(self, client: bytes, message: DnsMessage, now_ns: int) -> None:
        chain = _chain(message)
        self.evicted += max(0, len(chain) - MAX_NAMES)
        chain = chain[:MAX_NAMES]
        for address, ttl_s in message.addresses:
            expires_ns = now_ns + min(max(ttl_s, MIN_TTL_S), MAX_TTL_S) * _S
            self._tell(_pair(client, address), (chain, expires_ns), now_ns)

    def chains(self, client: bytes, address: bytes, now_ns: int) -> tuple[Chain, ...]:
        """Return the chains that led `client` to `address` and that are valid at `now_ns`, the newest first."""
        if self._passed_over is not None:
            self._recall(client, address, now_ns)
        told = self._pairs.get(_pair(client, address))
        if told is None:
            return ()
        return tuple(chain for chain, expires_ns in told if expires_ns > now_ns)

    def has_told(self, client: bytes, address: bytes, now_ns: int) -> bool:
        """Tell whether a name led `client` to `address`."""
        return bool(self.chains(client, address, now_ns))

    def _tell(self, pair: _Pair, newest: _Told, now_ns: int) -> None:
        known = self._pairs.get(pair)
        if known is None:
            self._pairs[pair] = (newest,)  # at the end: it was not there
            self.held_octets += _octets((newest,))
            self._make_room(now_ns)
            return
        asked = newest[0][0]
        told = [newest, *(row for row in known if row[0][0] != asked and row[1] > now_ns)]
        self.evicted += max(0, len(told) - MAX_CHAINS)
        self.held_octets -= _octets(known)
        kept = self._pairs[pair] = tuple(told[:MAX_CHAINS])
        self.held_octets += _octets(kept)
        self._pairs.move_to_end(pair)
        self._make_room(now_ns)

    def _make_room(self, now_ns: int) -> None:
        while len(self._pairs) > self._limit or (self.held_octets > self._limit_octets and len(self._pairs) > 1):
            _, dropped = self._pairs.popitem(last=False)
            self.held_octets -= _octets(dropped)
            self.evicted += sum([expires_ns > now_ns for _, expires_ns in dropped])


class AskedNames:
    """Which names each client asked resolvers for, or was told as aliases of those, within a day.

    At most `limit` names of all clients and `limit` clients. A name takes about 0.3 kB. A client that loses a name
    early (counted in `evicted`) counts as watched from then on, so that it is never said of a name that was forgotten
    that it was not asked for.
    """

    def __init__(self, limit: int = 32_768, passed_over: PassedOver | None = None) -> None:
        self.evicted = 0
        self._passed_over = passed_over
        self._limit = limit
        self._names: OrderedDict[tuple[bytes, str], int] = OrderedDict()  # when last asked
        self._watched: OrderedDict[bytes, int] = OrderedDict()  # clients, since when

    def __len__(self) -> int:
        return len(self._names)

    def learn(self, client: bytes, message: DnsMessage, now_ns: int) -> None:
        """Remember what the query or response `message` says `client` asked for."""
        if client not in self._watched:
            since_ns = self._times(client, message.qname)[1]
            self._watched[client] = since_ns if since_ns != _NEVER else now_ns
            if len(self._watched) > self._limit:
                self._watched.popitem(last=False)
        self._note(client, message.qname, now_ns)
        for alias in message.cnames:
            self._note(client, alias, now_ns)

    def source(self, client: bytes, name: str, now_ns: int) -> NameSource:
        """Return where a flow of `client` that began at `now_ns` has `name` from."""
        asked_ns, since_ns = self._times(client, name)
        if asked_ns != _NEVER and now_ns - asked_ns <= ASKED_FOR_NS:
            return _DNS
        if since_ns == _NEVER or now_ns - since_ns < WATCH_NS:
            return _NO_DNS_SEEN
        return _NOT_ASKED

    def _times(self, client: bytes, name: str) -> tuple[int, int]:
        """Return when `client` last asked for `name`, and since when it is watched."""
        asked_ns, since_ns = self._names.get((client, name), _NEVER), self._watched.get(client, _NEVER)
        if self._passed_over is None:
            return asked_ns, since_ns
        passed_ns, passed_since_ns = self._passed_over.asked(client, name)
        return max(asked_ns, passed_ns), max(since_ns, passed_since_ns)

    def _note(self, client: bytes, name: str, now_ns: int) -> None:
        key = client, name
        self._names[key] = now_ns
        self._names.move_to_end(key)
        if len(self._names) > self._limit:
            (loser, _), asked_ns = self._names.popitem(last=False)
            if now_ns - asked_ns <= ASKED_FOR_NS:
                self.evicted += 1
                self._watched[loser] = now_ns


def _chain(message: DnsMessage) -> Chain:
    """Return the name asked for and its aliases, each once."""
    if not message.cnames:
        return (message.qname,)
    return tuple(dict.fromkeys((message.qname, *message.cnames)))


def _pair(client: bytes, address: bytes) -> _Pair:
    """Return the key; the octet at its end keeps an IPv4 client of an IPv6 address apart from the reverse."""
    return client + address if len(client) >= len(address) else client + address + b"4"


def _octets(told: tuple[_Told, ...]) -> int:
    """Return about how much memory a pair takes."""
    if not told:
        return 0
    return _PAIR_OCTETS + sum([_NAME_OCTETS + len(name) for chain, _ in told for name in chain])

"""Which names a client was told for an address, and until when."""

from collections import OrderedDict

from sensor.extract.dns import DnsMessage

MIN_TTL_S = 60  # programs keep an answer in use for longer than a short TTL says
MAX_TTL_S = 86_400
MAX_NAMES = 8
_S = 1_000_000_000

LIMIT_OCTETS = 16 << 20
_PAIR_OCTETS = 288  # key, tuple and place in the table
_NAME_OCTETS = 176  # a name with its time, besides its characters

_Pair = bytes
_Told = tuple[str, int]  # the name, and when it expires in nanoseconds


class ToldNames:
    """Names by client and address; `evicted` counts the names dropped early, those told longest ago.

    At most `limit` pairs of `MAX_NAMES` names, and `limit_octets` of memory; a pair with one name takes about 500
    octets. An address learned, and a look-up, cost constant time.
    """

    def __init__(self, limit: int = 131_072, limit_octets: int = LIMIT_OCTETS) -> None:
        self.evicted = 0
        self.held_octets = 0
        self._limit = limit
        self._limit_octets = limit_octets
        self._pairs: OrderedDict[_Pair, tuple[_Told, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pairs)

    def learn(self, client: bytes, message: DnsMessage, now_ns: int) -> None:
        """Remember for each address of the response `message` the name asked for and those of its CNAME chain."""
        names = list(dict.fromkeys((message.qname, *message.cnames)))
        self.evicted += max(0, len(names) - MAX_NAMES)
        del names[MAX_NAMES:]
        for address, ttl_s in message.addresses:
            expires_ns = now_ns + min(max(ttl_s, MIN_TTL_S), MAX_TTL_S) * _S
            self._tell(_pair(client, address), [(name, expires_ns) for name in names], now_ns)

    def names(self, client: bytes, address: bytes, now_ns: int) -> tuple[str, ...]:
        """Return the names that `client` was told for `address` and that are valid at `now_ns`, newest first."""
        told = self._pairs.get(_pair(client, address), ())
        return tuple(name for name, expires_ns in told if expires_ns > now_ns)

    def _tell(self, pair: _Pair, newest: list[_Told], now_ns: int) -> None:
        new_names = {name for name, _ in newest}
        older = [told for told in self._pairs.get(pair, ()) if told[0] not in new_names and told[1] > now_ns]
        told = newest + older
        self.evicted += max(0, len(told) - MAX_NAMES)
        self.held_octets -= _octets(self._pairs.get(pair))
        kept = self._pairs[pair] = tuple(told[:MAX_NAMES])
        self.held_octets += _octets(kept)
        self._pairs.move_to_end(pair)
        while len(self._pairs) > self._limit or (self.held_octets > self._limit_octets and len(self._pairs) > 1):
            _, dropped = self._pairs.popitem(last=False)
            self.held_octets -= _octets(dropped)
            self.evicted += sum(expires_ns > now_ns for _, expires_ns in dropped)


def _pair(client: bytes, address: bytes) -> _Pair:
    """Return the key; the octet at its end keeps an IPv4 client of an IPv6 address apart from the reverse."""
    return client + address if len(client) >= len(address) else client + address + b"4"


def _octets(told: tuple[_Told, ...] | None) -> int:
    """Return about how much memory a pair takes."""
    if told is None:
        return 0
    return _PAIR_OCTETS + sum([_NAME_OCTETS + len(name) for name, _ in told])

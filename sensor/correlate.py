"""Which names a client was told for an address, and until when."""

from collections import OrderedDict

from sensor.extract.dns import DnsMessage

MIN_TTL_S = 60  # programs keep an answer in use for longer than a short TTL says
MAX_TTL_S = 86_400
MAX_NAMES = 8
_S = 1_000_000_000

_Pair = tuple[bytes, bytes]
_Told = tuple[str, int]  # the name, and when it expires in nanoseconds


class ToldNames:
    """Names by (client, address), at most `limit` pairs of `MAX_NAMES` names; `evicted` counts the names dropped early.

    About 500 octets a pair.
    """

    def __init__(self, limit: int = 131_072) -> None:
        self.evicted = 0
        self._limit = limit
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
            self._tell((client, address), [(name, expires_ns) for name in names], now_ns)

    def names(self, client: bytes, address: bytes, now_ns: int) -> tuple[str, ...]:
        """Return the names that `client` was told for `address` and that are valid at `now_ns`, newest first."""
        told = self._pairs.get((client, address), ())
        return tuple(name for name, expires_ns in told if expires_ns > now_ns)

    def _tell(self, pair: _Pair, newest: list[_Told], now_ns: int) -> None:
        new_names = {name for name, _ in newest}
        older = [told for told in self._pairs.get(pair, ()) if told[0] not in new_names and told[1] > now_ns]
        told = newest + older
        self.evicted += max(0, len(told) - MAX_NAMES)
        self._pairs[pair] = tuple(told[:MAX_NAMES])
        self._pairs.move_to_end(pair)
        if len(self._pairs) > self._limit:
            _, dropped = self._pairs.popitem(last=False)
            self.evicted += sum(expires_ns > now_ns for _, expires_ns in dropped)

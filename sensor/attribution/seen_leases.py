"""Who has which address, by the DHCP messages that passed: the server's word where it was seen, else the client's."""

from collections import OrderedDict
from typing import Final, NamedTuple

from sensor.attribution.leases import Lease
from sensor.extract.dhcp import DhcpMessage, DhcpType

MAX_LEASES: Final = 16_384
MAX_REQUESTS: Final = 1024
DAY_NS: Final = 86_400_000_000_000
NS_PER_S: Final = 1_000_000_000


class _Seen(NamedTuple):
    lease: Lease
    until_ns: int
    is_granted: bool


class SeenLeases:
    """Leases by network namespace and address: 16,384, the one seen longest ago goes and is counted in `evicted`.

    A message costs two or three look-ups. One thread adds, another may ask.
    """

    def __init__(self, limit: int = MAX_LEASES) -> None:
        self.evicted = 0
        self._limit = limit
        self._leases: OrderedDict[tuple[str, bytes], _Seen] = OrderedDict()
        self._requests: OrderedDict[tuple[int, str], str | None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._leases)

    def learn(self, message: DhcpMessage, namespace: str, now_ns: int) -> None:
        """Note what a message says of who has an address."""
        if message.kind is DhcpType.REQUEST:
            self._note_request(message)
        if message.address is None:
            return
        key = namespace, message.address
        known = self._leases.get(key)
        if message.kind in (DhcpType.NAK, DhcpType.RELEASE):
            if known is not None and known.lease.mac == message.mac:
                self._leases.pop(key, None)
            return
        is_granted = message.kind is DhcpType.ACK
        if known is not None and known.is_granted and known.until_ns > now_ns and not is_granted:
            if known.lease.mac != message.mac:  # what a server said of another stands over what a client asks for
                return
            is_granted = True
        host = message.host or self._requests.get((message.transaction, message.mac))
        if host is None and known is not None and known.lease.mac == message.mac:
            host = known.lease.host
        lasts_ns = min(message.lease_s * NS_PER_S or DAY_NS, DAY_NS)
        self._put(key, _Seen(Lease(host, message.mac), now_ns + lasts_ns, is_granted))

    def find(self, namespace: str, address: bytes, now_ns: int) -> Lease | None:
        """Return who has a packed address as far as was seen; a lease counts for its time, a day at most."""
        seen = self._leases.get((namespace, address))
        return seen.lease if seen is not None and seen.until_ns > now_ns else None

    def _note_request(self, message: DhcpMessage) -> None:
        self._requests[message.transaction, message.mac] = message.host
        if len(self._requests) > MAX_REQUESTS:
            self._requests.popitem(last=False)

    def _put(self, key: tuple[str, bytes], seen: _Seen) -> None:
        self._leases[key] = seen
        self._leases.move_to_end(key)
        if len(self._leases) > self._limit:
            self._leases.popitem(last=False)
            self.evicted += 1

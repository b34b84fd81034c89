"""DNS queries matched with their answers.

A transaction is reported when its answer comes, or unanswered after a second; an answer that comes later is a second
revision. Retransmissions and duplicates within half a minute belong to the same transaction; an answer that leads to
other names than the first is another one, lest a first without any hide it.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from enum import IntEnum
from typing import Final

from rules.values.observation import (
    DnsTransaction,
    Evidence,
    FiveTuple,
    FlowState,
    Indicator,
    Kind,
    Observation,
    Refusal,
    Traffic,
)
from sensor.dns_shapes import DnsShapes
from sensor.extract.dns import DnsMessage
from sensor.flow import NEVER_NS

ANSWER_WAIT_NS: Final = 1_000_000_000
TRANSACTION_NS: Final = 30_000_000_000  # a stub resolver gives up by then (resolv.conf: 5 s, 2 attempts, 3 servers)

_IPV4_OCTETS: Final = 4
_LOOPBACK_IPV4: Final = 127  # 127.0.0.0/8
_SINKHOLES: Final = frozenset((bytes(4), bytes(16), bytes(15) + b"\1"))


class Rcode(IntEnum):
    """Response codes that mean a refusal (the IANA registry)."""

    NXDOMAIN = 3
    REFUSED = 5


_REFUSALS: Final = frozenset(map(int, Rcode))
# Members of enumerations, bound once: looking one up costs a multiple.
_DNS_QUERY: Final = Evidence.DNS_QUERY
_DNS_CNAME: Final = Evidence.DNS_CNAME
_DNS: Final = Kind.DNS
_BLOCKED: Final = FlowState.BLOCKED
_ATTEMPTED: Final = FlowState.ATTEMPTED
_REFUSED: Final = Refusal.DNS

_Key = tuple[bytes, int, bytes, int, int, str, int]


class _Transaction:
    """No `State`: compiled code reads the attributes of a class of its own at a tenth of the cost."""

    __slots__ = (
        "answer",
        "five_tuple",
        "interface",
        "is_answered",
        "key",
        "last_ns",
        "octets_in",
        "octets_out",
        "packets",
        "qname",
        "qtype",
        "revision",
        "started_ns",
    )

    def __init__(self, key: int, five_tuple: FiveTuple, started_ns: int, interface: str, message: DnsMessage) -> None:
        self.key = key
        self.five_tuple = five_tuple
        self.started_ns = started_ns
        self.interface = interface
        self.qname = message.qname
        self.qtype = message.qtype
        self.is_answered = False
        self.answer = 0  # `_names_of` the first
        self.revision = 0  # of the last observation, 0 before the first
        self.octets_out = 0
        self.octets_in = 0
        self.packets = 0
        self.last_ns = 0

    def is_contradicted(self, message: DnsMessage) -> bool:
        """Tell whether an answer leads to names that the first one did not."""
        return self.is_answered and bool(message.cnames or message.delegations) and self.answer != _names_of(message)

    def count(self, octets: int, now_ns: int, *, is_response: bool) -> None:
        """Note the packet that a message came in; over TCP (0 octets) the flow counts them."""
        if not octets:
            return
        if is_response:
            self.octets_in += octets
        else:
            self.octets_out += octets
        self.packets += 1
        self.last_ns = max(self.last_ns, now_ns)


class DnsTransactions:
    """Transactions of the last half minute, at most `limit`; `evicted` counts those dropped before their answer.

    One takes about 0.8 kB, 1.6 kB with the longest name; what was answered is not kept. A message costs constant time.
    """

    def __init__(self, next_key: Callable[[], int], limit: int = 32_768, shapes: DnsShapes | None = None) -> None:
        self.evicted = 0
        self.newest_key = 0  # of the transaction that the last message belongs to
        self._shapes = shapes if shapes is not None else DnsShapes()
        self._next_key = next_key
        self._limit = limit
        self._transactions: OrderedDict[_Key, _Transaction] = OrderedDict()  # by start
        self._expire_ns = 0  # until then no transaction is too old
        self._waiting: deque[_Transaction] = deque()  # by start, unanswered when they were put there

    def __len__(self) -> int:
        return len(self._transactions)

    @property
    def due_ns(self) -> int:
        """Return when the next unanswered query is to be reported."""
        return self._waiting[0].started_ns + ANSWER_WAIT_NS if self._waiting else NEVER_NS

    def add(
        self, message: DnsMessage, five_tuple: FiveTuple, now_ns: int, interface: str, *, wire_octets: int = 0
    ) -> list[Observation]:
        """Return what `message` completes; `five_tuple` is from client to server, whichever sent it.

        `wire_octets` is the size of the packet that it came in, 0 over TCP.
        """
        client, is_response = five_tuple.src, message.is_response
        key = (
            client,
            five_tuple.src_port,
            five_tuple.dst,
            five_tuple.dst_port,
            message.id,
            message.qname,
            message.qtype,
        )
        transaction = self._transactions.get(key)
        is_known = transaction is not None and now_ns - transaction.started_ns <= TRANSACTION_NS
        if transaction is None or not is_known or transaction.is_contradicted(message):
            transaction = _Transaction(self._next_key(), five_tuple, now_ns, interface, message)
            if not is_known:
                self._shapes.note_query(client, message, now_ns)
            observations = self._begin(key, transaction, now_ns)
        else:
            observations = []
        self.newest_key = transaction.key
        transaction.count(wire_octets, now_ns, is_response=is_response)
        if is_response and not transaction.is_answered:
            transaction.is_answered, transaction.answer = True, _names_of(message)
            self._shapes.note_answer(client, message)
            observations.append(self._observe(transaction, _answered(message)))
        return observations

    def advance(self, now_ns: int) -> list[Observation]:
        """Return the queries that went unanswered for a second."""
        observations: list[Observation] = []
        while self._waiting and self._waiting[0].started_ns + ANSWER_WAIT_NS <= now_ns:
            transaction = self._waiting.popleft()
            if not transaction.revision:
                observations.append(self._unanswered(transaction))
        return observations

    def flush(self) -> list[Observation]:
        """Return the queries that wait for an answer, and forget all transactions."""
        observations = [self._unanswered(transaction) for transaction in self._waiting if not transaction.revision]
        self._waiting.clear()
        self._transactions.clear()
        return observations

    def _begin(self, key: _Key, transaction: _Transaction, now_ns: int) -> list[Observation]:
        self._transactions[key] = transaction
        self._transactions.move_to_end(key)
        self._waiting.append(transaction)
        if len(self._transactions) > self._limit or now_ns > self._expire_ns:
            return self._forget_old(now_ns)
        return []

    def _forget_old(self, now_ns: int) -> list[Observation]:
        """Forget the transactions that are too old or too many."""
        observations: list[Observation] = []
        while self._transactions:
            oldest = next(iter(self._transactions.values()))
            self._expire_ns = oldest.started_ns + TRANSACTION_NS
            if len(self._transactions) <= self._limit and now_ns <= self._expire_ns:
                break
            self._transactions.popitem(last=False)
            self.evicted += not oldest.is_answered and now_ns - oldest.started_ns <= TRANSACTION_NS
            observations += self._stop_waiting(oldest)
        return observations

    def _stop_waiting(self, evicted: _Transaction) -> list[Observation]:
        """Return the queries asked up to `evicted` that were not reported yet: their answers would not be known."""
        observations = []
        while self._waiting and self._waiting[0].key <= evicted.key:
            waited = self._waiting.popleft()
            if not waited.revision:
                observations.append(self._unanswered(waited))
        return observations

    def _unanswered(self, transaction: _Transaction) -> Observation:
        return self._observe(transaction, DnsTransaction(transaction.qname, transaction.qtype))

    def _observe(self, transaction: _Transaction, dns: DnsTransaction) -> Observation:
        transaction.revision += 1
        found = [Indicator(_DNS_QUERY, dns.qname)]
        found += [Indicator(_DNS_CNAME, name) for name in dns.cnames]
        if shape := self._shapes.find(transaction.five_tuple.src, dns.qname):
            found.append(Indicator(Evidence.PROTOCOL, f"dns-tunnel:{shape}"))
        return Observation(
            key=transaction.key,
            revision=transaction.revision,
            observed_at_ns=transaction.started_ns,
            kind=_DNS,
            five_tuple=transaction.five_tuple,
            indicators=tuple(found),
            state=_BLOCKED if _is_blocked(dns) else _ATTEMPTED,
            refusal=_REFUSED if dns.rcode in _REFUSALS else None,
            dns=dns,
            interface=transaction.interface,
            traffic=Traffic(transaction.octets_out, transaction.octets_in, transaction.packets, transaction.last_ns),
        )


def _names_of(answer: DnsMessage) -> int:
    """Return a hash of the names that an answer leads to."""
    return hash((answer.cnames, answer.delegations))


def _answered(message: DnsMessage) -> DnsTransaction:
    addresses = tuple(address for address, _ in message.addresses)
    return DnsTransaction(message.qname, message.qtype, message.rcode, message.cnames, addresses, message.delegations)


def _is_blocked(dns: DnsTransaction) -> bool:
    if dns.rcode in _REFUSALS:
        return True
    return bool(dns.addresses) and all(_is_sinkhole(address) for address in dns.addresses)


def _is_sinkhole(address: bytes) -> bool:
    """Tell whether the address is unspecified or loopback (RFC 6890)."""
    return address in _SINKHOLES or (len(address) == _IPV4_OCTETS and address[0] == _LOOPBACK_IPV4)

"""What a format is: who reads it, what it can say, how much of it that reader takes, and how a snapshot becomes it.

A limit that is exceeded refuses the list; nothing is ever left out to fit. What a format cannot say (IPv6, or the
names below a name) is left out and `meaning` says so.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

from api.errors import UnrenderableSnapshot
from rules.lists.blocklist import ListName, NameList, Snapshot, count
from rules.policy.profiles import DEFAULT_PROFILE
from rules.values.event import rfc3339

TEXT = "text/plain; charset=utf-8"
CHUNK_LINES = 4096


class FeedFormat(StrEnum):
    """The formats there are; the value is the file extension."""

    TXT = "txt"
    RPZ = "rpz"
    PAN_OS = "pan-os.txt"
    PAN_OS_URL = "pan-os-url.txt"
    UNBOUND = "unbound.conf"
    SQUID = "squid.txt"
    DNSMASQ = "dnsmasq.conf"
    NFTABLES = "nft"
    IPSET = "ipset"
    IPTABLES = "iptables"
    IP6TABLES = "ip6tables"
    FORTIGATE = "fortigate.txt"
    CISCO = "cisco.txt"
    CHECK_POINT = "check-point.txt"
    CHECK_POINT_IOC = "check-point.csv"
    SOPHOS = "sophos.txt"
    SONICWALL = "sonicwall.txt"
    JUNIPER = "juniper.tgz"
    PF = "pf.txt"
    MIKROTIK = "mikrotik.rsc"
    BANIP = "banip.txt"
    HOSTS = "hosts"
    PI_HOLE = "pi-hole.txt"
    ADGUARD = "adguard.txt"
    SURICATA = "suricata.rules"
    SURICATA_DATASET = "suricata.lst"
    ZEEK = "zeek.intel"
    ZSCALER = "zscaler.txt"
    AWS_FIREWALL = "aws-network-firewall.txt"
    ROUTE_53 = "route53.txt"
    F5 = "f5.csv"
    CSV = "csv"
    JSON = "json"
    STIX = "stix.json"
    MISP = "misp.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One list in one format: lines of ASCII text.

    Args:
        extension: what its file names end in.
        list_name: the list that it writes.
        consumer: the program or device that reads it.
        meaning: what a line says, for the head and the documentation.
        lines: the lines of a snapshot, without line ends; called twice, and must give the same lines.
        comment: what begins a comment line; empty where the consumer takes none.
        media_type: the Content-Type.
        pack: what wraps the text, if anything.
        has_exemptions: it says sanctioned names, so it takes `wide` and `allowed`; others take `blocked`.
        exempts_subtrees: an exemption of one name is one of everything below it, too.
        says_subtrees: it can say "and every name below".
        versions: the address families that it can say.
        max_lines: how many lines the consumer takes.
        max_line_octets: how long a line may be.
        max_octets: how large the file may be.
        is_tested: the tests have the real program read it.
    """

    extension: FeedFormat
    list_name: ListName
    consumer: str
    meaning: str
    lines: Callable[[Snapshot], Iterable[str]]
    comment: str = "#"
    media_type: str = TEXT
    pack: Callable[[bytes, Snapshot], bytes] | None = None
    has_exemptions: bool = False
    exempts_subtrees: bool = False
    says_subtrees: bool = True
    versions: tuple[int, ...] = (4, 6)
    max_lines: int | None = None
    max_line_octets: int | None = None
    max_octets: int | None = None
    is_tested: bool = False

    def render(self, snapshot: Snapshot, *, comments: bool = True) -> Iterator[bytes]:
        """Return the file in pieces; everything that can be wrong with it is found before the first one.

        Raises:
            UnrenderableSnapshot: the consumer could not take it, or the file would be blank.
        """
        line_count = self._measure(snapshot)
        head = self._head(snapshot, line_count) if comments and self.comment else []
        whole = chain(head, self.lines(snapshot))
        first = next(whole, None)
        if first is None:
            raise UnrenderableSnapshot(f"{self._name}: nothing on the list can be said, and no file may be blank")
        pieces = _in_pieces(chain([first], whole))
        return pieces if self.pack is None else iter([self.pack(b"".join(pieces), snapshot)])

    def count(self, snapshot: Snapshot) -> int:
        """Return how many entries the list blocks; a subtree counts once however many lines it takes."""
        body = snapshot.body
        if isinstance(body, NameList):
            return len(body.wide if self.has_exemptions else body.blocked)
        return count(body)

    @property
    def _name(self) -> str:
        return f"{self.list_name}.{self.extension}"

    def _measure(self, snapshot: Snapshot) -> int:
        """Return the number of lines when none of the consumer's limits is exceeded."""
        count = octets = longest = 0
        for line in self.lines(snapshot):
            count += 1
            if not line.isascii() or "\n" in line or "\r" in line:
                raise UnrenderableSnapshot(f"{self._name}: {line[:80]!r} is not a line of ASCII")
            octets += len(line) + 1
            longest = max(longest, len(line))
        self._limit(count, self.max_lines, "lines")
        self._limit(longest, self.max_line_octets, "octets in a line")
        self._limit(octets, self.max_octets, "octets")
        return count

    def _limit(self, value: int, limit: int | None, unit: str) -> None:
        if limit is not None and value > limit:
            raise UnrenderableSnapshot(
                f"{self._name} would have {value} {unit}, and {self.consumer} takes {limit}: choose a smaller list"
            )

    def _head(self, snapshot: Snapshot, line_count: int) -> list[str]:
        texts = (
            f"Molecatcher {snapshot.list_name}{_in_profile(snapshot)}",
            self.meaning,
            f"serial {snapshot.serial}, created {rfc3339(snapshot.created_at_ns)}",
            f"{self.count(snapshot)} entries in {line_count} lines",
        )
        return [f"{self.comment} {text}" for text in texts]


def _in_profile(snapshot: Snapshot) -> str:
    return "" if snapshot.profile == DEFAULT_PROFILE else f", profile {snapshot.profile}"


def _in_pieces(lines: Iterator[str]) -> Iterator[bytes]:
    piece: list[str] = []
    for line in lines:
        piece.append(line)
        if len(piece) == CHUNK_LINES:
            yield _encode(piece)
            piece = []
    if piece:
        yield _encode(piece)


def _encode(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("ascii")

"""Which interfaces to listen on, read from the kernel with plain netlink dumps that need no privilege.

On a host they are those of the default routes, IPv4 and IPv6, in every routing table (multi-homed hosts and VPN clients
keep theirs outside `main`). OpenVPN's two halves of the Internet count as a default route. On a gateway they are the
inside interfaces: outside, behind NAT, only the gateway's own address shows, and each flow must be counted once. A
gateway's own connections are therefore not seen unless `--interface` says so.

Forwarding makes a gateway, except on a host with container or virtual machine bridges: their software turns forwarding
on for itself, and taking such a host for a gateway would lose all of its own traffic.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.nftables.main import NFTables

from sensor.capture.live.routes import AF_INET, AF_INET6, Route, dump_routes

IFF_UP = 0x1
IFF_LOOPBACK = 0x8
IFF_LOWER_UP = 0x10000

FORWARDING = {AF_INET: Path("/proc/sys/net/ipv4/conf"), AF_INET6: Path("/proc/sys/net/ipv6/conf")}
HALF_BITS = 1  # of 0.0.0.0/1, 128.0.0.0/1, ::/1 and 8000::/1, which together are all there is
GLOBAL_UNICAST = bytes((0x20, *bytes(15))), 3  # 2000::/3
LINK_LOCAL = (b"\xfe\x80", b"\xa9\xfe")

SHARES_FRAMES = frozenset({"vlan", "macvlan", "ipvlan"})  # kinds whose parent sees the same frames
HAS_PORTS = frozenset({"bridge", "bond", "team", "openvswitch"})
LOCAL_BRIDGE = re.compile(
    r"docker0|docker_gwbridge|br-[0-9a-f]{12}|virbr\d+|podman\d+|cni\d+|cni-podman\d+|lxcbr\d+|lxdbr\d+|incusbr\d+"
)


@dataclass(frozen=True, slots=True)
class Choice:
    """The interfaces to listen on, and why in one sentence; empty while there is nothing to listen on."""

    interfaces: tuple[str, ...]
    reason: str
    is_gateway: bool


@dataclass(frozen=True, slots=True)
class Link:
    """An interface; `master` and `parent` are interface indexes, 0 for none. `parent` sees the same frames."""

    index: int
    name: str
    flags: int
    kind: str = ""
    master: int = 0
    parent: int = 0

    @property
    def is_up(self) -> bool:
        """Tell whether it can carry packets now: up, with a carrier, and not the loopback."""
        return self.flags & (IFF_UP | IFF_LOWER_UP | IFF_LOOPBACK) == IFF_UP | IFF_LOWER_UP


class Nat(Enum):
    """What is known about source NAT here; the value is what to tell people."""

    FOUND = "it masquerades (nftables)"
    NONE = "no nftables NAT rule (rules of legacy iptables cannot be seen)"
    UNREADABLE = "could not read NAT rules"


@dataclass(frozen=True, slots=True)
class Topology:
    """What the kernel says about interfaces: those with a default route, with other subnets, and those that forward."""

    links: tuple[Link, ...] = ()
    default: frozenset[int] = frozenset()
    subnets: frozenset[int] = frozenset()
    nat: Nat = Nat.UNREADABLE
    _by_index: dict[int, Link] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._by_index.update({link.index: link for link in self.links})

    def outside(self) -> list[Link]:
        """Return the interfaces of the default routes."""
        return self._listenable(link for link in self.links if link.index in self.default)

    def inside(self) -> list[Link]:
        """Return the interfaces that forward for a subnet of their own."""
        others = self.subnets - self.default
        return self._listenable(link for link in self.links if link.index in others and link.is_up)

    def _listenable(self, links: Iterable[Link]) -> list[Link]:
        """Leave out loopbacks, ports of a bridge or bond, and interfaces whose parent is among `links`."""
        kept = [link for link in links if not link.flags & IFF_LOOPBACK and not self._is_port(link)]
        indexes = {link.index for link in kept}
        return [link for link in kept if link.parent not in indexes]

    def _is_port(self, link: Link) -> bool:
        """Tell whether what `link` carries shows on its master (a VRF, the other sort of master, hides nothing)."""
        master = self._by_index.get(link.master)
        return master is not None and master.kind in HAS_PORTS


def choose_interfaces(explicit: Sequence[str] = ()) -> Choice:
    """Return what to listen on in this network namespace; `explicit` names win.

    Cost: a dump of all links and routes, 4 ms for a dozen routes and some 3 us for each further one.

    Raises:
        pyroute2.NetlinkError, OSError: The kernel refused a dump.
    """
    return choose(read_topology(), explicit)


def choose(topology: Topology, explicit: Sequence[str] = ()) -> Choice:
    """Return what to listen on in `topology`."""
    outside, inside = topology.outside(), topology.inside()
    local = [link.name for link in inside if LOCAL_BRIDGE.fullmatch(link.name)]
    is_gateway = bool(outside and inside and not local)
    if explicit:
        return Choice(tuple(dict.fromkeys(explicit)), "named with --interface", is_gateway)
    if not outside:
        return Choice((), "no default route: waiting", is_gateway=False)
    if is_gateway:
        reason = f"gateway: forwards from {_names(inside)} to {_names(outside)}; {topology.nat.value}"
        return Choice(_tuple(inside), reason, is_gateway=True)
    if local:
        bridges = ", ".join(local)
        reason = (
            f"default route; forwarding is on for {bridges}: if this is a gateway, name its inside with --interface"
        )
        return Choice(_tuple(outside), reason, is_gateway=False)
    return Choice(_tuple(outside), "default route", is_gateway=False)


def read_topology() -> Topology:
    """Return the interfaces, routes and NAT of this thread's network namespace.

    Raises:
        pyroute2.NetlinkError, OSError: The kernel refused a dump.
    """
    with IPRoute() as netlink:
        links = tuple(_link(message) for message in netlink.link("dump"))
    names = {link.index: link.name for link in links}
    default, others = set(), set()
    for route in dump_routes():
        if _is_default(route):
            default.add(route.interface)
        elif not route.destination.startswith(LINK_LOCAL) and route.interface in names:
            others.add((route.family, route.interface))
    subnets = {index for family, index in others if _does_forward(family, names[index])}
    nat = read_nat() if subnets - default else Nat.NONE
    return Topology(links, frozenset(default), frozenset(subnets), nat)


def read_nat() -> Nat:
    """Return whether an nftables rule rewrites source addresses; needs CAP_NET_ADMIN to know."""
    try:
        with NFTables() as nftables:
            rules = list(nftables.get_rules())
    except (NetlinkError, OSError):
        return Nat.UNREADABLE
    return Nat.FOUND if any(_rewrites_source(rule) for rule in rules) else Nat.NONE


def _link(message: Any) -> Link:
    """An RTM_NEWLINK message as a value."""
    info = message.get_attr("IFLA_LINKINFO")
    kind = (info.get_attr("IFLA_INFO_KIND") or "") if info else ""
    is_here = message.get_attr("IFLA_LINK_NETNSID") is None  # else `parent` is an index in another namespace
    parent = message.get_attr("IFLA_LINK") if kind in SHARES_FRAMES and is_here else None
    master = message.get_attr("IFLA_MASTER")
    return Link(message["index"], message.get_attr("IFLA_IFNAME"), message["flags"], kind, master or 0, parent or 0)


def _is_default(route: Route) -> bool:
    """Tell whether a route leads to the Internet."""
    return route.bits <= HALF_BITS or (route.destination, route.bits) == GLOBAL_UNICAST


def _does_forward(family: int, name: str) -> bool:
    """Tell whether packets that come in on interface `name` are forwarded."""
    try:
        return (FORWARDING[family] / name / "forwarding").read_text(encoding="ascii").strip() != "0"
    except (OSError, KeyError):  # gone, or a family that is not compiled in
        return False


def _rewrites_source(rule: Any) -> bool:
    """Tell whether an nftables rule has a masquerade or source NAT expression, also one that iptables-nft made."""
    for expression in rule.get_attr("NFTA_RULE_EXPRESSIONS") or ():
        name, content = expression.get_attr("NFTA_EXPR_NAME"), expression.get_attr("NFTA_EXPR_DATA")
        if name == "masq":
            return True
        if name == "nat" and content.get_attr("NFTA_NAT_TYPE") == "NFT_NAT_SNAT":
            return True
        if name == "target" and content.get_attr("NFTA_TARGET_NAME") in {"MASQUERADE", "SNAT"}:
            return True
    return False


def _tuple(links: list[Link]) -> tuple[str, ...]:
    return tuple(link.name for link in links)


def _names(links: list[Link]) -> str:
    return ", ".join(_tuple(links))

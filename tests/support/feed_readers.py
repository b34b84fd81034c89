"""Every format of a block list, read as its consumer's documentation says, without our code: bytes in, a judge out."""

import ipaddress
import re
from collections.abc import Callable

import dns.name
import dns.rdatatype
import dns.zone

Judge = Callable[[str], bool]  # a name or an address: is it blocked?
Reader = Callable[[bytes], Judge]
ORIGIN = dns.name.from_text("rpz.invalid.")
NXDOMAIN, PASSTHRU = dns.name.root, dns.name.from_text("rpz-passthru.")


class Zone:
    """A parsed zone that answers like a resolver with response policies: by the nearest name that exists (RFC 4592)."""

    def __init__(self, text: str) -> None:
        self.zone = dns.zone.from_text(text, ORIGIN, relativize=False)
        self.existing = {name for owner in self.zone for name in self._ancestors(owner)}

    def judge(self, name: str) -> str:
        """Return `blocked`, `passed` or `nothing`."""
        wanted = dns.name.from_text(name, ORIGIN)
        if wanted in self.existing:
            return self._action(wanted)
        encloser = next(above for above in self._ancestors(wanted) if above in self.existing)
        return self._action(dns.name.from_text("*", encloser))

    def _action(self, owner: dns.name.Name) -> str:
        rdataset = self.zone.get_rdataset(owner, dns.rdatatype.CNAME)
        return {None: "nothing", NXDOMAIN: "blocked", PASSTHRU: "passed"}[rdataset[0].target if rdataset else None]

    def _ancestors(self, owner: dns.name.Name) -> list[dns.name.Name]:
        count = len(owner.labels) - len(ORIGIN.labels)
        return [dns.name.Name(owner.labels[at:]) for at in range(count + 1)]


def read_zone(octets: bytes) -> Judge:
    zone = Zone(octets.decode())
    return lambda name: zone.judge(name) == "blocked"


def read_star_names(octets: bytes) -> Judge:
    """`name` is itself, `*.name` what lies below it; a slash at the end of a host ends it."""
    names = {line.removesuffix("/") for line in _lines(octets)}
    return lambda name: name in names or any(f"*.{parent}" in names for parent in _above(name))


def read_unbound(octets: bytes) -> Judge:
    """unbound.conf(5): the longest local-zone at or above the name decides; its type says how."""
    lines = _lines(octets)
    assert lines.pop(0) == "server:"
    zones, with_data = {}, set()
    for line in lines:
        if zone := re.fullmatch(r'local-zone: "(\S+)\." (\w+)', line):
            assert zone[1] not in zones, "a zone twice"
            zones[zone[1]] = zone[2]
        elif data := re.fullmatch(r"local-data: '(\S+)\. TXT \"\w+\"'", line):
            with_data.add(data[1])
        else:
            raise AssertionError(line)

    def judge(name: str) -> bool:
        kind = next((zones[parent] for parent in (name, *_above(name)) if parent in zones), "always_transparent")
        return {
            "always_nxdomain": True,
            "always_transparent": False,
            "transparent": name in with_data,  # no address there: NODATA
        }[kind]

    return judge


def read_squid(octets: bytes) -> Judge:
    """`name` is itself, `.name` is itself and what lies below; an entry that another covers stops Squid."""
    entries = _lines(octets)
    names = set(entries)

    def judge(name: str) -> bool:
        return name in names or any(f".{parent}" in names for parent in (name, *_above(name)))

    assert len(names) == len(entries)
    for entry in entries:
        name = entry.removeprefix(".")
        assert not any(f".{parent}" in names for parent in _above(name)), f"Bungled: {entry}"
        assert entry.startswith(".") or f".{name}" not in names, f"Bungled: {entry}"
    return judge


def read_dnsmasq(octets: bytes) -> Judge:
    """dnsmasq(8): the longest domain decides, `*.` before it leaves the domain itself out; `#` is the usual server."""
    servers: dict[str, str] = {}
    for line in _lines(octets):
        found = re.fullmatch(r"server=/([^/\s]+)/(#?)", line)
        assert found, line
        assert found[1] not in servers, f"{line} contradicts another"
        servers[found[1]] = found[2]

    def judge(name: str) -> bool:
        candidates = [name]
        for parent in _above(name):
            candidates += [f"*.{parent}", parent]
        return next((servers[it] == "" for it in candidates if it in servers), False)

    return judge


def read_prefixes(octets: bytes) -> Judge:
    return _judge_prefixes(_lines(octets))


def read_nftables(octets: bytes) -> Judge:
    """nft(8): sets emptied, then filled; every element must be a prefix, or nft would ask the DNS."""
    lines = _lines(octets)
    assert [line for line in lines if line.startswith("flush")] == [
        "flush set inet molecatcher_feed blocked4",
        "flush set inet molecatcher_feed blocked6",
    ]
    prefixes, version = [], ""
    for line in lines:
        if added := re.fullmatch(r"add element inet molecatcher_feed blocked([46]) \{", line):
            version = added[1]
        elif line == "}":
            version = ""
        elif version:
            prefix = line.removesuffix(",")
            assert ipaddress.ip_network(prefix).version == int(version)
            prefixes.append(prefix)
        else:
            assert line.startswith(("add table inet", "add set inet", "flush set inet")), line
    assert "{" not in [lines[at][-1] for at in range(len(lines) - 1) if lines[at + 1] == "}"], "empty braces"
    return _judge_prefixes(prefixes)


def read_ipset(octets: bytes) -> Judge:
    """ipset(8): what is swapped in is in force; members of a family in a set of that family."""
    sets: dict[str, list[str]] = {}
    families: dict[str, int] = {}
    for line in _lines(octets):
        command, name, *rest = line.split()
        if command == "create":
            sets.setdefault(name, [])
            families[name] = 6 if "inet6" in rest else 4
        elif command == "flush":
            sets[name].clear()
        elif command == "add":
            assert ipaddress.ip_network(rest[0]).version == families[name]
            sets[name].append(rest[0])
        elif command == "swap":
            sets[name], sets[rest[0]] = sets[rest[0]], sets[name]
        else:
            assert command == "destroy", line
            del sets[name]
    assert set(sets) == {"molecatcher4", "molecatcher6"}
    return _judge_prefixes([prefix for members in sets.values() for prefix in members])


def read_iptables(octets: bytes) -> Judge:
    lines = _lines(octets)
    assert lines[:2] == ["*filter", ":MOLECATCHER - [0:0]"]
    assert lines[-1] == "COMMIT"
    rules = [re.fullmatch(r"-A MOLECATCHER -d (\S+) -j REJECT", line) for line in lines[2:-1]]
    assert all(rules)
    return _judge_prefixes([rule[1] for rule in rules if rule])


def _lines(octets: bytes, comment: str = "#") -> list[str]:
    text = octets.decode("ascii")
    assert text.endswith("\n")
    return [line for line in text.splitlines() if not line.startswith(comment)]


def _above(name: str) -> list[str]:
    labels = name.split(".")
    return [".".join(labels[at:]) for at in range(1, len(labels))]


def _judge_prefixes(prefixes: list[str]) -> Judge:
    networks = [ipaddress.ip_network(prefix) for prefix in prefixes]

    def judge(text: str) -> bool:
        address = ipaddress.ip_address(text)
        return any(address.version == network.version and address in network for network in networks)

    return judge


READERS: dict[str, Reader] = {
    "unsanctioned-domains.txt": read_star_names,
    "unsanctioned-domains.rpz": read_zone,
    "unsanctioned-domains.pan-os.txt": read_star_names,
    "unsanctioned-domains.pan-os-url.txt": read_star_names,
    "unsanctioned-domains.unbound.conf": read_unbound,
    "unsanctioned-domains.dnsmasq.conf": read_dnsmasq,
    "unsanctioned-domains.squid.txt": read_squid,
    "unsanctioned-addresses.txt": read_prefixes,
    "unsanctioned-addresses.pan-os.txt": read_prefixes,
    "unsanctioned-addresses.nft": read_nftables,
    "unsanctioned-addresses.ipset": read_ipset,
    "unsanctioned-addresses.iptables": read_iptables,
    "unsanctioned-addresses.ip6tables": read_iptables,
}

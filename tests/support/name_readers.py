"""Formats of names, read as their consumers' documentation says, without our code: bytes in, a judge out."""

import ipaddress
import re
from base64 import b64decode

from list_judges import Judge, above, lines_of
from policy_zone import Zone


def read_zone(octets: bytes) -> Judge:
    zone = Zone(octets.decode())
    return lambda name: zone.judge(name) == "blocked"


def read_star_names(octets: bytes) -> Judge:
    """`name` is itself, `*.name` what lies below it; a slash at the end of a host ends it."""
    names = {line.removesuffix("/") for line in lines_of(octets)}

    def judge(name: str) -> bool:
        host = name.partition("/")[0]
        return name in names or host in names or any(f"*.{parent}" in names for parent in above(host))

    return judge


def read_exact_names(octets: bytes) -> Judge:
    return set(lines_of(octets)).__contains__


def read_unbound(octets: bytes) -> Judge:
    """unbound.conf(5): the longest local-zone at or above the name decides; its type says how."""
    lines = lines_of(octets)
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
        kind = next((zones[parent] for parent in (name, *above(name)) if parent in zones), "always_transparent")
        return {
            "always_nxdomain": True,
            "always_transparent": False,
            "transparent": name in with_data,  # no address there: NODATA
        }[kind]

    return judge


def read_squid(octets: bytes) -> Judge:
    """`name` is itself, `.name` is itself and what lies below; an entry that another covers stops Squid."""
    entries = lines_of(octets)
    names = set(entries)

    def judge(name: str) -> bool:
        return name in names or any(f".{parent}" in names for parent in (name, *above(name)))

    assert len(names) == len(entries)
    for entry in entries:
        name = entry.removeprefix(".")
        assert not any(f".{parent}" in names for parent in above(name)), f"Bungled: {entry}"
        assert entry.startswith(".") or f".{name}" not in names, f"Bungled: {entry}"
    return judge


def read_dnsmasq(octets: bytes) -> Judge:
    """dnsmasq(8): the longest domain decides, `*.` before it leaves the domain itself out; `#` is the usual server."""
    servers: dict[str, str] = {}
    for line in lines_of(octets):
        found = re.fullmatch(r"server=/([^/\s]+)/(#?)", line)
        assert found, line
        assert found[1] not in servers, f"{line} contradicts another"
        servers[found[1]] = found[2]

    def judge(name: str) -> bool:
        candidates = [name]
        for parent in above(name):
            candidates += [f"*.{parent}", parent]
        return next((servers[it] == "" for it in candidates if it in servers), False)

    return judge


def read_hosts(octets: bytes) -> Judge:
    places: dict[str, set[str]] = {}
    for line in lines_of(octets):
        address, name = line.split()
        assert ipaddress.ip_address(address).is_unspecified
        places.setdefault(name, set()).add(address)
    return lambda name: places.get(name) == {"0.0.0.0", "::"}


def read_adblock(octets: bytes) -> Judge:
    """Rules of AdGuard's DNS filtering: an exception wins over every rule; a line without marks is that name."""
    rules: dict[str, set[str]] = {"": set(), "@@": set()}
    for line in lines_of(octets, "!"):
        if line.startswith("#"):
            continue
        found = re.fullmatch(r"(@@)?(\|\|?[^|^]+\^|[a-z0-9._-]+)", line)
        assert found, line
        rules[found[1] or ""].add(found[2])

    def matches(rules: set[str], name: str) -> bool:
        return name in rules or f"|{name}^" in rules or any(f"||{it}^" in rules for it in (name, *above(name)))

    return lambda name: matches(rules[""], name) and not matches(rules["@@"], name)


def read_suricata(octets: bytes) -> Judge:
    """Suricata's rules: every content of a rule must hold in the buffer, which `dotprefix` gives a dot in front."""
    conditions: dict[str, list[list[tuple[bool, str, bool]]]] = {"dns": [], "tls": []}
    numbers = set()
    for line in lines_of(octets):
        rule = re.fullmatch(
            r'drop (dns|tls) any any -> any any \(msg:"[^";:]+: [^"]+"; (?:dns\.query|tls\.sni); dotprefix; '
            r"(.*;) sid:(\d+); rev:1;\)",
            line,
        )
        assert rule, line
        assert rule[3] not in numbers, "a number twice"
        assert int(rule[3]) < 2**32
        numbers.add(rule[3])
        contents = re.findall(r'content:(!?)"([^"]+)"; nocase; (startswith; )?endswith;', rule[2])
        assert len(contents) == rule[2].count("content:")
        conditions[rule[1]].append([(not bang, text, bool(start)) for bang, text, start in contents])

    def holds(buffer: str, contents: list[tuple[bool, str, bool]]) -> bool:
        return all(
            (buffer.endswith(text) and (not is_start or buffer == text)) is is_wanted
            for is_wanted, text, is_start in contents
        )

    def judge(name: str) -> bool:
        dns_says, tls_says = (
            any(holds(f".{name}", contents) for contents in conditions[protocol]) for protocol in ("dns", "tls")
        )
        assert dns_says is tls_says
        return dns_says

    return judge


def read_dataset(octets: bytes) -> Judge:
    names = {b64decode(line, validate=True).decode() for line in lines_of(octets)}
    return lambda name: name in names

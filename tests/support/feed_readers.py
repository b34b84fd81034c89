"""Every format of a block list, read as its consumer's documentation says, without our code: bytes in, a judge out."""

import csv
import io
import ipaddress
import json
import re
import tarfile
from base64 import b64decode
from collections.abc import Callable

from policy_zone import Zone

Judge = Callable[[str], bool]  # a name or an address: is it blocked?
Reader = Callable[[bytes], Judge]


def read_zone(octets: bytes) -> Judge:
    zone = Zone(octets.decode())
    return lambda name: zone.judge(name) == "blocked"


def read_star_names(octets: bytes) -> Judge:
    """`name` is itself, `*.name` what lies below it; a slash at the end of a host ends it."""
    names = {line.removesuffix("/") for line in _lines(octets)}

    def judge(name: str) -> bool:
        host = name.partition("/")[0]
        return name in names or host in names or any(f"*.{parent}" in names for parent in _above(host))

    return judge


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


def read_f5(octets: bytes) -> Judge:
    """Address, prefix length, `bl`, category."""
    rows = [line.split(",") for line in _lines(octets)]
    assert all(row[2:] == ["bl", "proxy"] for row in rows)
    return _judge_prefixes([f"{row[0]}/{row[1]}" for row in rows])


def read_single_addresses(octets: bytes) -> Judge:
    assert all(ipaddress.IPv4Address(line) for line in _lines(octets))
    return read_prefixes(octets)


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


def read_exact_names(octets: bytes) -> Judge:
    return set(_lines(octets)).__contains__


def read_hosts(octets: bytes) -> Judge:
    places: dict[str, set[str]] = {}
    for line in _lines(octets):
        address, name = line.split()
        assert ipaddress.ip_address(address).is_unspecified
        places.setdefault(name, set()).add(address)
    return lambda name: places.get(name) == {"0.0.0.0", "::"}


def read_adblock(octets: bytes) -> Judge:
    """Rules of AdGuard's DNS filtering: an exception wins over every rule; a line without marks is that name."""
    rules: dict[str, set[str]] = {"": set(), "@@": set()}
    for line in _lines(octets, "!"):
        if line.startswith("#"):
            continue
        found = re.fullmatch(r"(@@)?(\|\|?[^|^]+\^|[a-z0-9._-]+)", line)
        assert found, line
        rules[found[1] or ""].add(found[2])

    def matches(rules: set[str], name: str) -> bool:
        return name in rules or f"|{name}^" in rules or any(f"||{it}^" in rules for it in (name, *_above(name)))

    return lambda name: matches(rules[""], name) and not matches(rules["@@"], name)


def read_suricata(octets: bytes) -> Judge:
    """Suricata's rules: every content of a rule must hold in the buffer, which `dotprefix` gives a dot in front."""
    conditions: dict[str, list[list[tuple[bool, str, bool]]]] = {"dns": [], "tls": []}
    numbers = set()
    for line in _lines(octets):
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
    names = {b64decode(line, validate=True).decode() for line in _lines(octets)}
    return lambda name: name in names


def read_zeek(octets: bytes) -> Judge:
    """Zeek's input framework: the first line names the fields; SUBNET and ADDR are addresses, DOMAIN is exact."""
    lines = octets.decode("ascii").splitlines()
    fields = lines[0].split("\t")
    assert fields[:3] == ["#fields", "indicator", "indicator_type"]
    rows = [line.split("\t") for line in lines[1:]]
    assert all(len(row) == len(fields) - 1 for row in rows)
    names = {row[0] for row in rows if row[1] == "Intel::DOMAIN"}
    assert all("/" in row[0] for row in rows if row[1] == "Intel::SUBNET")
    is_listed = _judge_prefixes([row[0] for row in rows if row[1] in ("Intel::ADDR", "Intel::SUBNET")])
    return lambda text: text in names if "example" in text else is_listed(text)


def read_ioc(octets: bytes) -> Judge:
    """Check Point's IoC CSV: the second column's meaning is in the third."""
    rows = list(csv.reader(_lines(octets)))
    assert len({row[0] for row in rows}) == len(rows), "names must be unique"
    assert all(row[3:6] == ["high", "high", "AB"] for row in rows)
    values: dict[str, list[str]] = {"Domain": [], "IP": [], "IP Range": [], "URL": []}
    for row in rows:
        values[row[2]].append(row[1])
    ranges = [tuple(map(ipaddress.ip_address, text.split("-"))) for text in values["IP Range"]]
    is_listed = _judge_prefixes(values["IP"])

    def judge(text: str) -> bool:
        if "example" in text:
            host, _, path = text.partition("/")
            return host in values["Domain"] or bool({f"http://{host}/", f"http://{host}/{path}"} & set(values["URL"]))
        address = ipaddress.ip_address(text)
        return is_listed(text) or any(
            first.version == address.version and int(first) <= int(address) <= int(last) for first, last in ranges
        )

    return judge


def read_mikrotik(octets: bytes) -> Judge:
    """RouterOS runs the lines; a list that is renamed has the members of the one before it."""
    lists: dict[tuple[str, str], list[str]] = {}
    for line in _lines(octets):
        found = re.fullmatch(r"/(ip|ipv6) firewall address-list (add|set|remove) (.*)", line)
        assert found, line
        family, command, rest = found.groups()
        if added := re.fullmatch(r"list=(\S+) address=(\S+) comment=\w+", rest):
            assert command == "add"
            assert ipaddress.ip_network(added[2]).version == (4 if family == "ip" else 6)
            lists.setdefault((family, added[1]), []).append(added[2])
        elif command == "remove":
            lists.pop((family, rest.removeprefix("[find list=").removesuffix("]")), None)
        else:
            renamed = re.fullmatch(r"\[find list=(\S+)\] list=(\S+)", rest)
            assert renamed, line
            lists[family, renamed[2]] = lists.pop((family, renamed[1]), [])
    assert set(lists) == {("ip", "molecatcher"), ("ipv6", "molecatcher")}
    return _judge_prefixes([prefix for members in lists.values() for prefix in members])


def read_juniper(octets: bytes) -> Judge:
    with tarfile.open(fileobj=io.BytesIO(octets), mode="r:gz") as archive:
        (member,) = archive.getmembers()
        extracted = archive.extractfile(member)
        assert extracted
        lines = _lines(extracted.read())
    assert all("/" in line for line in lines)
    return _judge_prefixes(lines)


def read_opnsense(octets: bytes) -> Judge:
    """OPNsense divides a table at spaces and marks, and takes every word for an address."""
    return _judge_prefixes([word for word in re.split(r"[\s,;|#]+", octets.decode()) if word])


def read_csv(octets: bytes) -> Judge:
    return _judge_rows(list(csv.DictReader(octets.decode().splitlines())))


def read_csv_urls(octets: bytes) -> Judge:
    return _judge_urls(list(csv.DictReader(octets.decode().splitlines())))


def read_json_urls(octets: bytes) -> Judge:
    return _judge_urls(json.loads(octets)["entries"])


def _judge_urls(rows: list[dict[str, str]]) -> Judge:
    return read_star_names("".join(f"{row['url']}\n" for row in rows).encode() or b"\n")


def read_json(octets: bytes) -> Judge:
    return _judge_rows(json.loads(octets)["entries"])


def read_stix(octets: bytes) -> Judge:
    """STIX 2.1 section 9: a domain name that equals or is LIKE (`%` is any text), an address in a subset."""
    objects = json.loads(octets)["objects"]
    assert len({row["id"] for row in objects}) == len(objects)
    patterns = [row["pattern"] for row in objects if row["type"] == "indicator"]
    text = " ".join(patterns)
    equal = set(re.findall(r"domain-name:value = '([^']+)'", text))
    endings = re.findall(r"domain-name:value LIKE '%([^%']+)'", text)
    prefixes = re.findall(r"ipv[46]-addr:value ISSUBSET '([^']+)'", text)
    urls = re.findall(r"url:value = 'https?://([^']+)'", text)
    single = len(re.findall("domain-name:value =", text))
    assert text.count("value") == single + len(endings) + len(prefixes) + len(urls)
    is_listed = _judge_prefixes(prefixes)

    def judge(it: str) -> bool:
        if "example" not in it:
            return is_listed(it)
        host = it.partition("/")[0]
        return host in equal or host.endswith(tuple(endings)) or it in urls

    return judge


def read_misp(octets: bytes) -> Judge:
    attributes = json.loads(octets)["Event"]["Attribute"]
    assert len({row["uuid"] for row in attributes}) == len(attributes)
    names = {row["value"] for row in attributes if row["type"] in ("domain", "url")}
    is_listed = _judge_prefixes([row["value"] for row in attributes if row["type"] == "ip-dst"])
    return lambda text: bool({text, text.partition("/")[0]} & names) if "example" in text else is_listed(text)


def _judge_rows(rows: list[dict[str, str]]) -> Judge:
    scopes = {row["name"]: row["scope"] for row in rows if "name" in row}
    is_listed = _judge_prefixes([row["prefix"] for row in rows if "prefix" in row])

    def judge(text: str) -> bool:
        if "example" not in text:
            return is_listed(text)
        return text in scopes or any(scopes.get(parent) == "subtree" for parent in _above(text))

    return judge


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
    "unsanctioned-domains.fortigate.txt": read_star_names,
    "unsanctioned-addresses.fortigate.txt": read_prefixes,
    "unsanctioned-domains.cisco.txt": read_star_names,
    "unsanctioned-addresses.cisco.txt": read_prefixes,
    "unsanctioned-domains.check-point.txt": read_star_names,
    "unsanctioned-addresses.check-point.txt": read_prefixes,
    "unsanctioned-domains.check-point.csv": read_ioc,
    "unsanctioned-addresses.check-point.csv": read_ioc,
    "unsanctioned-domains.sophos.txt": read_exact_names,
    "unsanctioned-addresses.sophos.txt": read_single_addresses,
    "unsanctioned-domains.sonicwall.txt": read_exact_names,
    "unsanctioned-addresses.sonicwall.txt": read_prefixes,
    "unsanctioned-addresses.juniper.tgz": read_juniper,
    "unsanctioned-addresses.pf.txt": read_opnsense,
    "unsanctioned-addresses.mikrotik.rsc": read_mikrotik,
    "unsanctioned-addresses.banip.txt": read_prefixes,
    "unsanctioned-domains.hosts": read_hosts,
    "unsanctioned-domains.pi-hole.txt": read_adblock,
    "unsanctioned-domains.adguard.txt": read_adblock,
    "unsanctioned-domains.suricata.rules": read_suricata,
    "unsanctioned-domains.suricata.lst": read_dataset,
    "unsanctioned-domains.zeek.intel": read_zeek,
    "unsanctioned-addresses.zeek.intel": read_zeek,
    "unsanctioned-domains.csv": read_csv,
    "unsanctioned-addresses.csv": read_csv,
    "unsanctioned-domains.json": read_json,
    "unsanctioned-addresses.json": read_json,
    "unsanctioned-domains.stix.json": read_stix,
    "unsanctioned-addresses.stix.json": read_stix,
    "unsanctioned-domains.misp.json": read_misp,
    "unsanctioned-addresses.misp.json": read_misp,
    "unsanctioned-addresses.f5.csv": read_f5,
    "unsanctioned-domains.zscaler.txt": read_squid,
    "unsanctioned-domains.aws-network-firewall.txt": read_squid,
    "unsanctioned-domains.route53.txt": read_star_names,
    "unsanctioned-urls.txt": read_star_names,
    "unsanctioned-urls.pan-os.txt": read_star_names,
    "unsanctioned-urls.fortigate.txt": read_star_names,
    "unsanctioned-urls.cisco.txt": read_star_names,
    "unsanctioned-urls.check-point.csv": read_ioc,
    "unsanctioned-urls.csv": read_csv_urls,
    "unsanctioned-urls.json": read_json_urls,
    "unsanctioned-urls.stix.json": read_stix,
    "unsanctioned-urls.misp.json": read_misp,
}

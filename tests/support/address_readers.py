"""Formats of addresses, read as their consumers' documentation says, without our code: bytes in, a judge out."""

import io
import ipaddress
import re
import tarfile

from list_judges import Judge, judge_prefixes, lines_of


def read_prefixes(octets: bytes) -> Judge:
    return judge_prefixes(lines_of(octets))


def read_single_addresses(octets: bytes) -> Judge:
    assert all(ipaddress.IPv4Address(line) for line in lines_of(octets))
    return read_prefixes(octets)


def read_f5(octets: bytes) -> Judge:
    """Address, prefix length, `bl`, category."""
    rows = [line.split(",") for line in lines_of(octets)]
    assert all(row[2:] == ["bl", "proxy"] for row in rows)
    return judge_prefixes([f"{row[0]}/{row[1]}" for row in rows])


def read_nftables(octets: bytes) -> Judge:
    """nft(8): sets emptied, then filled; every element must be a prefix, or nft would ask the DNS."""
    lines = lines_of(octets)
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
    return judge_prefixes(prefixes)


def read_ipset(octets: bytes) -> Judge:
    """ipset(8): what is swapped in is in force; members of a family in a set of that family."""
    sets: dict[str, list[str]] = {}
    families: dict[str, int] = {}
    for line in lines_of(octets):
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
    return judge_prefixes([prefix for members in sets.values() for prefix in members])


def read_iptables(octets: bytes) -> Judge:
    lines = lines_of(octets)
    assert lines[:2] == ["*filter", ":MOLECATCHER - [0:0]"]
    assert lines[-1] == "COMMIT"
    rules = [re.fullmatch(r"-A MOLECATCHER -d (\S+) -j REJECT", line) for line in lines[2:-1]]
    assert all(rules)
    return judge_prefixes([rule[1] for rule in rules if rule])


def read_mikrotik(octets: bytes) -> Judge:
    """RouterOS runs the lines; a list that is renamed has the members of the one before it."""
    lists: dict[tuple[str, str], list[str]] = {}
    for line in lines_of(octets):
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
    return judge_prefixes([prefix for members in lists.values() for prefix in members])


def read_juniper(octets: bytes) -> Judge:
    with tarfile.open(fileobj=io.BytesIO(octets), mode="r:gz") as archive:
        (member,) = archive.getmembers()
        extracted = archive.extractfile(member)
        assert extracted
        lines = lines_of(extracted.read())
    assert all("/" in line for line in lines)
    return judge_prefixes(lines)


def read_opnsense(octets: bytes) -> Judge:
    """OPNsense divides a table at spaces and marks, and takes every word for an address."""
    return judge_prefixes([word for word in re.split(r"[\s,;|#]+", octets.decode()) if word])

"""Formats of names, addresses and URLs alike, read as their documentation says, without our code."""

import csv
import ipaddress
import json
import re

from list_judges import Judge, above, judge_prefixes, lines_of
from name_readers import read_star_names


def read_zeek(octets: bytes) -> Judge:
    """Zeek's input framework: the first line names the fields; SUBNET and ADDR are addresses, DOMAIN is exact."""
    lines = octets.decode("ascii").splitlines()
    fields = lines[0].split("\t")
    assert fields[:3] == ["#fields", "indicator", "indicator_type"]
    rows = [line.split("\t") for line in lines[1:]]
    assert all(len(row) == len(fields) - 1 for row in rows)
    names = {row[0] for row in rows if row[1] == "Intel::DOMAIN"}
    assert all("/" in row[0] for row in rows if row[1] == "Intel::SUBNET")
    is_listed = judge_prefixes([row[0] for row in rows if row[1] in ("Intel::ADDR", "Intel::SUBNET")])
    return lambda text: text in names if "example" in text else is_listed(text)


def read_ioc(octets: bytes) -> Judge:
    """Check Point's IoC CSV: the second column's meaning is in the third."""
    rows = list(csv.reader(lines_of(octets)))
    assert len({row[0] for row in rows}) == len(rows), "names must be unique"
    assert all(row[3:6] == ["high", "high", "AB"] for row in rows)
    values: dict[str, list[str]] = {"Domain": [], "IP": [], "IP Range": [], "URL": []}
    for row in rows:
        values[row[2]].append(row[1])
    ranges = [tuple(map(ipaddress.ip_address, text.split("-"))) for text in values["IP Range"]]
    is_listed = judge_prefixes(values["IP"])

    def judge(text: str) -> bool:
        if "example" in text:
            host, _, path = text.partition("/")
            return host in values["Domain"] or bool({f"http://{host}/", f"http://{host}/{path}"} & set(values["URL"]))
        address = ipaddress.ip_address(text)
        return is_listed(text) or any(
            first.version == address.version and int(first) <= int(address) <= int(last) for first, last in ranges
        )

    return judge


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
    is_listed = judge_prefixes(prefixes)

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
    is_listed = judge_prefixes([row["value"] for row in attributes if row["type"] == "ip-dst"])
    return lambda text: bool({text, text.partition("/")[0]} & names) if "example" in text else is_listed(text)


def _judge_rows(rows: list[dict[str, str]]) -> Judge:
    scopes = {row["name"]: row["scope"] for row in rows if "name" in row}
    is_listed = judge_prefixes([row["prefix"] for row in rows if "prefix" in row])

    def judge(text: str) -> bool:
        if "example" not in text:
            return is_listed(text)
        return text in scopes or any(scopes.get(parent) == "subtree" for parent in above(text))

    return judge

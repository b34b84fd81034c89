"""What readers of block lists share: lines of a file, and a judge of prefixes."""

import ipaddress
from collections.abc import Callable

Judge = Callable[[str], bool]  # a name or an address: is it blocked?


def lines_of(octets: bytes, comment: str = "#") -> list[str]:
    text = octets.decode("ascii")
    assert text.endswith("\n")
    return [line for line in text.splitlines() if not line.startswith(comment)]


def above(name: str) -> list[str]:
    labels = name.split(".")
    return [".".join(labels[at:]) for at in range(1, len(labels))]


def judge_prefixes(prefixes: list[str]) -> Judge:
    networks = [ipaddress.ip_network(prefix) for prefix in prefixes]

    def judge(text: str) -> bool:
        address = ipaddress.ip_address(text)
        return any(address.version == network.version and address in network for network in networks)

    return judge

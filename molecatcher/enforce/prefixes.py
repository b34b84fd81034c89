"""An address list as text: one prefix a line, `#` begins a comment."""

import ipaddress
from pathlib import Path

from molecatcher.errors import MolecatcherError
from rules.policy.policy import WIDEST

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_OCTETS = 64 * 1024 * 1024


class UnusableList(MolecatcherError):
    """The list cannot be enforced; what is in force stays."""


def read_prefixes(path: Path) -> list[Network]:
    """Return the prefixes of a list, each once, sorted.

    Raises:
        UnusableList: It cannot be read, holds no prefix, something that is none, or one wider than /8 (IPv6 /19).
    """
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_OCTETS + 1)
    except OSError as error:
        raise UnusableList(f"cannot read {path}: {error.strerror}") from None
    if len(octets) > MAX_OCTETS:
        raise UnusableList(f"{path} is larger than {MAX_OCTETS // 2**20} MiB: it is no address list")
    return parse_prefixes(octets.decode("utf-8", "replace"), str(path))


def parse_prefixes(text: str, name: str = "the list") -> list[Network]:
    """Return the prefixes in `text`; see `read_prefixes`."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip()
        if word:
            found.append(_prefix(word, f"{name}, line {number}"))
    if not found:
        raise UnusableList(
            f"{name} holds no prefix: an empty list is not enforced (to stop: molecatcher enforce remove)"
        )
    return sorted(set(found), key=lambda prefix: (prefix.version, prefix))


def _prefix(word: str, where: str) -> Network:
    try:
        prefix = ipaddress.ip_network(word)
    except ValueError:
        raise UnusableList(f"{where}: {word[:60]!r} is no prefix such as 198.51.100.7/32") from None
    if prefix.prefixlen < WIDEST[prefix.version]:
        raise UnusableList(f"{where}: {prefix} is wider than /{WIDEST[prefix.version]}, which no list of ours holds")
    return prefix

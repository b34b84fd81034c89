"""Rules of Suricata for DNS and TLS by content, on any port; and the exact names as a dataset.

An exempted name below a listed one is a condition of the listed one's rule (a negated content), not a rule that passes:
that would pass the rest of its connection as well. Datasets compare case: use `to_lowercase` before `dataset`.
"""

from base64 import b64encode
from collections.abc import Iterator
from zlib import crc32

from api.feeds.formats.base import FeedFormat, Format
from api.feeds.formats.plain import bare_name_lines
from api.feeds.names import exempted_names
from rules.lists.blocklist import ListName, Snapshot
from rules.matching.names import ancestors

BUFFERS = {"dns": "dns.query", "tls": "tls.sni"}
FIRST_SID, SIDS = 3_000_000_000, 1_000_000_000


def rule_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return a rule for each name and protocol; a name keeps its number while others come and go."""
    blocked, allowed = exempted_names(snapshot)
    exempted: dict[str, list[str]] = {}
    for name in allowed:
        for parent in ancestors(name):
            exempted.setdefault(parent, []).append(name)
    used: set[int] = set()
    for name, below in blocked.items():
        condition = _condition(name, below, exempted.get(name, []))
        for protocol, buffer in BUFFERS.items():
            number = _number(f"{protocol} {name}", used)
            yield (
                f'drop {protocol} any any -> any any (msg:"Molecatcher: {name}"; {buffer}; dotprefix; '
                f"{condition} sid:{number}; rev:1;)"
            )


def dataset_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return each name in base64."""
    return (b64encode(name.encode()).decode() for name in bare_name_lines(snapshot))


def _condition(name: str, below: bool, exempted: list[str]) -> str:
    listed = f'content:".{name}"; nocase; {"" if below else "startswith; "}endswith;'
    return " ".join([listed, *(f'content:!".{it}"; nocase; endswith;' for it in exempted if below)])


def _number(text: str, used: set[int]) -> int:
    number = crc32(text.encode()) % SIDS
    while number in used:
        number = (number + 1) % SIDS
    used.add(number)
    return FIRST_SID + number


RULES = Format(
    extension=FeedFormat.SURICATA,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="Suricata, as rules",
    meaning="rules that drop DNS queries for listed names and TLS hellos to them",
    lines=rule_lines,
    has_exemptions=True,
    exempts_subtrees=True,
    is_tested=True,
)
DATASET = Format(
    extension=FeedFormat.SURICATA_DATASET,
    list_name=ListName.UNSANCTIONED_DOMAINS,
    consumer="Suricata, as a dataset of type string",
    meaning="one name a line in base64",
    lines=dataset_lines,
    comment="",
    says_subtrees=False,
    is_tested=True,
)

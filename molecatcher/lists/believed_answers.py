"""Which DNS answers are believed, and whether they are enough for a list.

A resolver that answers NXDOMAIN or a sinkhole for the listed names, perhaps because it has our own list, is not
believed.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import structlog

from db.lists.values import Resolution
from rules.lists.blocklist import OWN_NETWORKS

log = structlog.get_logger()

ENOUGH_ANSWERED = 0.9
LOST_AT_ONCE = 0.5  # more than this share of the names that had addresses, and
FEWEST_LOST = 5  # no fewer than this many: the resolver began to block them, perhaps by our own list


def believable(known: Mapping[str, Resolution], answers: Sequence[Resolution]) -> list[Resolution]:
    """Return the answers; where too many names lost their addresses at once, the losses as failures."""
    had = {name for name, answer in known.items() if has_addresses(answer)}
    lost = {answer.name for answer in answers if answer.name in had and answer.ok and not has_addresses(answer)}
    if len(lost) < FEWEST_LOST or len(lost) <= LOST_AT_ONCE * len(had):
        return list(answers)
    log.warning("answers_not_believed", lost=len(lost), had=len(had), example=min(lost))
    return [msgspec.structs.replace(answer, ok=False) if answer.name in lost else answer for answer in answers]


def has_addresses(answer: Resolution) -> bool:
    """Tell whether a name has an address; that of a sinkhole is none."""
    addresses = map(ipaddress.ip_address, answer.addresses)
    return any(not any(address in network for network in OWN_NETWORKS) for address in addresses)


def unresolved(known: Mapping[str, Resolution], sanctioned: Iterable[str]) -> str:
    """Return why sanctioned addresses cannot be told from others, an empty text if they can."""
    missing = [name for name in sanctioned if name not in known or not known[name].resolved_at_ns]
    return f"the sanctioned name {missing[0]} has not been resolved yet" if missing else ""


def too_few(known: Mapping[str, Resolution], names: Iterable[str]) -> str:
    """Return why the answers do not make a list, an empty text if they do."""
    wanted = list(names)
    answers = [known[name] for name in wanted if name in known and known[name].resolved_at_ns]
    if len(answers) < ENOUGH_ANSWERED * len(wanted):
        return (
            f"only {len(answers)} of {len(wanted)} listed names have been resolved: does this host have a DNS server?"
        )
    if wanted and not any(map(has_addresses, answers)):
        return f"none of {len(wanted)} listed names has an address: does the DNS server of this host block them?"
    return ""

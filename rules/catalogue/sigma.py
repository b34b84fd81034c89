"""What the catalogue knows as Sigma rules, for logs that we do not see: DNS queries, web proxies and TLS (Zeek).

One rule a service and log source. Sanctioned names and the service's exceptions are filtered out. Texts are written as
JSON strings, which are YAML.
"""

import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping

from rules.catalogue.catalogue import Catalogue
from rules.catalogue.service import Service, Trust
from rules.matching.matcher import EXACT_MARK, is_pattern

_NAMESPACE = uuid.UUID("0192f0c1-6d0e-7c55-9a54-9d6d5f1c2ab8")
_SOURCES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "dns": ("query", {"category": "dns"}),
    "proxy": ("cs-host", {"category": "proxy"}),
    "tls": ("server_name", {"product": "zeek", "service": "ssl"}),
}
_LEVELS = {Trust.HIGH: "high", Trust.MEDIUM: "medium", Trust.LOW: "low"}
TAGS = ("attack.command-and-control", "attack.t1572")


def sigma_rules(catalogue: Catalogue, sanctioned: Iterable[str]) -> Iterator[str]:
    """Yield a Sigma rule, a YAML document, for each service that has agents' names and each kind of log.

    `sanctioned` are the names that the policy sanctions.
    """
    spared = list(sanctioned)
    for service in catalogue.services.values():
        if service.agent_domains or service.agent_patterns:
            yield from (_rule(service, source, spared) for source in _SOURCES)


def _rule(service: Service, source: str, spared: Iterable[str]) -> str:
    field, log_source = _SOURCES[source]
    wanted = list(_detections("selection", field, (*service.agent_domains, *service.agent_patterns)))
    unwanted = list(_detections("filter", field, (*service.exclude_domains, *spared)))
    condition = "1 of selection_*" + (" and not 1 of filter_*" if unwanted else "")
    head = {
        "title": f"Tunnel agent of {service.short_name} ({source})"[:256],
        "id": str(uuid.uuid5(_NAMESPACE, f"{service.id} {source}")),
        "status": "test",
        "description": f"A name that agents of {service.short_name} connect to. Not sanctioned by the policy.",
        "references": [service.homepage],
        "author": "Molecatcher",
        "tags": list(TAGS),
        "logsource": dict(log_source),
        "detection": {**dict(wanted + unwanted), "condition": condition},
        "falsepositives": ["Somebody who may use the service, and is not in the policy yet"],
        "level": _LEVELS[service.confidence],
    }
    return "\n".join(_yaml(head)) + "\n"


def _detections(prefix: str, field: str, entries: Iterable[str]) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Yield what the entries match, by how they match: alone, with all below, or as a pattern of labels."""
    known = tuple(dict.fromkeys(entries))
    patterns = [entry for entry in known if is_pattern(entry)]
    names = [entry for entry in known if entry not in patterns]
    subtrees = [entry for entry in names if not entry.startswith(EXACT_MARK)]
    if names:
        yield f"{prefix}_name", {field: [entry.removeprefix(EXACT_MARK) for entry in names]}
    if subtrees:
        yield f"{prefix}_below", {f"{field}|endswith": [f".{entry}" for entry in subtrees]}
    if patterns:
        yield f"{prefix}_pattern", {f"{field}|re": list(map(_expression, patterns))}


def _expression(pattern: str) -> str:
    """Return a glob over labels as a regular expression: a wildcard never crosses a dot."""
    return "^" + re.escape(pattern).replace(r"\*", "[^.]*").replace(r"\?", "[^.]") + "$"


def _yaml(value: Mapping[str, object], indent: str = "") -> Iterator[str]:
    for key, member in value.items():
        if isinstance(member, Mapping):
            yield f"{indent}{key}:"
            yield from _yaml(member, f"{indent}  ")
        elif isinstance(member, list):
            yield f"{indent}{key}:"
            yield from (f"{indent}  - {json.dumps(text)}" for text in member)
        else:
            yield f"{indent}{key}: {json.dumps(member)}"

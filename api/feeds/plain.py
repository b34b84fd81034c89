"""Names, one a line, for firewalls that take text (PAN-OS, FortiGate, Cisco, Check Point; FEEDS: one entry's scope).

An exact name is the line `name`; a name with everything below it is the two lines `name` and `*.name`. The format has
no exemptions, and needs none: `blocked` covers no protected name.
"""

from api.feeds.names import checked
from rules.blocklist import NameList, Scope

EXPLANATION = "one name a line; *.name stands for every name below it"


def render_names(body: NameList) -> list[str]:
    """Return the lines, sorted by name, each once."""
    lines: dict[str, None] = {}
    for entry in sorted(body.blocked):
        name = checked(entry.name)
        lines[name] = None
        if entry.scope is Scope.SUBTREE:
            lines[f"*.{name}"] = None
    return list(lines)

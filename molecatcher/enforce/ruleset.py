"""A plan as nftables text: one transaction that makes or renews our table and nobody else's (nft(8)).

Counters go on over renewals. Only what this host or its clients begin is refused: answers to connections from outside
pass, so that nobody can be locked out through them. Live connections are reset unless they are to be spared.
"""

from collections.abc import Sequence

from molecatcher.enforce.prefixes import Network

TABLE = "molecatcher_enforce"
LOG_PREFIX = "molecatcher blocked: "
LOG_RATE = "10/second burst 20 packets"
HOOKS = ("output", "forward")
FAMILIES = ((4, "ipv4_addr", "ip"), (6, "ipv6_addr", "ip6"))


def make_ruleset(refused: Sequence[Network], *, spare_live: bool = False, log: bool = True) -> str:
    """Return the text for `nft -f` that refuses `refused` from now on. Costs O(refused)."""
    return "\n".join((*_table(), *_sets(refused), *_refuse(log=log), *_hooks(spare_live=spare_live), ""))


def make_removal() -> str:
    """Return the text that takes our table away, whether it is there or not."""
    return f"add table inet {TABLE}\ndelete table inet {TABLE}\n"


def _table() -> list[str]:
    counters = [f"add counter inet {TABLE} refused{version}" for version, _, _ in FAMILIES]
    chains = [f"add chain inet {TABLE} {hook} {{ type filter hook {hook} priority filter; }}" for hook in HOOKS]
    return [f"add table inet {TABLE}", *counters, f"add chain inet {TABLE} refuse", *chains]


def _sets(refused: Sequence[Network]) -> list[str]:
    lines = []
    for version, kind, _ in FAMILIES:
        lines.append(f"add set inet {TABLE} listed{version} {{ type {kind}; flags interval; auto-merge; }}")
        lines.append(f"flush set inet {TABLE} listed{version}")
        elements = ", ".join(str(prefix) for prefix in refused if prefix.version == version)
        if elements:  # `{ }` is a syntax error
            lines.append(f"add element inet {TABLE} listed{version} {{ {elements} }}")
    return lines


def _refuse(*, log: bool) -> list[str]:
    rules = [f'limit rate {LOG_RATE} log prefix "{LOG_PREFIX}"'] if log else []
    rules += ["meta l4proto tcp reject with tcp reset", "reject with icmpx admin-prohibited"]
    return [f"flush chain inet {TABLE} refuse", *(f"add rule inet {TABLE} refuse {rule}" for rule in rules)]


def _hooks(*, spare_live: bool) -> list[str]:
    """Return the rules of both hooks; TCP is spared by its flags, connections from before our table are not tracked."""
    lines = []
    for hook in HOOKS:
        lines.append(f"flush chain inet {TABLE} {hook}")
        rules = ["ct direction reply accept"]
        if spare_live:
            rules += ["tcp flags & (syn | ack) != syn accept", "ct state established,related accept"]
        rules += [
            f"{family} daddr @listed{version} counter name refused{version} goto refuse"
            for version, _, family in FAMILIES
        ]
        lines += [f"add rule inet {TABLE} {hook} {rule}" for rule in rules]
    return lines

"""A week of events for a page that is looked at: recorded ones, at other times and from made-up hosts."""

import math
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from db.store import Store
from db.values import EventFilter, FindingChange, FindingFilter, FindingState
from rules.values.event import Event, uuid7
from rules.values.observation import FlowState
from rules.values.verdict import Outcome, Role

COUNT = 1500
HOSTS = 46
WEEK_S = 7 * 86_400
NS_PER_S = 1_000_000_000
SANCTIONED_SHARE = 0.72
DEALT_WITH_SHARE = 0.8
PEOPLE = ("alice", "bob", "carol", "dave", "erin", "frank", "svc-ci")
PROCESSES = {"cloudflared": "cloudflared", "localtunnel": "node", "bore": "bore", "frp": "frpc", "chisel": "chisel"}
STATES = {FlowState.LIVE: 25, FlowState.BLOCKED: 60, FlowState.ATTEMPTED: 15}


def add_past_week(store: Store, now_ns: int) -> None:
    """Store a week made of the events that are there, and resolve most of its findings."""
    recorded = store.events(EventFilter(), 1000)
    made = sorted(past_week(recorded, now_ns), key=lambda event: event.observed_at_ns)
    for at in range(0, len(made), 500):
        store.append(made[at : at + 500])
    chance = random.Random(2)
    for finding in store.findings(FindingFilter(), 1000):
        if chance.random() < DEALT_WITH_SHARE:
            store.change_finding(finding.finding_id, FindingChange(state=FindingState.RESOLVED), "alice", now_ns)


def past_week(recorded: Sequence[Event], now_ns: int) -> Iterator[Event]:
    """Yield the events of a week: by day more than at night, most of them sanctioned, most others blocked."""
    chance = random.Random(1)
    good = [event for event in recorded if event.verdict is Outcome.SANCTIONED]
    bad = [event for event in recorded if event.verdict is not Outcome.SANCTIONED and event.role is not Role.AUXILIARY]
    for _ in range(COUNT):
        is_good = chance.random() < SANCTIONED_SHARE
        event = chance.choice(good if is_good else bad)
        state = event.state if is_good else chance.choices(list(STATES), list(STATES.values()))[0]
        last_ns = now_ns - _ago_ns(now_ns, chance)
        yield replace(event, state=state, **_of_somebody(event, chance), **_at(last_ns, chance))


def _ago_ns(now_ns: int, chance: random.Random) -> int:
    while True:
        ago_s = chance.random() * WEEK_S
        at = time.gmtime(now_ns / NS_PER_S - ago_s)
        by_day = 0.12 + 0.88 * math.exp(-(((at.tm_hour - 13) / 4.2) ** 2))
        if chance.random() < by_day:
            return int(ago_s * NS_PER_S)


def _at(last_ns: int, chance: random.Random) -> dict[str, Any]:
    first_ns = last_ns - int(chance.expovariate(1 / 2400) * NS_PER_S)
    return {
        "event_id": uuid7(last_ns, chance.getrandbits(74)),
        "revision": 1,
        "observed_at_ns": last_ns,
        "first_seen_ns": first_ns,
        "last_seen_ns": last_ns,
        "duration_ms": (last_ns - first_ns) // 1_000_000,
        "count": 1 + int(chance.expovariate(1 / 3)),
        "bytes_out": int(chance.expovariate(1 / 9e5)),
        "bytes_in": int(chance.expovariate(1 / 4e5)),
    }


def _of_somebody(event: Event, chance: random.Random) -> dict[str, Any]:
    number = int(HOSTS * chance.random() ** 1.8)
    return {
        "src_ip": f"10.20.{number // 20}.{10 + number % 20}",
        "src_host": f"laptop-{number:03}.corp.example",
        "src_user": PEOPLE[number % len(PEOPLE)],
        "src_process": PROCESSES.get(event.service or "", "python3"),
        "sensor_id": "gateway-1",
    }

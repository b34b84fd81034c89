"""Measures the store on a real file: events appended a second, latency of pages, counts and a finding's recount.

    python bench/store.py [--events 200000] [--batch 1000] [--directory DIR]

The directory should be on the disk that is to be judged: each batch ends in an fsync.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from db.store import Store, open_store
from db.values import EventCursor, EventFilter, FindingFilter
from rules.values.event import Event, EventReason, uuid7
from rules.values.observation import FlowState, Kind, Transport
from rules.values.verdict import Outcome, Role, Severity

T0_NS = 1_790_000_000_000_000_000
SECOND_NS = 1_000_000_000
SERVICES = ["ngrok", "frp", "cloudflared", "chisel", "devtunnels", "tailscale"]
BUSY_SOURCE = "10.0.0.1"  # many hosts behind address translation
BUSY_SHARE = 0.1


def make_events(count: int, apart_ns: int = SECOND_NS) -> list[Event]:
    """Return events `apart_ns` after each other from some 5,000 sources, the same ones for the same count."""
    chance = random.Random(count)
    return [make_event(chance, T0_NS + number * apart_ns) for number in range(count)]


def make_event(chance: random.Random, at_ns: int) -> Event:
    """Return one event as an aggregating sensor reports it."""
    busy = chance.random() < BUSY_SHARE
    name = f"{chance.randrange(2000)}.tunnel.example"
    return Event(
        event_id=uuid7(at_ns),
        observed_at_ns=at_ns,
        kind=Kind.TLS,
        verdict=chance.choice([Outcome.SANCTIONED, Outcome.UNSANCTIONED, Outcome.UNSANCTIONED, Outcome.SUSPICIOUS]),
        state=chance.choice(list(FlowState)),
        service="ngrok" if busy else chance.choice(SERVICES),
        service_category="reverse-tunnel",
        role=Role.AGENT,
        severity=Severity.HIGH,
        confidence=90,
        reasons=(EventReason("tls_sni", name, "an agent domain"), EventReason("alpn", "h2", "offered by the agent")),
        sensor_id="gateway-1",
        src_ip=BUSY_SOURCE if busy else f"10.{chance.randrange(20)}.{chance.randrange(250)}.7",
        src_port=chance.randrange(1024, 65536),
        dst_ip=f"198.51.100.{chance.randrange(256)}",
        dst_port=443,
        dst_name=name,
        transport=Transport.TCP,
        interface="eth1",
        tls_sni=name,
        alpn=("h2", "http/1.1"),
        ja4="t13d1516h2_8daaf6152771_b186095e22b6",
        count=chance.randrange(1, 50),
        first_seen_ns=at_ns,
        last_seen_ns=at_ns,
    )


def milliseconds(question: Callable[[], object], times: int = 30) -> str:
    """Return median and slowest latency of asking `times` times."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        question()
        taken.append((time.perf_counter() - began) * 1000)
    return f"{statistics.median(taken):8.1f} ms median {max(taken):8.1f} ms slowest"


def append_all(store: Store, events: list[Event], batch: int) -> str:
    """Return the rate of appending `events`."""
    began = time.perf_counter()
    for start in range(0, len(events), batch):
        store.append(events[start : start + batch])
    taken = time.perf_counter() - began
    return f"{len(events) / taken:8.0f} events/s ({taken:.1f} s)"


def cpu_of(store: Store, batch: int, batches: int = 20) -> str:
    """Return the CPU that transactions of `batch` new events with 1,400 octets of packets take, the least of them."""
    events = [msgspec.structs.replace(each, evidence=bytes(1400)) for each in make_events(batch * batches)]
    taken = []
    for start in range(0, len(events), batch):
        began = time.thread_time()
        store.append(events[start : start + batch])
        taken.append(time.thread_time() - began)
    least = min(taken)
    return f"{least * 1000:8.2f} ms of CPU, {least * 1e6 / batch:.0f} us an event"


def report(store: Store, path: Path, events: list[Event], batch: int) -> None:
    """Print the table."""
    total = len(events)
    print(f"append, batches of {batch:<5}         {append_all(store, events, batch)}")
    print(f"file                             {path.stat().st_size / total:8.0f} octets an event")
    recent = events[-min(total, 10_000) :]
    print(f"the last {len(recent)} again (ignored)   {append_all(store, recent, batch)}")
    raised = [msgspec.structs.replace(each, revision=2, count=each.count + 1) for each in recent]
    print(f"the last {len(recent)} at revision 2     {append_all(store, raised, batch)}")
    for size in (1, 10, 50, 500):
        print(f"a transaction of {size:<15} {cpu_of(store, size)}")
    middle = EventCursor.of(events[total // 2])
    end_ns = T0_NS + total * SECOND_NS
    day_ns = end_ns - 86_400 * SECOND_NS
    questions: dict[str, Callable[[], object]] = {
        "first page of 100": lambda: store.events(EventFilter(), 100),
        "page of 100 in the middle": lambda: store.events(EventFilter(), 100, middle),
        "by source": lambda: store.events(EventFilter(src=BUSY_SOURCE), 100, middle),
        "by service and verdict": lambda: store.events(
            EventFilter(service="frp", verdict=Outcome.SUSPICIOUS), 100, middle
        ),
        "substring found nowhere, a day": lambda: store.events(EventFilter(from_ns=day_ns, q="nowhere"), 100),
        "page of 5000 (export)": lambda: store.events(EventFilter(), 5000, middle),
        "100 findings": lambda: store.findings(FindingFilter(), 100),
        "counts by service, a day": lambda: store.service_counts(day_ns, end_ns),
        "counts by service, all": lambda: store.service_counts(0, end_ns),
    }
    for name, question in questions.items():
        print(f"{name:<32} {milliseconds(question, 10)}")
    own = [each for each in raised if each.src_ip == BUSY_SOURCE and each.verdict is Outcome.UNSANCTIONED]
    lowered = msgspec.structs.replace(own[-1], revision=3, confidence=10)
    count = store.findings(FindingFilter(src=BUSY_SOURCE), 1)[0].events
    print(f"recount of a finding of {count:<8} {milliseconds(lambda: store.append([lowered]), 1)}")


def main() -> None:
    """Run with the options on the command line."""
    parser = argparse.ArgumentParser(description="Measure the store.")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        path = Path(folder) / "molecatcher.db"
        with open_store(path) as store:
            report(store, path, make_events(options.events), options.batch)


if __name__ == "__main__":
    main()

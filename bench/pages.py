"""Measures every page, and every filter of the API's lists and counts, on a large store through the real server.

    PYTHONPATH=tests/support python bench/pages.py [--events 1000000] [--days 11.6] [--directory DIR]

The rows are multiplied in SQL from some that were appended as a sensor's are, so a million takes a minute. Latencies
are medians of processor time (server and client, which share the process) and of elapsed time; on a busy machine only
the first can be compared. Every answer is asked for as if at the moment of the newest event.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from built_lists import build_lists
from installation import Installation
from msgspec.structs import replace
from servers import running
from sqlalchemy import text
from store import BUSY_SOURCE, SECOND_NS, T0_NS, make_events

from api.app import create_app
from api.serving.server import ApiServer, bind, parse_listen
from db.sql.engine import writing
from db.store import Store, open_store
from rules.values.event import Event, rfc3339

SEED = 20_000
TIMES = 15
LIMIT_MS = 100
HOUR_NS = 3600 * SECOND_NS
MULTIPLY = """
INSERT INTO events ({columns})
SELECT {values} FROM events AS e, (
    WITH RECURSIVE copies(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copies WHERE n < :copies) SELECT n FROM copies
) AS c
"""
CHANGED = {
    "event_id": "substr(e.event_id, 1, 24) || printf('%012x', e.ingest_seq + c.n * :seed)",
    "ingest_seq": "e.ingest_seq + c.n * :seed",
    "observed_at_ns": "e.observed_at_ns - c.n * :seed * :apart_ns",
}
INDEXES = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'events' AND sql IS NOT NULL"
SUM = """
INSERT INTO rollups (hour_ns, facet_id, events, sightings, octets)
SELECT observed_at_ns - observed_at_ns % 3600000000000, facet_id, COUNT(*), SUM(count), SUM(bytes_out + bytes_in)
FROM events GROUP BY 1, 2
"""
USERS = """
INSERT INTO sources (service, src_ip, observed_at_ns, last_seen_ns)
SELECT COALESCE(service, ''), src_ip, MAX(observed_at_ns), MAX(last_seen_ns) FROM events GROUP BY 1, 2
"""
DAYS = """
INSERT INTO daily_sums (dimension, day_ns, value, events, sightings, octets)
SELECT dimension, observed_at_ns - observed_at_ns % 86400000000000,
       CASE dimension WHEN 'src' THEN src_ip ELSE dst_name END, COUNT(*), SUM(count), SUM(bytes_out + bytes_in)
FROM events, (SELECT 'src' AS dimension UNION SELECT 'dst') GROUP BY 1, 2, 3
"""
SUMMED = {"rollups": SUM, "sources": USERS, "daily_sums": DAYS}
EVENTS = {
    "no filter": "",
    "service": "service=frp",
    "verdict": "verdict=suspicious",
    "state": "state=blocked",
    "severity, found nowhere": "severity=low",
    "sensor, found nowhere": "sensor=nowhere",
    "service, verdict, state": "service=chisel&verdict=sanctioned&state=attempted",
    "source": f"src={BUSY_SOURCE}",
    "source and verdict": f"src={BUSY_SOURCE}&verdict=suspicious",
    "source and service, found nowhere": f"src={BUSY_SOURCE}&service=frp",
    "source, found nowhere": "src=192.0.2.1",
    "name and service": "dst=7.tunnel.example&service=frp",
    "name": "dst=7.tunnel.example",
    "address": "dst=198.51.100.7",
    "network, whole octets": "src=10.0.0.0/8",
    "network, other": "src=10.3.0.0/20",
    "network, few hosts": "src=10.3.4.0/24",
    "network, nowhere": "src=192.0.2.0/24",
    "network and service, found nowhere": "src=10.0.0.0/8&service=frp&severity=low",
    "network and part of a name, nowhere": "src=10.0.0.0/8&q=nowhere",
    "source and part of a name, nowhere": f"src={BUSY_SOURCE}&q=nowhere",
    "network of destinations": "dst=198.51.100.0/26",
    "networks of both": "src=10.3.0.0/16&dst=198.51.100.0/29",
    "part of a name": "q=77.tunnel",
    "part of a name, nowhere": "q=nowhere",
}
FINDINGS = {
    "no filter": "",
    "state": "state=open",
    "state and service": "state=open&service=frp",
    "state, found nowhere": "state=resolved",
    "got through": "tunnel_state=live",
    "severity, found nowhere": "severity=low",
    "verdict and role, found nowhere": "verdict=suspicious&role=visitor",
    "nobody's": "assignee=",
    "source": f"src={BUSY_SOURCE}",
    "network": "src=10.3.0.0/20",
    "network, nowhere": "src=192.0.2.0/24",
    "part of a name, nowhere": "q=nowhere",
}
COUNTS = {
    "all": "",
    "by service": "by=service",
    "by hour and verdict": "by=verdict&interval=1h",
    "by five minutes": "interval=5m",
    "octets by sensor": "by=sensor&metric=bytes",
    "by source": "by=src",
    "by name": "by=dst",
    "sources by service": "by=service&metric=sources",
    "one service by source": "service=frp&by=src",
    "one source by name": f"src={BUSY_SOURCE}&by=dst",
}

WHO = {"owner": "soc@example.com", "reason": "measured"}
PREVIEWS: dict[str, dict[str, object]] = {
    "an entry blocked": {"blocked": [{"entry": "tunnel.colleague.example", **WHO}]},
    "a service ignored": {"decisions": {"frp": "ignore"}},
    "an ingress sanctioned": {"sanctioned": [{"domain": "7.tunnel.example", "service": "ngrok", **WHO}]},
    "a network excepted": {"exceptions": [{"service": "frp", "sources": ["10.0.0.0/8"], **WHO}]},
}


def moved(event: Event, later_ns: int) -> Event:
    """Return an event as if it came `later_ns` later."""
    times = ("observed_at_ns", "first_seen_ns", "last_seen_ns")
    return replace(event, **{name: getattr(event, name) + later_ns for name in times})


def fill(store: Store, total: int, apart_ns: int) -> None:
    """Append `SEED` events, and multiply them to `total`, all before them: what findings saw last stays the newest."""
    later_ns = (total - SEED) * apart_ns
    events = [moved(event, later_ns) for event in make_events(SEED, apart_ns)]
    began, cpu = time.perf_counter(), time.process_time()
    for start in range(0, SEED, 1000):
        store.append(events[start : start + 1000])
    spent = time.process_time() - cpu
    print(
        f"append {SEED}: {spent / SEED * 1e6:.0f} us of processor an event, {time.perf_counter() - began:.1f} s elapsed"
    )
    with writing(store._engine) as connection:  # noqa: SLF001 - the store has no way to multiply rows
        columns = [row[1] for row in connection.execute(text("PRAGMA table_info(events)"))]
        values = [CHANGED.get(column, f"e.{column}") for column in columns]
        indexes = connection.execute(text(INDEXES)).all()
        for name, _ in indexes:
            connection.execute(text(f"DROP INDEX {name}"))
        statement = MULTIPLY.format(columns=", ".join(columns), values=", ".join(values))
        connection.execute(text(statement), {"copies": total // SEED - 1, "seed": SEED, "apart_ns": apart_ns})
        for _, created in indexes:
            connection.execute(text(created))
        for table, statement in SUMMED.items():
            connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608 - a table of ours
            connection.execute(text(statement))


@contextmanager
def serving(store: Store, path: Path, now_ns: int) -> Iterator[httpx.Client]:
    """Yield a client of a real server that answers from `store`, at the moment `now_ns`."""
    installation = Installation(store, path, now_ns=now_ns)
    installation.publish_both()
    installation.beat()
    build_lists(installation, path.parent / "lists")
    with (
        running(ApiServer(create_app(installation.context()), bind(parse_listen("127.0.0.1:0")))) as server,
        httpx.Client(base_url=f"http://{server.address}", trust_env=False, timeout=120) as client,
    ):
        yield client


def addresses(client: httpx.Client, end_ns: int, total_ns: int) -> Iterator[tuple[str, str]]:
    """Yield what is asked for, with the name of its row."""
    finding = client.get("/v1/findings", params={"limit": 1}).json()["items"][0]
    everything = f"from={rfc3339(T0_NS)}"
    middle = f"to={rfc3339(end_ns - total_ns // 2)}"
    pages = ("/", "/fragments/live", "/services", "/lists", "/sensors", "/policy", "/tokens", "/audit")
    yield from ((path, path) for path in pages)
    yield "a finding", f"/findings/{finding['finding_id']}"
    yield "an event", f"/events/{finding['event_id']}"
    yield from (
        (f"{path} {query}".strip(), f"{path}?{query}")
        for path in ("/events", "/findings")
        for query in ("", "q=nowhere")
    )
    for name, query in EVENTS.items():
        yield f"events: {name}", f"/v1/events?{query}&{everything}"
        yield f"events: {name}, half way", f"/v1/events?{query}&{middle}"
    yield from ((f"findings: {name}", f"/v1/findings?{query}") for name, query in FINDINGS.items())
    for name, query in COUNTS.items():
        yield f"counted, a day: {name}", f"/v1/events/aggregate?{query}"
        if "5m" not in query:
            yield f"counted, everything: {name}", f"/v1/events/aggregate?{query}&{everything}"
    yield "services, a day", "/v1/services"
    yield "services, everything", f"/v1/services?{everything}"
    yield from ((path, path) for path in ("/v1/sensors", "/v1/lists", "/metrics"))


def medians_of(client: httpx.Client, address: str, body: dict[str, object] | None = None) -> tuple[float, float]:
    """Return the median processor and elapsed milliseconds of asking, or of sending `body`."""
    cpu, elapsed = [], []
    for _ in range(TIMES):
        began, began_cpu = time.perf_counter(), time.process_time()
        answer = client.get(address) if body is None else client.post(address, json=body)
        cpu.append((time.process_time() - began_cpu) * 1000)
        elapsed.append((time.perf_counter() - began) * 1000)
        if answer.status_code != httpx.codes.OK:
            raise SystemExit(f"{address}: {answer.status_code} {answer.text}")
        if elapsed[-1] > LIMIT_MS * 10:
            break
    return statistics.median(cpu), statistics.median(elapsed)


def report(client: httpx.Client, end_ns: int, total_ns: int) -> None:
    """Print the table."""
    print("| asked for | ms of processor | ms elapsed | under 100 ms |\n|---|--:|--:|---|")
    asked = [(name, address, None) for name, address in addresses(client, end_ns, total_ns)]
    sent = [(f"preview: {name}", "/v1/policy/preview", body) for name, body in PREVIEWS.items()]
    for name, address, body in (*asked, *sent):
        cpu, elapsed = medians_of(client, address, body)
        print(f"| {name} | {cpu:.1f} | {elapsed:.1f} | {'yes' if elapsed < LIMIT_MS else 'NO'} |", flush=True)


def main() -> None:
    """Run with the options on the command line."""
    parser = argparse.ArgumentParser(description="Measure pages of a large store.")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--days", type=float, default=30.0, help="that they spread over")
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    total_ns = int(options.days * 24 * HOUR_NS)
    end_ns = T0_NS + total_ns
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        path = Path(folder) / "pages.db"
        with open_store(path) as store:
            fill(store, options.events, total_ns // options.events)
            with serving(store, path, end_ns) as client:
                report(client, end_ns, total_ns)


if __name__ == "__main__":
    main()

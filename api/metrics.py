"""Prometheus metrics: what the sensors reported, what the lists hold, how requests went. Labels are few and bounded."""

from collections import Counter as Counts
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.context import ApiContext
from api.feeds import count_entries
from api.feeds.pull_log import ConsumerStates
from api.times import NS_PER_S
from rules.lists.blocklist import ListName
from rules.values.sensor_status import SensorState, SensorStatus

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
MS_PER_S = 1000
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One field of a sensor's status as a metric, divided by `unit`; a `label` tells the entries of a mapping apart."""

    field: str
    name: str
    help: str
    unit: int = 1
    label: str = ""


COUNTERS = (
    _Reading("packets", "packets", "Packets that the sensor took"),
    _Reading("octets", "octets", "Octets of those packets on the wire"),
    _Reading("kernel_drops", "kernel_drops", "Packets that the kernel had no room for"),
    _Reading("interface_drops", "interface_drops", "The same by interface, since each was opened", label="interface"),
    _Reading("shed", "shed", "Packets that the program gave up"),
    _Reading("flows", "flows", "Flows that were begun"),
    _Reading("flow_map_opened", "flow_map_opened", "Flows that the filter began to follow"),
    _Reading("evicted", "evicted", "Entries that left a full table", label="table"),
    _Reading("malformed", "malformed", "Packets that could not be decoded"),
    _Reading("faults", "faults", "Packets and names that an error of the program kept it from judging"),
    _Reading("copies", "copies", "Packets that another interface had shown already"),
    _Reading("observations", "observations", "DNS transactions and flows observed"),
    _Reading("unknown", "unknown", "Observations that no rule speaks of"),
    _Reading("events", "events", "Events reported"),
    _Reading("spool_overflow", "spool_overflow", "Events lost because the spool was full"),
)
GAUGES = (
    _Reading("buffer_fill", "buffer_fill_ratio", "Share of the fullest ring or receive queue that waits to be read"),
    _Reading("buffer_fill_peak", "buffer_fill_peak_ratio", "The highest share since the heartbeat before"),
    _Reading("lag_ms", "lag_seconds", "Age of the newest packet when handled, the highest since a heartbeat", MS_PER_S),
    _Reading("flow_table_flows", "flow_table_flows", "Flows in the table now"),
    _Reading("flow_table_size", "flow_table_size", "Flows that the table can hold"),
    _Reading("flow_map_size", "flow_map_size", "Flows that the filter can follow"),
    _Reading("flow_map_turnover", "flow_map_turnover_ratio", "Share of them begun since the heartbeat before"),
    _Reading("workers", "workers", "Processes that share the sensor's work"),
    _Reading("spool_events", "spool_events", "Events that wait on disk for the database"),
    _Reading("spool_octets", "spool_octets", "The same in octets"),
    _Reading("pending_events", "pending_events", "Events that wait in memory for the disk"),
    _Reading("delivery_lag_ms", "delivery_lag_seconds", "How long the oldest event has waited", MS_PER_S),
)


OUTPUT_COUNTERS = {
    "delivered": "Events that an output delivered",
    "failures": "Deliveries that failed, each try",
    "dead": "Events that became dead letters",
}


class RequestMetrics:
    """Counts and latencies of requests by method, route template and status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("method", "route", "status")
        self._requests = Counter("molecatcher_http_requests", "Requests answered", labels, registry=registry)
        self._seconds = Histogram(
            "molecatcher_http_request_seconds", "Time to answer", ("route",), buckets=BUCKETS_S, registry=registry
        )

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request; a method that nobody uses is `other`, since clients choose it."""
        self._requests.labels(method if method in METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)


class StateCollector(Collector):
    """Reads sensors, lists, their consumers and policy when it is asked."""

    def __init__(self, context: ApiContext, consumers: ConsumerStates) -> None:
        self._context = context
        self._consumers = consumers

    def collect(self) -> Iterator[Metric]:
        """Return the current values."""
        sensors = self._context.store.sensors()
        yield from (_family(CounterMetricFamily, reading, sensors) for reading in COUNTERS)
        yield from (_family(GaugeMetricFamily, reading, sensors) for reading in GAUGES)
        yield self._heartbeat_age(sensors)
        yield _engine(sensors)
        yield self._state(sensors)
        files = {"api": self._context.policy_status().error, "access-file": self._context.access_error()}
        yield _policy_error(sensors, files)
        yield from self._lists()
        yield from self._pulls()
        yield from self._zone()
        yield from self._evidence()
        yield from self._outputs()
        purged = CounterMetricFamily("molecatcher_purged", "Rows that left by age", labels=("table",))
        for table, number in self._context.store.retention.purged().items():
            purged.add_metric((table.value,), number)
        yield purged

    def describe(self) -> list[Metric]:
        """Return nothing: registering must not read the database."""
        return []

    def _heartbeat_age(self, sensors: list[SensorStatus]) -> Metric:
        family = GaugeMetricFamily(
            "molecatcher_sensor_heartbeat_age_seconds", "Time since the sensor last reported", labels=("sensor",)
        )
        now_ns = self._context.now_ns()
        for sensor in sensors:
            family.add_metric((sensor.sensor_id,), max(0, now_ns - sensor.heartbeat_ns) / NS_PER_S)
        return family

    def _state(self, sensors: list[SensorStatus]) -> Metric:
        family = GaugeMetricFamily(
            "molecatcher_sensor_state", "1 for the worst that is true of the sensor now", labels=("sensor", "state")
        )
        now_ns = self._context.now_ns()
        for sensor in sensors:
            for state in SensorState:
                family.add_metric((sensor.sensor_id, state.value), state is sensor.state(now_ns))
        return family

    def _lists(self) -> Iterator[Metric]:
        serials = GaugeMetricFamily(
            "molecatcher_feed_serial", "Serial of the published list", labels=("list", "profile")
        )
        entries = GaugeMetricFamily(
            "molecatcher_feed_entries", "Entries of the published list", labels=("list", "profile")
        )
        held = GaugeMetricFamily(
            "molecatcher_feed_held", "1 while a newer state of the list is refused", labels=("list", "profile")
        )
        in_use = [profile.name for profile, is_in_use in self._context.profiles() if is_in_use]
        for name, profile in product(ListName, in_use):
            labels = (name.value, profile)
            held.add_metric(labels, self._context.held_list(name, profile) is not None)
            if (snapshot := self._context.snapshot(name, profile)) is not None:
                serials.add_metric(labels, snapshot.serial)
                entries.add_metric(labels, count_entries(snapshot))
        yield serials
        yield entries
        yield held

    def _zone(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "molecatcher_zone_answers", "What the zone server answered, told and cut off", labels=("kind",)
        )
        for kind, count in self._context.zone_counts().items():
            family.add_metric((kind,), count)
        yield family

    def _pulls(self) -> Iterator[Metric]:
        labels = ("list", "profile")
        pulling = GaugeMetricFamily("molecatcher_feed_consumers", "Who pulls the list (90 days)", labels=labels)
        behind = GaugeMetricFamily("molecatcher_feed_consumers_behind", "Those that have an older state", labels=labels)
        states = self._consumers.states(self._context.now_ns())
        counts = Counts((row.list_name, row.profile) for row, _serial, _is_behind in states)
        late = Counts((row.list_name, row.profile) for row, _serial, is_behind in states if is_behind)
        for key, number in sorted(counts.items()):
            pulling.add_metric(key, number)
            behind.add_metric(key, late[key])
        yield pulling
        yield behind
        dropped = "Consumers that were forgotten because there were too many"
        yield CounterMetricFamily("molecatcher_feed_consumers_dropped", dropped, value=self._consumers.dropped)

    def _outputs(self) -> Iterator[Metric]:
        outputs, newest = self._context.store.outputs.outputs(), self._context.store.last_ingest_seq()
        lag = GaugeMetricFamily("molecatcher_output_lag", "Commits that an output has not come to", labels=("output",))
        text = "How long deliveries have failed, 0 where they do not"
        failing = GaugeMetricFamily("molecatcher_output_failing_seconds", text, labels=("output",))
        counters = {
            name: CounterMetricFamily(f"molecatcher_output_{name}", text, labels=("output",))
            for name, text in OUTPUT_COUNTERS.items()
        }
        now_ns = self._context.now_ns()
        for row in outputs:
            lag.add_metric((row.name,), max(0, newest - row.place))
            failing.add_metric((row.name,), max(0, now_ns - (row.failing_since_ns or now_ns)) / NS_PER_S)
            for name, family in counters.items():
                family.add_metric((row.name,), getattr(row, name))
        yield from (lag, failing, *counters.values())

    def _evidence(self) -> Iterator[Metric]:
        usage = self._context.store.evidence_usage()
        yield GaugeMetricFamily("molecatcher_evidence_octets", "Kept packets in the database", value=usage.octets)
        evicted = "Events whose kept packets were deleted to make room for newer"
        yield CounterMetricFamily("molecatcher_evidence_evicted", evicted, value=usage.evicted)


def make_registry(context: ApiContext, consumers: ConsumerStates) -> CollectorRegistry:
    """Return a registry of this application's own, with the state of `context` in it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StateCollector(context, consumers))
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """Return the metrics in the Prometheus text format."""
    return generate_latest(registry)


def _family(
    kind: type[CounterMetricFamily | GaugeMetricFamily], reading: _Reading, sensors: list[SensorStatus]
) -> Metric:
    """Return one metric of all sensors."""
    labels = ("sensor", reading.label) if reading.label else ("sensor",)
    family = kind(f"molecatcher_sensor_{reading.name}", reading.help, labels=labels)
    for sensor in sensors:
        value = getattr(sensor, reading.field)
        if reading.label:
            for entry, count in value.items():
                family.add_metric((sensor.sensor_id, entry), count)
        else:
            family.add_metric((sensor.sensor_id,), value / reading.unit)
    return family


def _engine(sensors: list[SensorStatus]) -> Metric:
    name = "molecatcher_sensor_engine"
    help_text = "1 for the way in which the sensor takes packets, and why"
    family = GaugeMetricFamily(name, help_text, labels=("sensor", "engine", "reason"))
    for sensor in sensors:
        family.add_metric((sensor.sensor_id, sensor.engine, sensor.engine_reason), 1)
    return family


def _policy_error(sensors: list[SensorStatus], files: dict[str, str]) -> Metric:
    help_text = "1 while a newer policy or access file cannot be used, or a sensor's rules cannot be renewed"
    family = GaugeMetricFamily("molecatcher_policy_error", help_text, labels=("where",))
    for where, error in files.items():
        family.add_metric((where,), bool(error))
    for sensor in sensors:
        family.add_metric((f"sensor:{sensor.sensor_id}",), bool(sensor.policy_error))
    return family

"""Prometheus metrics: what the sensors reported, what the lists hold, how requests went. Labels are few and bounded."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.context import ApiContext
from api.feeds import count_entries
from api.times import NS_PER_S
from rules.blocklist import ListName
from rules.sensor_status import SensorStatus

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One field of a sensor's status as a metric."""

    field: str
    name: str
    help: str


COUNTERS = (
    _Reading("packets", "packets", "Packets that the sensor took"),
    _Reading("octets", "octets", "Octets of those packets on the wire"),
    _Reading("kernel_drops", "kernel_drops", "Packets that the kernel dropped before the sensor saw them"),
    _Reading("shed", "shed", "Packets that the sensor left out to keep up"),
    _Reading("malformed", "malformed", "Packets that could not be decoded"),
    _Reading("copies", "copies", "Packets that another interface had shown already"),
    _Reading("observations", "observations", "DNS transactions and flows observed"),
    _Reading("unknown", "unknown", "Observations that no rule speaks of"),
    _Reading("events", "events", "Events reported"),
    _Reading("spool_overflow", "spool_overflow", "Events lost because the spool was full"),
)
GAUGES = (
    _Reading("flows", "flows", "Flows in the table"),
    _Reading("spool_events", "spool_events", "Events that wait for the database"),
)


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
    """Reads sensors, lists and policy when it is asked."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context

    def collect(self) -> Iterator[Metric]:
        """Return the current values."""
        sensors = self._context.store.sensors()
        yield from (_counter(reading, sensors) for reading in COUNTERS)
        yield from (_gauge(reading, sensors) for reading in GAUGES)
        yield self._heartbeat_age(sensors)
        yield _engine(sensors)
        yield _policy_error(sensors, has_error=bool(self._context.policy_status().error))
        yield from self._lists()

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

    def _lists(self) -> Iterator[Metric]:
        serials = GaugeMetricFamily("molecatcher_feed_serial", "Serial of the published list", labels=("list",))
        entries = GaugeMetricFamily("molecatcher_feed_entries", "Entries of the published list", labels=("list",))
        for name in ListName:
            if (snapshot := self._context.snapshot(name)) is not None:
                serials.add_metric((name.value,), snapshot.serial)
                entries.add_metric((name.value,), count_entries(snapshot))
        yield serials
        yield entries


def make_registry(context: ApiContext) -> CollectorRegistry:
    """Return a registry of this application's own, with the state of `context` in it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StateCollector(context))
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """Return the metrics in the Prometheus text format."""
    return generate_latest(registry)


def _counter(reading: _Reading, sensors: list[SensorStatus]) -> Metric:
    family = CounterMetricFamily(f"molecatcher_sensor_{reading.name}", reading.help, labels=("sensor",))
    for sensor in sensors:
        family.add_metric((sensor.sensor_id,), getattr(sensor, reading.field))
    return family


def _gauge(reading: _Reading, sensors: list[SensorStatus]) -> Metric:
    family = GaugeMetricFamily(f"molecatcher_sensor_{reading.name}", reading.help, labels=("sensor",))
    for sensor in sensors:
        family.add_metric((sensor.sensor_id,), getattr(sensor, reading.field))
    return family


def _engine(sensors: list[SensorStatus]) -> Metric:
    name = "molecatcher_sensor_engine"
    family = GaugeMetricFamily(name, "1 for the way in which the sensor takes packets", labels=("sensor", "engine"))
    for sensor in sensors:
        family.add_metric((sensor.sensor_id, sensor.engine), 1)
    return family


def _policy_error(sensors: list[SensorStatus], *, has_error: bool) -> Metric:
    family = GaugeMetricFamily(
        "molecatcher_policy_error", "1 while a newer policy file cannot be used", labels=("where",)
    )
    family.add_metric(("api",), has_error)
    for sensor in sensors:
        family.add_metric((f"sensor:{sensor.sensor_id}",), bool(sensor.policy_error))
    return family

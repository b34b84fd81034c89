"""The sensor as a process: capture, classify, report, until told to stop."""

import contextlib
import ipaddress
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import FrameType

import structlog
from msgspec.json import encode
from msgspec.structs import replace

from db.store import open_store
from molecatcher import __version__
from molecatcher.catalogue.folder import CatalogueFolder
from molecatcher.live_rules import LiveRules
from molecatcher.logs import configure_logging
from molecatcher.names.own_lookups import OwnLookups
from molecatcher.overlay import OverlayFollower
from molecatcher.processes.collector import spare_collector
from molecatcher.processes.delivery import Delivery
from molecatcher.processes.health import Health, of_spool, of_tables
from molecatcher.processes.notify import Notifier
from molecatcher.processes.sensor_parts import (
    attributor_of,
    enter_namespaces,
    followed_rules,
    kept_sensor_id,
    limits_of,
    lock_name,
    open_spool,
    sink_of,
    zone_questions,
)
from molecatcher.settings import Settings
from molecatcher.shared_file import SharedFile
from molecatcher.state import claim, kept_secret
from rules.values.event import Event
from rules.values.sensor_status import SensorStatus
from sensor.attribution.seen_leases import SeenLeases
from sensor.capture.faults import EXAMPLE_OCTETS
from sensor.capture.live.engine import open_source
from sensor.capture.live.interfaces import Choice
from sensor.capture.live.listening import Listening
from sensor.capture.live.namespaces import split_name
from sensor.capture.screening.choice import make_screen
from sensor.detection.detect import Detector
from sensor.detection.watch import Watch
from sensor.extract.dhcp import DhcpMessage
from sensor.packet import Packet
from sensor.pipeline import Pipeline
from sensor.reporting.gathered import Gathered
from sensor.reporting.report import Reporter
from sensor.reporting.spool import SpoolFull

log = structlog.get_logger()

READ_TIMEOUT_S = 0.5  # so that where nothing comes nothing is done more often
HOUSEKEEPING_S = 0.5
COMPLAIN_EVERY_S = 60.0
MAX_PENDING_EVENTS = 2_000
BATCH_EVENTS = 500
REPORT_EVERY_S = 0.5  # two syncs a file of the spool cost more than what is in it
LOOKS_AN_UPDATE = 3
NS_PER_S = 1_000_000_000

Tell = Callable[[SensorStatus], None]


class Sensor:
    """One sensor: everything it owns, and the loop that turns packets into spooled events."""

    def __init__(self, settings: Settings, tell: Tell | None = None) -> None:
        """Open everything that can fail, so that a wrong set-up ends the start with one sentence.

        `tell` takes what the sensor says of itself; without it that goes into the database.

        Raises:
            RulesError, DbError, SensorError: a policy, database or interface that cannot be used.
        """
        self.settings = settings
        catalogue = CatalogueFolder(settings.state, settings.catalogue_dir)
        self.rules = LiveRules(catalogue.load(), settings.policy, time.time_ns, catalogue)
        self._claim = claim(settings.state / lock_name(settings))
        self.sensor_id = kept_sensor_id(settings)
        self.origin = settings.origin(self.sensor_id)
        own_lookups = OwnLookups(kept_secret(settings.lookup_secret))
        self.store = open_store(settings.database, evidence_limit=settings.evidence_mib << 20)
        self.store.make_ready()
        self.overlay = followed_rules(settings, self.sensor_id, catalogue) or OverlayFollower(self.store.policy)
        self.rules.follow(self.overlay)
        self.spool = open_spool(settings)
        self.delivery = Delivery(self.spool, sink_of(settings) or self.store)
        self._tell = tell if tell is not None else self.delivery.notify
        self.health = Health()
        update_ns, window_ns = int(settings.update_s * NS_PER_S), int(settings.window_s * NS_PER_S)
        self._look_ns = update_ns // LOOKS_AN_UPDATE
        self.namespaces = enter_namespaces(settings)
        self.listening = Listening(self.namespaces, settings.interface, settings.netns)
        self.choice = self.listening.choose()
        screen = make_screen()
        screen.occupy()
        self.source = open_source(
            self.choice.interfaces, namespaces=self.namespaces, share=settings.share, screen=screen
        )
        self._seen_leases = SeenLeases()
        limits = limits_of(settings, len(self.choice.interfaces))
        pipeline = Pipeline(limits, is_own_lookup=own_lookups.is_own, on_dhcp=self._learn_lease, screen=screen)
        self.zones = zone_questions(settings)
        zones = self.zones if settings.zone_checks else None
        self.detector = Detector(pipeline, self.rules, Watch(self.source.count_apart), zones)
        self._agent_addresses = SharedFile(settings.agent_addresses, dict[str, tuple[str, str]])
        self._gathered = Gathered(pipeline)
        self.reporter = Reporter(
            self.origin,
            window_ns,
            update_ns=update_ns,
            losses=self.health.losses,
            exception_for=lambda event, who: self.rules().exception_for(event, who),
            completed=self._gathered.with_packets,
        )
        self.attributor = attributor_of(settings, self.namespaces, self._seen_leases)
        self.counters: Counter[str] = Counter()
        self.started_at_ns = time.time_ns()
        self._pending: list[Event] = []
        self._is_quiet = True  # nothing was found at the last report
        self._is_stopping = False
        self._wants_reload = False
        self._due: dict[str, float] = {}

    def run(self, notifier: Notifier) -> None:
        """Capture until told to stop; then report all that came and deliver what can be delivered at once."""
        self.delivery.start()
        self.overlay.start()
        log.info("sensor_started", sensor_id=self.sensor_id, engine=self.source.engine, version=__version__)
        self._announce(self.choice)
        self._beat(time.time_ns())
        notifier.ready()
        try:
            while not self._is_stopping:
                self._turn()
                if self.delivery.is_alive and self.overlay.is_alive:
                    notifier.alive()
            for packets in self.source.read_rest():
                self._handle(packets)
        finally:
            notifier.stopping()
            self._close()

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """End the loop after its current turn (a signal handler)."""
        self._is_stopping = True

    def reload(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Read the policy again on the next turn (a signal handler)."""
        self._wants_reload = True

    def _learn_lease(self, message: DhcpMessage, interface: str, now_ns: int) -> None:
        self._seen_leases.learn(message, split_name(interface)[0], now_ns)

    def _turn(self) -> None:
        self._handle(self.source.read(READ_TIMEOUT_S) or [])
        if self._is_due("housekeeping", HOUSEKEEPING_S):
            self._keep_house()
        if self._is_due("heartbeat", self.settings.heartbeat_s):
            self._beat(time.time_ns())

    def _handle(self, packets: Sequence[Packet]) -> None:
        """Observe what was just read, and report if it is time."""
        now_ns = time.time_ns()
        self._observe(packets, now_ns, self.source.read_ns)
        if self._is_report_due():
            self.keep(self._report(now_ns))
        self.health.note_handled(packets[self.source.late :], time.time_ns())

    def _observe(self, packets: Sequence[Packet], now_ns: int, read_ns: int) -> None:
        """Gather what one batch shows, all until `read_ns`. Nothing that a packet holds may end the sensor."""
        try:
            found = [*self.detector.feed_counted(packets, self.source.counts), *self.detector.advance(read_ns)]
            if found:
                self.attributor.ask(found)
                self._gathered.add(found, now_ns)
        except Exception as error:  # noqa: BLE001 - outermost packet loop: count, say it once a minute, go on
            self._shed(error, len(packets), packets[0].data if packets else b"")

    def _is_report_due(self) -> bool:
        """Tell whether to report: what is found first at once, a stream of it and what time brings twice a second."""
        if self._gathered and (self._is_quiet or len(self._gathered) >= BATCH_EVENTS):
            self._due["report"] = 0.0
        return self._is_due("report", REPORT_EVERY_S)

    def _report(self, now_ns: int) -> list[Event]:
        """Return the events of what was gathered, and of what is known or due by now. Nothing may end the sensor."""
        found = self._gathered.take()
        self._is_quiet = not found
        try:
            if found:
                self.health.note_losses(self.source, self._count_shed(), now_ns)
            reports = [report for detection, at_ns in found for report in self.reporter.take([detection], at_ns)]
            reports += self.reporter.attribute(self.attributor.answers(), now_ns)
            self.reporter.update(self.detector.watch.look(now_ns, self._look_ns))
            return [*reports, *self.reporter.expire(now_ns)]
        except Exception as error:  # noqa: BLE001 - as above
            self._shed(error, len(found))
            return []

    def _shed(self, error: Exception, packets: int, example: bytes = b"") -> None:
        """Count packets that an error made us give up, and say it once a minute."""
        self.counters["shed"] += packets
        if self._is_due("complaint", COMPLAIN_EVERY_S):
            shed, shown = self.counters["shed"], example[:EXAMPLE_OCTETS].hex()
            log.error("packet_batch_shed", packets=packets, shed=shed, example=shown, exc_info=error)

    def _count_shed(self) -> int:
        """Return the packets given up after an error: whole batches, and those that the pipeline failed on."""
        return self.counters["shed"] + self.detector.pipeline.shed.count

    def _tell_faults(self) -> None:
        """Say once a minute that packets could not be sorted out, which costs none of them, or not read, which does."""
        for event, faults in (
            ("packets_not_screened", self.source.faults),
            ("packets_shed", self.detector.pipeline.shed),
        ):
            if faults.first is not None and self._is_due(event, COMPLAIN_EVERY_S):
                (error, example), faults.first = faults.first, None
                log.error(event, faults=faults.count, example=example.hex(), exc_info=error)

    def keep(self, events: list[Event]) -> None:
        """Spool `events`; what does not fit waits in memory, at most 2,000 events, then it is counted as overflow.

        Packets are only spooled while half of the room is free, and never wait in memory: events come first.
        """
        if not events and not self._pending:
            return
        if not events and not self._is_due("retry", HOUSEKEEPING_S):
            return
        if self.spool.waiting_octets > self.spool.limit_octets // 2:
            events = self._without_evidence(events)
        waiting, self._pending = [*self._pending, *events], []
        try:
            while waiting:
                self.spool.append(waiting[:BATCH_EVENTS])
                del waiting[:BATCH_EVENTS]
        except SpoolFull as error:
            self._pending = self._without_evidence(waiting[:MAX_PENDING_EVENTS])
            self.counters["spool_overflow"] += len(waiting) - len(self._pending)
            if self._is_due("spool_complaint", COMPLAIN_EVERY_S):
                log.error("spool_full", error=str(error), lost=self.counters["spool_overflow"])  # noqa: TRY400 - expected
        self.delivery.notify()

    def _without_evidence(self, events: list[Event]) -> list[Event]:
        self.counters["evidence_shed"] += sum(bool(event.evidence) for event in events)
        return [replace(event, evidence=b"") if event.evidence else event for event in events]

    def _keep_house(self) -> None:
        self.health.note_losses(self.source, self._count_shed(), time.time_ns())
        if self._wants_reload:
            self._wants_reload = False
            self.rules.reload()
        else:
            self.rules.poll()
        self._tell_faults()
        self.zones.exchange()
        if (addresses := self._agent_addresses.poll()) is not None:
            self.detector.agent_addresses = by_packed_address(addresses)
        if renewed := self.namespaces.follow():
            self.listening.renew(renewed)
            self.source.renew(renewed)
        if self.listening.has_changed() or renewed:
            choice = self.listening.choose()
            if choice != self.choice:
                self._announce(choice)
                self.source.listen_on(choice.interfaces)
            self.choice = choice

    def _announce(self, choice: Choice) -> None:
        log.info("listening", interfaces=choice.interfaces, reason=choice.reason, gateway=choice.is_gateway)

    def _beat(self, now_ns: int) -> None:
        pipeline, source, screened = self.detector.pipeline.counters, self.source.counters(), self.detector.screened
        status = SensorStatus(
            sensor_id=self.sensor_id,
            version=__version__,
            hostname=socket.gethostname(),
            name=self.origin.sensor_name or "",
            site=self.origin.site or "",
            started_at_ns=self.started_at_ns,
            heartbeat_ns=now_ns,
            interfaces=self.source.interfaces,
            engine=self.source.engine,
            engine_reason=f"{self.source.engine_reason}; {self.choice.reason}{_division(self.settings)}",
            packets=self._packets,
            octets=pipeline.octets + source.filtered_octets,
            malformed=sum(pipeline.malformed.values()),
            observations=self.detector.observations + screened.judged,
            unknown=self.detector.unknown + screened.judged,
            events=self.reporter.events,
            spool_overflow=self.counters["spool_overflow"],
            copies=source.copies,
            faults=source.faults,
            policy_error=self.rules.error or self.overlay.error,
            catalogue_version=self.rules.current.catalogue.version,
            is_remote=self.settings.api is not None,
            rules_revision=self.overlay.revision,
            workers=self.settings.workers,
            **of_tables(self.detector, self.reporter, source, self._left_other_tables()),
            **of_spool(self.spool, self._pending, now_ns),
            **self.health.of_capture(self.source, self._count_shed(), now_ns),
        )
        self._tell(status)

    def _left_other_tables(self) -> dict[str, int]:
        return {
            "evidence": self.counters["evidence_shed"],
            "zone_questions": self.zones.shed,
            "attribution": self.attributor.shed,
            "seen_leases": self._seen_leases.evicted,
        }

    @property
    def _packets(self) -> int:
        return self.detector.pipeline.counters.packets + self.source.counters().filtered_packets

    def _close(self) -> None:
        try:
            self._tell_rest(time.time_ns())
        finally:  # whatever fails: threads that went on would keep the process
            self.attributor.close()
            self.delivery.stop()
            self.overlay.stop()
            self.source.close()
            self.listening.close()
            self.namespaces.close()
            self.store.close()
        log.info("sensor_stopped", sensor_id=self.sensor_id, packets=self._packets)

    def _tell_rest(self, now_ns: int) -> None:
        """Report what was found and what is known of events that are still open, and how the sensor ends."""
        self.health.note_losses(self.source, self._count_shed(), now_ns)
        self._gathered.add(self.detector.flush(), now_ns)
        reports = self._report(now_ns)
        self.reporter.update(self.detector.watch.look(now_ns, 0, at_once=None))
        self.keep([*reports, *self.reporter.flush()])
        self._beat(now_ns)

    def _is_due(self, what: str, every_s: float) -> bool:
        now_s = time.monotonic()
        if now_s < self._due.get(what, 0.0):
            return False
        self._due[what] = now_s + every_s
        return True


def by_packed_address(addresses: dict[str, tuple[str, str]]) -> dict[bytes, tuple[str, str]]:
    """Return what is known of addresses, keyed as packets have them; what is no address is left out."""
    packed: dict[bytes, tuple[str, str]] = {}
    for address, known in addresses.items():
        with contextlib.suppress(ValueError):
            packed[ipaddress.ip_address(address).packed] = known
    return packed


def _division(settings: Settings) -> str:
    return f"; {settings.workers} workers share the clients" if settings.workers > 1 else ""


def run(settings: Settings) -> None:
    """Run the sensor, or a worker of it, in this process until SIGTERM or SIGINT; SIGHUP reloads the policy."""
    configure_logging()
    notifier = Notifier()
    is_alone = settings.worker is None
    sensor = Sensor(settings, None if is_alone else lambda status: notifier.status(encode(status).decode()))
    spare_collector()
    signal.signal(signal.SIGTERM, sensor.stop)
    signal.signal(signal.SIGINT, sensor.stop)
    signal.signal(signal.SIGHUP, sensor.reload)
    sensor.run(notifier)

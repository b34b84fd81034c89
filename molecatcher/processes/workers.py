"""A sensor whose work several processes share: `molecatcher sensor --workers N`.

Each worker is a sensor of its own with the packets of its own clients (sensor/capture/bpf/share.h), its own tables and
its own part of the spool, and delivers to the database by itself. They have one identity, and one status: this process
adds up what they say. A worker that ends is started again; what its clients do meanwhile is not seen, the other workers
go on.
"""

import sys
import time

import msgspec
import structlog

from db.errors import DbError
from db.store import open_store
from molecatcher.logs import configure_logging
from molecatcher.privileges import capture_rights, with_capture_rights
from molecatcher.processes import sensor as sensor_process
from molecatcher.processes.child import Child, inherited_environment
from molecatcher.processes.delivery import EventSink
from molecatcher.processes.notify import Notifier
from molecatcher.processes.sensor_parts import kept_sensor_id, sink_of
from molecatcher.processes.supervise import PROGRAM, Supervisor, as_environment
from molecatcher.settings import Settings
from molecatcher.state import claim
from rules.values.sensor_status import SensorStatus, as_one
from sensor.capture.live.engine import choose_engine

log = structlog.get_logger()

FINISH_S = 8.0  # less than who supervises this process gives it


class Statuses:
    """What the workers of one sensor said last, as one status; `ended` has the last word of each that ended."""

    def __init__(self) -> None:
        self._newest: dict[str, SensorStatus] = {}
        self._ended: tuple[SensorStatus, ...] = ()

    def take(self, worker: str, status: SensorStatus) -> None:
        """Note the newest status of a worker; one that started later is another process."""
        before = self._newest.get(worker)
        if before is not None and before.started_at_ns != status.started_at_ns:
            self._ended = (as_one((before,), self._ended),)
        self._newest[worker] = status

    def as_one(self) -> SensorStatus | None:
        """Return the status of the sensor, None before any worker spoke."""
        return as_one(tuple(self._newest.values()), self._ended) if self._newest else None


class Heartbeat:
    """Puts what the workers say into the database, as one sensor's."""

    def __init__(self, workers: tuple[Child, ...], store: EventSink, every_s: float) -> None:
        self._workers = workers
        self._store = store
        self._every_s = every_s
        self._due_s = 0.0
        self._statuses = Statuses()

    def turn(self) -> None:
        """Do so if it is time; a database that is away gets a later one."""
        if time.monotonic() >= self._due_s and self.beat():
            self._due_s = time.monotonic() + self._every_s

    def beat(self) -> bool:
        """Do so now if any of them spoke; tell whether one did."""
        for worker in self._workers:
            if worker.said:
                self._statuses.take(worker.name, msgspec.json.decode(worker.said, type=SensorStatus))
        status = self._statuses.as_one()
        if status is None:
            return False
        try:
            self._store.save_heartbeat(status)
        except DbError as error:
            log.warning("heartbeat_not_kept", error=str(error))
        return True


def run(settings: Settings) -> None:
    """Run the sensor until SIGTERM or SIGINT, in this process or in as many as the settings say; SIGHUP reloads.

    Raises:
        RulesError, DbError, SensorError, SetupError: a policy, database, interface or state that cannot be used.
    """
    if settings.workers == 1 or settings.worker is not None:
        sensor_process.run(settings)
        return
    configure_logging()
    claim(settings.state / "sensor.lock")
    sensor_id = kept_sensor_id(settings)
    choose_engine(share=_share_of(settings, 0).share).packet_filter.close()
    workers = tuple(_worker(settings, number) for number in range(settings.workers))
    with open_store(settings.database, evidence_limit=settings.evidence_mib << 20) as store:
        heartbeat = Heartbeat(workers, sink_of(settings) or store, settings.heartbeat_s)
        started = {"sensor_id": sensor_id, "workers": len(workers)}
        supervisor = Supervisor(workers, lambda: log.info("workers_started", **started), heartbeat.turn, FINISH_S)
        status = supervisor.run(Notifier())
        heartbeat.beat()
    sys.exit(status)


def _worker(settings: Settings, number: int) -> Child:
    argv = with_capture_rights([*PROGRAM, "sensor"], capture_rights(settings))
    environment = inherited_environment(as_environment(_share_of(settings, number)))
    return Child(f"sensor worker {number}", argv, environment)


def _share_of(settings: Settings, number: int) -> Settings:
    return settings.model_copy(update={"worker": number})

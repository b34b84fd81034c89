"""`molecatcher ingest-log`: proxy logs in, a table, JSON lines or events in the database out."""

import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING

import msgspec
import structlog
from rich.console import Console

from db.errors import DbError
from db.store import Store, open_store
from molecatcher.catalogue.folder import CatalogueFolder
from molecatcher.commands.progress import progress_of
from molecatcher.commands.tables import counted, print_detections
from molecatcher.errors import MolecatcherError
from molecatcher.live_rules import LiveRules, read_policy
from molecatcher.logs import configure_logging
from molecatcher.processes.notify import Notifier
from molecatcher.recordings.ingest import Ingest, IngestSummary
from molecatcher.recordings.log_follower import LogFollower, Position, read_whole
from molecatcher.state import make_database, make_state
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from rules.values.event import Event, Origin, make_event, uuid7

if TYPE_CHECKING:
    from molecatcher.settings import Settings

log = structlog.get_logger()

BATCH_LINES = 4096
LOOK_S = 0.5
RETRY_S = 2.0
COMPLAIN_EVERY_S = 60.0
NS_PER_S = 1_000_000_000


def default_name() -> str:
    """Return the sensor id of logs that are read on this host."""
    return f"proxy-log:{socket.gethostname()}"


def ingest_files(
    files: list[str], policy_path: Path | None, name: str, *, as_json: bool, store_in: "Settings | None"
) -> None:
    """Read `files` to their end, print what was detected, and store it if `store_in` says where."""
    if store_in:
        make_database(store_in.database)
    catalogue = CatalogueFolder(store_in.state if store_in else None).load()
    policy = read_policy(policy_path, catalogue, time.time_ns()) if policy_path else Policy()
    ruleset = Ruleset(catalogue, policy)
    messages = Console(stderr=True)
    with ExitStack() as stack:
        store = stack.enter_context(open_store(store_in.database)) if store_in else None
        origin = Origin(name)
        ingest = Ingest(origin, lambda: ruleset)
        events = _detections(ingest, files, origin, messages, store)
        print_detections(events, as_json=as_json)
    _print_summary(messages, ingest.summary)


def _detections(
    ingest: Ingest, files: list[str], origin: Origin, messages: Console, store: Store | None
) -> Iterator[Event]:
    for path in files:
        for lines in _lines(path, ingest, messages):
            detections, events = ingest.read(lines, Path(path).name)
            _append(store, events)
            for found in detections:
                event_id = uuid7(found.observation.observed_at_ns)
                yield make_event(found.observation, found.verdict, event_id, origin, found.basis)
    _append(store, ingest.flush())


def _lines(path: str, ingest: Ingest, messages: Console) -> Iterator[list[bytes]]:
    """Yield the lines of the log at `path` in batches, and show how far it is read."""
    with ExitStack() as stack:
        stream = sys.stdin.buffer if path == "-" else stack.enter_context(_open(path))
        update = stack.enter_context(progress_of(Path(path).name, messages))
        size = Path(path).stat().st_size if path != "-" else 0
        for lines in _batches(read_whole(stream, ingest.pass_over_too_long)):
            yield lines
            if size and stream.seekable():
                update(stream.tell(), size)


def _append(store: Store | None, events: list[Event]) -> None:
    if store is not None and events:
        store.append(events, is_retold=True)


def _open(path: str) -> IO[bytes]:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise MolecatcherError(f"{path} cannot be read: {error.strerror}") from error


def _batches(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for line in lines:
        batch.append(line)
        if len(batch) >= BATCH_LINES:
            yield batch
            batch = []
    yield batch


def _print_summary(messages: Console, summary: IngestSummary) -> None:
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(summary.verdicts.items())) or "no detection"
    messages.print(f"{counted(summary.lines, 'line')}: {verdicts}")
    for reason, count in summary.malformed.most_common():
        messages.print(f"passed over: {count} ({reason})", style="yellow")
    if summary.example:
        messages.print(f"such as: {summary.example!r}", style="yellow", markup=False)


class Following:
    """Follows logs into the database until told to stop.

    A log is its own spool: its position is kept only when everything before it is stored, and lines that are read
    again give the same events.
    """

    def __init__(self, files: list[str], name: str, settings: "Settings") -> None:
        catalogue = CatalogueFolder(settings.state, settings.catalogue_dir)
        self._rules = LiveRules(catalogue.load(), settings.policy, time.time_ns, catalogue)
        self._positions = settings.state / "ingest"
        make_state(self._positions)
        self._window_s = settings.window_s
        self._store = open_store(settings.database)
        self._ingest = Ingest(settings.origin(name), self._rules, int(settings.window_s * NS_PER_S))
        self._followers = [LogFollower(Path(path), self._position(Path(path))) for path in files]
        self._is_stopping = False
        self._complained_s = 0.0

    def run(self, notifier: Notifier) -> None:
        """Read what is there, then what is added, until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, lambda _signal, _frame: self._rules.reload())
        log.info("following", files=[str(follower.path) for follower in self._followers])
        notifier.ready()
        kept_s = time.monotonic()
        with closing(self._store):
            while not self._is_stopping:
                self._rules.poll()
                self._read()
                if time.monotonic() - kept_s >= self._window_s:
                    self._keep_positions()
                    kept_s = time.monotonic()
                notifier.alive()
                time.sleep(LOOK_S)
            notifier.stopping()
            self._keep_positions()

    def _read(self) -> None:
        for follower in self._followers:
            for lines in follower.batches():
                _, events = self._ingest.read(lines, follower.path.name)
                self._append(events)
                if self._is_stopping:
                    return
        self._complain()

    def _append(self, events: list[Event]) -> None:
        """Store `events`; while the database is away the log waits where it is."""
        while events:
            try:
                self._store.append(events)
            except DbError as error:
                log.warning("store_failed", error=str(error))
                if self._is_stopping:
                    raise
                time.sleep(RETRY_S)
            else:
                return

    def _keep_positions(self) -> None:
        self._append(self._ingest.flush())
        for follower in self._followers:
            path = self._position_file(follower.path)
            temporary = path.with_suffix(".tmp")
            temporary.write_bytes(msgspec.json.encode(follower.position()))
            temporary.replace(path)

    def _position(self, path: Path) -> Position | None:
        try:
            return msgspec.json.decode(self._position_file(path).read_bytes(), type=Position)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("position_unreadable", file=str(path), error=str(error))
            return None

    def _position_file(self, path: Path) -> Path:
        return self._positions / f"{sha256(str(path.absolute()).encode()).hexdigest()[:16]}.json"

    def _complain(self) -> None:
        summary, now_s = self._ingest.summary, time.monotonic()
        for follower in self._followers:
            if follower.too_long:
                self._ingest.pass_over_too_long(follower.too_long)
                follower.too_long = 0
        if summary.malformed and now_s - self._complained_s >= COMPLAIN_EVERY_S:
            self._complained_s = now_s
            log.warning("lines_passed_over", reasons=dict(summary.malformed), example=repr(summary.example))
            summary.malformed.clear()

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._is_stopping = True


def follow_files(files: list[str], name: str, settings: "Settings") -> None:
    """Follow `files` into the database until told to stop.

    Raises:
        MolecatcherError, RulesError, DbError: a file, the policy or the database cannot be used.
    """
    configure_logging()
    if "-" in files:
        raise MolecatcherError("standard input cannot be followed: leave --follow out, it is read to its end")
    Following(files, name, settings).run(Notifier())

"""Says who is behind detections, in a thread of its own: questions go in with the detection, answers come out later.

A local flow is asked about once, when it is detected; its process must then still hold the socket. Forwarded flows
have the lease and the neighbour of their address; while they are all that is asked about they wait for each other.
Asking costs the packet loop an append; the thread spends some 0.03 ms of the kernel's tables and 0.03 to 3 ms of /proc
on a question, and after a long search rests four times as long.
"""

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from pwd import getpwuid
from typing import Final

import structlog
from msgspec.structs import asdict

from rules.values.event import address_text
from rules.values.observation import FiveTuple
from rules.values.source import NOBODY, Source
from sensor.attribution.leases import LeaseFiles
from sensor.attribution.process_service import ProcessClient
from sensor.attribution.routing import Routing
from sensor.attribution.seen_leases import SeenLeases
from sensor.attribution.sockets import SocketTable
from sensor.capture.live.namespaces import Namespaces, split_name
from sensor.detection.detection import Detection

MAX_QUESTIONS: Final = 1024
MAX_ANSWERS: Final = 16_384
LONG_SEARCH_S: Final = 0.02
REST: Final = 4
NEIGHBOURS_S: Final = 10.0
ADDRESSES_S: Final = 10.0
MAX_ADDRESSES: Final = 4096
LATER_S: Final = 0.1  # another host's address can wait, a process may soon close its socket
_log = structlog.get_logger(__name__)

Answer = tuple[int, Source]
ReverseName = Callable[[str], str | None]  # by address; may take a second


class Attributor:
    """Answers `(observation key, source)` for what it is asked; of at most 1,024 waiting questions, else `shed`.

    `service` is where a process that may look into others' answers; without one, what this process may see is known.
    `reverse_name` is asked for hosts that no lease names.
    """

    def __init__(
        self,
        namespaces: Namespaces,
        service: Path | None = None,
        leases: LeaseFiles | None = None,
        seen: SeenLeases | None = None,
        reverse_name: ReverseName = lambda _address: None,
    ) -> None:
        self.shed = 0
        self._namespaces = namespaces
        self._processes = ProcessClient(service)
        self._leases = leases if leases is not None else LeaseFiles()
        self._seen = seen if seen is not None else SeenLeases()
        self._reverse_name = reverse_name
        self._sockets: dict[str, SocketTable] = {}
        self._routing: dict[str, Routing] = {}
        self._neighbours: dict[str, tuple[float, dict[str, str]]] = {}
        self._own: dict[str, frozenset[bytes]] = {}  # as read with the neighbours: who need not be asked about at once
        self._addresses: dict[tuple[str, bytes], tuple[float, bool]] = {}
        self._asked: dict[int, None] = {}
        self._questions: deque[tuple[int, str, FiveTuple]] = deque()  # key, network namespace, flow
        self._waits_since_s = 0.0
        self._answers: deque[Answer] = deque(maxlen=MAX_ANSWERS)
        self._has_question = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="attribution", daemon=True)
        self._thread.start()

    def ask(self, detections: Iterable[Detection]) -> None:
        """Ask who is behind each flow that was not asked about yet; never waits."""
        is_urgent = False
        for observation in (detection.observation for detection in detections):
            if observation.key in self._asked:
                continue
            if len(self._questions) >= MAX_QUESTIONS:
                self.shed += 1
                continue
            self._note(observation.key)
            namespace, flow = split_name(observation.interface)[0], observation.five_tuple
            if not self._questions:
                self._waits_since_s = time.monotonic()
            self._questions.append((observation.key, namespace, flow))
            own = self._own.get(namespace)
            is_urgent = is_urgent or own is None or flow.src in own
        if is_urgent:
            self._has_question.set()

    def answers(self) -> list[Answer]:
        """Return what became known since the last call; what has waited for 0.1 s is looked at now."""
        if self._questions and time.monotonic() > self._waits_since_s + LATER_S:
            self._has_question.set()
        return [self._answers.popleft() for _ in range(len(self._answers))]

    def close(self) -> None:
        """End the thread; what is still asked is not answered."""
        self._is_stopping = True
        self._has_question.set()
        self._thread.join()

    def _note(self, key: int) -> None:
        self._asked[key] = None
        if len(self._asked) > MAX_ANSWERS:
            del self._asked[next(iter(self._asked))]

    def _run(self) -> None:
        while not self._is_stopping:
            self._has_question.wait()
            self._has_question.clear()
            while self._questions and not self._is_stopping:
                key, namespace, flow = self._questions.popleft()
                began_s = time.monotonic()
                source = self._find(namespace, flow)
                if source != NOBODY:
                    self._answers.append((key, source))
                took_s = time.monotonic() - began_s
                if took_s > LONG_SEARCH_S:
                    time.sleep(min(REST * took_s, 1.0))
        self._processes.close()
        for namespace in {*self._sockets, *self._routing}:
            self._forget(namespace)

    def _find(self, namespace: str, flow: FiveTuple) -> Source:
        try:
            if self._is_local(namespace, flow.src):
                return self._local(namespace, flow)
            return self._forwarded(namespace, flow.src)
        except (OSError, KeyError, RuntimeError) as error:  # the namespace was left meanwhile
            _log.debug("not_attributed", error=str(error))
            self._forget(namespace)
            return NOBODY

    def _is_local(self, namespace: str, address: bytes) -> bool:
        now_s = time.monotonic()
        until_s, known = self._addresses.get((namespace, address), (0.0, False))
        if until_s > now_s:
            return known
        known = self._routing_of(namespace).is_local(address)
        if len(self._addresses) >= MAX_ADDRESSES:
            self._addresses.clear()
        self._addresses[namespace, address] = now_s + ADDRESSES_S, known
        return known

    def _local(self, namespace: str, flow: FiveTuple) -> Source:
        if namespace not in self._sockets:
            self._sockets[namespace] = self._namespaces.call(namespace, SocketTable)
        found = self._sockets[namespace].find(flow)
        if found is None:
            return NOBODY
        process = self._processes.find(found)
        known = asdict(process) if process is not None else {}
        return Source(**known, uid=found.uid, user=user_name(found.uid), host=socket.gethostname())

    def _forwarded(self, namespace: str, packed: bytes) -> Source:
        """Return what is known of another host: by its server's lease, by one that was seen, by its DNS name."""
        address = address_text(packed)
        filed, seen = self._leases.find(address), self._seen.find(namespace, packed, time.time_ns())
        lease = filed if filed is not None and (filed.host or seen is None) else seen
        mac = self._neighbour(namespace, address) or (lease.mac if lease else None)
        is_its_own = lease is not None and lease.mac in (mac, None)  # else the address is somebody else's by now
        leased = lease.host if lease and is_its_own else None
        return Source(host=leased or self._reverse_name(address), mac=mac)

    def _neighbour(self, namespace: str, address: str) -> str | None:
        now_s = time.monotonic()
        read_s, table = self._neighbours.get(namespace, (-NEIGHBOURS_S, {}))
        if read_s + NEIGHBOURS_S <= now_s:
            table = self._routing_of(namespace).neighbours()
            self._neighbours[namespace] = now_s, table
            self._own[namespace] = self._routing_of(namespace).addresses()
        return table.get(address)

    def _routing_of(self, namespace: str) -> Routing:
        if namespace not in self._routing:
            self._routing[namespace] = self._namespaces.call(namespace, Routing)
        return self._routing[namespace]

    def _forget(self, namespace: str) -> None:
        self._neighbours.pop(namespace, None)
        self._own.pop(namespace, None)
        sockets, routing = self._sockets.pop(namespace, None), self._routing.pop(namespace, None)
        if sockets is not None:
            sockets.close()
        if routing is not None:
            routing.close()


@lru_cache(maxsize=1024)
def user_name(uid: int) -> str | None:
    """Return the name of a user of this host, None if it has none."""
    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return None

"""Live capture: what the sockets of the wanted interfaces (sensor.capture.live.sockets) show, as packets in order.

Needs CAP_NET_RAW and nothing else. An interface of another network namespace is called `NETNS/NAME`; its socket is made
there (sensor.capture.live.namespaces) and read here.

With several interfaces their packets are put in the order of time, 0.12 s late (sensor.capture.merge), and what one
shows that another showed before is left out (sensor.capture.copies); a single one is spared both. What the program
counts instead of handing it out (sensor.capture.filter.program_heads) is put where its last packet belongs.

How a socket is read and filtered is the engine's business (sensor.capture.live.engine). A `read` hands out at most
`BATCH_PACKETS`, shared evenly among the interfaces that have something, so one cannot starve another, and besides what
the screen had held of the same flows. Of a single interface the packets of a stream gather for `REST_S`.
"""

import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

import structlog

from sensor.capture.copies import Copies
from sensor.capture.faults import Faults
from sensor.capture.filter.packet_filter import FilterCounters, placed
from sensor.capture.live.counters import SourceCounters
from sensor.capture.live.namespaces import Namespaces
from sensor.capture.live.sockets import Engine, Sockets
from sensor.capture.live.tap import Tap, check_permission
from sensor.capture.merge import Merge
from sensor.capture.screening.compiled import NOTHING_SCREENED, CompiledScreen
from sensor.capture.screening.screen import Screen, ScreenTotals
from sensor.errors import CaptureError
from sensor.flows.flow import Count, Flow, FlowKey
from sensor.packet import Packet

BATCH_PACKETS = 512
ALL_THAT_WAITS = 1 << 20  # in a socket that is to be closed
REST_S = 0.25  # between two batches of a stream
NAP_S = 0.01  # while what is left waits for its turn
MOST_REST_S = 5.0  # that reading what is left may take, when it is to end

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Totals:
    """What was counted, and what the filter and the screen said last."""

    packets: int = 0
    fill_peak: float = 0.0
    filtered: FilterCounters = field(default_factory=FilterCounters)
    screened: ScreenTotals = field(default_factory=ScreenTotals)


@dataclass(slots=True)
class LiveSource:
    """A source of packets from the interfaces named in `wanted`; use it in a `with` statement or call `close`.

    It owns the engine's filter and closes it, `namespaces` it does not. `counts` are of flows that ended, by the last
    `read`: behind how many of its packets, and what was counted of them instead of being handed out. Its first `late`
    packets are older: the screen held them back until then. All that came until `read_ns` was handed out or held back;
    that is long ago while on any interface more waits than a `read` takes.

    Raises:
        CaptureError: AF_PACKET sockets may not be opened here.
    """

    wanted: tuple[str, ...]
    way: Engine = field(default_factory=Engine)
    namespaces: Namespaces = field(default_factory=Namespaces)
    screen: Screen | None = None
    counts: list[tuple[int, Count]] = field(default_factory=list, init=False)
    late: int = field(default=0, init=False)
    read_ns: int = field(default=0, init=False)
    _merge: Merge = field(default_factory=Merge, init=False)
    _copies: Copies = field(init=False)
    _sockets: Sockets = field(init=False)
    _totals: _Totals = field(default_factory=_Totals, init=False)
    _is_open: bool = field(default=True, init=False)
    _released: list[Packet] = field(default_factory=list, init=False)
    _rests_until_s: float = field(default=0.0, init=False)
    _is_full: bool = field(default=False, init=False)  # what was read last, before any of it was held back

    def __post_init__(self) -> None:
        self._copies = Copies(faults=self.screen.faults if self.screen is not None else None)
        try:
            check_permission()
        except CaptureError:
            self.way.packet_filter.close()
            raise
        self._sockets = Sockets(self.way, self.namespaces)
        try:
            self.listen_on(self.wanted)
        except CaptureError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def engine(self) -> str:
        """Return the engine's name."""
        return self.way.name

    @property
    def engine_reason(self) -> str:
        """Return why this engine is the one in use, and what an interface has not got of it."""
        short = [f"{tap.interface} has {tap.shortfall}" for tap in self._sockets.taps.values() if tap.shortfall]
        return "; ".join((self.way.reason, *short))

    @property
    def faults(self) -> Faults:
        """Return the errors that kept the program from judging packets; all of those were handed out."""
        return self._copies.faults

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Return the interfaces that are captured now; a wanted one is missing while it does not exist."""
        return tuple(self._sockets.taps)

    def listen_on(self, interfaces: Iterable[str]) -> None:
        """Capture on `interfaces` from now on. Those captured already go on without a gap.

        Raises:
            CaptureError: A socket could not be opened for a reason other than a missing interface.
        """
        self.wanted = tuple(dict.fromkeys(interfaces))
        self._follow_links()
        for name in self.wanted:
            if name not in self._sockets.taps:
                _log.warning("interface_missing", interface=name)

    def renew(self, namespaces: Collection[str]) -> None:
        """Take note that `namespaces` were left or entered: leave the interfaces there, and look for them again.

        Raises:
            CaptureError: As `listen_on`.
        """
        self._sockets.renew(namespaces)
        self._follow_links()

    def read(self, timeout_s: float) -> list[Packet] | None:
        """Return packets that came within `timeout_s` seconds, at most `BATCH_PACKETS`; None once closed.

        The first after a quiet time at once, those of a stream, on a single interface, four times a second. With the
        last ones of a socket that is to be closed comes all that waits there, however much.

        Raises:
            CaptureError: A socket failed for a reason other than its interface.
        """
        if not self._is_open:
            return None
        end_s = time.monotonic() + timeout_s
        self._rest(end_s)
        batch = self._read_once(0 if self._released else max(0, end_s - time.monotonic()))
        while not (batch or self._released) and (left_s := end_s - time.monotonic()) > 0:
            batch = self._read_once(left_s)  # what came is not due yet, or was only counted
        self.late, batch = len(self._released), self._released + batch
        self._released = []
        if batch:  # of a full one more may wait
            self._rests_until_s = 0.0 if self._is_full else time.monotonic() + REST_S
        self._totals.packets += len(batch)
        self.counts = placed(self.way.packet_filter.take_counts(self._shows), batch)
        return batch

    def read_rest(self) -> Iterator[list[Packet]]:
        """Let nothing more come, `interfaces` be what they are, and yield what came, as `read` does, and was held back.

        Raises:
            CaptureError: As `read`.
        """
        end_s = time.monotonic() + max(self._sockets.lag_s(), REST_S)
        self._sockets.stop()
        while (left_s := end_s - time.monotonic()) > 0 or (self._has_more() and left_s > -MOST_REST_S):
            yield self.read(max(NAP_S, left_s)) or []
        if self.screen is not None:
            self._released += self.screen.advance(time.time_ns(), is_end=True)
            yield self.read(0) or []

    def _has_more(self) -> bool:
        """Tell whether packets wait to be read; those of a `read` may all have been held back, or been copies."""
        return bool(self._merge) or bool(self._sockets.wait(0)[0])

    def counters(self) -> SourceCounters:
        """Return the totals since the source was opened, on all interfaces."""
        if self._is_open:
            self._totals.filtered = self.way.packet_filter.counters()
            self._totals.screened = self.screen.totals() if self.screen is not None else ScreenTotals()
        filtered, screened = self._totals.filtered, self._totals.screened
        return SourceCounters(
            interface_drops={name: tap.count_drops() for name, tap in self._sockets.taps.items()},
            packets=self._totals.packets,
            kernel_drops=self.kernel_drops(),
            filtered_packets=filtered.packets + screened.packets,
            filtered_octets=filtered.octets + screened.octets,
            flows_opened=filtered.flows_opened,
            flows_places=filtered.flows_places,
            flows_displaced=filtered.flows_displaced,
            sockets_hurried=self._sockets.hurried,
            packets_hurried=self._merge.hurried,
            directions_evicted=self._copies.evicted,
            copies=self._copies.found + filtered.copies,
            faults=self.faults.count,
        )

    def kernel_drops(self) -> int:
        """Return the drops since the source was opened, on all interfaces; takes one system call an interface."""
        return self._sockets.drops()

    def fill(self) -> float:
        """Return the share of the fullest ring or receive queue that waits to be read, 0 to 1."""
        return self._sockets.fill()

    def take_fill_peak(self) -> float:
        """Return the highest share that waited at any read since the last call, and begin anew."""
        peak, self._totals.fill_peak = self._totals.fill_peak, 0.0
        return peak

    def count_apart(self, flow: Flow) -> None:
        """Note in `flow` what the filter counted of it instead of handing it out."""
        if self._is_open:
            self.way.packet_filter.count_apart(flow, self._shows)

    def close(self) -> None:
        """Close every socket; the counters stay readable. Closing twice does nothing."""
        if not self._is_open:
            return
        self.counters()
        self._is_open = False
        self._sockets.close()
        self.way.packet_filter.close()

    def _rest(self, end_s: float) -> None:
        """Let packets gather behind some that were just handed out: to handle a few takes as long as to handle many."""
        if len(taps := self._sockets.all()) == 1 and not self._released:
            taps[0].rest(min(end_s, self._rests_until_s))

    def _read_once(self, timeout_s: float) -> list[Packet]:
        """Wait once for packets, links or the time of packets that wait, and return what is due."""
        are_several, held_s = len(self._sockets.all()) > 1, self._merge.wait_s(time.time_ns())
        taps, may_have_changed = self._sockets.wait(timeout_s if held_s is None else min(timeout_s, held_s))
        self.read_ns = time.time_ns() - int(self._sockets.lag_s() * 1e9)
        self._release()  # before what is newer
        batch = self._drain(taps) + self._part()
        self._is_full = len(batch) >= BATCH_PACKETS
        if may_have_changed and self._sockets.has_changed():
            self._follow_links()
        if are_several or len(self._sockets.all()) > 1 or self._merge:
            batch = self._each_once(batch)
        elif self._screen_in_place() is not None:
            return batch
        return self.screen.sift(batch) if self.screen is not None else batch

    def _part(self) -> list[Packet]:
        """Close the sockets that nobody wants any more, once all that came to them can be read, and return that."""
        parting = self._sockets.parting()
        if not parting:
            return []
        taps, batch = self._sockets.all(), self._drain(parting, ALL_THAT_WAITS)
        self._sockets.part(parting)
        self._use_screen(taps)
        return batch

    def _release(self) -> None:
        """Take what the screen held back and does not hold any longer, by the time until which all was read."""
        if self.screen is not None:
            self._released += self.screen.advance(self.read_ns)

    def _use_screen(self, before: list[Tap]) -> None:
        """Hold packets of a single interface back where they lie, if it can be, others once they are in order."""
        if self.screen is None:
            return
        taps = self._sockets.all()
        if before and before != taps:
            self._released += self.screen.advance(time.time_ns(), is_end=True)
        self.screen.number((tap.link_type, tap.interface) for tap in taps)
        in_place = self._screen_in_place()
        for tap in taps:
            tap.screening = in_place.parts if in_place is not None else NOTHING_SCREENED

    def _screen_in_place(self) -> CompiledScreen | None:
        """Return the screen if it holds packets back where they lie."""
        return self.screen if isinstance(self.screen, CompiledScreen) and len(self._sockets.all()) == 1 else None

    def _drain(self, taps: list[Tap], at_most: int = BATCH_PACKETS) -> list[Packet]:
        """Collect from `taps`, each up to its share of `at_most` packets."""
        batch: list[Packet] = []
        share = max(1, at_most // max(1, len(taps)))
        for tap in taps:
            full = len(batch) + share
            self._totals.fill_peak = max(self._totals.fill_peak, tap.fill())
            try:
                tap.drain(batch, share)
            except OSError as error:
                raise CaptureError(f"cannot read packets from {tap.interface}: {error.strerror}") from error
            if len(batch) >= full:  # more may wait
                self.read_ns = min(self.read_ns, batch[-1].ts_ns)
        return batch

    def _each_once(self, batch: list[Packet]) -> list[Packet]:
        """Return what is due of `batch` and of what waits, in the order of time and without copies."""
        self._merge.add(batch)
        packets = self._copies.leave_out(self._merge.take(time.time_ns(), BATCH_PACKETS, self.read_ns))
        self.read_ns = min(self.read_ns, self._merge.oldest_ns(self.read_ns))
        return packets

    def _shows(self, number: int, key: FlowKey) -> bool:
        """Tell whether packets of the direction `key` are taken from the socket `number`, and are no copies there."""
        taps = self._sockets.all()
        if len(taps) <= 1:
            return True
        first = self._copies.interface_of(key)
        shown = [tap.interface for tap in taps if tap.cut_off.socket == number]
        return first is not None and (first in shown or first not in self._sockets.taps)

    def _follow_links(self) -> None:
        """Make the sockets those of the wanted interfaces that exist."""
        before = self._sockets.all()
        self._sockets.follow(self.wanted)
        self._use_screen(before)

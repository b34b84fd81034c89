"""Live capture: packet sockets on the wanted interfaces, one each, however they come, go and change.

Needs CAP_NET_RAW and nothing else. An interface of another network namespace is called `NETNS/NAME`; its socket is made
there (sensor.capture.live.namespaces) and read here.

An interface that goes down, disappears, is renamed or is made again is no error: interfaces are known by name, and a
wanted name that exists is captured, from the link event that says so. A socket survives down and up, not its interface.
One that is to be closed is read on until all that came to it could be read.

With several interfaces their packets are put in the order of time, 0.12 s late (sensor.capture.merge), and what one
shows that another showed before is left out (sensor.capture.copies); a single one is spared both. What the program
counts instead of handing it out (sensor.capture.filter.program_heads) is put where its last packet belongs.

How a socket is read and filtered is the engine's business (sensor.capture.live.engine). A `read` hands out at most
`BATCH_PACKETS`, shared evenly among the interfaces that have something, so one cannot starve another, and besides what
the screen had held of the same flows. Of a single interface the packets of a stream gather for `REST_S`.
"""

import selectors
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

import structlog

from sensor.capture.copies import Copies
from sensor.capture.filter.packet_filter import EveryIpPacket, FilterCounters, PacketFilter, placed
from sensor.capture.live.counters import SourceCounters
from sensor.capture.live.link_watcher import LinkWatchers
from sensor.capture.live.namespaces import Namespaces, full_name, split_name
from sensor.capture.live.plain import PlainTap
from sensor.capture.live.tap import INTERFACE_GONE, Tap, TapOpener, check_permission
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


@dataclass(frozen=True, slots=True)
class Engine:
    """A way of taking packets: its name, why it is the one in use (a clause), the filter and what opens a socket."""

    name: str = "af-packet"
    reason: str = "every IPv4 and IPv6 packet is copied by a plain packet socket"
    packet_filter: PacketFilter = field(default_factory=EveryIpPacket)
    open_tap: TapOpener = PlainTap


@dataclass(slots=True)
class _Totals:
    """What was counted on sockets that are closed, packets on all, and what the filter said last."""

    packets: int = 0
    closed_drops: int = 0
    sockets_hurried: int = 0
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
    _copies: Copies = field(default_factory=Copies, init=False)
    _taps: dict[str, Tap] = field(default_factory=dict, init=False)
    _leaving: dict[Tap, float] = field(default_factory=dict, init=False)  # until when what came to them may lie there
    _totals: _Totals = field(default_factory=_Totals, init=False)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector, init=False)
    _links: LinkWatchers = field(init=False)
    _is_open: bool = field(default=True, init=False)
    _released: list[Packet] = field(default_factory=list, init=False)
    _rests_until_s: float = field(default=0.0, init=False)
    _is_full: bool = field(default=False, init=False)  # what was read last, before any of it was held back

    def __post_init__(self) -> None:
        try:
            check_permission()
        except CaptureError:
            self._selector.close()
            self.way.packet_filter.close()
            raise
        self._links = LinkWatchers(self.namespaces)
        self._selector.register(self._links, selectors.EVENT_READ)
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
        short = [f"{tap.interface} has {tap.shortfall}" for tap in self._taps.values() if tap.shortfall]
        return "; ".join((self.way.reason, *short))

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Return the interfaces that are captured now; a wanted one is missing while it does not exist."""
        return tuple(self._taps)

    def listen_on(self, interfaces: Iterable[str]) -> None:
        """Capture on `interfaces` from now on. Those captured already go on without a gap.

        Raises:
            CaptureError: A socket could not be opened for a reason other than a missing interface.
        """
        self.wanted = tuple(dict.fromkeys(interfaces))
        self._follow_links()
        for name in self.wanted:
            if name not in self._taps:
                _log.warning("interface_missing", interface=name)

    def renew(self, namespaces: Collection[str]) -> None:
        """Take note that `namespaces` were left or entered: leave the interfaces there, and look for them again.

        Raises:
            CaptureError: As `listen_on`.
        """
        for name in [name for name in self._taps if split_name(name)[0] in namespaces]:
            self._leave(self._taps.pop(name))
        self._links.renew(namespaces)
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
        self._selector.unregister(self._links)
        end_s = time.monotonic() + max(self._lag_s(), REST_S)
        for tap in self._open_taps():
            tap.stop()
        while (left_s := end_s - time.monotonic()) > 0 or (self._has_more() and left_s > -MOST_REST_S):
            yield self.read(max(NAP_S, left_s)) or []
        if self.screen is not None:
            self._released += self.screen.advance(time.time_ns(), is_end=True)
            yield self.read(0) or []

    def _has_more(self) -> bool:
        """Tell whether packets wait to be read; those of a `read` may all have been held back, or been copies."""
        return bool(self._merge) or any(key.data is not None for key, _ in self._selector.select(0))

    def counters(self) -> SourceCounters:
        """Return the totals since the source was opened, on all interfaces."""
        if self._is_open:
            self._totals.filtered = self.way.packet_filter.counters()
            self._totals.screened = self.screen.totals() if self.screen is not None else ScreenTotals()
        filtered, screened = self._totals.filtered, self._totals.screened
        return SourceCounters(
            interface_drops={name: tap.count_drops() for name, tap in self._taps.items()},
            packets=self._totals.packets,
            kernel_drops=self.kernel_drops(),
            filtered_packets=filtered.packets + screened.packets,
            filtered_octets=filtered.octets + screened.octets,
            flows_opened=filtered.flows_opened,
            flows_places=filtered.flows_places,
            flows_displaced=filtered.flows_displaced,
            sockets_hurried=self._totals.sockets_hurried,
            packets_hurried=self._merge.hurried,
            directions_evicted=self._copies.evicted,
            copies=self._copies.found + filtered.copies,
        )

    def kernel_drops(self) -> int:
        """Return the drops since the source was opened, on all interfaces; takes one system call an interface."""
        return self._totals.closed_drops + sum(tap.count_drops() for tap in self._open_taps())

    def fill(self) -> float:
        """Return the share of the fullest ring or receive queue that waits to be read, 0 to 1."""
        return max((tap.fill() for tap in self._taps.values()), default=0.0)

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
        for tap in self._open_taps():
            self._close_tap(tap)
        self._taps, self._leaving = {}, {}
        self._selector.close()
        self._links.close()
        self.way.packet_filter.close()

    def _open_taps(self) -> list[Tap]:
        return [*self._taps.values(), *self._leaving]

    def _lag_s(self) -> float:
        return max((tap.lag_s for tap in self._open_taps()), default=0.0)

    def _rest(self, end_s: float) -> None:
        """Let packets gather behind some that were just handed out: to handle a few takes as long as to handle many."""
        if len(taps := self._open_taps()) == 1 and not self._released:
            taps[0].rest(min(end_s, self._rests_until_s))

    def _read_once(self, timeout_s: float) -> list[Packet]:
        """Wait once for packets, links or the time of packets that wait, and return what is due."""
        are_several, held_s = len(self._open_taps()) > 1, self._merge.wait_s(time.time_ns())
        ready = self._selector.select(timeout_s if held_s is None else min(timeout_s, held_s))
        taps = [key.data for key, _ in ready if key.data is not None]
        self.read_ns = time.time_ns() - int(self._lag_s() * 1e9)
        self._release()  # before what is newer
        batch = self._drain(taps) + self._part()
        self._is_full = len(batch) >= BATCH_PACKETS
        if len(taps) < len(ready) and self._links.has_changed():
            self._follow_links()
        if are_several or len(self._open_taps()) > 1 or self._merge:
            batch = self._each_once(batch)
        elif self._screen_in_place() is not None:
            return batch
        return self.screen.sift(batch) if self.screen is not None else batch

    def _part(self) -> list[Packet]:
        """Close the sockets that nobody wants any more, once all that came to them can be read, and return that."""
        parting = [tap for tap, until_s in self._leaving.items() if until_s <= time.monotonic()]
        if not parting:
            return []
        taps, batch = self._open_taps(), self._drain(parting, ALL_THAT_WAITS)
        for tap in parting:
            del self._leaving[tap]
            self._close_tap(tap)
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
        taps = self._open_taps()
        if before and before != taps:
            self._released += self.screen.advance(time.time_ns(), is_end=True)
        self.screen.number((tap.link_type, tap.interface) for tap in taps)
        in_place = self._screen_in_place()
        for tap in taps:
            tap.screening = in_place.parts if in_place is not None else NOTHING_SCREENED

    def _screen_in_place(self) -> CompiledScreen | None:
        """Return the screen if it holds packets back where they lie."""
        return self.screen if isinstance(self.screen, CompiledScreen) and len(self._open_taps()) == 1 else None

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
        if len(self._open_taps()) <= 1:
            return True
        first = self._copies.interface_of(key)
        shown = [tap.interface for tap in self._open_taps() if tap.cut_off.socket == number]
        return first is not None and (first in shown or first not in self._taps)

    def _follow_links(self) -> None:
        """Make the sockets those of the wanted interfaces that exist, keeping a socket whose interface was renamed."""
        before, taps, self._taps = self._open_taps(), list(self._taps.values()), {}
        for tap in taps:
            bound_to = tap.bound_to()
            name = full_name(split_name(tap.interface)[0], bound_to) if bound_to else ""
            if name in self.wanted:
                tap.interface = name
                self._taps[name] = tap
            else:
                self._leave(tap)
        for name in self.wanted:
            if name not in self._taps:
                self._open_tap(name)
        self._use_screen(before)

    def _open_tap(self, name: str) -> None:
        """Open the socket of an interface if it exists, inside its namespace."""
        namespace, interface = split_name(name)
        if namespace not in self.namespaces:
            return
        try:
            packet_filter = self.way.packet_filter.inside(namespace)
            tap = self.namespaces.call(namespace, self.way.open_tap, interface, packet_filter)
        except OSError as error:
            if error.errno in INTERFACE_GONE:
                return  # the link event of its return brings us back
            raise CaptureError(f"cannot capture on {name}: {error.strerror}; see `molecatcher doctor`") from error
        tap.interface = name
        self._taps[name] = tap
        self._selector.register(tap, selectors.EVENT_READ, tap)
        _log.info("interface_opened", interface=name, link_type=tap.link_type.name, shortfall=tap.shortfall)

    def _leave(self, tap: Tap) -> None:
        """Have one socket closed once all that came to it by now can be read; who left the same interface, at once."""
        now_s = time.monotonic()
        others = [row for row, until_s in self._leaving.items() if row.interface == tap.interface and until_s > now_s]
        self._leaving.update(dict.fromkeys(others, now_s))
        self._totals.sockets_hurried += len(others)
        tap.stop()
        self._leaving[tap] = now_s + tap.lag_s

    def _close_tap(self, tap: Tap) -> None:
        """Close one socket and keep its counter."""
        self._totals.closed_drops += tap.count_drops()
        self._selector.unregister(tap)
        tap.close()
        _log.info("interface_closed", interface=tap.interface)

"""Packet sockets on the wanted interfaces, one each, however those come, go and change.

An interface that goes down, disappears, is renamed or is made again is no error: interfaces are known by name, and a
wanted name that exists gets a socket, from the link event that says so. A socket survives down and up, not its
interface. One that is to be closed is read on until all that came to it could be read.
"""

import selectors
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import structlog

from sensor.capture.filter.packet_filter import EveryIpPacket, PacketFilter
from sensor.capture.live.link_watcher import LinkWatchers
from sensor.capture.live.namespaces import Namespaces, full_name, split_name
from sensor.capture.live.plain import PlainTap
from sensor.capture.live.tap import INTERFACE_GONE, Tap, TapOpener
from sensor.errors import CaptureError

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Engine:
    """A way of taking packets: its name, why it is the one in use (a clause), the filter and what opens a socket."""

    name: str = "af-packet"
    reason: str = "every IPv4 and IPv6 packet is copied by a plain packet socket"
    packet_filter: PacketFilter = field(default_factory=EveryIpPacket)
    open_tap: TapOpener = PlainTap


class Sockets:
    """The sockets that are open: `taps` by interface, and those that are still to be read to their end.

    `hurried` counts those that were closed before that was sure to be done.
    """

    def __init__(self, way: Engine, namespaces: Namespaces) -> None:
        self.taps: dict[str, Tap] = {}
        self.hurried = 0
        self._way = way
        self._namespaces = namespaces
        self._leaving: dict[Tap, float] = {}  # until when what came to them may lie there
        self._closed_drops = 0
        self._links = LinkWatchers(namespaces)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._links, selectors.EVENT_READ)

    def all(self) -> list[Tap]:
        """Return every open one."""
        return [*self.taps.values(), *self._leaving]

    def wait(self, timeout_s: float | None) -> tuple[list[Tap], bool]:
        """Wait for packets or news of links; return those that have packets, and whether there may be news.

        Where none is said to have any, all are looked at: what the kernel says of a ring is what its newest block is.
        """
        ready = self._selector.select(timeout_s)
        taps = [key.data for key, _ in ready if key.data is not None]
        may_have_changed = len(taps) < len(ready)
        return taps or [tap for tap in self.all() if tap.fill()], may_have_changed

    def has_changed(self) -> bool:
        """Tell whether links changed since the last call."""
        return self._links.has_changed()

    def stop(self) -> None:
        """Let nothing more come, and the interfaces be what they are."""
        self._selector.unregister(self._links)
        for tap in self.all():
            tap.stop()

    def follow(self, wanted: Collection[str]) -> None:
        """Make the sockets those of the wanted interfaces that exist, keeping one whose interface was renamed.

        Raises:
            CaptureError: A socket could not be opened for a reason other than a missing interface.
        """
        taps, self.taps = list(self.taps.values()), {}
        for tap in taps:
            bound_to = tap.bound_to()
            name = full_name(split_name(tap.interface)[0], bound_to) if bound_to else ""
            if name in wanted:
                tap.interface = name
                self.taps[name] = tap
            else:
                self._leave(tap)
        for name in wanted:
            if name not in self.taps:
                self._open(name)

    def renew(self, namespaces: Iterable[str]) -> None:
        """Take note that `namespaces` were left or entered: leave the interfaces there."""
        for name in [name for name in self.taps if split_name(name)[0] in namespaces]:
            self._leave(self.taps.pop(name))
        self._links.renew(namespaces)

    def parting(self) -> list[Tap]:
        """Return those that nobody wants any more, and that all can be read of by now."""
        now_s = time.monotonic()
        return [tap for tap, until_s in self._leaving.items() if until_s <= now_s]

    def part(self, parting: Iterable[Tap]) -> None:
        """Close sockets that nobody wants any more."""
        for tap in parting:
            del self._leaving[tap]
            self._close(tap)

    def close(self) -> None:
        """Close every one."""
        for tap in self.all():
            self._close(tap)
        self.taps, self._leaving = {}, {}
        self._selector.close()
        self._links.close()

    def lag_s(self) -> float:
        """Return how long at most it takes until what came can be read."""
        return max((tap.lag_s for tap in self.all()), default=0.0)

    def fill(self) -> float:
        """Return the share of the fullest ring or receive queue of a wanted interface that waits to be read, 0 to 1."""
        return max((tap.fill() for tap in self.taps.values()), default=0.0)

    def drops(self) -> int:
        """Return the kernel's drops on all that are or were open; takes one system call a socket."""
        return self._closed_drops + sum(tap.count_drops() for tap in self.all())

    def _open(self, name: str) -> None:
        """Open the socket of an interface if it exists, inside its namespace."""
        namespace, interface = split_name(name)
        if namespace not in self._namespaces:
            return
        try:
            packet_filter = self._way.packet_filter.inside(namespace)
            tap = self._namespaces.call(namespace, self._way.open_tap, interface, packet_filter)
        except OSError as error:
            if error.errno in INTERFACE_GONE:
                return  # the link event of its return brings us back
            raise CaptureError(f"cannot capture on {name}: {error.strerror}; see `molecatcher doctor`") from error
        tap.interface = name
        self.taps[name] = tap
        self._selector.register(tap, selectors.EVENT_READ, tap)
        _log.info("interface_opened", interface=name, link_type=tap.link_type.name, shortfall=tap.shortfall)

    def _leave(self, tap: Tap) -> None:
        """Have one socket closed once all that came to it by now can be read; who left the same interface, at once."""
        now_s = time.monotonic()
        others = [row for row, until_s in self._leaving.items() if row.interface == tap.interface and until_s > now_s]
        self._leaving.update(dict.fromkeys(others, now_s))
        self.hurried += len(others)
        tap.stop()
        self._leaving[tap] = now_s + tap.lag_s

    def _close(self, tap: Tap) -> None:
        """Close one socket and keep its counter."""
        self._closed_drops += tap.count_drops()
        self._selector.unregister(tap)
        tap.close()
        _log.info("interface_closed", interface=tap.interface)

# The compiled part of sensor.capture.live.ring and sensor.capture.live.plain.
from collections.abc import Callable
from mmap import mmap
from select import epoll

from sensor.capture.filter.flow_table import CountRow
from sensor.packet import Packet

# Takes the next packets of a ring, of which the first begins at `at`: `packets` at most, and until it has appended
# `room` of them to `found`, each made by `make(time, link type, frame, octets on the wire, interface)`. With a `table`
# it appends only what the policy lets pass, and to `counts` those of flows that begin anew or were displaced; `socket`
# is the number of whose packets these are. What `screen` holds back by what `ask` says (sensor.capture.screening) is
# appended later, if at all. Answers where the next packet begins and how many were taken. ValueError: one lies outside.
def take(
    ring: mmap | bytes | bytearray,
    at: int,
    packets: int,
    room: int,
    found: list[Packet],
    make: Callable[[int, int, bytes, int, str], Packet],
    link_type: int,
    interface: str,
    table: bytearray | None,
    socket: int,
    counts: list[CountRow],
    screen: mmap | None = ...,
    ask: Callable[[int, str], bool] = ...,
    /,
) -> tuple[int, int]: ...

# Waits until more than `most` of `count` blocks of `octets` octets each, from the block `block` on, are filled, or
# until the monotonic clock says `until_ns`. `filled` tells of each once (EPOLLET). OSError: as epoll_wait.
def rest(ring: mmap, block: int, count: int, octets: int, filled: epoll, most: int, until_ns: int, /) -> None: ...

# Receives packets that wait in a socket, `most` and 64 at most, into `buffer`, laid out as in a ring, each `step`
# octets behind the one before; answers how many. OSError: as recvmsg; BlockingIOError: none waits.
def receive(descriptor: int, buffer: bytearray, step: int, most: int, /) -> int: ...

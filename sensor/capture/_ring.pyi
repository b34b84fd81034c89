# The compiled part of sensor.capture.ring.
from collections.abc import Callable
from mmap import mmap

from sensor.packet import Packet

# Appends to `found` the next `packets` of a ring, of which the first begins at `at`, each made by `make(time, link
# type, frame, octets on the wire, interface)`; answers where the one behind them begins. ValueError: one lies outside.
def take(
    ring: mmap | bytes,
    at: int,
    packets: int,
    found: list[Packet],
    make: Callable[[int, int, bytes, int, str], Packet],
    link_type: int,
    interface: str,
    /,
) -> int: ...

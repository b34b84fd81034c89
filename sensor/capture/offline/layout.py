"""How the records of a file stand, as the compiled walk takes them (`struct layout` in _heads.c)."""

from typing import NamedTuple, Protocol

from sensor.capture.offline.window import Window


class Layout(NamedTuple):
    """Of a pcap file's records, or with `is_block` of the enhanced packet blocks of a section's first interface.

    Time is a number of two halves, (upper * base + lower) * multiplier / divisor + offset in nanoseconds.
    """

    header_octets: int
    is_block: bool
    is_swapped: bool
    base: int
    multiplier: int
    divisor: int = 1
    offset_ns: int = 0
    interface: str = ""


class Laid(Protocol):
    """A file whose packets, all Ethernet frames, the walk takes from `window` while there is a `layout`."""

    @property
    def window(self) -> Window:
        """Return what is looked at of the file."""

    @property
    def layout(self) -> Layout | None:
        """Return how the next packets stand; None: not so that the walk knows them."""

    def go_on(self) -> bool:
        """Take what the walk stopped at, or more of the file; return whether packets for it may follow.

        Raises:
            MalformedCapture: what comes next is damaged.
            CaptureError: the device fails.
        """

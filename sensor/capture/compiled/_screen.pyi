# The compiled part of sensor.capture.screening.compiled; the screen lies in a buffer of `size()` octets.
from collections.abc import Callable, Sequence
from mmap import mmap

from sensor.packet import Packet

def size() -> int: ...

# Makes a screen of a buffer of zeros; `secret`: 16 octets.
def prepare(screen: mmap, secret: bytes, /) -> None: ...

# Hands out, as `take` of _ring.pyi does, what waited for more packets until `now_ns`; with `is_end` nothing is held any
# more.
def advance(
    screen: mmap,
    now_ns: int,
    packets: list[Packet],
    make: Callable[[int, int, bytes, int, str], Packet],
    sources: list[tuple[int, str]],
    ask: Callable[[int, str], bool],
    is_end: bool,
    /,
) -> None: ...

# Appends to `found` those of `packets` that pass, behind what was held of the same flow. `sources` and `numbers` are
# filled in: link types with interfaces, by number.
def sift(
    screen: mmap,
    packets: list[Packet],
    found: list[Packet],
    make: Callable[[int, int, bytes, int, str], Packet],
    sources: list[tuple[int, str]],
    numbers: dict[tuple[int, str], int],
    ask: Callable[[int, str], bool],
    /,
) -> None: ...

# Takes out the answers that led a client to an address, both packed, until `now_ns`: time and message, oldest first.
def answers(screen: mmap, client: bytes, address: bytes, now_ns: int, /) -> list[tuple[int, bytes]]: ...

# When a client last asked for a name, and since when it is watched, in nanoseconds; -1: never.
def asked(screen: mmap, client: bytes, name: str, /) -> tuple[int, int]: ...
def mark(screen: mmap, client: bytes, address: bytes, /) -> None: ...

# Forgets which names are of no interest; `names`, and those below them, are asked about besides.
def ask_again(screen: mmap, names: Sequence[str] | None, /) -> None: ...

# As `ask_again`, also which of those that led to addresses; `ends`: addresses of 16 octets each. `names`: as
# `ask_again`, no others from now on; None: every name.
def follow(screen: mmap, ends: bytes, names: Sequence[str] | None, /) -> None: ...

# As sensor.capture.screening.screen.ScreenTotals.
def totals(screen: mmap, /) -> tuple[int, int, int, int, int, int, int]: ...

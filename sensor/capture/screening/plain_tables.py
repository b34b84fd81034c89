"""Tables of the screen in Python: when one is full, the quarter of it that was put in first leaves.

All at once, since to take one out of the front of a `dict` takes the longer the more went before it; so one that is put
in costs constant time on average. Keys are octets of packets: that nobody outside can choose them so that they collide
is what the interpreter's keyed hashes are for (SipHash).
"""

from collections.abc import Mapping
from itertools import islice
from typing import TypeVar

Key = TypeVar("Key")


def first_quarter(table: Mapping[Key, object]) -> list[Key]:
    """Return the keys that make room in a full table."""
    return list(islice(table, len(table) // 4 + 1))

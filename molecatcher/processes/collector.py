"""Python's garbage collector in a process that reads packets: tables grow without cycles, and are walked for nothing.

Measured on the heads of bench/mix.py: 8 % of the CPU that reading them takes.
"""

import gc

CONTAINERS = 10_000  # made, beyond those gone, before the young are walked (CPython: 700)


def spare_collector() -> None:
    """Leave what was made until now out of collections, and collect less often; cycles still go in the end."""
    gc.freeze()
    gc.set_threshold(CONTAINERS, *gc.get_threshold()[1:])

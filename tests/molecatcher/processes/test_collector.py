import subprocess
import sys

CYCLES = """
import gc, weakref
from molecatcher.processes.collector import spare_collector
spare_collector()
class Row: pass
def cycle():
    row = Row()
    row.self = row
    return weakref.ref(row)
first = cycle()
rows = [cycle() for _ in range(2_000)]
assert first() is not None, "collected too often"
rows += [cycle() for _ in range(100_000)]
assert first() is None, "a cycle stayed"
assert gc.get_freeze_count() > 1_000, "what the start made is walked"
"""


def test_what_a_start_makes_is_left_out_and_cycles_still_go() -> None:
    done = subprocess.run([sys.executable, "-c", CYCLES], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr

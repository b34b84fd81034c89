"""A recorded agent played through pipeline and rules as if it had connected now, for whoever sees the page first."""

from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from db.store import Store
from molecatcher.recordings.replay import Replay
from rules.policy.ruleset import Ruleset
from rules.values.event import DEMONSTRATION, Event, uuid7

RECORDING = Path(__file__).parents[2] / "pcaps" / "ngrok-py-default.pcap"
TIMES = ("observed_at_ns", "first_seen_ns", "last_seen_ns")
SOURCE = "192.0.2.10"  # RFC 5737: no host has it


class Demonstration:
    """Stores what a recording shows, with the times of now and a source that no host has."""

    def __init__(self, store: Store, ruleset: Callable[[], Ruleset], now_ns: Callable[[], int]) -> None:
        self._store = store
        self._ruleset = ruleset
        self._now_ns = now_ns

    def play(self) -> int:
        """Return how many events were stored.

        Raises:
            CaptureError: the recording cannot be read.
            DbError: the events cannot be stored.
        """
        events = list(Replay(self._ruleset(), keeps_packets=True).play(str(RECORDING)))
        later_ns = self._now_ns() - max((event.last_seen_ns for event in events), default=0)
        return self._store.append([_moved(event, later_ns) for event in events]).stored


def _moved(event: Event, later_ns: int) -> Event:
    times = {name: getattr(event, name) + later_ns for name in TIMES}
    return replace(event, event_id=uuid7(times["observed_at_ns"]), sensor_id=DEMONSTRATION, src_ip=SOURCE, **times)

"""When packets were lost: enough to say how many since a moment of the last minute."""

from collections import deque

REACH_NS = 60_000_000_000
_STEP_NS = 1_000_000_000  # losses closer together than this are remembered as one


class Losses:
    """Follows a counter of lost packets over the last minute, in at most 62 entries.

    `total` is all that was lost. Times may go back, as clocks do: then what was lost lately is counted for longer.
    """

    def __init__(self) -> None:
        self.total = 0
        self._before: deque[tuple[int, int]] = deque()  # (a time, the total before the losses that began then)

    def note(self, total: int, now_ns: int) -> None:
        """Take the counter's value at `now_ns`."""
        if total > self.total and (not self._before or now_ns - self._before[-1][0] >= _STEP_NS):
            self._before.append((now_ns, self.total))
        self.total = total

    def before(self, now_ns: int) -> int:
        """Return the total of a minute before `now_ns`."""
        while self._before and self._before[0][0] <= now_ns - REACH_NS:
            self._before.popleft()
        return self._before[0][1] if self._before else self.total

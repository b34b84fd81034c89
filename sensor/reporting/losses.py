"""When packets were lost, and what that means for events: counts may be low, and other tunnels may be missing."""

from bisect import bisect_right

LEAD_NS = 60_000_000_000  # what was lost this long before an event may have been a part of it
MOMENTS = 4096
_STEP_NS = 1_000_000_000  # losses closer together than this are remembered as one


class Losses:
    """Follows a counter of lost packets through the last `MOMENTS` seconds in which some were lost.

    `total` is all that was lost. While a clock that was set back catches up, losses count for longer than they should.
    """

    def __init__(self) -> None:
        self.total = 0
        self._began_ns = 0  # when the newest moment began
        self._until: list[int] = []  # when the last losses of a moment were noted, ascending
        self._before: list[int] = []  # the total before the losses of that moment

    def note(self, total: int, now_ns: int) -> None:
        """Take the counter's value at `now_ns`."""
        if total == self.total:
            return
        if not self._until or now_ns - self._began_ns >= _STEP_NS:
            self._began_ns = now_ns
            self._until.append(now_ns)
            self._before.append(self.total)
            if len(self._until) > MOMENTS:
                del self._until[0], self._before[0]
        self._until[-1] = max(self._until[-1], now_ns)
        self.total = total

    def since(self, from_ns: int) -> int:
        """Return how many packets were lost after `from_ns`, and up to a second before: all, but what is forgotten."""
        place = bisect_right(self._until, from_ns)
        return self.total - self._before[place] if place < len(self._until) else 0

    def around(self, first_seen_ns: int) -> int:
        """Return how many packets were lost while something was seen that began then, and in the minute before."""
        return self.since(first_seen_ns - LEAD_NS)

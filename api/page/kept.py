"""A value that takes a while to count, kept for all who look."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from api.context import ApiContext

Value = TypeVar("Value")
REST = 20


@dataclass(slots=True)
class Kept(Generic[Value]):
    """What was counted last; `count(context, now_ns)` counts anew.

    Counted again only after 20 times as long as counting took, and not within `least_s`, so that however many pages
    are open, and however much is stored, it takes a twentieth of a processor at most.
    """

    count: Callable[[ApiContext, int], Value]
    least_s: float = 0.0
    value: Value | None = None
    due_s: float = 0.0

    def at(self, context: ApiContext, now_ns: int) -> Value:
        """Return the value of now, or of a moment ago."""
        started_s = time.monotonic()
        if self.value is None or started_s >= self.due_s:
            self.value = self.count(context, now_ns)
            ended_s = time.monotonic()
            self.due_s = ended_s + max(self.least_s, REST * (ended_s - started_s))
        return self.value

"""The share of one worker where several processes are one sensor."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Share:
    """What is worker number `worker`'s, of `workers`: packets by their client (capture/bpf/share.h), spool files."""

    worker: int = 0
    workers: int = 1

    def has(self, worker: int) -> bool:
        """Tell whether what a worker of any number left behind is this one's."""
        return worker % self.workers == self.worker


ALL: Final = Share()

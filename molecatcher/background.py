"""What is done again and again in a thread of its own."""

import threading
from abc import ABC, abstractmethod

NEVER_S = threading.TIMEOUT_MAX


class BackgroundLoop(ABC):
    """Calls `step` when it is due or woken until told to stop. A step that fails ends the thread: `is_alive` tells."""

    def __init__(self, name: str, first_wait_s: float = 0.0) -> None:
        self._first_wait_s = first_wait_s
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def is_alive(self) -> bool:
        """Tell whether the thread runs."""
        return self._thread.is_alive()

    @property
    def is_stopping(self) -> bool:
        """Tell whether a long step should end early."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its present step; does not wait for it."""
        self._stopping.set()
        self._woken.set()

    def wake(self) -> None:
        """Have the next step begin now, or as soon as the present one is over."""
        self._woken.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the end, for `timeout_s` at most."""
        self._thread.join(timeout_s)

    def rest(self, seconds: float) -> None:
        """Pause within a step, no longer than until `stop`."""
        self._stopping.wait(seconds)

    @abstractmethod
    def step(self) -> float:
        """Do what is due; return after how many seconds it is due again, `NEVER_S` for only when it is woken."""

    def _run(self) -> None:
        wait_s = self._first_wait_s
        while True:
            self._woken.wait(wait_s)
            self._woken.clear()  # before the step: what wakes meanwhile wants another one
            if self.is_stopping:
                return
            wait_s = self.step()

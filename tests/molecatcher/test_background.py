"""What runs in a thread of its own: as often as it says, no longer than it is wanted."""

import threading
import time

import pytest
from installation import wait_until

from molecatcher.background import NEVER_S, BackgroundLoop

LONG_S = 3600.0


class Counts(BackgroundLoop):
    def __init__(self, waits_s: list[float], first_wait_s: float = 0.0, rest_s: float = 0.0) -> None:
        super().__init__("counts", first_wait_s)
        self.steps = 0
        self.has_begun = threading.Event()
        self._waits_s = waits_s
        self._rest_s = rest_s

    def step(self) -> float:
        self.steps += 1
        if self.steps == len(self._waits_s):
            self.has_begun.set()
        self.rest(self._rest_s)
        return self._waits_s[self.steps - 1]


def ended(loop: BackgroundLoop) -> bool:
    loop.stop()
    loop.join(60)
    return not loop.is_alive


def test_a_step_says_when_the_next_one_is_due() -> None:
    loop = Counts([0.0, 0.0, LONG_S])
    loop.start()
    assert loop.has_begun.wait(60)
    assert loop.is_alive
    assert ended(loop)
    assert loop.steps == 3


def test_a_word_wakes_it_also_during_a_step() -> None:
    loop = Counts([NEVER_S, NEVER_S, NEVER_S], first_wait_s=NEVER_S, rest_s=0.2)
    loop.start()
    loop.wake()
    wait_until(lambda: loop.steps == 1)
    loop.wake()  # the first step rests
    wait_until(lambda: loop.steps == 2)
    time.sleep(0.4)
    assert loop.steps == 2, "a word wakes it once"
    loop.wake()
    assert loop.has_begun.wait(60)
    assert ended(loop)
    assert loop.steps == 3


def test_stop_ends_a_rest_within_a_step() -> None:
    loop = Counts([0.0], rest_s=LONG_S)
    loop.start()
    assert loop.has_begun.wait(60)
    assert not loop.is_stopping
    assert ended(loop)
    assert loop.is_stopping


def test_the_first_step_waits() -> None:
    loop = Counts([0.0], first_wait_s=LONG_S)
    loop.start()
    assert ended(loop)
    assert loop.steps == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_step_that_fails_shows() -> None:
    loop = Counts([])
    loop.start()
    loop.join(60)
    assert not loop.is_alive

import socket
import time
from collections.abc import Iterator

import pytest
import screened

import molecatcher.recordings.replay
import sensor.capture.offline.file
from sensor.capture.live.plain import SO_TIMESTAMPNS, _stamp
from sensor.capture.screening.compiled import CompiledScreen


@pytest.fixture(params=screened.SCREENS)
def each_screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a test run with each screen that there is, and what picks heads beside it, also where there is no screen."""
    monkeypatch.setattr(screened, "kind", request.param)
    monkeypatch.setattr(molecatcher.recordings.replay, "make_screen", request.param)
    monkeypatch.setattr(sensor.capture.offline.file, "IS_COMPILED", request.param is CompiledScreen)


@pytest.fixture(scope="session", autouse=True)
def stamped() -> Iterator[None]:
    """The kernel stamps packets at their arrival: it begins to some time after the first socket of the host asked.

    Packets that it did not stamp seem younger than those that came later and were stamped.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.bind(("127.0.0.1", 0))
        for _ in range(500):
            sock.sendto(b"", sock.getsockname())
            time.sleep(0.01)
            before_ns = time.time_ns()
            if _stamp(sock.recvmsg(1, 64)[1]) < before_ns:
                break
        else:
            pytest.fail("the kernel stamps no packets")
        yield

import pytest
import screened

import molecatcher.recordings.replay
import sensor.capture.offline.file
from sensor.capture.screening.compiled import CompiledScreen


@pytest.fixture(params=screened.SCREENS)
def each_screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a test run with each screen that there is, and what picks heads beside it, also where there is no screen."""
    monkeypatch.setattr(screened, "kind", request.param)
    monkeypatch.setattr(molecatcher.recordings.replay, "make_screen", request.param)
    monkeypatch.setattr(sensor.capture.offline.file, "IS_COMPILED", request.param is CompiledScreen)

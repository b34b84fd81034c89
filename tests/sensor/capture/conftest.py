import pytest
import screened

import molecatcher.recordings.replay


@pytest.fixture(params=screened.SCREENS)
def each_screen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a test run with each screen that there is."""
    monkeypatch.setattr(screened, "kind", request.param)
    monkeypatch.setattr(molecatcher.recordings.replay, "make_screen", request.param)

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from sensor.capture.faults import Faults

# How long an example takes says nothing on cores that other work shares.
settings.register_profile("shared cores", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared cores")


@pytest.fixture(autouse=True)
def without_faults(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test in which the program went on after an error of its own, unless that is what it is about."""
    noted: list[Exception] = []
    note = Faults.note

    def noting(faults: Faults, error: Exception, octets: bytes) -> None:
        noted.append(error)
        note(faults, error, octets)

    monkeypatch.setattr(Faults, "note", noting)
    yield
    if request.node.get_closest_marker("faults") is None:
        assert noted == []

import pytest
from recordings import Recording, read_recording, recording_names


@pytest.fixture(scope="session", params=recording_names())
def recording(request: pytest.FixtureRequest) -> Recording:
    return read_recording(request.param)


@pytest.fixture(scope="session")
def large_hello() -> bytes:
    """The head of a flow of the ngrok Python SDK: one TLS record with a hello of 1.4 kB."""
    heads = read_recording("ngrok-py-default").heads
    return next(head for (*_, port), head in heads.items() if port == 443)

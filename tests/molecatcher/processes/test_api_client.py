"""A sensor's API behind something that answers in its place: tried again, never the end of the delivery."""

from pathlib import Path

import pytest
from netns import Network, needs_root
from raw_answers import NOT_HTTP, answering
from stored_events import make_event

from db.errors import StoreUnavailable
from molecatcher.errors import SetupError
from molecatcher.processes import api_client
from molecatcher.processes.api_client import ApiClient, require_safe
from molecatcher.processes.remote_sink import RemoteSink


@pytest.mark.parametrize("octets", NOT_HTTP.values(), ids=NOT_HTTP)
def test_what_is_no_answer_of_ours_is_a_store_that_is_away(tmp_path: Path, octets: bytes) -> None:
    token = tmp_path / "token"
    token.write_text("mc_0_0")
    with answering(octets) as url, pytest.raises(StoreUnavailable):
        RemoteSink(ApiClient(url, token)).append([make_event(0)])


@needs_root
@pytest.mark.parametrize("url", ["https://192.0.2.1:8484", "https://api.invalid:8484"])
@pytest.mark.parametrize("is_unit", [True, False])
def test_what_the_unit_forbids_is_said_with_what_to_change(
    monkeypatch: pytest.MonkeyPatch, url: str, is_unit: bool
) -> None:
    monkeypatch.setattr(api_client, "TIMEOUT_S", (0.5, 1.0))
    monkeypatch.delenv("INVOCATION_ID", raising=False)
    if is_unit:
        monkeypatch.setenv("INVOCATION_ID", "0" * 32)
    with Network() as network:
        sensor = network.host("sensor")
        sensor.ip("link set lo up")
        sensor.address("lo", "192.0.2.9/24")
        sensor.nft("table inet filter {\nchain out {\ntype filter hook output priority 0; policy drop;\n}\n}\n")
        with pytest.raises(StoreUnavailable) as away:
            sensor.call(ApiClient(url, "mc_0_0").get, "/v1/sensors/gateway-1/rules")
    assert "cannot be reached" in str(away.value)
    assert ("IPAddressAllow=" in str(away.value)) is is_unit


@pytest.mark.parametrize("url", ["https://[x", "http://192.0.2.1", "https://x:abc", "x", "https:///v1"])
def test_a_token_is_sent_to_an_address_that_is_one_and_in_private(url: str) -> None:
    with pytest.raises(SetupError, match="not sent in the clear"):
        require_safe(url, "--api")

"""A sensor's API behind something that answers in its place: tried again, never the end of the delivery."""

from pathlib import Path

import pytest
from raw_answers import NOT_HTTP, answering
from stored_events import make_event

from db.errors import StoreUnavailable
from molecatcher.errors import SetupError
from molecatcher.processes.api_client import ApiClient, require_safe
from molecatcher.processes.remote_sink import RemoteSink


@pytest.mark.parametrize("octets", NOT_HTTP.values(), ids=NOT_HTTP)
def test_what_is_no_answer_of_ours_is_a_store_that_is_away(tmp_path: Path, octets: bytes) -> None:
    token = tmp_path / "token"
    token.write_text("mc_0_0")
    with answering(octets) as url, pytest.raises(StoreUnavailable):
        RemoteSink(ApiClient(url, token)).append([make_event(0)])


@pytest.mark.parametrize("url", ["https://[x", "http://192.0.2.1", "https://x:abc", "x", "https:///v1"])
def test_a_token_is_sent_to_an_address_that_is_one_and_in_private(url: str) -> None:
    with pytest.raises(SetupError, match="not sent in the clear"):
        require_safe(url, "--api")

"""Bundles over HTTP from servers that answer wrongly."""

import pytest
from raw_answers import NOT_HTTP, answering

from molecatcher.catalogue.fetch import MAX_SIGNATURE_OCTETS, read_signature, read_source
from molecatcher.errors import CatalogueError


def ignore(_done: int, _size: int) -> None:
    pass


@pytest.mark.parametrize("octets", NOT_HTTP.values(), ids=NOT_HTTP)
def test_what_is_no_answer_is_said(octets: bytes) -> None:
    with answering(octets) as url, pytest.raises(CatalogueError, match="stays as it is"):
        read_source(f"{url}/catalogue.json", ignore)


def test_more_than_is_taken_is_refused() -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_SIGNATURE_OCTETS + 1)
    with answering(answer) as url, pytest.raises(CatalogueError, match="more than 4,096 octets"):
        read_signature(f"{url}/catalogue.json")


@pytest.mark.parametrize("url", ["https://[x/a", "http://192.0.2.1/a", "ftp://x/a", "https://x:abc/a"])
def test_what_is_not_fetched_is_said(url: str) -> None:
    with pytest.raises(CatalogueError, match="is not fetched"):
        read_source(url, ignore)

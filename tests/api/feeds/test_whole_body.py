"""A large list is handed to slow clients without a copy for each of them, and answered from memory where it can be."""

import socket
from pathlib import Path

import httpx
import pytest
from installation import SECOND_NS, Installation, add_token, names_of, wait_until

TXT = "/feeds/unsanctioned-domains.txt"
MIB = 2**20


def resident() -> int:
    """How many octets of memory this process, in which the server runs, has now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


@pytest.fixture
def large(installation: Installation) -> Installation:
    installation.publish(names_of(" ".join(f"=h{number}.{'a' * 60}.example" for number in range(250_000))))
    return installation


def test_clients_that_read_nothing_cost_no_copy_of_the_list(large: Installation, client: httpx.Client) -> None:
    size = len(client.get(TXT).content)
    assert size > 16 * MIB, "more than the kernel buffers"
    before = resident()
    address = httpx.URL(large.url)
    slow = [socket.create_connection((str(address.host), address.port or 0)) for _ in range(12)]
    for each in slow:
        each.sendall(f"GET {TXT} HTTP/1.1\r\nHost: {address.netloc.decode()}\r\n\r\n".encode())
    for each in slow:
        assert each.recv(1) == b"H"
    assert resident() - before < 12 * size // 4
    for each in slow[1:]:
        each.close()
    received = 0
    while received < size:
        piece = len(slow[0].recv(MIB))
        assert piece, "the list must come whole, however late it is read"
        received += piece
    slow[0].close()


def test_the_whole_list_arrives_in_any_encoding(large: Installation, client: httpx.Client) -> None:
    plain = client.get(TXT)
    packed = client.get(TXT, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert plain.content == packed.content
    assert int(plain.headers["content-length"]) == len(plain.content)
    assert plain.headers["etag"] != packed.headers["etag"]
    assert large.now_ns


def test_an_answer_from_memory_is_the_same_answer(installation: Installation, client: httpx.Client) -> None:
    installation.publish_both()
    installation.publish(names_of("=visitor.example"), 9, profile="strict")
    key = {"X-Api-Key": add_token(installation.store)}
    strict = {"X-Api-Key": add_token(installation.store, profile="strict")}
    first = [client.get(TXT, headers=headers) for headers in ({}, key, strict)]
    again = [client.get(TXT, headers=headers) for headers in ({}, key, strict)]
    for before, after in zip(first, again, strict=True):
        assert (before.status_code, before.content) == (after.status_code, after.content)
        assert before.headers["etag"] == after.headers["etag"]
    assert [answer.headers["x-feed-serial"] for answer in again] == ["7", "7", "9"]
    assert client.get(f"{TXT}?profile=agents-only", headers=strict).status_code == 403
    assert client.get(TXT, headers={"X-Api-Key": "mc_bad"}).status_code == 401


def test_a_change_and_a_revoked_token_are_seen(installation: Installation, client: httpx.Client) -> None:
    installation.publish_both()
    token = add_token(installation.store)
    add_token(installation.store)
    key = {"X-Api-Key": token}
    assert {client.get(TXT, headers=key).headers["x-feed-serial"] for _ in range(3)} == {"7"}
    installation.publish(names_of("=another.example"), 8)
    assert client.get(TXT, headers=key).headers["x-feed-serial"] == "8"
    installation.store.revoke_token(token.split("_")[1], installation.now_ns)
    installation.now_ns += 2 * SECOND_NS
    wait_until(lambda: client.get(TXT, headers=key).status_code == 401)

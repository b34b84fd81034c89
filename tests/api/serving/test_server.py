"""Where the server listens, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
from fastapi import FastAPI
from free_ports import free_port
from installation import Eventually, Installation
from servers import running

from api.app import create_app
from api.errors import RefusedListenAddress
from api.serving.server import ApiServer, ListenAddress, bind, parse_listen

PROGRAM = """
from api.serving.server import serve
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": kind + ".complete"})
            if kind == "lifespan.shutdown":
                print("orderly end", flush=True)
                return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})
serve(app, "127.0.0.1:%d")
"""


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8484", "127.0.0.1", 8484),
        ("127.9.9.9:0", "127.9.9.9", 0),
        ("localhost:8484", "127.0.0.1", 8484),
        ("[::1]:8484", "::1", 8484),
    ],
)
def test_loopback_addresses_are_taken(text: str, host: str, port: int) -> None:
    assert parse_listen(text) == ListenAddress(host, port)


@pytest.mark.parametrize(
    "text", ["0.0.0.0:8484", "[::]:8484", "10.0.0.1:80", "[2001:db8::1]:80", "[::ffff:127.0.0.1]:80"]
)
def test_addresses_that_others_reach_are_refused(text: str) -> None:
    with pytest.raises(RefusedListenAddress, match="without TLS"):
        parse_listen(text)


@pytest.mark.parametrize(
    "text",
    ["", "8484", "127.0.0.1", ":8484", "::1:8484", "127.0.0.1:x", "127.0.0.1:65536", "host.example:1", "127.0.0.1:²"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(RefusedListenAddress):
        parse_listen(text)


def test_an_address_that_is_taken_is_refused() -> None:
    with bind(parse_listen("127.0.0.1:0")) as listener, pytest.raises(RefusedListenAddress, match="Cannot listen"):
        bind(ListenAddress("127.0.0.1", listener.getsockname()[1]))


def test_a_bound_socket_must_be_on_loopback_too() -> None:
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        with pytest.raises(RefusedListenAddress):
            ApiServer(FastAPI(), listener)


def test_it_listens_on_ipv6(installation: Installation) -> None:
    server = ApiServer(create_app(installation.context()), bind(parse_listen("[::1]:0")))
    with running(server):
        assert httpx.get(f"http://{server.address}/healthz", trust_env=False, timeout=60).status_code == 200


def test_a_signal_ends_it_in_order(eventually: Eventually) -> None:
    port = free_port()
    command = [sys.executable, "-c", PROGRAM % port]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(os.environ)) as process:
        eventually(lambda: is_answering(port))
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert b"orderly end" in output
    assert b"GET" not in output
    assert time.monotonic() - started < 5


def is_answering(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/?q=secret", trust_env=False, timeout=60).text == "here"
    except httpx.TransportError:
        return False


def test_a_small_answer_does_not_wait_for_the_clients_acknowledgement(client: httpx.Client) -> None:
    taken = []
    for _ in range(10):
        began = time.monotonic()
        assert client.get("/healthz").status_code == 200
        taken.append(time.monotonic() - began)
    assert min(taken[1:]) < 0.03  # with Nagle's algorithm each waits for Linux' delayed ACK, 40 ms

"""Servers in threads, for as long as a block runs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer
from typing import TypeVar

from installation import wait_until

from molecatcher.processes.listener_thread import Server

AnyServer = TypeVar("AnyServer", bound=Server)


@contextmanager
def running(server: AnyServer) -> Iterator[AnyServer]:
    """Run a server of ours; when told to, it must end."""
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.is_started)
        yield server
    finally:  # a thread that goes on would keep a failed run from ending
        server.stop()
        thread.join(60)
    assert not thread.is_alive()


@contextmanager
def in_background(server: BaseServer) -> Iterator[None]:
    """Run one of the standard library's."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()

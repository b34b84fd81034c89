"""A server in a thread of its own, beside the API's."""

import threading
from typing import Protocol

from api.serving.server import ListenAddress


class Server(Protocol):
    """What the thread runs."""

    @property
    def address(self) -> ListenAddress:
        """Return where it listens."""

    @property
    def is_started(self) -> bool:
        """Tell whether questions are answered."""

    def run(self) -> None:
        """Serve until `stop`."""

    def stop(self) -> None:
        """End `run`, from any thread."""


class ListenerThread:
    """Runs a server; `poll` is for what it has to look at now and then."""

    def __init__(self, server: Server, name: str) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.run, name=name, daemon=True)

    @property
    def address(self) -> ListenAddress:
        """Return where it listens."""
        return self._server.address

    @property
    def is_alive(self) -> bool:
        """Tell whether it has not failed."""
        return self._thread.is_alive()

    @property
    def is_started(self) -> bool:
        """Tell whether questions are answered."""
        return self._server.is_started

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def poll(self) -> None:
        """Take up what changed outside."""

    def stop(self) -> None:
        """End, and let what is being answered finish for some seconds."""
        self._server.stop()
        if self._thread.is_alive():
            self._thread.join()

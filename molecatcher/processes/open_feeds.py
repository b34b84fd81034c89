"""The second listener: lists for other hosts, over TLS, each request with a token."""

import socket
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from api.app import create_feed_app, is_proxy
from api.serving.server import ApiServer, Reach, bind, parse_listen
from api.serving.tls import Certificate
from molecatcher.access_file import load_access
from molecatcher.errors import SetupError
from molecatcher.processes.listener_thread import ListenerThread
from molecatcher.settings import Settings


@dataclass(frozen=True, slots=True)
class OpenListener:
    """A socket that other hosts may reach, and the certificate that it shows them."""

    socket: socket.socket
    certificate: Certificate


def listen_openly(settings: Settings) -> OpenListener | None:
    """Return the listener that the settings ask for, None when they ask for none.

    Raises:
        SetupError, ApiError: an address or a certificate that cannot be used; there is no listening without TLS.
    """
    if settings.feeds_listen is None:
        return None
    if settings.tls_cert is None:
        raise SetupError("--feeds-listen needs --tls-cert (and --tls-key): no token goes in the clear")
    tls = load_access(settings).tls
    certificate = Certificate(settings.tls_cert, settings.tls_key, Path(tls.client_ca) if tls else None)
    return OpenListener(bind(parse_listen(settings.feeds_listen, only_loopback=False)), certificate)


class OpenFeeds(ListenerThread):
    """Serves the lists of `main` on a listener of their own."""

    def __init__(self, main: FastAPI, listener: OpenListener) -> None:
        self.certificate = listener.certificate
        server = ApiServer(
            create_feed_app(main),
            listener.socket,
            listener.certificate,
            reach=Reach.LISTS,
            is_proxy=partial(is_proxy, main),
        )
        super().__init__(server, "open-feeds")

    def poll(self) -> None:
        """Take up a changed certificate."""
        self.certificate.poll()

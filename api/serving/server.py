"""The HTTP server: uvicorn on a loopback socket, with our logging and an orderly end."""

import ipaddress
import logging
import resource
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import RefusedListenAddress
from api.serving.slow_clients import BoundedProtocol, LocalProtocol, PatientProtocol
from api.serving.streaming import IS_STOPPING
from api.serving.tls import Certificate

DEFAULT_LISTEN = "127.0.0.1:8484"
BACKLOG = 256
GRACE_S = 5
MAX_CONNECTIONS = 2048  # a thousand of them may be streams of events
OTHER_FILES = 1024
MAX_OPEN_CONNECTIONS = 256  # from other hosts, over TLS
MAX_PORT = 65_535

log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A loopback address and port; port 0 lets the system choose."""

    host: str
    port: int

    @property
    def family(self) -> socket.AddressFamily:
        """Return the socket family."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Reach(Enum):
    """Who may reach a socket: this host; strangers, of whom each has a small share; those who work with the program."""

    LOOPBACK = "loopback"
    LISTS = "lists"
    EVERYTHING = "everything"


PROTOCOLS = {Reach.LISTS: BoundedProtocol, Reach.EVERYTHING: PatientProtocol}


def is_loopback_address(host: str) -> bool:
    """Tell whether nobody but this host reaches an address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    is_mapped = isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None
    return address.is_loopback and not is_mapped


def parse_listen(text: str, *, only_loopback: bool = True) -> ListenAddress:
    """Return the address that `127.0.0.1:8484`, `localhost:8484` or `[::1]:8484` means.

    Raises:
        RefusedListenAddress: it is malformed, or other hosts could reach it and `only_loopback` forbids that.
    """
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if (
        not colon
        or not port.isascii()
        or not port.isdigit()
        or int(port) > MAX_PORT
        or (":" in host and not is_bracketed)
    ):
        raise RefusedListenAddress(
            f"{text!r} is no listen address: give HOST:PORT such as {DEFAULT_LISTEN} or [::1]:8484."
        )
    host = "127.0.0.1" if host.lower() == "localhost" else host.removeprefix("[").removesuffix("]")
    if only_loopback:
        _require_loopback(host, text)
    return ListenAddress(host, int(port))


def bind(address: ListenAddress) -> socket.socket:
    """Return a socket that listens at `address`.

    Raises:
        RefusedListenAddress: it is taken or not there.
    """
    # asyncio turns Nagle's algorithm off where the protocol is named: a small answer would wait 40 ms for an ACK.
    listener = socket.socket(address.family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise RefusedListenAddress(f"Cannot listen on {address} ({error.strerror}): give another address.") from None
    return listener


class ApiServer:
    """Serves an application on a listening socket until it is stopped; the socket is closed in the end."""

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        certificate: Certificate | None = None,
        *,
        reach: Reach = Reach.LOOPBACK,
        is_proxy: Callable[[str], bool] = lambda _address: False,
    ) -> None:
        """Serve `app` over TLS if there is a certificate; `reach` says who may reach the socket.

        `is_proxy` tells whether an address is a trusted proxy's, through which many come.
        """
        if reach is Reach.LOOPBACK:
            _require_loopback(listener.getsockname()[0], "the socket")
        self._listener = listener
        self._server = uvicorn.Server(_config(self._announcing(app), reach, certificate, is_proxy))

    def _announcing(self, app: ASGIApp) -> ASGIApp:
        """Return `app` with each request told how to know that the server is about to stop."""

        async def announce(scope: Scope, receive: Receive, send: Send) -> None:
            scope[IS_STOPPING] = lambda: self._server.should_exit
            await app(scope, receive, send)

        return announce

    @property
    def address(self) -> ListenAddress:
        """Return where it listens, with the port that the system chose."""
        host, port, *_ = self._listener.getsockname()
        return ListenAddress(host, port)

    @property
    def is_started(self) -> bool:
        """Tell whether requests are answered."""
        return self._server.started

    def run(self) -> None:
        """Serve until `stop`. In the main thread SIGINT and SIGTERM stop it too and are raised again afterwards."""
        _log_through_structlog()
        _allow_connections()
        log.info("api_listening", address=str(self.address))
        with self._listener:
            self._server.run(sockets=[self._listener])

    def stop(self) -> None:
        """Let running requests finish, for some seconds, and end `run`. Any thread may call it."""
        self._server.should_exit = True


def serve(app: ASGIApp, listen: str = DEFAULT_LISTEN, listener: socket.socket | None = None) -> None:
    """Serve `app` at `listen`, or on a socket that listens already, until a signal ends it.

    Raises:
        RefusedListenAddress: the address is malformed, taken, or one that other hosts could reach.
    """
    ApiServer(app, listener or bind(parse_listen(listen))).run()


def _require_loopback(host: str, text: str) -> None:
    if not is_loopback_address(host):
        raise RefusedListenAddress(
            f"Refusing to listen on {text} without TLS or a trusted proxy: whoever reaches it could read along. "
            "Listen on 127.0.0.1 or [::1], or see docs/security.md, 'Beyond loopback'."
        )


def _config(
    app: ASGIApp, reach: Reach, certificate: Certificate | None, is_proxy: Callable[[str], bool]
) -> uvicorn.Config:
    """Return the settings of a listener; where others reach it, clients have deadlines and a share of the places."""
    options: dict[str, Any] = {
        "loop": "uvloop",  # half the CPU of a new connection over TLS, as most firewalls pull
        "http": LocalProtocol if reach is Reach.LOOPBACK else partial(PROTOCOLS[reach], is_proxy=is_proxy),
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "ws": "none",
        "lifespan": "on",
        "limit_concurrency": MAX_OPEN_CONNECTIONS if reach is Reach.LISTS else MAX_CONNECTIONS,
        "timeout_graceful_shutdown": GRACE_S,
    }
    if certificate is not None:
        options["ssl_context_factory"] = lambda _config, _default: certificate.context
    return uvicorn.Config(app, **options)


def _allow_connections() -> None:
    """Raise the soft limit of open files, as far as the hard one allows, to what the connections need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + OTHER_FILES
    if soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


class _StructlogHandler(logging.Handler):
    """Passes uvicorn's records on to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record as an event."""
        log.log(record.levelno, "uvicorn", message=record.getMessage(), exc_info=record.exc_info)


def _log_through_structlog() -> None:
    """Give uvicorn's logger our handler, once; queries are not logged, they hold who is looked for."""
    logger = logging.getLogger("uvicorn")
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    logger.handlers = [_StructlogHandler()]

"""Behind a proxy: who asks is what the trusted proxies say, and nobody else.

Each of the last `hops` hops must be trusted: the one that connects, and those before it in `X-Forwarded-For`. The
address that the first of them saw is who asks. Where `Forwarded` is there too it must say the same.
"""

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access.addresses import is_within, parse_address
from api.access.config import ProxyConfig
from api.problems import Kind, Problem

SCHEMES = ("http", "https")


class TrustedProxies:
    """ASGI middleware that replaces client and scheme by what trusted proxies say of them.

    `config` is asked for each request; None: no proxy is trusted, and none is needed.
    """

    def __init__(self, app: ASGIApp, config: Callable[[], ProxyConfig | None]) -> None:
        self.app = app
        self.config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on as the one whom the proxies serve sent it."""
        config = self.config()
        if scope["type"] == "http" and config is not None:
            peer = scope["client"][0] if scope["client"] else ""
            if is_trusted(peer, config):
                _believe(scope, config)
            elif scope["scheme"] != "https" and not _is_loopback(peer):
                raise Problem(Kind.NOT_ALLOWED, "Ask through the proxy: in the clear only it is answered.")
        await self.app(scope, receive, send)


def _believe(scope: Scope, config: ProxyConfig) -> None:
    headers = Headers(scope=scope)
    scope["client"] = (_client(headers, config), 0)
    scheme = headers.get("x-forwarded-proto", "").split(",")[-1].strip().lower()
    scope["scheme"] = scheme if scheme in SCHEMES else scope["scheme"]


def _client(headers: Headers, config: ProxyConfig) -> str:
    """Return who asks.

    Raises:
        Problem: the proxies do not say.
    """
    chains = [_last(",".join(headers.getlist("x-forwarded-for")), config.hops)]
    chains.append(_last(_forwarded(",".join(headers.getlist("forwarded"))), config.hops))
    chain, *others = [each for each in chains if each] or [[]]
    if any(other != chain for other in others):  # one of them may be the client's own, passed on
        raise Problem(Kind.BAD_REQUEST, "X-Forwarded-For and Forwarded differ: the proxy must remove one of them.")
    is_whole = len(chain) == config.hops and all(parse_address(part) for part in chain)
    if not is_whole or not all(is_trusted(part, config) for part in chain[1:]):
        detail = f"The proxy must send X-Forwarded-For with {config.hops} or more addresses of clients and proxies."
        raise Problem(Kind.BAD_REQUEST, detail)
    return chain[0]


def _last(said: str, hops: int) -> list[str]:
    """Return the last addresses of a header, each in its usual form; none if it is not there."""
    bare = [_bare(part) for part in said.split(",")][-hops:] if said else []
    return [str(parse_address(part) or part.lower()) for part in bare]


def is_trusted(text: str, config: ProxyConfig) -> bool:
    """Tell whether an address is a trusted proxy's."""
    address = parse_address(text)
    return address is not None and is_within(address, config.networks)


def _is_loopback(text: str) -> bool:
    address = parse_address(text)
    return address is not None and address.is_loopback


def _forwarded(value: str) -> str:
    """Return the `for` members of a Forwarded header (RFC 7239), one for each element, as X-Forwarded-For has them."""
    members = [dict(_pair(it) for it in element.split(";")) for element in value.split(",")]
    return ",".join(member.get("for", "") for member in members)


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.strip().partition("=")
    return name.lower(), value.strip('"')


def _bare(text: str) -> str:
    """Return an address without port, brackets and quotes."""
    text = text.strip().strip('"')
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text

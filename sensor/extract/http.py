"""The head of an HTTP/1 request (RFC 9112), recognised by content.

Of the header fields only those named here are looked at. Credentials, cookies and query strings are never copied.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from rules.values.value import Value
from sensor.errors import MalformedHttp, NeedMoreData
from sensor.extract.text import escape, fold_host

MAX_HEAD_OCTETS: Final = 16384
MAX_TARGET_OCTETS: Final = 8000
MAX_PROTOCOL_OCTETS: Final = 40

# Proxies are generous (RFC 9112 section 3): Squid and HAProxy take every token for a method, tabs for spaces, several
# of them, versions that there are not. A line that no program takes is none.
METHOD: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}"
_SPACE: Final = rb"[ \t\x0b\x0c\r]"
_TARGET: Final = rb"[\x21-\x7e\x80-\xff]{1,8000}"
_REQUEST_LINE: Final = re.compile(
    rb"(" + METHOD + rb")" + _SPACE + rb"+(" + _TARGET + rb")" + _SPACE + rb"+HTTP/[0-9]\.[0-9]\r*\n"
)
_BEGINNING: Final = re.compile(
    METHOD + rb"(?:" + _SPACE + rb"+(?:" + _TARGET + rb"(?:" + _SPACE + rb"+(?:[HTP/0-9.]{1,8}\r*)?)?)?)?"
)
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_FIELD: Final = re.compile(
    rb"^(host|upgrade|sec-websocket-protocol|content-length|transfer-encoding|x-inlets-id)[ \t]*:"
    rb"((?:[^\r\n]|\r?\n[ \t])*)",  # a value may go on in the next line (RFC 9112 section 5.2)
    re.IGNORECASE | re.MULTILINE,
)
_HOST_AND_PORT: Final = re.compile(rb"(?:\[[^\]]*\]|[^:\[@]+):[0-9]+")
_HIGHEST_PORT: Final = 65535
_BEARER_PROTOCOL: Final = b"base64url.bearer."  # Kubernetes carries a token there


class HttpRequest(Value, frozen=True):
    """A request as far as it says where it goes.

    `target` is the authority of a CONNECT, else the path without its query. `host` is folded, an IPv6 literal without
    its brackets; it comes from the target where that holds one (RFC 9112 section 3.2.2: `is_absolute`, for a proxy),
    else from the Host field. `other_host` is what other programs take for the host of a target that no standard allows.
    `is_inlets`: it has the field by which inlets numbers its clients.
    `head_octets` is 0 where the head was cut off, `body_octets` None where the body's length is unknown.
    """

    method: str
    target: str
    host: str | None
    port: int | None
    upgrade: str = ""
    websocket_protocols: tuple[str, ...] = ()
    head_octets: int = 0
    body_octets: int | None = 0
    is_absolute: bool = False
    other_host: str | None = None
    is_inlets: bool = False


def read_request(stream: bytes, *, is_final: bool = False) -> HttpRequest:
    """Return the request that `stream` begins with.

    Args:
        stream: payload octets in order.
        is_final: nothing more will come: a head that is cut off is returned as far as its lines are complete.

    Raises:
        NeedMoreData: valid so far, but the head is not complete.
        MalformedHttp: not a request, or a CONNECT without a host.
    """
    line = _REQUEST_LINE.match(stream)
    if line is None:
        if not stream or _BEGINNING.fullmatch(stream):
            raise NeedMoreData
        raise MalformedHttp(0, "not a request line")
    end = _HEAD_END.search(stream, line.end() - 2, MAX_HEAD_OCTETS)
    if end is None and not is_final and len(stream) < MAX_HEAD_OCTETS:
        raise NeedMoreData
    stop = end.start() if end else stream.rfind(b"\n", 0, MAX_HEAD_OCTETS)
    fields: dict[bytes, bytes] = {}
    for name, value in _FIELD.findall(stream, line.end(), max(stop, line.end())):
        fields.setdefault(name.lower(), value.strip())
    return _as_request(line[1].upper(), line[2], fields, end.end() if end else 0)


def _as_request(method: bytes, target: bytes, fields: dict[bytes, bytes], head_octets: int) -> HttpRequest:
    authority, path = split_target(method, target)
    split = split_connect if method == b"CONNECT" else split_authority
    field = fields.get(b"host", b"")
    host, port = split(authority or field.partition(b",")[0])
    other = other_reading(method, target) if authority else other_field(field)
    if method == b"CONNECT" and not host:
        raise MalformedHttp(0, "CONNECT without a host")
    return HttpRequest(
        method=method.decode("ascii"),
        target=path if method != b"CONNECT" else f"{host}:{port}" if port is not None else host,
        host=host or None,
        port=port,
        upgrade=escape(fields.get(b"upgrade", b"")[:MAX_PROTOCOL_OCTETS].lower()),
        websocket_protocols=_websocket_protocols(fields.get(b"sec-websocket-protocol", b"")),
        head_octets=head_octets,
        body_octets=_body_octets(fields),
        is_absolute=bool(authority) and method != b"CONNECT",
        other_host=other if other != host else None,
        is_inlets=b"x-inlets-id" in fields,
    )


def split_target(method: bytes, target: bytes) -> tuple[bytes, str]:
    """Return authority and path of a request target (RFC 9112 section 3.2), without the query."""
    if method == b"CONNECT":
        return re.split(rb"[/?#]", target, maxsplit=1)[0], ""
    scheme, separator, rest = target.partition(b"://")
    if not separator or not scheme.isalpha():
        return b"", escape(re.split(rb"[?#]", target, maxsplit=1)[0])
    authority = re.split(rb"[/?#]", rest, maxsplit=1)[0]
    return authority, escape(re.split(rb"[?#]", rest[len(authority) :], maxsplit=1)[0]) or "/"


def split_authority(authority: bytes) -> tuple[str, int | None]:
    """Return host, decoded and folded, and port of `host:port`, `[v6]:port` or `host` (RFC 3986 section 3.2)."""
    authority = authority.rpartition(b"@")[2]
    if authority.startswith(b"["):
        host, _, rest = authority[1:].partition(b"]")
        port = rest.removeprefix(b":")
    elif authority.count(b":") > 1:
        host, port = authority, b""
    else:
        host, _, port = authority.partition(b":")
    is_port = port.isdigit() and len(port) <= len(str(_HIGHEST_PORT)) and int(port) <= _HIGHEST_PORT
    host = unquote_to_bytes(host) if b"%" in host else host
    return fold_host(host), int(port) if is_port else None


def split_connect(authority: bytes) -> tuple[str, int | None]:
    """Return host and port of a CONNECT's `host:port` (RFC 9112 section 3.2.3), which has no user information.

    What stands behind the port is passed over, as Squid does.
    """
    found = _HOST_AND_PORT.match(authority)
    return split_authority(found[0] if found is not None else authority)


def other_reading(method: bytes, target: bytes) -> str | None:
    """Return the host that other programs take from a target that no standard allows.

    A CONNECT with an `@`: Go's net/url and HAProxy take what stands before it for user information. A CONNECT with a
    scheme: HAProxy passes over it. A question mark: HAProxy lets the authority end at a slash only. A backslash:
    browsers and Node.js take it for a slash (WHATWG URL), where the host ends; Squid takes no notice of it.
    """
    scheme, separator, rest = target.partition(b"://")
    authority = (rest if separator and scheme.isalpha() else target).partition(b"/")[0]
    if method == b"CONNECT" and b"@" not in authority and not separator:
        return None
    if method != b"CONNECT" and b"\\" in authority:
        return split_authority(re.split(rb"[\\?#]", authority, maxsplit=1)[0])[0] or None
    host = re.split(rb"[?#]", authority.rpartition(b"@")[2], maxsplit=1)[0]
    return split_authority(host)[0] or None


def other_field(field: bytes) -> str | None:
    """Return the last host of a Host field that holds several: HAProxy takes it for a list."""
    _, comma, last = field.rpartition(b",")
    return split_authority(last.strip())[0] or None if comma else None


def _websocket_protocols(value: bytes) -> tuple[str, ...]:
    """Return the subprotocols offered (RFC 6455 section 11.3.4); what is long enough to be a token is left out."""
    names = [name.strip() for name in value.split(b",")]
    return tuple(
        escape(name.lower())
        for name in names
        if 0 < len(name) <= MAX_PROTOCOL_OCTETS and not name.startswith(_BEARER_PROTOCOL)
    )


def _body_octets(fields: dict[bytes, bytes]) -> int | None:
    """Return the length of the body in octets, None where it is chunked or makes no sense (RFC 9112 section 6)."""
    length = fields.get(b"content-length", b"0")
    if b"transfer-encoding" in fields or not length.isdigit() or len(length) > 18:  # noqa: PLR2004 - 2**63 has 19 digits
        return None
    return int(length)

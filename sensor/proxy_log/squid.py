"""Squid's access log: `squid`, `common` and `combined` (squid.conf.documented, logformat).

To the native format further fields may be added as `port=%>p out=%>st sni=%ssl::>sni`: the client's port, the octets
that it sent, and the server name in a tunnel that Squid looks into.
"""

import re
from urllib.parse import unquote_to_bytes

from sensor.errors import MalformedLogLine
from sensor.extract.http import METHOD, split_authority, split_connect, split_target
from sensor.extract.text import escape, fold_host
from sensor.proxy_log.clock import common_time_ns
from sensor.proxy_log.record import (
    DENIED,
    MAX_USER_OCTETS,
    UNKNOWN_ADDRESS,
    ProxyRecord,
    is_established,
    packed_address,
)

DEFAULT_PORTS = {b"http": 80, b"https": 443, b"ftp": 21, b"ws": 80, b"wss": 443}

_NATIVE = re.compile(
    rb"(\d{1,11})\.(\d{3}) +(\d{1,12}) (\S+) ([A-Z_]+)/(-|\d{3}) (\d{1,18}) (" + METHOD + rb") (\S+) (\S+) "
    rb"([A-Z_0-9]+)/(\S+)(?: \S+)?(.*)"
)
_COMMON = re.compile(
    rb'(\S+) (\S+) (\S+) \[([^\]]{20,32})\] "(' + METHOD + rb') (\S+) [^"]{1,16}" (-|\d{3}) (\d{1,18}|-)(?: .*)? '
    rb"([A-Z_]+):[A-Z_0-9]+"
)
_FURTHER = re.compile(rb" (port|out|sni)=(\S+)")


def read_native(line: bytes) -> ProxyRecord | None:
    """Return what a line of the format `squid` says, None when it is not one; its time is that of the end.

    Raises:
        MalformedLogLine: a line of this format that says nothing usable.
    """
    found = _NATIVE.fullmatch(line)
    if found is None:
        return None
    seconds, thousandths, duration, client, result, status, octets, method, target, user, _, server, rest = (
        found.groups()
    )
    further = dict(_FURTHER.findall(rest))
    ended_ns = (int(seconds) * 1000 + int(thousandths)) * 1_000_000
    host, port = read_target(method, target)
    verb = method.decode("ascii")
    is_denied = _is_denied(result, status)
    return ProxyRecord(
        began_ns=ended_ns - int(duration) * 1_000_000,
        duration_ms=int(duration),
        client=packed_address(client, found.start(4)),
        client_port=_number(further.get(b"port", b"")),
        method=verb,
        host=host,
        port=port,
        sni=None if further.get(b"sni", b"-") == b"-" else fold_host(further[b"sni"]),
        server=_server(server),
        octets_in=int(octets),
        octets_out=_number(further.get(b"out", b"")),
        user=read_user(user),
        is_denied=is_denied,
        is_established=not is_denied and is_established(verb, _number(status), int(octets)),
    )


def read_common(line: bytes) -> ProxyRecord | None:
    """Return what a line of the formats `common` or `combined` says, None when it is not one.

    Raises:
        MalformedLogLine: a line of these formats that says nothing usable.
    """
    found = _COMMON.fullmatch(line)
    if found is None:
        return None
    client, _, user, when, method, target, status, octets, result = found.groups()
    host, port = read_target(method, target)
    verb = method.decode("ascii")
    is_denied = _is_denied(result, status)
    return ProxyRecord(
        began_ns=common_time_ns(when, found.start(4)),
        duration_ms=0,
        client=packed_address(client, 0),
        client_port=0,
        method=verb,
        host=host,
        port=port,
        octets_in=_number(octets),
        user=read_user(user),
        is_denied=is_denied,
        is_established=not is_denied and is_established(verb, _number(status), _number(octets)),
    )


def read_target(method: bytes, target: bytes) -> tuple[str, int]:
    """Return host and port that a request to a proxy asks for, the scheme's port where none is given.

    Raises:
        MalformedLogLine: it names no host, such as `error:invalid-request`.
    """
    authority = split_target(method, target)[0]
    host, port = split_connect(authority) if method == b"CONNECT" else split_authority(authority)
    if not host:
        raise MalformedLogLine(0, "no host in the request")
    return host, port or DEFAULT_PORTS.get(target.partition(b"://")[0].lower(), 0)


def read_user(text: bytes) -> str | None:
    """Return the name under which a client signed in at the proxy, None where the log has a dash; at most 64 octets."""
    return None if text in (b"-", b"") else escape(unquote_to_bytes(text)[:MAX_USER_OCTETS])


def _is_denied(result: bytes, status: bytes) -> bool:
    """Tell whether Squid's own rules refused the request; 407 only asks the client to sign in first."""
    return b"DENIED" in result and _number(status) == DENIED


def _server(text: bytes) -> bytes:
    try:
        return packed_address(text, 0)
    except MalformedLogLine:
        return UNKNOWN_ADDRESS


def _number(text: bytes) -> int:
    return int(text) if text.isdigit() else 0

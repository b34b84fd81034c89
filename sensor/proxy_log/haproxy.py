"""HAProxy's log: `option httplog`, `option tcplog` (HAProxy's configuration manual, section 8.2).

In HTTP mode a forward proxy's request line holds the server name, else a captured Host. In TCP
mode a captured SNI has it, behind the fields of `tcplog` as `%hr`.
"""

import re

from sensor.errors import MalformedLogLine
from sensor.extract.http import METHOD, other_reading, split_authority, split_target
from sensor.proxy_log.clock import common_time_ns
from sensor.proxy_log.record import CONNECT, DENIED, ProxyRecord, is_established, packed_address
from sensor.proxy_log.squid import read_target

_BEGINNING = (
    rb"(\S+):(\d{1,5}) \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d(?:\.\d{3})?(?: [+-]\d{4})?)\] "
    rb"\S+ \S+/\S+ (?:[+-]?\d+/){2,4}\+?(-?\d{1,12}) "
)
_HTTP = re.compile(
    _BEGINNING + rb'(-?\d{1,4}) \+?(\d{1,18}) \S+ \S+ (\S{4}) \S+ \S+(?: \{([^}]*)\})?(?: \{[^}]*\})? "([^"]*)"?'
)
_TCP = re.compile(_BEGINNING + rb"\+?(\d{1,18}) (\S\S) \S+ \S+(?: \{([^}]*)\})?.*")
_REQUEST = re.compile(rb"(" + METHOD + rb") (\S+)(?: HTTP/\S+)?")
_BY_PROXY = b"P"  # first character of the termination state: the proxy itself ended the session (section 8.5)


def read_http(line: bytes) -> ProxyRecord | None:
    """Return what a line of `option httplog` says, None when it is not one.

    Raises:
        MalformedLogLine: a line of this format that says nothing usable.
    """
    found = _HTTP.fullmatch(line)
    if found is None:
        return None
    client, client_port, when, duration, status_text, octets, ended, captured, request_line = found.groups()
    method, host, port = _request(request_line, captured or b"", found.start(9))
    status = int(status_text)
    is_denied = ended.startswith(_BY_PROXY) or (method == CONNECT and status == DENIED)
    return ProxyRecord(
        began_ns=common_time_ns(when, found.start(3)),
        duration_ms=max(0, int(duration)),
        client=packed_address(client, 0),
        client_port=int(client_port),
        method=method,
        host=host,
        port=port,
        octets_in=int(octets),
        is_denied=is_denied,
        is_established=not is_denied and is_established(method, status, int(octets)),
    )


def read_tcp(line: bytes) -> ProxyRecord | None:
    """Return what a line of `option tcplog` with a captured server name says, None when it is not one.

    Raises:
        MalformedLogLine: a line of this format that says nothing usable, such as one without a captured name.
    """
    found = _TCP.fullmatch(line)
    if found is None:
        return None
    client, client_port, when, duration, octets, ended, captured = found.groups()
    name = _captured_host(captured or b"")[0]
    if not name:
        raise MalformedLogLine(len(line), "no captured server name")
    is_denied = ended.startswith(_BY_PROXY)
    return ProxyRecord(
        began_ns=common_time_ns(when, found.start(3)),
        duration_ms=max(0, int(duration)),
        client=packed_address(client, 0),
        client_port=int(client_port),
        method="",
        host=name,
        port=0,
        sni=name,
        octets_in=int(octets),
        is_denied=is_denied,
        is_established=not is_denied and int(octets) > 0,
    )


def _request(line: bytes, captured: bytes, offset: int) -> tuple[str, str, int]:
    """Return method, host and port of a request; an origin form (RFC 9112 section 3.2.1) has them in a captured Host.

    Raises:
        MalformedLogLine: `<BADREQ>`, or no host anywhere.
    """
    found = _REQUEST.match(line)
    if found is None:
        raise MalformedLogLine(offset, "no request")
    method, target = found.groups()
    if split_target(method, target)[0]:
        host, port = read_target(method, target)
        return method.decode("ascii"), other_reading(method, target) or host, port
    host, port = _captured_host(captured)
    if not host:
        raise MalformedLogLine(offset, "no host in the request and no captured one")
    return method.decode("ascii"), host, port


def _captured_host(captured: bytes) -> tuple[str, int]:
    """Return the first of the captured values that has the form of a host name, with its port or 0.

    Of several hosts in one Host field HAProxy takes the last.
    """
    for values in captured.split(b"|"):
        value = values.rpartition(b",")[2].strip()
        host, port = split_authority(value)
        if b"." in value and b" " not in value and b"/" not in value:
            return host, port or 0
    return "", 0

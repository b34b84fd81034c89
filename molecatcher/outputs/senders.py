"""How each kind of output speaks. A sender takes a batch of events and returns when all were taken, or raises.

Deliveries are at least once: what is sent again carries the same ids (`webhook-id`, `event_id` with `revision`).
"""

import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import apprise
import msgspec

from api.exports import EXPORTS, ExportFormat
from api.webhooks import signed_headers
from db.workflow.output_values import Output, OutputKind
from molecatcher.outputs.errors import DeliveryFailed
from molecatcher.outputs.http import post
from molecatcher.outputs.judged import judged_by
from molecatcher.outputs.target import TargetGuard
from rules.values.event import Event, rfc3339, to_document
from rules.values.verdict import Severity

NS_PER_S = 1_000_000_000
FACILITY_LOCAL0 = 16
SYSLOG_SEVERITY = {Severity.HIGH: 3, Severity.MEDIUM: 4, Severity.LOW: 5}
INFORMATIONAL = 6
SYSLOG_TIMEOUT_S = 20.0
LINES = 20


@dataclass(frozen=True, slots=True)
class Means:
    """What senders use: the guard, TLS, the time, the version, this host's name."""

    guard: TargetGuard
    tls: ssl.SSLContext
    now_ns: Callable[[], int]
    version: str
    hostname: str


def send(output: Output, secrets: Sequence[str], events: Sequence[Event], means: Means) -> None:
    """Deliver `events` in their order.

    Raises:
        DeliveryFailed: not all of them were taken; the message says why, without secrets.
    """
    _SENDERS[output.kind](output, secrets, events, means)


def _send_webhooks(output: Output, secrets: Sequence[str], events: Sequence[Event], means: Means) -> None:
    for event in events:
        kind = "event.created" if event.revision == 1 else "event.updated"
        document = {"type": kind, "timestamp": rfc3339(event.last_seen_ns), "data": to_document(event)}
        body = msgspec.json.encode(document)
        headers = signed_headers(secrets, f"{event.event_id}.{event.revision}", means.now_ns() // NS_PER_S, body)
        headers |= {"Content-Type": "application/json", "User-Agent": f"Molecatcher/{means.version}"}
        post(means.guard, _text(output, "url"), headers, body, means.tls)


def _send_hec(output: Output, secrets: Sequence[str], events: Sequence[Event], means: Means) -> None:
    documents = [
        {
            "time": event.last_seen_ns / NS_PER_S,
            "host": event.sensor_name or event.sensor_id,
            "source": "molecatcher",
            "sourcetype": "molecatcher:event",
            **({"index": output.target["index"]} if output.target.get("index") else {}),
            "event": to_document(event),
        }
        for event in events
    ]
    headers = {"Authorization": f"Splunk {secrets[0]}", "Content-Type": "application/json"}
    url = _text(output, "url").rstrip("/") + "/services/collector/event"
    answer = post(means.guard, url, headers, b"\n".join(map(msgspec.json.encode, documents)), means.tls)
    try:
        code = msgspec.json.decode(answer, type=dict[str, Any]).get("code")
    except msgspec.DecodeError:
        code = None
    if code != 0:
        raise DeliveryFailed(f"the collector answered with code {code}")


def _send_syslog(output: Output, _secrets: Sequence[str], events: Sequence[Event], means: Means) -> None:
    """Send one TLS connection's worth of messages; it was taken when the other side has closed in its turn."""
    host, port = _text(output, "host"), int(str(output.target["port"]))
    export = EXPORTS[ExportFormat.CEF if output.target.get("format") == "cef" else ExportFormat.NATIVE]
    frames = b"".join(
        octet_counted(syslog_message(event, export.write(event, means.version).rstrip(b"\n"), means.hostname))
        for event in events
    )
    raw = means.guard.connect(host, port, is_encrypted=True)
    raw.settimeout(SYSLOG_TIMEOUT_S)
    try:
        with _tls_of(output, means).wrap_socket(raw, server_hostname=host) as stream:
            stream.sendall(frames)
            _close_in_turn(stream)
    except (OSError, ValueError) as error:
        raise DeliveryFailed(f"{host} did not take it: {error}") from None


def _close_in_turn(stream: ssl.SSLSocket) -> None:
    """Say that nothing follows, and wait for the end from the other side, which then has read everything."""
    try:
        stream.unwrap().close()
    except ssl.SSLError as error:
        if error.reason not in {"UNEXPECTED_EOF_WHILE_READING", "APPLICATION_DATA_AFTER_CLOSE_NOTIFY"}:
            raise
    except (ConnectionResetError, TimeoutError):
        raise
    except OSError as error:
        if error.errno not in {0, None}:  # the other side closed without a word of TLS
            raise


def _tls_of(output: Output, means: Means) -> ssl.SSLContext:
    authority = output.target.get("ca")
    return ssl.create_default_context(cadata=str(authority)) if authority else means.tls


def syslog_message(event: Event, text: bytes, hostname: str) -> bytes:
    """Return an event as a message of RFC 5424."""
    priority = FACILITY_LOCAL0 * 8 + SYSLOG_SEVERITY.get(event.severity, INFORMATIONAL)
    head = f"<{priority}>1 {rfc3339(event.last_seen_ns)} {hostname} molecatcher - {event.verdict.value} - "
    return head.encode("ascii", "replace") + text


def octet_counted(message: bytes) -> bytes:
    """Return a message framed as RFC 5425 section 4.3 says."""
    return b"%d %b" % (len(message), message)


def _notify(_output: Output, secrets: Sequence[str], events: Sequence[Event], means: Means) -> None:
    """Tell people: one message a batch. The library says only whether it worked."""
    messenger = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False))  # in this thread, which is judged
    if not messenger.add(list(secrets)):
        raise DeliveryFailed("apprise cannot read the address")
    lines = [
        f"{event.severity.value}: {event.src_host or event.src_ip}, {event.service or 'unknown service'}, "
        f"{event.role.value}, {event.dst_name or event.dst_ip}: {event.state.value}"
        for event in events[:LINES]
    ]
    more = [f"and {len(events) - LINES} more"] if len(events) > LINES else []
    title = f"Molecatcher: {len(events)} detection{'s' if len(events) > 1 else ''}"
    with judged_by(means.guard):
        is_taken = messenger.notify(title=title, body="\n".join(lines + more))
    if not is_taken:
        raise DeliveryFailed("the message was not taken, or its server may not be spoken to")


def _text(output: Output, name: str) -> str:
    return str(output.target[name])


Sender = Callable[[Output, Sequence[str], Sequence[Event], Means], None]
_SENDERS: dict[OutputKind, Sender] = {
    OutputKind.WEBHOOK: _send_webhooks,
    OutputKind.SYSLOG: _send_syslog,
    OutputKind.HEC: _send_hec,
    OutputKind.APPRISE: _notify,
}


def own_hostname() -> str:
    """Return this host's name as syslog takes it (RFC 5424 section 6.2.4)."""
    return "".join(letter for letter in socket.gethostname() if letter.isascii() and letter.isprintable())[:255] or "-"

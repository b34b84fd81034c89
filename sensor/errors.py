"""The errors of this package.

SensorError
├── CaptureError            an interface or a file that cannot be read
├── BpfUnavailable          flow heads cannot be cut in the kernel here
├── NeedMoreData            the bytes so far are valid but not complete
└── MalformedInput          bytes that no valid sender produces; has `offset` and `reason`
    ├── MalformedPacket     link, network or transport header
    ├── MalformedCapture    a pcap or pcapng structure
    ├── MalformedDns
    ├── MalformedDhcp
    ├── MalformedTls
    ├── MalformedQuic
    ├── MalformedHttp
    └── MalformedLogLine
"""


class SensorError(Exception):
    """Base of everything this package raises on purpose."""


class CaptureError(SensorError):
    """An interface or a file that cannot be read; the message says what to do."""


class BpfUnavailable(SensorError):
    """BPF programs cannot be loaded here; the message is a clause that says why."""


class NeedMoreData(SensorError):
    """The bytes so far are valid but not complete."""


class MalformedInput(SensorError):
    """Bytes that no valid sender produces."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"{reason} at octet {offset}")
        self.offset = offset
        self.reason = reason


class MalformedPacket(MalformedInput):
    """A link, network or transport header that cannot be."""


class MalformedCapture(MalformedInput):
    """A pcap or pcapng structure that cannot be."""


class MalformedDns(MalformedInput):
    """Not a DNS message (RFC 1035)."""


class MalformedDhcp(MalformedInput):
    """Not a DHCP message (RFC 2131)."""


class MalformedTls(MalformedInput):
    """Not a TLS record or handshake message (RFC 8446)."""


class MalformedQuic(MalformedInput):
    """Not a QUIC Initial (RFC 9000, RFC 9001, RFC 9369)."""


class MalformedHttp(MalformedInput):
    """Not an HTTP/1 request head (RFC 9112)."""


class MalformedLogLine(MalformedInput):
    """Not a line of a proxy's log, or one that names no client or no host."""

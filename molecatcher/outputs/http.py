"""One HTTP request to a guarded target; redirects are not followed, since they would lead elsewhere."""

import http.client
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from molecatcher.outputs.errors import DeliveryFailed
from molecatcher.outputs.target import TargetGuard

TIMEOUT_S = 20.0
MAX_ANSWER_OCTETS = 64 * 1024
SHOWN = 120
PORTS = {"https": 443, "http": 80}


class _Pinned(http.client.HTTPConnection):
    """A connection to the address that was judged, under the target's name."""

    def __init__(self, guard: TargetGuard, url: str, tls: ssl.SSLContext) -> None:
        parts = urlsplit(url)
        self.is_encrypted = parts.scheme == "https"
        super().__init__(parts.hostname or "", parts.port or PORTS[parts.scheme], timeout=TIMEOUT_S)
        self._guard = guard
        self._tls = tls

    def connect(self) -> None:
        """Connect to the judged address; TLS checks the certificate against the name."""
        raw = self._guard.connect(self.host, self.port, is_encrypted=self.is_encrypted)
        raw.settimeout(TIMEOUT_S)
        self.sock = self._tls.wrap_socket(raw, server_hostname=self.host) if self.is_encrypted else raw


def post(guard: TargetGuard, url: str, headers: Mapping[str, str], body: bytes, tls: ssl.SSLContext) -> bytes:
    """Return what the target answers to a POST of `body`.

    Raises:
        DeliveryFailed: it cannot be reached, does not answer in time, or answers with another status than 2xx.
    """
    parts = urlsplit(url)
    connection = _Pinned(guard, url, tls)
    try:
        connection.request("POST", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", body, dict(headers))
        answer = connection.getresponse()
        text = answer.read(MAX_ANSWER_OCTETS)
    except (OSError, http.client.HTTPException, ssl.SSLError) as error:
        raise DeliveryFailed(f"{parts.hostname} did not take it: {error}"[:SHOWN]) from None
    finally:
        connection.close()
    if not http.client.OK <= answer.status < http.client.MULTIPLE_CHOICES:
        raise DeliveryFailed(f"{parts.hostname} answered {answer.status} {answer.reason}"[:SHOWN])
    return text

"""Where a sensor's events go when the database is on another host: its API, over HTTPS, with the sensor's token.

The spool stays in front, so what is not acknowledged is sent again; the API knows events by their ids.
"""

import os
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import requests

from db.errors import StoreUnavailable
from db.values import AppendResult, Rejected
from molecatcher import __version__
from molecatcher.errors import SetupError
from molecatcher.settings import Settings
from rules.event import Event
from rules.sensor_status import SensorStatus

TIMEOUT_S = (5.0, 30.0)  # to connect, between octets of the answer
MAX_EVENTS = 5_000
MAX_OCTETS = 4_900_000  # the API takes 5 MB
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ADVICE = {
    HTTPStatus.UNAUTHORIZED: "its token is not good there, or not from here: make one with `molecatcher token create`",
    HTTPStatus.FORBIDDEN: "its token is for another sensor, or not for events:write",
}


class _Row(msgspec.Struct, frozen=True):
    index: int
    problem: str
    event_id: str | None = None


class _Answer(msgspec.Struct, frozen=True):
    accepted: int
    updated: int
    duplicate: int
    rejected: tuple[_Row, ...] = ()


class RemoteSink:
    """Takes events and heartbeats for `Delivery`; the token's file is read for each connection, so it may change."""

    def __init__(self, url: str, token_file: Path) -> None:
        self._url = url.rstrip("/")
        self._token_file = token_file

    def append(self, batch: Sequence[Event]) -> AppendResult:
        """Send events, and return what became of them when all are committed there.

        Raises:
            StoreUnavailable: they were not all taken; sending all of them again is harmless.
        """
        stored = updated = ignored = 0
        rejected: list[Rejected] = []
        for first, body in _bodies(batch):
            content = self._post("/v1/events:batch", body, "application/x-ndjson")
            try:
                answer = msgspec.json.decode(content, type=_Answer)
            except msgspec.MsgspecError as error:
                raise StoreUnavailable(f"{self._url} answers what no API of ours would: check the address") from error
            stored, updated, ignored = stored + answer.accepted, updated + answer.updated, ignored + answer.duplicate
            rejected += [Rejected(first + row.index, row.event_id or "", row.problem) for row in answer.rejected]
        return AppendResult(stored, updated, ignored, tuple(rejected))

    def save_heartbeat(self, status: SensorStatus) -> None:
        """Send a heartbeat.

        Raises:
            StoreUnavailable: it was not taken.
        """
        self._post(f"/v1/sensors/{status.sensor_id}/status", msgspec.json.encode(status), "application/json")

    def _post(self, path: str, body: bytes, media_type: str) -> bytes:
        try:
            token = self._token_file.read_text(encoding="ascii").strip()
            headers = {
                "Authorization": f"Bearer {token}",
                "Content-Type": media_type,
                "User-Agent": f"molecatcher-sensor/{__version__}",
            }
            answer = requests.post(
                self._url + path,
                data=body,
                headers=headers,
                timeout=TIMEOUT_S,
                allow_redirects=False,
                verify=os.environ.get("SSL_CERT_FILE") or True,
            )
        except (requests.RequestException, OSError, UnicodeDecodeError) as error:
            raise StoreUnavailable(
                f"{self._url} cannot be reached ({type(error).__name__}): events wait here"
            ) from error
        if not answer.ok or answer.is_redirect:
            advice = ADVICE.get(HTTPStatus(answer.status_code), "events wait here")
            raise StoreUnavailable(f"{self._url} answers {answer.status_code}: {advice}")
        return answer.content


def sink_of(settings: Settings) -> RemoteSink | None:
    """Return where the settings send events, None for the database here.

    Raises:
        SetupError: not an https address, or no token for it.
    """
    if settings.api is None:
        return None
    parts = urlsplit(settings.api)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not is_safe or not parts.hostname:
        raise SetupError(f"{settings.api!r}: give --api https://HOST:PORT; a token is not sent in the clear")
    if settings.token_file is None or not settings.token_file.is_file():
        raise SetupError("--api needs --token-file: a token made with `molecatcher token create --scope events:write`")
    return RemoteSink(settings.api, settings.token_file)


def _bodies(batch: Sequence[Event]) -> Iterator[tuple[int, bytes]]:
    """Yield the events as lines in bodies that the API takes, each with the place of its first event."""
    lines: list[bytes] = []
    first = octets = 0
    for index, event in enumerate(batch):
        line = msgspec.json.encode(event) + b"\n"
        if lines and (octets + len(line) > MAX_OCTETS or len(lines) >= MAX_EVENTS):
            yield first, b"".join(lines)
            lines, first, octets = [], index, 0
        lines.append(line)
        octets += len(line)
    if lines:
        yield first, b"".join(lines)

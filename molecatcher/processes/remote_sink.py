"""Where a sensor's events go when the database is on another host: its API, over HTTPS, with the sensor's token.

The spool stays in front, so what is not acknowledged is sent again; the API knows events by their ids.
"""

from collections.abc import Iterator, Sequence

import msgspec

from db.errors import StoreUnavailable
from db.values import AppendResult, Rejected
from molecatcher.processes.api_client import ApiClient
from rules.values.event import Event
from rules.values.sensor_status import SensorStatus

MAX_EVENTS = 5_000
MAX_OCTETS = 4_900_000  # the API takes 5 MB


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
    """Takes events and heartbeats for `Delivery`."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    def append(self, batch: Sequence[Event]) -> AppendResult:
        """Send events, and return what became of them when all are committed there.

        Raises:
            StoreUnavailable: they were not all taken; sending all of them again is harmless.
        """
        stored = updated = ignored = 0
        rejected: list[Rejected] = []
        for first, body in _bodies(batch):
            content = self._client.post("/v1/events:batch", body, "application/x-ndjson")
            try:
                answer = msgspec.json.decode(content, type=_Answer)
            except msgspec.MsgspecError as error:
                raise StoreUnavailable(
                    f"{self._client.url} answers what no API of ours would: check the address"
                ) from error
            stored, updated, ignored = stored + answer.accepted, updated + answer.updated, ignored + answer.duplicate
            rejected += [Rejected(first + row.index, row.event_id or "", row.problem) for row in answer.rejected]
        return AppendResult(stored, updated, ignored, tuple(rejected))

    def save_heartbeat(self, status: SensorStatus) -> None:
        """Send a heartbeat.

        Raises:
            StoreUnavailable: it was not taken.
        """
        self._client.post(f"/v1/sensors/{status.sensor_id}/status", msgspec.json.encode(status), "application/json")


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

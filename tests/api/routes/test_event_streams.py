"""Events counted, exported, and streamed as they come."""

import asyncio
import csv
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
import pytest
from access_server import serving
from installation import NOW_NS, SECOND_NS, Installation, add_token, event_of, wait_until
from people import sign_in

from api import tail
from api.access.config import AccessConfig
from api.routes import event_streams
from api.schemas.events import AggregateDocument
from db.access.values import AccessRole, TokenScope
from rules.values.direction import Direction
from rules.values.event import rfc3339, to_document
from rules.values.observation import FlowState, Kind, Refusal
from rules.values.verdict import Outcome, Severity

HOUR_NS = 3600 * SECOND_NS


class Stream:
    """The events of a stream, read in the background: (id, name, data)."""

    def __init__(self, answer: httpx.Response) -> None:
        self.frames: list[tuple[int, str, dict[str, object]]] = []
        self.answer = answer
        self.is_over = False
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        fields: dict[str, str] = {}
        try:
            for line in self.answer.iter_lines():
                name, _, value = line.partition(": ")
                if line:
                    fields[name] = value
                    continue
                if "data" in fields:
                    self.frames.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
                    fields = {"id": fields["id"]}
        except httpx.HTTPError:
            pass
        self.is_over = True

    def ids(self) -> list[object]:
        return [data.get("event_id") for _, _, data in self.frames]


@contextmanager
def open_stream(client: httpx.Client, last_event_id: int | None = None, **query: str) -> Iterator[Stream]:
    headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
    with client.stream("GET", "/v1/events/stream", params=query, headers=headers, timeout=30) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Stream(answer)


def test_a_stream_begins_now_and_tells_what_is_stored(installation: Installation, client: httpx.Client) -> None:
    installation.add()
    with open_stream(client) as stream:
        added = [installation.add(), installation.add()]
        wait_until(lambda: len(stream.frames) == 2)
        changed = msgspec.structs.replace(added[0], revision=2, count=5)
        installation.store.append([changed])
        wait_until(lambda: len(stream.frames) == 3)
    assert stream.ids() == [added[0].event_id, added[1].event_id, added[0].event_id]
    assert stream.frames[2][2] == json.loads(json.dumps(to_document(changed)))


def test_a_stream_resumes_without_gaps_or_doubles(installation: Installation, client: httpx.Client) -> None:
    first = installation.add_many(2)
    with open_stream(client, last_event_id=0) as stream:
        wait_until(lambda: len(stream.frames) == 2)
    later = [installation.add() for _ in range(tail.PAGE_EVENTS + 7)]
    with open_stream(client, last_event_id=stream.frames[-1][0]) as resumed:
        wait_until(lambda: len(resumed.frames) >= len(later))
        installation.add(sensor_id="last")
        wait_until(lambda: resumed.frames[-1][2]["sensor_id"] == "last")
    assert sorted(map(str, stream.ids())) == sorted(event.event_id for event in first)
    assert resumed.ids()[:-1] == [event.event_id for event in later]


def test_a_stream_takes_the_filters_of_the_list(installation: Installation, client: httpx.Client) -> None:
    with open_stream(client, service="bore") as stream:
        installation.add()
        wanted = installation.add(service="bore")
        wait_until(lambda: stream.frames)
    assert stream.ids() == [wanted.event_id]


def test_a_place_that_does_not_exist_is_reset(installation: Installation, client: httpx.Client) -> None:
    installation.add()
    with open_stream(client, last_event_id=4711) as stream:
        wait_until(lambda: stream.frames)
        event = installation.add()
        wait_until(lambda: len(stream.frames) == 2)
    assert [name for _, name, _ in stream.frames] == ["reset", "event"]
    assert stream.ids()[1] == event.event_id


@pytest.mark.parametrize("way", ["token", "session"])
def test_a_stream_ends_with_its_token_or_session(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(event_streams, "KNOWN_S", 0.0)
    token = {"X-Api-Key": add_token(installation.store, scopes=(TokenScope.EVENTS_READ,))}
    session = sign_in(installation, AccessRole.VIEWER)
    with serving(installation, AccessConfig(require=True)) as closed:
        closed.headers.update(token if way == "token" else session)
        with open_stream(closed) as stream:
            event = installation.add()
            wait_until(lambda: stream.frames)
            for known in installation.store.tokens():
                installation.store.revoke_token(known.token_id, installation.now_ns)
            for person in installation.store.sessions(installation.now_ns):
                installation.store.revoke_session(person.session_id, installation.now_ns)
            installation.now_ns += 2 * SECOND_NS
            installation.add()
            wait_until(lambda: stream.is_over)
    assert stream.ids() == [event.event_id]


def test_streams_end_when_the_server_stops_and_headers_are_answered_alone(
    installation: Installation, client: httpx.Client
) -> None:
    assert client.head("/v1/events/stream").status_code == 200
    assert client.head("/v1/events/export").headers["content-disposition"].endswith('"events.ndjson"')
    with open_stream(client) as stream:
        installation.stop()
        wait_until(lambda: stream.is_over)


def test_a_place_that_is_no_number_is_refused(client: httpx.Client) -> None:
    answer = client.get("/v1/events/stream", headers={"Last-Event-ID": "x"})
    assert answer.status_code == 422


def test_an_export_holds_every_event_once_over_many_pages(installation: Installation, client: httpx.Client) -> None:
    events = installation.add_many(1203)
    answer = client.get("/v1/events/export")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in answer.text.splitlines()] == [
        json.loads(json.dumps(to_document(event))) for event in events
    ]
    assert client.get("/v1/events/export", params={"service": "bore"}).text == ""


def test_an_export_that_breaks_off_does_not_end_like_a_whole_one(
    installation: Installation, client: httpx.Client
) -> None:
    installation.add_many(20_000)
    with client.stream("GET", "/v1/events/export", timeout=90) as answer:  # the log of it takes some seconds
        chunks = answer.iter_raw()
        next(chunks)
        installation.break_database()
        with pytest.raises(httpx.RemoteProtocolError):
            list(chunks)


def test_a_spreadsheet_runs_no_formula(installation: Installation, client: httpx.Client) -> None:
    event = installation.add(src_user='=HYPERLINK("http://x")', src_process='a "quoted", one\nwith lines')
    answer = client.get("/v1/events/export", params={"format": "csv"})
    row = next(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert row["src_user"] == "'" + str(event.src_user)
    assert row["src_process"] == event.src_process
    assert row["observed_at"] == rfc3339(event.observed_at_ns)
    assert json.loads(row["reasons"])[0]["evidence"] == "tls_sni"


def test_a_cef_line_keeps_what_the_sender_put_into_it(installation: Installation, client: httpx.Client) -> None:
    installation.add(service="a|b", src_process="x=1 cs1=fake\nCEF:0|forged", src_host="host\\1")
    line = client.get("/v1/events/export", params={"format": "cef"}).text
    assert line.count("\n") == 1
    assert line.startswith("CEF:0|Molecatcher|Molecatcher|0.1.0|unsanctioned:agent|a\\|b agent unsanctioned|8|rt=")
    assert r" sproc=x\=1 cs1\=fake\nCEF:0|forged " in line
    assert r" shost=host\\1 " in line
    assert f" rt={NOW_NS // 10**6} ".lstrip() in line


@pytest.mark.parametrize(
    ("fields", "ids"),
    [
        ({"state": FlowState.LIVE}, (4001, 6, 400106, 1)),
        ({"state": FlowState.BLOCKED}, (4001, 5, 400105, 2)),
        ({"kind": Kind.DNS, "state": FlowState.ATTEMPTED, "dns_query": "tunnel.ngrok.com"}, (4003, 1, 400301, 3)),
    ],
)
def test_an_ocsf_object_is_of_its_class(
    installation: Installation, client: httpx.Client, fields: dict[str, object], ids: tuple[int, ...]
) -> None:
    event = installation.add(**fields)
    found = json.loads(client.get("/v1/events/export", params={"format": "ocsf"}).text)
    assert tuple(found[name] for name in ("class_uid", "activity_id", "type_uid", "action_id")) == ids
    assert (found["category_uid"], found["severity_id"], found["is_alert"]) == (4, 4, True)
    assert found["metadata"]["uid"] == event.event_id
    assert found["time"] == event.observed_at_ns // 10**6
    assert found["dst_endpoint"]["hostname"] == "connect.ngrok-agent.com"


def test_an_ecs_document_names_what_an_analyst_searches(installation: Installation, client: httpx.Client) -> None:
    event = installation.add(state=FlowState.BLOCKED, src_user="alice", tls_sni="connect.ngrok-agent.com")
    found = json.loads(client.get("/v1/events/export", params={"format": "ecs"}).text)
    assert found["event"]["kind"] == "alert"
    assert found["event"]["type"] == ["connection", "denied"]
    assert found["event"]["id"] == event.event_id
    assert found["tls"]["client"]["server_name"] == "connect.ngrok-agent.com"
    assert found["related"] == {
        "ip": ["10.20.0.7", "203.0.113.9"],
        "hosts": ["connect.ngrok-agent.com"],
        "user": ["alice"],
    }
    assert "process" not in found


def test_every_format_says_by_which_rules_and_where_it_was_seen(
    installation: Installation, client: httpx.Client
) -> None:
    known: dict[str, Any] = {
        "rule_id": "listed_name",
        "rule_version": "2026.11.23",
        "policy_digest": "9f2c1e77a0b4d358",
        "sensor_name": "gateway",
        "site": "Berlin",
        "direction": Direction.INTERNAL,
        "kind": Kind.DNS,
        "dns_query": "a.example",
        "dns_type": 28,
        "dns_rcode": 3,
    }
    installation.add(**known)

    def exported(name: str) -> str:
        return client.get("/v1/events/export", params={"format": name}).text

    for row in (json.loads(exported("native")), next(csv.DictReader(io.StringIO(exported("csv"), newline="")))):
        assert {name: str(row[name]) for name in known} == {name: str(value) for name, value in known.items()}
        assert row["received_at"] == rfc3339(NOW_NS)
    in_ocsf = json.loads(exported("ocsf"))
    assert in_ocsf["metadata"]["logged_time"] == NOW_NS // 10**6
    assert in_ocsf["firewall_rule"] == {"uid": "listed_name", "name": "ngrok", "version": "2026.11.23"}
    assert in_ocsf["policy"]["version"] == "9f2c1e77a0b4d358"
    assert in_ocsf["device"] == {"uid": "gateway-1", "type_id": 0, "name": "gateway", "location": {"desc": "Berlin"}}
    assert in_ocsf["connection_info"]["direction_id"] == 3
    assert (in_ocsf["query"], in_ocsf["rcode_id"]) == ({"hostname": "a.example", "type": "AAAA"}, 3)
    in_ecs = json.loads(exported("ecs"))
    assert in_ecs["event"]["ingested"] == rfc3339(NOW_NS)
    assert (in_ecs["rule"]["id"], in_ecs["rule"]["version"]) == ("listed_name", "2026.11.23")
    observer = in_ecs["observer"]
    assert (observer["serial_number"], observer["name"], observer["geo"]["name"]) == ("gateway-1", "gateway", "Berlin")
    assert in_ecs["network"]["direction"] == "internal"
    assert (in_ecs["dns"]["question"]["type"], in_ecs["dns"]["response_code"]) == ("AAAA", "NXDOMAIN")
    in_cef = exported("cef")
    assert f" deviceCustomDate1={NOW_NS // 10**6} dvchost=gateway deviceExternalId=gateway-1 src=" in in_cef
    assert " cs4=listed_name cs5Label=policy cs5=9f2c1e77a0b4d358 cs6Label=site cs6=Berlin " in in_cef


def test_what_a_sensor_does_not_know_is_in_no_format_and_breaks_none(
    installation: Installation, client: httpx.Client
) -> None:
    installation.add(kind=Kind.DNS, dns_query="a.example", dns_type=1 << 40, dns_rcode=-1)
    found = {name: client.get("/v1/events/export", params={"format": name}).text for name in ("ocsf", "ecs", "cef")}
    in_ocsf, in_ecs = json.loads(found["ocsf"]), json.loads(found["ecs"])
    assert {"firewall_rule", "policy"} & in_ocsf.keys() == set()
    assert (in_ocsf["query"], in_ocsf["device"]) == ({"hostname": "a.example"}, {"uid": "gateway-1", "type_id": 0})
    assert in_ocsf["connection_info"]["direction_id"] == 0
    assert (in_ecs["network"]["direction"], in_ecs["observer"]["name"]) == ("unknown", "gateway-1")
    assert in_ecs["dns"] == {"question": {"name": "a.example"}}
    assert "id" not in in_ecs["rule"]
    assert "deviceDirection" not in found["cef"]
    assert "cs4" not in found["cef"]


@pytest.mark.parametrize(
    ("direction", "number"), [(Direction.INBOUND, 0), (Direction.OUTBOUND, 1), (Direction.INTERNAL, None)]
)
def test_a_cef_line_has_a_number_for_two_directions(
    installation: Installation, client: httpx.Client, direction: Direction, number: int | None
) -> None:
    installation.add(direction=direction)
    line = client.get("/v1/events/export", params={"format": "cef"}).text
    assert (f" deviceDirection={number} " in line) == (number is not None)
    assert ("deviceDirection" in line) == (number is not None)


@pytest.mark.parametrize(
    ("found", "action", "named"),
    [
        ((FlowState.ATTEMPTED, None), "observed", ((3, 15), [])),
        ((FlowState.BLOCKED, None), "blocked", ((2, 2), ["denied"])),
        ((FlowState.BLOCKED, Refusal.PROXY), "rejected", ((2, 25), ["denied"])),
        ((FlowState.LIVE, None), "allowed", ((1, 1), ["allowed"])),
    ],
)
def test_every_format_says_what_the_network_did(
    installation: Installation,
    client: httpx.Client,
    found: tuple[FlowState, Refusal | None],
    action: str,
    named: tuple[tuple[int, int], list[str]],
) -> None:
    (state, refusal), (ocsf, ecs_type) = found, named
    installation.add_many(2)
    installation.add(state=state, refusal=refusal, service="bore")
    installation.add(state=FlowState.BLOCKED, refusal=None if refusal else Refusal.DNS, service="bore")  # another way

    def exported(name: str) -> str:
        query = {"format": name, "action": action, "service": "bore"}
        return client.get("/v1/events/export", params=query).text

    assert json.loads(exported("native"))["action"] == action
    assert next(csv.DictReader(io.StringIO(exported("csv"), newline="")))["action"] == action
    assert f" act={action} " in exported("cef")
    in_ocsf = json.loads(exported("ocsf"))
    assert (in_ocsf["action_id"], in_ocsf["disposition_id"]) == ocsf
    in_ecs = json.loads(exported("ecs"))["event"]
    assert (in_ecs["action"], in_ecs["type"]) == (action, ["connection", *ecs_type])
    assert counted(client, action=action, service="bore") == [(1,)]
    assert counted(client, action=action, by="state", service="bore") == [(state.value, 1)]


def counted(client: httpx.Client, **query: str) -> list[tuple[object, ...]]:
    answer = client.get("/v1/events/aggregate", params=query)
    assert answer.status_code == 200, answer.text
    AggregateDocument.model_validate(answer.json())
    return [(*group["values"].values(), group["value"]) for group in answer.json()["groups"]]


def test_events_are_counted_by_what_is_asked(installation: Installation, client: httpx.Client) -> None:
    rows: list[dict[str, object]] = [
        {"src_ip": "10.0.0.1", "bytes_out": 5, "count": 3},
        {"src_ip": "10.0.0.1", "bytes_in": 7},
        {"src_ip": "10.0.0.2"},
        {"service": "bore", "verdict": Outcome.SUSPICIOUS, "severity": Severity.LOW},
        {"service": None},
    ]
    installation.store.append([event_of(**row) for row in rows])
    assert counted(client) == [(5,)]
    assert counted(client, by="service") == [("ngrok", 3), (None, 1), ("bore", 1)]
    assert counted(client, by="service,verdict", service="bore") == [("bore", "suspicious", 1)]
    assert counted(client, by="src", metric="bytes")[0] == ("10.0.0.1", 12)
    assert counted(client, by="service", metric="sources")[0] == ("ngrok", 2)
    assert counted(client, by="service", metric="sightings")[0] == ("ngrok", 5)
    assert client.get("/v1/events/aggregate", params={"by": "service", "limit": 2}).json()["is_truncated"] is True


def test_intervals_are_aligned_with_the_clock(installation: Installation, client: httpx.Client) -> None:
    for hours in (0.2, 0.4, 2.5):
        installation.add(observed_at_ns=int(NOW_NS - hours * HOUR_NS))
    answer = client.get("/v1/events/aggregate", params={"interval": "1h"}).json()
    assert [(group["start"], group["value"]) for group in answer["groups"]] == [
        ("2026-11-23T16:00:00.000000Z", 1),
        ("2026-11-23T18:00:00.000000Z", 2),
    ]


@pytest.mark.parametrize(
    "query",
    [
        {"by": "reasons"},
        {"by": "service,,src_ip"},
        {"interval": "0h"},
        {"interval": "1m", "from": "2020-01-01T00:00:00Z"},
        {"metric": "x"},
        {"limit": "0"},
    ],
)
def test_what_cannot_be_counted_is_a_problem(client: httpx.Client, query: dict[str, str]) -> None:
    answer = client.get("/v1/events/aggregate", params=query)
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:molecatcher:problem:invalid-parameter"


async def read_streams(address: str, count: int, store: Callable[[], object]) -> list[bytes]:
    """Open `count` streams, call `store`, and return what each said until it told of an event."""
    host, port = address.rsplit(":", 1)
    pairs = [await asyncio.open_connection(host, int(port)) for _ in range(count)]
    for _, writer in pairs:
        writer.write(f"GET /v1/events/stream HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
    said = [await reader.readuntil(b"id: 0\n\n") for reader, _ in pairs]
    await asyncio.to_thread(store)
    said = [await asyncio.wait_for(reader.readuntil(b"data: {"), 60) for reader, _ in pairs]
    for _, writer in pairs:
        writer.close()
    return said


@pytest.mark.full
def test_a_thousand_streams_leave_the_api_answering(installation: Installation, client: httpx.Client) -> None:
    def store() -> None:
        refused = client.get("/v1/events/stream", headers={"Last-Event-ID": "0"}, timeout=30)
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        event = installation.add()
        assert client.get(f"/v1/events/{event.event_id}", timeout=30).status_code == 200

    address = installation.url.removeprefix("http://")
    said = asyncio.run(read_streams(address, tail.MAX_STREAMS, store))
    assert len(said) == tail.MAX_STREAMS
    wait_until(lambda: client.head("/v1/events/stream").status_code == 200)
    with open_stream(client) as again:
        installation.add()
        wait_until(lambda: again.frames)

"""Events go where they are wanted, at least once, also over failures and restarts; and nowhere else."""

import ipaddress
import json
import shutil
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from empty_store import empty_store
from installation import wait_until
from receivers import Receiver, Taken, https_receiver, mail_server, syslog_ng
from stand_ins import make_certificate
from standardwebhooks.webhooks import Webhook
from stored_events import make_event

from api.sealed import Seal
from api.webhooks import new_secret
from db.store import Store
from db.workflow.output_values import Output, OutputFilter, OutputKind
from molecatcher.outputs.errors import DeliveryFailed, RefusedTarget
from molecatcher.outputs.runner import GIVE_UP_NS, OutputRunner, Outputs
from molecatcher.outputs.senders import Means
from molecatcher.outputs.target import TargetGuard
from rules.values.verdict import Outcome, Severity

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
SEAL = Seal(bytes(32))


class Clock:
    def __init__(self) -> None:
        self.now_ns = time.time_ns()

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    return make_certificate(tmp_path, ["localhost"])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with empty_store(tmp_path / "molecatcher.db") as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def means(pem: Path, clock: Clock) -> Means:
    tls = ssl.create_default_context(cafile=str(pem))
    return Means(TargetGuard(LOOPBACK), tls, clock, "0.1.0", "gateway.example")


@pytest.fixture
def receiver(pem: Path) -> Iterator[Receiver]:
    with https_receiver(pem) as running:
        yield running


def add(store: Store, kind: OutputKind, target: dict[str, object], secrets: list[str], **fields: object) -> str:
    defaults: dict[str, object] = {
        "output_id": f"o-{kind.value}",
        "name": kind.value,
        "kind": kind,
        "target": target,
        "wanted": OutputFilter(),
        "secrets": SEAL.close(secrets),
        "created_by": "alice",
        "created_at_ns": 0,
        "place": 0,
    }
    output = Output(**(defaults | fields))  # type: ignore[arg-type]  # fields come by name
    assert store.outputs.add_output(output)
    return output.output_id


def state(store: Store, output_id: str) -> Output:
    found = store.outputs.output(output_id)
    assert found is not None
    return found


def test_a_webhook_is_what_the_library_verifies(store: Store, receiver: Receiver, means: Means) -> None:
    old, new = new_secret(), new_secret()
    output_id = add(store, OutputKind.WEBHOOK, {"url": f"{receiver.url}/hook?a=b"}, [new, old])
    store.append([make_event(1), make_event(2, verdict=Outcome.SANCTIONED), make_event(3)])
    OutputRunner(output_id, store, SEAL, means).deliver()
    assert [json.loads(body)["data"]["event_id"][-1] for _, _, body in receiver.taken] == ["1", "3"]
    for path, headers, body in receiver.taken:
        assert path == "/hook?a=b"
        for secret in (old, new):
            assert Webhook(secret).verify(body, dict(headers))["type"] == "event.created"
        assert len(headers["webhook-signature"].split()) == 2
    found = state(store, output_id)
    assert (found.place, found.delivered, found.failures) == (3, 2, 0)


def test_a_trial_says_that_it_is_one_and_counts_for_nothing(store: Store, receiver: Receiver, means: Means) -> None:
    secret = new_secret()
    output_id = add(store, OutputKind.WEBHOOK, {"url": receiver.url}, [secret], is_paused=True)
    store.append([make_event(1)])
    outputs, before = Outputs(store, SEAL, means), state(store, output_id)
    outputs.try_out(output_id)
    ((_, headers, body),) = receiver.taken
    sent = Webhook(secret).verify(body, dict(headers))
    assert (sent["data"]["sensor_id"], sent["data"]["severity"]) == ("trial", "informational")
    assert "nothing happened" in sent["data"]["reasons"][0]["detail"]
    assert state(store, output_id) == before
    receiver.answer = lambda _taken: (500, b"")
    with pytest.raises(DeliveryFailed, match="500"):
        outputs.try_out(output_id)


def test_what_is_paused_goes_on_from_its_place(store: Store, receiver: Receiver, means: Means, clock: Clock) -> None:
    output_id = add(store, OutputKind.WEBHOOK, {"url": receiver.url}, [new_secret()])
    runner = OutputRunner(output_id, store, SEAL, means)
    store.append([make_event(1)])
    receiver.answer = lambda _taken: (500, b"")
    with pytest.raises(DeliveryFailed):
        runner.deliver()
    assert store.outputs.set_paused(output_id, True)
    receiver.taken.clear()
    assert not runner.deliver()
    assert receiver.taken == []
    clock.now_ns += 2 * GIVE_UP_NS
    store.outputs.set_paused(output_id, False)
    with pytest.raises(DeliveryFailed):
        runner.deliver()
    assert state(store, output_id).dead == 0  # the day of trying begins anew
    receiver.answer = lambda _taken: (200, b"")
    store.append([make_event(2)])
    runner.deliver()
    assert (state(store, output_id).delivered, state(store, output_id).place) == (2, 2)


def test_it_goes_on_after_a_restart_and_sends_again_what_was_not_taken(
    store: Store, receiver: Receiver, means: Means, clock: Clock
) -> None:
    output_id = add(store, OutputKind.WEBHOOK, {"url": receiver.url}, [new_secret()])
    receiver.answer = lambda _taken: (500, b"")
    store.append([make_event(1), make_event(2)])
    with pytest.raises(DeliveryFailed, match="500"):
        OutputRunner(output_id, store, SEAL, means).deliver()
    failed = state(store, output_id)
    assert (failed.place, failed.failures, failed.failing_since_ns) == (0, 1, clock.now_ns)
    receiver.answer = lambda _taken: (200, b"")
    OutputRunner(output_id, store, SEAL, means).deliver()
    ids = [headers["webhook-id"] for _, headers, _ in receiver.taken]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 2
    assert state(store, output_id).failing_since_ns is None
    store.append([make_event(1, revision=2, count=2)])
    OutputRunner(output_id, store, SEAL, means).deliver()
    assert json.loads(receiver.taken[-1][2])["type"] == "event.updated"


def test_after_a_day_events_become_dead_letters_which_can_be_replayed(
    store: Store, receiver: Receiver, means: Means, clock: Clock
) -> None:
    output_id = add(store, OutputKind.WEBHOOK, {"url": receiver.url}, [new_secret()])
    receiver.answer = lambda _taken: (503, b"")
    store.append([make_event(1), make_event(2)])
    runner = OutputRunner(output_id, store, SEAL, means)
    for _ in range(2):
        with pytest.raises(DeliveryFailed):
            runner.deliver()
        clock.now_ns += GIVE_UP_NS
    found = state(store, output_id)
    assert (found.place, found.dead, found.failures) == (2, 2, 2)
    letters = store.outputs.dead_letters(output_id, None, 10)
    assert [letter.event_id for letter in letters] == [make_event(1).event_id, make_event(2).event_id]
    assert "503" in letters[0].error
    outputs = Outputs(store, SEAL, means)
    with pytest.raises(DeliveryFailed):
        outputs.replay(output_id)
    receiver.answer = lambda _taken: (200, b"")
    assert outputs.replay(output_id) == 2
    assert store.outputs.dead_letters(output_id, None, 10) == []


@pytest.mark.parametrize(
    "target", ["https://127.0.0.1", "https://[::1]", "https://localhost", "https://169.254.169.254"]
)
def test_what_is_inside_is_refused_unless_it_is_allowed(store: Store, means: Means, target: str) -> None:
    output_id = add(store, OutputKind.WEBHOOK, {"url": target}, [new_secret()])
    store.append([make_event(1)])
    closed = Means(TargetGuard(), means.tls, means.now_ns, means.version, means.hostname)
    with pytest.raises(RefusedTarget):
        OutputRunner(output_id, store, SEAL, closed).deliver()


def test_a_redirect_is_not_followed_and_plain_http_needs_an_allowed_network(
    store: Store, receiver: Receiver, means: Means
) -> None:
    output_id = add(store, OutputKind.WEBHOOK, {"url": receiver.url}, [new_secret()])
    receiver.answer = lambda _taken: (307, b"")
    store.append([make_event(1)])
    with pytest.raises(DeliveryFailed, match="307"):
        OutputRunner(output_id, store, SEAL, means).deliver()
    assert len(receiver.taken) == 1
    guard = TargetGuard()
    with pytest.raises(RefusedTarget):
        guard.connect("192.0.2.1", 80, is_encrypted=False)


def test_a_certificate_for_another_name_is_refused(store: Store, receiver: Receiver, means: Means) -> None:
    url = receiver.url.replace("localhost", "127.0.0.1")
    output_id = add(store, OutputKind.WEBHOOK, {"url": url}, [new_secret()])
    store.append([make_event(1)])
    with pytest.raises(DeliveryFailed, match="certificate"):
        OutputRunner(output_id, store, SEAL, means).deliver()
    assert receiver.taken == []


def test_splunk_s_collector_gets_its_documents(store: Store, receiver: Receiver, means: Means) -> None:
    def answer(taken: Taken) -> tuple[int, bytes]:
        path, headers, _ = taken
        is_right = path == "/services/collector/event" and headers["authorization"] == "Splunk t0k3n"
        return (200, b'{"text":"Success","code":0}') if is_right else (403, b'{"text":"Invalid token","code":4}')

    receiver.answer = answer
    output_id = add(store, OutputKind.HEC, {"url": receiver.url, "index": "net"}, ["t0k3n"])
    store.append([make_event(1), make_event(2)])
    OutputRunner(output_id, store, SEAL, means).deliver()
    ((_, _, body),) = receiver.taken
    documents = [json.loads(line) for line in body.splitlines()]
    assert [row["event"]["event_id"] for row in documents] == [make_event(1).event_id, make_event(2).event_id]
    assert {(row["index"], row["sourcetype"], row["host"]) for row in documents} == {
        ("net", "molecatcher:event", "gateway-1")
    }
    store.outputs.set_secrets(output_id, SEAL.close(["wrong"]))
    store.append([make_event(3)])
    with pytest.raises(DeliveryFailed, match="403"):
        OutputRunner(output_id, store, SEAL, means).deliver()


@pytest.mark.skipif(not shutil.which("syslog-ng"), reason="syslog-ng is not installed (apt-get install syslog-ng-core)")
@pytest.mark.parametrize("form", ["json", "cef"])
def test_syslog_ng_takes_them_over_tls(store: Store, tmp_path: Path, pem: Path, means: Means, form: str) -> None:
    authority = pem.read_text().partition("-----BEGIN PRIVATE")[0]
    with syslog_ng(tmp_path, pem) as (port, out):
        target: dict[str, object] = {"host": "localhost", "port": port, "format": form, "ca": authority}
        output_id = add(store, OutputKind.SYSLOG, target, [])
        store.append([make_event(number) for number in range(1, 121)])
        runner = OutputRunner(output_id, store, SEAL, means)
        wait_until(lambda: _delivers(runner))
        wait_until(lambda: out.exists() and len(out.read_text().splitlines()) >= 120)
    lines = out.read_text().splitlines()
    assert len(lines) == 120
    head, _, body = lines[0].partition(" unsanctioned ")
    assert head.split()[0] == "131"
    assert head.split()[2:] == ["gateway.example", "molecatcher"]
    if form == "json":
        assert [json.loads(line.partition(" unsanctioned ")[2])["event_id"][-4:] for line in lines][:2] == [
            "0001",
            "0002",
        ]
    else:
        assert body.startswith("CEF:0|")
    assert state(store, output_id).delivered == 120


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # a library of the library's
def test_people_are_told_by_mail(store: Store, means: Means) -> None:
    with mail_server() as (port, mails):
        address = f"mailto://user:secret@127.0.0.1:{port}?from=mole@example.com&to=soc@example.com&mode=insecure"
        output_id = add(store, OutputKind.APPRISE, {}, [address])
        store.append([make_event(1), make_event(2, src_ip="10.20.0.8")])
        OutputRunner(output_id, store, SEAL, means).deliver()
    assert len(mails) == 1
    assert "Molecatcher: 2 detections" in mails[0]
    assert "10.20.0.8" in mails[0]


def test_filters_and_runners_come_and_go(store: Store, receiver: Receiver, means: Means) -> None:
    wanted = OutputFilter(verdicts=(), min_severity=Severity.HIGH, services=("frp",))
    output_id = add(store, OutputKind.WEBHOOK, {"url": receiver.url}, [new_secret()], wanted=wanted)
    outputs = Outputs(store, SEAL, means)
    outputs.look()
    store.append([make_event(1), make_event(2, service="frp"), make_event(3, service="frp", severity=Severity.LOW)])
    wait_until(lambda: state(store, output_id).place == 3)
    assert [body["data"]["service"] for body in receiver.bodies()] == ["frp"]  # type: ignore[index]
    store.outputs.remove_output(output_id)
    outputs.look()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("output-")])
    outputs.stop()


def _delivers(runner: OutputRunner) -> bool:
    try:
        runner.deliver()
    except DeliveryFailed:
        return False
    return True

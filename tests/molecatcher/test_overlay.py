"""What people decide over the API reaches a running sensor and the findings, and outlives a lost database."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from empty_store import empty_store
from main_job import wait_for
from netns import needs_root
from stored_events import make_event
from structlog.testing import capture_logs

from db.store import Store, open_store
from db.values import FindingFilter, FindingState
from db.workflow.values import ExceptionStatus, StoredBlocked, StoredDecision, StoredException
from molecatcher.live_rules import LiveRules
from molecatcher.overlay import OverlayFollower
from molecatcher.processes.sensor import Sensor
from molecatcher.settings import Settings
from molecatcher.upkeep import exception_upkeep
from molecatcher.upkeep.exception_upkeep import ExceptionUpkeep
from rules.catalogue.catalogue import load_catalogue
from rules.policy.policy import day_of
from rules.values.verdict import Decision

NOW_NS = time.time_ns()
CATALOGUE = load_catalogue()
FILE = '[[sanctioned]]\ndomain = "tunnels.example.com"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return empty_store(tmp_path / "molecatcher.db")


def exception(**fields: object) -> StoredException:
    defaults: dict[str, object] = {
        "exception_id": "e1",
        "service": "ngrok",
        "sources": ("10.20.0.0/16",),
        "owner": "it@example.com",
        "reason": "pilot",
        "status": ExceptionStatus.ACTIVE,
        "requested_by": "alice",
        "requested_at_ns": NOW_NS,
    }
    return StoredException(**(defaults | fields))  # type: ignore[arg-type]  # fields come by name


def decision(service: str, value: Decision) -> StoredDecision:
    return StoredDecision(
        service=service, decision=value, owner="o", reason="r", changed_by="alice", changed_at_ns=NOW_NS
    )


def states(store: Store) -> list[FindingState]:
    return [row.state for row in store.findings(FindingFilter(), 10)]


@needs_root
def test_a_running_sensor_takes_it_up_by_itself(tmp_path: Path) -> None:
    sensor = Sensor(Settings(state=tmp_path, interface=("lo",), policy=None))
    sensor.overlay.start()
    with open_store(tmp_path / "molecatcher.db") as other:
        other.policy.add_exception(exception())
        other.policy.decide_service(decision("tailscale", Decision.IGNORE))

    def is_in_force() -> bool:
        sensor._keep_house()
        return sensor.rules().policy.decisions.get("tailscale") is Decision.IGNORE

    wait_for(is_in_force)
    assert [row.id for row in sensor.rules().policy.exceptions] == ["e1"]
    sensor.delivery.start()
    sensor._close()


def test_without_the_database_the_last_one_stays(tmp_path: Path, store: Store) -> None:
    store.policy.add_exception(exception())
    follower = OverlayFollower(store.policy)
    shutil.move(tmp_path / "molecatcher.db", tmp_path / "away.db")
    with capture_logs() as logs:
        assert not follower.look()
        assert not follower.look()
    assert [row["event"] for row in logs] == ["overlay_kept"]
    assert [row[0] for row in follower().exceptions] == ["e1"]
    shutil.move(tmp_path / "away.db", tmp_path / "molecatcher.db")
    assert follower.look()


def test_the_file_wins_and_what_cannot_be_used_is_left_out_with_a_warning(tmp_path: Path, store: Store) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(FILE + '[services]\ndevtunnels = "block"\n')
    store.policy.decide_service(decision("devtunnels", Decision.IGNORE))
    store.policy.decide_service(decision("mesh-vpn", Decision.BLOCK))
    store.policy.decide_service(decision("no-such", Decision.BLOCK))
    blocked: dict[str, Any] = {"owner": "o", "reason": "r", "created_by": "alice", "created_at_ns": NOW_NS}
    store.policy.add_blocked(StoredBlocked(entry_id="b1", entry="tunnels.example.com", **blocked))
    store.policy.add_blocked(StoredBlocked(entry_id="b2", entry="other.example", **blocked))
    rules = LiveRules(CATALOGUE, policy, lambda: NOW_NS)
    rules.follow(OverlayFollower(store.policy))
    found = rules().policy
    assert found.decisions == {"devtunnels": Decision.BLOCK, "mesh-vpn": Decision.BLOCK}
    assert found.decided_in_database == {"mesh-vpn"}
    assert [row.name for row in found.blocked] == ["other.example"]
    assert len(found.warnings) == 2
    policy.write_text("# nothing is sanctioned any more\n")
    assert rules.poll()
    assert rules().policy.decisions == {
        "devtunnels": Decision.IGNORE,
        "mesh-vpn": Decision.BLOCK,
    }
    assert [row.name for row in rules().policy.blocked] == ["tunnels.example.com", "other.example"]


def test_findings_follow_exceptions_without_new_events(store: Store) -> None:
    store.append([make_event(1), make_event(2, src_ip="10.99.0.1"), make_event(3, service="frp")])
    store.policy.add_exception(exception())
    follower, rules = OverlayFollower(store.policy), LiveRules(CATALOGUE, None, lambda: NOW_NS)
    rules.follow(follower)
    upkeep = ExceptionUpkeep(store, rules)
    assert upkeep.look(NOW_NS) == 1
    assert sorted(states(store)) == ["excepted", "open", "open"]
    assert upkeep.look(NOW_NS) == 0
    store.policy.end_exception("e1", "alice", NOW_NS)
    follower.look()
    rules.poll()
    assert upkeep.look(NOW_NS + 10**9) == 1
    assert set(states(store)) == {"open"}
    (finding,) = store.findings(FindingFilter(src="10.20.0.7", service="ngrok"), 2)
    reopened, excepted = store.finding_history(finding.finding_id, None, 9)
    assert (reopened.actor, reopened.before, reopened.after) == ("", "excepted", "open")
    assert (excepted.after, excepted.text) == ("excepted", "e1")


def test_an_exception_for_a_category_holds_for_findings_that_name_no_service_or_an_unknown_one(store: Store) -> None:
    store.append(
        [
            make_event(1, service=None, service_category="reverse-tunnel"),
            make_event(2, src_ip="10.99.0.1", service=None, service_category="reverse-tunnel"),
            make_event(3, role="visitor", service=None, service_category="dns-tunnel"),
            make_event(4, service="gone", service_category="reverse-tunnel"),
            make_event(5, service="ngrok", service_category="reverse-tunnel"),
            make_event(6, service="iodine", service_category="dns-tunnel"),
        ]
    )
    store.policy.add_exception(exception(service="reverse-tunnel"))
    rules = LiveRules(CATALOGUE, None, lambda: NOW_NS)
    rules.follow(OverlayFollower(store.policy))
    assert ExceptionUpkeep(store, rules).look(NOW_NS) == 3
    excepted = store.findings(FindingFilter(state=FindingState.EXCEPTED), 10)
    assert sorted((row.src_ip, row.service or "") for row in excepted) == [
        ("10.20.0.7", ""),
        ("10.20.0.7", "gone"),
        ("10.20.0.7", "ngrok"),
    ]


def test_a_page_of_findings_whose_events_are_gone_hides_none_behind_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exception_upkeep, "PAGE", 1)
    store.append([make_event(number, src_ip=f"10.20.0.{number}") for number in range(1, 9)])
    rules = LiveRules(CATALOGUE, None, lambda: NOW_NS)
    follower = OverlayFollower(store.policy)
    rules.follow(follower)
    gone = min(store.findings(FindingFilter(), 10), key=lambda row: row.finding_id)
    with store._engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM events WHERE event_id = ?", (gone.event_id,))
    store.policy.add_exception(exception())
    follower.look()
    rules.poll()
    assert ExceptionUpkeep(store, rules).look(NOW_NS) == 7


def test_expiry_reopens_findings_and_a_late_report_does_not_undo_it(store: Store) -> None:
    store.policy.add_exception(exception(expires=day_of(NOW_NS)))
    rules = LiveRules(CATALOGUE, None, lambda: NOW_NS)
    rules.follow(OverlayFollower(store.policy))
    upkeep = ExceptionUpkeep(store, rules)
    store.append([make_event(1, exception_id="e1")])
    upkeep.look(NOW_NS)
    assert states(store) == ["excepted"]
    later_ns = NOW_NS + 2 * 86_400 * 10**9
    assert upkeep.look(later_ns) == 1
    assert states(store) == ["open"]
    store.append([make_event(1, exception_id="e1", revision=2, count=2)])
    upkeep.look(later_ns)
    assert states(store) == ["open"]

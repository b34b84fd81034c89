from pathlib import Path

from db.store import open_store
from db.values import EventFilter, FindingFilter
from molecatcher.recordings.demonstration import RECORDING, SOURCE, Demonstration
from rules.catalogue.catalogue import load_catalogue
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from rules.values.event import DEMONSTRATION
from rules.values.verdict import Outcome, Role

NOW_NS = 1_900_000_000_000_000_000
HOUR_NS = 3600 * 10**9


def test_a_recorded_agent_is_seen_now_and_marked(tmp_path: Path) -> None:
    with open_store(tmp_path / "events.db") as store:
        shown = Demonstration(store, lambda: Ruleset(load_catalogue(), Policy()), lambda: NOW_NS)
        assert shown.play() == len(store.events(EventFilter(), 100)) > 0
        for event in store.events(EventFilter(), 100):
            assert event.sensor_id == DEMONSTRATION
            assert event.src_ip == SOURCE
            assert NOW_NS - HOUR_NS < event.observed_at_ns <= event.last_seen_ns <= NOW_NS
        (finding,) = store.findings(FindingFilter(), 10)
        assert (finding.service, finding.role, finding.verdict) == ("ngrok", Role.AGENT, Outcome.UNSANCTIONED)
        assert store.evidence(finding.event_id)


def test_played_again_it_is_one_finding(tmp_path: Path) -> None:
    with open_store(tmp_path / "events.db") as store:
        shown = Demonstration(store, lambda: Ruleset(load_catalogue(), Policy()), lambda: NOW_NS)
        assert shown.play() == shown.play()
        assert len(store.findings(FindingFilter(), 10)) == 1


def test_the_recording_is_there() -> None:
    assert RECORDING.exists()

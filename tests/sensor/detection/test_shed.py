"""What the program fails on, a packet or what it shows, is given up alone and counted: the rest is judged."""

from collections.abc import Callable
from pathlib import Path

import pytest
from crafted import write_pcap
from frames import S, told
from screened import LISTED, RULES

import molecatcher.recordings.replay
from molecatcher.recordings.replay import Replay
from rules.policy.ruleset import Ruleset
from sensor.detection.detect import Detector
from sensor.detection.watch import Watch
from sensor.pipeline import Pipeline

pytestmark = pytest.mark.faults


def fail_on_odd_names(qname: str, _wire: bytes) -> bool:
    if qname.startswith("odd."):
        raise TypeError(f"no answer to {qname}")
    return False


class Fickle(dict[bytes, tuple[str, str]]):
    """Addresses of agents that cannot be looked up the first time."""

    is_whole = False

    def get(self, *_: object) -> tuple[str, str] | None:  # type: ignore[override]
        if self.is_whole:
            return None
        self.is_whole = True
        raise TypeError("no addresses")


def test_a_packet_that_cannot_be_read_costs_no_other() -> None:
    detector = Detector(Pipeline(is_own_lookup=fail_on_odd_names), lambda: RULES)
    found = detector.feed([*told("odd.example.com"), *told(LISTED, at_ns=S), *told("odd.example.com", at_ns=2 * S)])
    assert {row.observation.dns.qname for row in found if row.observation.dns} == {LISTED}
    shed = detector.pipeline.shed
    assert shed.count == 4
    assert shed.first is not None
    assert str(shed.first[0]) == "no answer to odd.example.com"


def test_an_observation_that_cannot_be_judged_costs_no_other() -> None:
    detector = Detector(Pipeline(), lambda: RULES)
    detector.agent_addresses = Fickle({b"": ("", "")})
    found = detector.feed([*told(LISTED), *told("tunnel.us.ngrok.com", at_ns=S)])
    assert {row.observation.dns.qname for row in found if row.observation.dns} == {"tunnel.us.ngrok.com"}
    assert detector.pipeline.shed.count == 1


def test_a_replay_says_what_it_gave_up_and_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(pipeline: Pipeline, rules: Callable[[], Ruleset], watch: Watch) -> Detector:
        detector = Detector(pipeline, rules, watch)
        detector.agent_addresses = Fickle({b"": ("", "")})
        return detector

    monkeypatch.setattr(molecatcher.recordings.replay, "Detector", failing)
    path = tmp_path / "tunnels.pcap"
    write_pcap(path, [*told(LISTED, at_ns=S), *told("tunnel.us.ngrok.com", at_ns=2 * S)])
    replay = Replay(RULES)
    assert {row.dst_name for row in replay.play(str(path))} == {"tunnel.us.ngrok.com"}
    (said,) = replay.summary.failures
    assert "no addresses" in said

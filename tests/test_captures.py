"""Every recorded agent through the whole program: the detections must be what the manifest beside it says."""

import json
from functools import cache, lru_cache
from pathlib import Path

import pytest
from observations import NOW_NS

from molecatcher.recordings.replay import Replay
from rules.catalogue.catalogue import load_catalogue
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset
from rules.values.event import Event
from rules.values.verdict import Outcome, Role

PCAPS = Path(__file__).parents[1] / "pcaps"
POLICY = '[[sanctioned]]\ndomain = "tunnels.example.com"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'

NAMES = sorted(path.stem for path in PCAPS.glob("*.pcap"))


@lru_cache(maxsize=1)
def ruleset() -> Ruleset:
    catalogue = load_catalogue()
    return Ruleset(catalogue, parse_policy(POLICY, "policy.toml", catalogue, NOW_NS))


@cache
def replayed(name: str) -> tuple[Event, ...]:
    replay = Replay(ruleset())
    events = tuple(replay.play(str(PCAPS / f"{name}.pcap")))
    assert not replay.summary.warnings + replay.summary.failures
    return events


def expected(name: str) -> list[dict[str, str]]:
    manifest = json.loads((PCAPS / f"{name}.json").read_text(encoding="utf-8"))
    return list(manifest["expected"])


def is_met(wanted: dict[str, str], events: tuple[Event, ...]) -> bool:
    roles = wanted["role"].split(" or ")
    return any(
        (event.verdict, event.service) == (wanted["verdict"], wanted["service"]) and event.role in roles
        for event in events
    )


def test_the_captures_are_here() -> None:
    assert len(NAMES) >= 45
    assert all((PCAPS / f"{name}.pcap").stat().st_size <= 160 * 1024 for name in NAMES)


def test_the_readme_counts_them() -> None:
    made = [json.loads((PCAPS / f"{name}.json").read_text(encoding="utf-8")).get("made") for name in NAMES]
    readme = " ".join((PCAPS.parent / "README.md").read_text(encoding="utf-8").split())
    assert f"All {len(NAMES)} captures in [pcaps/](pcaps/README.md), {made.count(None)} of them recorded" in readme


@pytest.mark.parametrize("name", NAMES)
def test_a_capture_gives_what_its_manifest_expects(name: str) -> None:
    missing = [wanted for wanted in expected(name) if not is_met(wanted, replayed(name))]
    assert not missing


@pytest.mark.parametrize("name", NAMES)
def test_a_capture_gives_no_alarm_beyond_its_manifest(name: str) -> None:
    allowed = {wanted["service"] for wanted in expected(name)}
    worse = [
        (event.verdict, event.service, event.role, event.dst_name)
        for event in replayed(name)
        if event.service not in allowed and event.role is not Role.AUXILIARY
    ]
    assert not worse


@pytest.mark.parametrize("name", [name for name in NAMES if "sanctioned" in name])
def test_a_sanctioned_agent_is_never_called_anything_else(name: str) -> None:
    assert {event.verdict for event in replayed(name)} == {Outcome.SANCTIONED}


def test_without_a_policy_nothing_is_sanctioned() -> None:
    for name in NAMES:
        replay = Replay(Ruleset(load_catalogue(), type(ruleset().policy)()))
        assert all(event.verdict is not Outcome.SANCTIONED for event in replay.play(str(PCAPS / f"{name}.pcap")))


def test_an_agent_at_a_custom_ingress_that_nobody_sanctioned_is_found_by_its_look_up_for_updates() -> None:
    nothing = Ruleset(load_catalogue(), type(ruleset().policy)())
    events = list(Replay(nothing).play(str(PCAPS / "ngrok2-sanctioned.pcap")))
    (found,) = [event for event in events if event.dst_name == "tunnels.example.com"]
    assert (found.verdict, found.service, found.role) == (Outcome.SUSPICIOUS, "ngrok", Role.AGENT)
    assert found.reasons[0].indicator == "update.equinox.io"

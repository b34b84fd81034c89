"""What a recording adds to the store: each event once, however often it is played."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from db.store import Store, open_store
from db.values import EventFilter, FindingFilter
from molecatcher.recordings.replay import Replay
from rules.catalogue.catalogue import load_catalogue
from rules.policy.policy import Policy
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset
from rules.values.event import Event
from rules.values.verdict import Outcome

PCAPS = Path(__file__).parents[3] / "pcaps"
RECORDING = PCAPS / "ngrok-py-default.pcap"
OWN_INGRESS = PCAPS / "ngrok2-sanctioned.pcap"
SANCTIONS = '[[sanctioned]]\ndomain = "tunnels.example.com"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'
CATALOGUE = load_catalogue()
MOST = 1000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "events.db") as opened:
        yield opened


def play(store: Store, path: Path, policy: Policy | None = None) -> list[object]:
    """Return all that is stored when `path` has been played into `store`."""
    assert list(Replay(Ruleset(CATALOGUE, policy or Policy()), store).play(str(path)))
    return [*store.events(EventFilter(), MOST), *store.findings(FindingFilter(), MOST)]


def test_a_recording_played_again_adds_nothing(store: Store, tmp_path: Path) -> None:
    stored = play(store, RECORDING)
    assert play(store, RECORDING) == stored
    copy = tmp_path / "copy.pcap"
    shutil.copy(RECORDING, copy)
    assert play(store, copy) == stored


@pytest.mark.parametrize("share", [0.2, 0.35, 0.5, 0.7, 0.9])
def test_a_recording_that_grew_is_brought_up_to_date(store: Store, tmp_path: Path, share: float) -> None:
    growing = tmp_path / RECORDING.name
    octets = RECORDING.read_bytes()
    growing.write_bytes(octets[: int(len(octets) * share)])
    begun = play(store, growing)
    growing.write_bytes(octets)
    grown = play(store, growing)
    assert grown != begun
    assert play(store, growing) == grown
    growing.write_bytes(octets[: int(len(octets) * share)])
    assert play(store, growing) == grown  # what was known stays
    with open_store(tmp_path / "whole.db") as whole:
        expected = play(whole, RECORDING)
    assert [said(row) for row in grown] == [said(row) for row in expected]


def said(row: object) -> object:
    """Return an event without the number of its revision and when it was stored."""
    return replace(row, revision=0, received_at_ns=None) if isinstance(row, Event) else row


def test_what_other_rules_judge_otherwise_is_added(store: Store) -> None:
    before = len(store.events(EventFilter(), MOST)) if play(store, OWN_INGRESS) else 0
    sanctions = parse_policy(SANCTIONS, "policy.toml", CATALOGUE, 0)
    play(store, OWN_INGRESS, sanctions)
    after = store.events(EventFilter(), MOST)
    assert len(after) > before > 0
    assert {event.verdict for event in after} >= {Outcome.SANCTIONED, Outcome.UNSANCTIONED}

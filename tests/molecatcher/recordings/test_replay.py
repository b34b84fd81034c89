"""What a recording adds to the store: each event once, however often it is played."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from crafted import write_pcap
from frames import ACK, CLIENT, MS, SERVER, SYN, S, tcp, told
from hellos import hello_message, records
from msgspec.structs import replace

from db.store import Store, open_store
from db.values import EventFilter, FindingFilter
from molecatcher.recordings.replay import Replay
from rules.catalogue.catalogue import load_catalogue
from rules.policy.policy import Policy
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset
from rules.values.event import Event
from rules.values.observation import Kind
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


def test_a_flow_that_leaves_its_event_to_others_gets_one_with_an_id_of_its_own(store: Store, tmp_path: Path) -> None:
    """Two flows were blocked on their way to a name; the first is answered, when the address had another one."""
    one, other = "connect.ngrok-agent.com", "tunnel.us.ngrok.com"
    up, down = (CLIENT, 1, SERVER, 443), (SERVER, 443, CLIENT, 1)
    nameless = records(hello_message())
    answered = [
        tcp(8 * S, up, (1000, 0, SYN)),
        tcp(8 * S + MS, down, (5000, 1001, SYN | ACK)),
        tcp(8 * S + 2 * MS, up, (1001, 5001, ACK), nameless),
        tcp(8 * S + 3 * MS, down, (5001, 1001 + len(nameless), ACK), bytes(100)),
    ]
    silent = [tcp(S, (CLIENT, port, SERVER, 443), (1000, 0, SYN)) for port in (1, 2)]
    recording = tmp_path / "late.pcap"
    write_pcap(recording, [*told(one, at_ns=0), *silent, *told(other, at_ns=5 * S), *answered])
    play(store, recording)
    flows = [event for event in store.events(EventFilter(), MOST) if event.kind is not Kind.DNS]
    assert {(event.dst_name, event.count) for event in flows} == {(one, 1), (other, 1)}
    assert len({(event.verdict, event.service, event.role, event.src_port) for event in flows}) == 1


def test_what_other_rules_judge_otherwise_is_added(store: Store) -> None:
    before = len(store.events(EventFilter(), MOST)) if play(store, OWN_INGRESS) else 0
    sanctions = parse_policy(SANCTIONS, "policy.toml", CATALOGUE, 0)
    play(store, OWN_INGRESS, sanctions)
    after = store.events(EventFilter(), MOST)
    assert len(after) > before > 0
    assert {event.verdict for event in after} >= {Outcome.SANCTIONED, Outcome.UNSANCTIONED}

"""Connections that idle: the beat of real agents, recorded, is seen, and that of other programs raises nothing."""

from functools import cache

import pytest
from frames import read_packets
from observations import NOW_NS
from recordings import CAPTURES
from stand_ins import SERVER

from rules.catalogue.catalogue import load_catalogue
from rules.classification.ingress import BEATS_ENOUGH
from rules.policy.policy import Policy
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset
from rules.values.observation import Evidence, Traffic
from rules.values.verdict import Outcome, Role
from sensor.candidates import LOOK_NS
from sensor.decode import Segment, decode
from sensor.detect import Detector
from sensor.detection import Detection
from sensor.flow import FlowKey, reverse_key
from sensor.heartbeat import Heartbeat
from sensor.pipeline import Pipeline

INGRESS = "connect.partner.example"
AGENTS = ["ngrok2-idle", "ngrok-node-idle"]
ADDRESS = bytes(int(part) for part in SERVER.split("."))
POLICY = '[[sanctioned]]\ndomain = "partner.example"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'


@cache
def ruleset(policy: str = "") -> Ruleset:
    catalogue = load_catalogue()
    return Ruleset(catalogue, parse_policy(policy, "policy.toml", catalogue, NOW_NS) if policy else Policy())


def watched(name: str, policy: str = "", *, is_known_address: bool = False) -> tuple[Detector, list[Detection]]:
    """Replay a capture; `is_known_address`: names of ngrok's agents resolve to the server's address, too."""
    detector = Detector(Pipeline(), lambda: ruleset(policy))
    if is_known_address:
        detector.agent_addresses = {ADDRESS: ("ngrok", "connect.ngrok-agent.com")}
    return detector, detector.feed(read_packets(str(CAPTURES / f"{name}.pcap")))


def beats(name: str) -> dict[int, int]:
    """Return by the server's port how often in a row a TCP connection of a capture beat."""
    traffic: dict[FlowKey, Traffic] = {}
    hearts: dict[FlowKey, Heartbeat] = {}
    most: dict[int, int] = {}
    for packet in read_packets(str(CAPTURES / f"{name}.pcap")):
        segment = decode(packet)
        if not isinstance(segment, Segment):
            continue
        _, src_port, _, dst_port = segment.ends
        is_client = src_port > dst_port
        key = segment.key if is_client else reverse_key(segment.key)
        had = traffic.get(key, Traffic(last_ns=packet.ts_ns))
        port = min(src_port, dst_port)
        if packet.ts_ns - had.last_ns > LOOK_NS:  # all of a beat is there when the counters are read
            most[port] = max(most.get(port, 0), hearts.setdefault(key, Heartbeat(had)).note(had))
        out, back = (packet.wire_octets, 0) if is_client else (0, packet.wire_octets)
        traffic[key] = Traffic(had.octets_out + out, had.octets_in + back, had.packets + 1, packet.ts_ns)
    return most


@pytest.mark.parametrize("name", AGENTS)
def test_a_real_agent_beats_every_ten_seconds(name: str) -> None:
    """Request and answer of muxado's heartbeat, and what TCP acknowledges, for 200 s."""
    assert beats(name)[443] >= 2 * BEATS_ENOUGH


@pytest.mark.parametrize("name", AGENTS)
def test_at_an_address_of_agents_its_beat_is_among_the_reasons(name: str) -> None:
    _, found = watched(name, is_known_address=True)
    last = [row.verdict for row in found if row.verdict.dst_name == INGRESS][-1]
    assert (last.outcome, last.service, last.role) == (Outcome.SUSPICIOUS, "ngrok", Role.AGENT)
    assert {Evidence.ADDRESS, Evidence.HEARTBEAT} <= {reason.evidence for reason in last.reasons}


def test_its_look_up_for_an_update_and_its_beat_are_enough_elsewhere() -> None:
    _, found = watched("ngrok2-idle")
    last = [row.verdict for row in found if row.verdict.dst_name == INGRESS][-1]
    assert (last.outcome, last.role) == (Outcome.SUSPICIOUS, Role.AGENT)
    assert {reason.evidence for reason in last.reasons} >= {Evidence.DNS_QUERY, Evidence.HEARTBEAT}


@pytest.mark.parametrize("name", AGENTS)
def test_a_sanctioned_ingress_stays_so_however_it_beats(name: str) -> None:
    _, found = watched(name, POLICY, is_known_address=True)
    assert {row.verdict.outcome for row in found if row.verdict.dst_name == INGRESS} == {Outcome.SANCTIONED}


def test_shells_chats_and_http_2_that_are_kept_alive_every_ten_seconds_are_nothing() -> None:
    _, found = watched("benign-idle")
    assert found == []
    beating = beats("benign-idle")
    assert min(beating[22], beating[443]) >= BEATS_ENOUGH  # the same beat, so nothing but its company tells an agent's

"""The packets kept with a detection, for every recorded agent: alone they give the same detection again."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from observations import NOW_NS

from molecatcher.recordings.replay import Replay
from rules.catalogue.catalogue import load_catalogue
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset
from rules.values.event import Event
from rules.values.observation import Evidence
from sensor.capture.offline.file import open_capture

PCAPS = Path(__file__).parents[1] / "pcaps"
NAMES = sorted(path.stem for path in PCAPS.glob("*.pcap"))
POLICY = '[[sanctioned]]\ndomain = "tunnels.example.com"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'
SHAPES = "dns-tunnel"


@cache
def ruleset() -> Ruleset:
    catalogue = load_catalogue()
    return Ruleset(catalogue, parse_policy(POLICY, "policy.toml", catalogue, NOW_NS))


def replay(path: Path) -> list[Event]:
    return list(Replay(ruleset(), keeps_packets=True).play(str(path)))


def said(event: Event) -> tuple[object, ...]:
    return event.verdict, event.service, event.role, event.src_ip, event.dst_ip, event.dst_port, event.dst_name


def has_shape(event: Event) -> bool:
    """Return whether a reason lies in more than a few packets: many queries, or a beat over minutes."""
    return any(r.indicator.startswith(SHAPES) or r.evidence == Evidence.HEARTBEAT for r in event.reasons)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_gives_the_same_detection_again(name: str, tmp_path: Path) -> None:
    lost = []
    for event in replay(PCAPS / f"{name}.pcap"):
        assert event.evidence, said(event)
        if has_shape(event):
            continue
        path = tmp_path / "evidence.pcap"
        path.write_bytes(event.evidence)
        again = [said(row) for row in replay(path)]
        if said(event) not in again:
            lost.append((said(event), event.reasons, again))
    assert lost == []


@pytest.mark.parametrize("name", NAMES)
def test_it_is_small_and_in_the_order_of_time(name: str, tmp_path: Path) -> None:
    for event in replay(PCAPS / f"{name}.pcap"):
        path = tmp_path / "evidence.pcap"
        path.write_bytes(event.evidence)
        with open_capture(str(path)) as source:
            packets = source.read() or []
        assert 1 <= len(packets) <= 12
        assert sum(len(packet.data) for packet in packets) <= 24_576
        assert [packet.ts_ns for packet in packets] == sorted(packet.ts_ns for packet in packets)
        assert all(packet.wire_octets >= len(packet.data) for packet in packets)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_reads_it_with_its_comments(tmp_path: Path) -> None:
    event = next(row for row in replay(PCAPS / "ngrok-py-default.pcap") if row.tls_sni)
    path = tmp_path / "evidence.pcap"
    path.write_bytes(event.evidence)
    fields = [part for name in ("tls.handshake.extensions_server_name", "frame.comment") for part in ("-e", name)]
    argv = ["tshark", "-r", str(path), "-Y", "tls.handshake.type == 1", "-T", "fields", *fields]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60)
    assert event.tls_sni
    assert event.tls_sni in done.stdout
    assert event.reasons[0].detail in done.stdout

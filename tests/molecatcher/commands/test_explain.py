import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molecatcher.recordings.dissection import MAX_LINE, MAX_LINES, dissect
from sensor.capture.offline.pcapng_file import Commented, write_pcapng
from sensor.packet import LinkType, Packet

PCAPS = Path(__file__).parents[3] / "pcaps"


def explain(*argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "molecatcher", "explain", *argv]
    return subprocess.run(command, capture_output=True, timeout=60, check=False, text=True)


def test_a_detection_is_explained_in_sentences_with_its_packets() -> None:
    done = explain(str(PCAPS / "ngrok-py-default.pcap"), "--event", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3. 10.77.0.2 port 55344 to 10.77.1.13 port 443 (connect.ngrok-agent.com), tcp\n")
    assert "10.77.0.2 runs a tunnel of ngrok" in done.stdout
    assert "beside it: what the same client did with connect.ngrok-agent.com" in done.stdout
    assert "DNS Qry b'connect.ngrok-agent.com.'" in done.stdout
    assert "###[ TCP ]###" in done.stdout
    assert "None." not in done.stdout


def test_what_was_explained_before_is_referred_to() -> None:
    done = explain(str(PCAPS / "dns-iodine-txt.pcap"))
    assert done.stdout.count("###[ Ethernet ]###") < 20
    assert "2. " in done.stdout
    assert "the same as 1; --event 2 shows its packets" in done.stdout
    assert "the same as" not in explain(str(PCAPS / "dns-iodine-txt.pcap"), "--event", "2").stdout


def test_a_dissector_that_wonders_says_nothing() -> None:
    assert "WARNING" not in explain(str(PCAPS / "ngrok-idle.pcap")).stderr


def test_as_json_it_is_the_detection_with_its_explanation_and_packets() -> None:
    done = explain(str(PCAPS / "ngrok-py-default.pcap"), "--format", "json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["number"] for row in rows] == [1, 2, 3]
    assert all(row["explanation"] and row["evidence"] for row in rows)
    assert rows[2]["evidence"][0].keys() == {
        *("time", "interface", "octets", "wire_octets", "why", "summary", "fields"),
    }


def test_the_table_lists_what_can_be_asked_for() -> None:
    done = explain(str(PCAPS / "ngrok-py-default.pcap"), "--format", "table")
    assert done.stdout.count("unsanctioned") == 3


def test_a_number_that_is_not_there_is_said() -> None:
    done = explain(str(PCAPS / "ngrok-py-default.pcap"), "--flow", "9")
    assert done.returncode == 1
    assert "there is no detection 9: the file has 3" in done.stderr


def test_help_has_examples() -> None:
    done = explain("--help")
    assert "molecatcher explain capture.pcapng" in " ".join(done.stdout.split())


@pytest.mark.parametrize("link_type", [*LinkType, 9999])
def test_a_packet_that_cannot_be_dissected_breaks_nothing(link_type: int) -> None:
    frames = [b"", b"\x00", bytes(13), b"\x45" * 60, bytes(range(256))]
    packets = [Packet(number, link_type, data, len(data)) for number, data in enumerate(frames)]
    found = dissect(write_pcapng([Commented(packet, "why") for packet in packets]))
    assert [row.octets for row in found] == [len(data) for data in frames]
    assert all(row.summary for row in found[1:])


@given(st.binary(min_size=14, max_size=300))
@settings(max_examples=60)
def test_dissection_is_bounded_and_printable(data: bytes) -> None:
    (row,) = dissect(write_pcapng([Commented(Packet(1, 1, bytes(12) + b"\x08\x00" + data, 2000))]))
    lines = [row.summary, *row.fields]
    assert len(lines) <= MAX_LINES + 1
    assert all(len(line) <= MAX_LINE and line.isprintable() for line in lines)


def test_a_damaged_file_gives_what_comes_before() -> None:
    octets = write_pcapng([Commented(Packet(number, 1, bytes(60), 60)) for number in range(3)])
    for end in range(len(octets)):
        assert len(dissect(octets[:end])) <= 3
    assert dissect(b"no capture") == []


def test_no_packets_are_no_dissection() -> None:
    assert dissect(b"") == []

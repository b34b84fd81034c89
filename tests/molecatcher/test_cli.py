"""The command line as a user runs it: a process, its output and its exit status."""

import gzip
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from api.feeds.registry import REGISTRY
from db.store import open_store
from db.values import EventFilter
from sensor.capture.offline.pcapng_file import Commented, write_pcapng
from sensor.packet import Packet

PCAPS = Path(__file__).parents[2] / "pcaps"
AGENT = PCAPS / "ngrok-py-default.pcap"
SANCTION = '[[sanctioned]]\ndomain = "tunnels.example.com"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'
EVENT_FIELDS = {
    *("observed_at", "verdict", "service", "role", "severity", "confidence", "transport"),
    *("src_ip", "src_port", "dst_ip", "dst_port", "dst_name", "reasons"),
}


def molecatcher(*argv: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "molecatcher", *argv]
    return subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)


def lines(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.toml"
    path.write_text(SANCTION)
    return str(path)


def test_replay_prints_one_detection_a_line_and_nothing_else() -> None:
    rows = lines(molecatcher("replay", str(AGENT), "--format", "json"))
    assert [row["kind"] for row in rows] == ["dns", "dns", "tls"]
    assert all(row.keys() >= EVENT_FIELDS for row in rows)
    assert [row["observed_at"] for row in rows] == sorted(row["observed_at"] for row in rows)
    assert rows[-1]["reasons"][0].keys() == {"evidence", "indicator", "detail"}


def test_replay_with_a_policy_prints_sanctioned_detections_too(policy: str) -> None:
    sanctioned = str(PCAPS / "ngrok-py-sanctioned.pcap")
    rows = lines(molecatcher("replay", sanctioned, "--policy", policy, "--format", "json"))
    assert {row["verdict"] for row in rows} == {"sanctioned"}
    assert lines(molecatcher("replay", sanctioned, "--format", "json")) == []


def test_compressed_files_and_standard_input_give_the_same(tmp_path: Path) -> None:
    compressed = tmp_path / "capture.pcap.gz"
    compressed.write_bytes(gzip.compress(AGENT.read_bytes()))
    plain = molecatcher("replay", str(AGENT), "--format", "json").stdout
    assert plain
    assert molecatcher("replay", str(compressed), "--format", "json").stdout == plain
    assert molecatcher("replay", "-", "--format", "json", given=AGENT.read_bytes()).stdout == plain
    assert molecatcher("replay", "-", "--format", "json", given=compressed.read_bytes()).stdout == plain


def test_the_table_speaks_to_people() -> None:
    done = molecatcher("replay", str(AGENT), str(PCAPS / "benign-wget.pcap"))
    assert done.returncode == 0
    for word in ("10.77.0.2", "unsanctioned", "ngrok", "agent", "connect.ngrok-agent.com"):
        assert word in done.stdout.decode()
    assert "3 unsanctioned" in done.stderr.decode()


def test_a_cut_file_gives_what_came_before_the_cut(tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(AGENT.read_bytes()[:-7])
    done = molecatcher("replay", str(cut), "--format", "json")
    found, whole = lines(done), lines(molecatcher("replay", str(AGENT), "--format", "json"))
    assert sum(row["packets"] for row in whole) - sum(row["packets"] for row in found) == 1
    counted = {"packets", "bytes_out", "bytes_in", "duration_ms"}
    without = [[{key: row[key] for key in row.keys() - counted} for row in rows] for rows in (found, whole)]
    assert without[0] == without[1]
    assert "ends within a record" in done.stderr.decode()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("cut.pcap", AGENT.read_bytes() + struct.pack("<4I", 1, 1, 0xFFFFFFFF, 0xFFFFFFFF), "cut.pcap is damaged"),
        ("cut.pcap.gz", gzip.compress(AGENT.read_bytes())[:-8] + bytes(8), "cut.pcap.gz is damaged"),
        ("odd.pcap", AGENT.read_bytes()[:20] + struct.pack("<I", 147) + AGENT.read_bytes()[24:], "link type 147"),
        ("odd.pcapng", write_pcapng([Commented(Packet(0, 9, bytes(60), 60))]), "link type 9"),
        ("text.pcap", b"text" * 10, "text.pcap is not a pcap"),
    ],
)
def test_what_cannot_be_read_is_said_and_the_other_files_are_shown(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    done = molecatcher("replay", "--format", "json", str(tmp_path / name), str(AGENT), str(tmp_path / "missing.pcap"))
    assert done.returncode == 1
    sources = [json.loads(line)["src_ip"] for line in done.stdout.splitlines()]
    assert len(sources) == (6 if name == "cut.pcap" else 3)
    assert says in done.stderr.decode()
    assert "missing.pcap" in done.stderr.decode()


def test_zeros_after_a_gzip_stream_are_no_packets(tmp_path: Path) -> None:
    padded = tmp_path / "padded.pcap.gz"
    padded.write_bytes(gzip.compress(AGENT.read_bytes()) + bytes(100))
    done = molecatcher("replay", str(padded), "--format", "json")
    assert len(lines(done)) == 3
    assert "malformed" not in done.stderr.decode()
    assert "ends within" not in done.stderr.decode()


@pytest.mark.parametrize(
    ("redirection", "says"),
    [("> /dev/full", "No space left"), (">&-", "Bad file descriptor"), ("> /dev/null <&-", "cannot read the capture")],
)
@pytest.mark.parametrize("argv", ["replay - --format json", "replay -", "explain -"])
def test_streams_that_fail_are_said_in_a_sentence(redirection: str, says: str, argv: str) -> None:
    command = f"{sys.executable} -m molecatcher {argv} {redirection}"
    done = subprocess.run(["sh", "-c", command], input=AGENT.read_bytes(), capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert says in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
    assert "Exception" not in done.stderr.decode()


def test_stored_replays_are_events_in_the_database(tmp_path: Path) -> None:
    assert molecatcher("replay", str(AGENT), "--store", "--state", str(tmp_path)).returncode == 0
    with open_store(tmp_path / "molecatcher.db") as store:
        (sensor,) = {event.sensor_id for event in store.events(EventFilter(), 10)}
    assert sensor == "replay:ngrok-py-default.pcap"


@pytest.mark.parametrize(
    ("argv", "status", "says"),
    [
        (["replay", "missing.pcap"], 1, "missing.pcap"),
        (["replay", __file__], 1, "not a pcap"),
        (["replay"], 2, "FILE"),
        (["replay", str(AGENT), "--format", "xml"], 2, "table or json"),
        (["check", "--format", "xml"], 2, "table or json"),
        (["doctor", "--format", "xml"], 2, "table or json"),
        (["enforce", "status", "--format", "xml"], 2, "table or json"),
        (["token", "list", "--format", "xml"], 2, "table or json"),
        (["replay", str(AGENT), "--policy", "missing.toml"], 1, "--policy"),
        (["replay", str(AGENT), "--store", "--state", __file__], 1, "--state"),
        (["token", "list", "--state", __file__], 1, "--state"),
        (["blocklist", "nothing"], 2, "--help"),
        (["serve", "--listen", "0.0.0.0:8484"], 1, "name the server"),
        (["serve", "--listen", "nonsense"], 1, "HOST:PORT"),
        (["check", "--policy", str(AGENT)], 1, "UTF-8"),
        (["nonsense"], 2, "nonsense"),
        (["run", "--nonsense"], 2, "--nonsense"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(argv: list[str], status: int, says: str) -> None:
    done = molecatcher(*argv)
    assert done.returncode == status
    assert says in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
    assert done.stdout == b""


@pytest.mark.parametrize("command", ["run", "sensor", "serve", "replay", "blocklist", "check", "doctor"])
def test_help_teaches(command: str) -> None:
    done = molecatcher(command, "--help")
    assert done.returncode == 0
    assert len(done.stdout.decode().splitlines()) > 5


@pytest.mark.parametrize(("command", "default"), [("run", b"127.0.0.1:8484"), ("sensor", b"chosen from the")])
def test_help_says_what_holds_unless_told(command: str, default: bytes) -> None:
    assert b"default: " + default in b" ".join(molecatcher(command, "--help").stdout.replace("│".encode(), b"").split())


def test_help_names_the_formats_of_block_lists() -> None:
    text = molecatcher("blocklist", "--help").stdout.decode()
    assert all(f"{feed.list_name.value.removeprefix('unsanctioned-')}.{feed.extension}" in text for feed in REGISTRY)


def test_a_block_list_can_be_rendered_without_a_running_program(policy: str) -> None:
    text = molecatcher("blocklist", "domains.txt", "--policy", policy).stdout.decode()
    assert "connect.ngrok-agent.com" in text.split()
    assert "crl.ngrok-agent.com" not in text.split()
    zone = molecatcher("blocklist", "domains.rpz", "--policy", policy).stdout.decode()
    assert "tunnels.example.com CNAME rpz-passthru." in zone
    assert "*.ngrok-agent.com CNAME ." in zone


def test_check_shows_what_is_in_effect(policy: str) -> None:
    document = json.loads(molecatcher("check", "--policy", policy, "--format", "json").stdout)
    assert document["sanctioned"][0]["domain"] == "tunnels.example.com"
    assert document["decisions"]["ngrok"] == "block"
    assert "tunnels.example.com" in molecatcher("check", "--policy", policy).stdout.decode()


def test_doctor_says_what_this_host_can_capture() -> None:
    done = molecatcher("doctor", "--format", "json")
    probes = json.loads(done.stdout)
    assert done.returncode == (0 if all(probe["ok"] for probe in probes if probe["name"] == "packet sockets") else 1)
    assert all(probe["remedy"] for probe in probes if not probe["ok"])


def test_a_list_is_printed_in_a_profile(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[[blocked]]\nentry = "https://share.example/a"\nowner = "o"\nreason = "r"\n')
    strict = molecatcher("blocklist", "domains.txt", "--profile", "strict", "--policy", str(policy)).stdout.decode()
    default = molecatcher("blocklist", "domains.txt", "--policy", str(policy)).stdout.decode()
    assert "*.ngrok.app" in strict.splitlines()
    assert "*.ngrok.app" not in default.splitlines()
    urls = molecatcher("blocklist", "urls.txt", "--policy", str(policy)).stdout.decode().splitlines()
    assert {"share.example/a", "connect.ngrok-agent.com/"} <= set(urls) or "*.ngrok-agent.com/" in urls
    refused = molecatcher("blocklist", "domains.txt", "--profile", "another")
    assert refused.returncode == 1
    assert b"choose agents-only, strict" in refused.stderr


def test_an_error_that_the_system_has_no_words_for_is_said_in_its_own() -> None:
    program = (
        "from molecatcher.cli import guarded\ndef fail(): raise TimeoutError('it took too long')\nexit(guarded(fail))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, b"molecatcher: it took too long\n")

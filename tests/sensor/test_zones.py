"""Which names the sensor wants the zones of, and what becomes of a candidate when the answer comes."""

from pathlib import Path

import pytest
from frames import read_packets
from observations import NOW_NS

from molecatcher.names.zone_questions import ZoneQuestions
from molecatcher.shared_file import SharedFile
from rules.catalogue.catalogue import load_catalogue
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset
from rules.values.verdict import Outcome
from rules.values.zones import ZoneAnswer
from sensor.detect import Detector
from sensor.pipeline import Pipeline

PCAPS = Path(__file__).parents[2] / "pcaps"
NAME, FOREVER_NS = "pushes.example1.net", 1 << 62
POLICY = '[[sanctioned]]\ndomain = "{}"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'


class Sensor:
    """A detector with real files between it and whoever answers."""

    def __init__(self, folder: Path, sanctioned: str = "tunnels.example.com") -> None:
        self.questions = SharedFile(folder / "questions.json", list[str])
        self.answers = SharedFile(folder / "answers.json", list[ZoneAnswer])
        self.zones = ZoneQuestions(SharedFile(folder / "questions.json", list[str]), self.answers)
        catalogue = load_catalogue()
        rules = Ruleset(catalogue, parse_policy(POLICY.format(sanctioned), "policy.toml", catalogue, NOW_NS))
        self.detector = Detector(Pipeline(), lambda: rules, zones=self.zones)

    def play(self, name: str) -> set[str]:
        """Feed a capture and return what is asked for then."""
        packets = read_packets(str(PCAPS / f"{name}.pcap"))
        self.last_ns = packets[-1].ts_ns
        self.detector.feed(packets)
        self.zones.exchange()
        return set(self.questions.poll() or ())


@pytest.mark.parametrize(
    ("capture", "sanctioned", "wanted"),
    [
        ("benign-keep-alive", "tunnels.example.com", {NAME}),
        ("benign-keep-alive", "example1.net", set()),
        ("ngrok2-default", "tunnels.example.com", set()),
        ("ngrok-py-sanctioned", "tunnels.example.com", set()),
        ("benign-curl", "tunnels.example.com", set()),
    ],
)
def test_only_names_that_nothing_knows_are_asked_for(
    tmp_path: Path, capture: str, sanctioned: str, wanted: set[str]
) -> None:
    assert Sensor(tmp_path, sanctioned).play(capture) & {NAME, "tunnel.us.ngrok.com", "tunnels.example.com"} == wanted


@pytest.mark.parametrize(
    ("servers", "outcomes"),
    [
        (("ns1.example.net", "ns1.ngrok-dns.com"), [Outcome.UNSANCTIONED]),
        (("ns1.notngrok-dns.com",), []),
        ((), []),
    ],
)
def test_the_answer_decides_on_the_flow_that_was_kept(
    tmp_path: Path, servers: tuple[str, ...], outcomes: list[Outcome]
) -> None:
    sensor = Sensor(tmp_path)
    sensor.play("benign-keep-alive")
    zone = "example1.net" if servers else ""
    SharedFile(tmp_path / "answers.json", list[ZoneAnswer]).write([ZoneAnswer(NAME, zone, servers, FOREVER_NS)])
    sensor.zones.exchange()
    found = sensor.detector.advance(sensor.last_ns + 1)
    assert [row.verdict.outcome for row in found] == outcomes
    assert all(row.observation.revision > 1 and row.verdict.dst_name == NAME for row in found)
    assert sensor.detector.advance(sensor.last_ns + 2) == []

from pathlib import Path

from dns_server import unbound
from free_ports import free_port
from installation import wait_until
from observations import hello

from molecatcher.names.reverse_names import HOLDS_S, MAX_NAMES, REST_S, ReverseNames
from rules.values.source import Source
from rules.values.verdict import UNKNOWN
from sensor.attribution.attributor import Attributor
from sensor.capture.live.namespaces import Namespaces
from sensor.detection.detection import Detection

PTR = '  local-data-ptr: "10.20.0.7 60 Laptop-7.Corp.example"\n  local-data-ptr: "2001:db8::7 60 laptop-7.corp.example"'


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_an_address_has_the_name_that_the_dns_gives_it(tmp_path: Path) -> None:
    with unbound(tmp_path, {}, PTR) as server:
        names = ReverseNames([server])
        assert names.find("10.20.0.7") == "laptop-7.corp.example"
        assert names.find("2001:db8::7") == "laptop-7.corp.example"
        assert names.find("10.20.0.8") is None
        assert names.find("10.20.0.8") is None
        assert (names.asked, names.failed) == (3, 0)


def test_a_name_is_asked_for_again_after_a_while(tmp_path: Path) -> None:
    clock = Clock()
    with unbound(tmp_path, {}, PTR) as server:
        names = ReverseNames([server], clock)
        for later_s, asked in ((0.0, 1), (HOLDS_S - 1, 1), (2.0, 2)):
            clock.now_s += later_s
            assert names.find("10.20.0.7") == "laptop-7.corp.example"
            assert names.asked == asked


def test_a_resolver_that_is_away_is_left_alone() -> None:
    clock = Clock()
    names = ReverseNames([f"127.0.0.1#{free_port()}"], clock)
    for number in range(5):
        assert names.find(f"10.20.0.{number}") is None
    assert (names.asked, names.failed) == (1, 1)
    clock.now_s += REST_S
    assert names.find("10.20.0.1") is None
    assert names.asked == 2


def test_so_many_names_are_kept(tmp_path: Path) -> None:
    with unbound(tmp_path, {}, PTR) as server:
        names = ReverseNames([server])
        for number in range(MAX_NAMES + 1):
            names.find(f"10.20.{number >> 8}.{number & 255}")
        assert names.find("10.20.0.0") is None
        assert names.asked == MAX_NAMES + 2


def test_a_forwarded_source_has_it(tmp_path: Path) -> None:
    observation = hello("connect.ngrok-agent.com", src="10.20.0.7")
    with unbound(tmp_path, {}, PTR) as server:
        attributor = Attributor(Namespaces(), reverse_name=ReverseNames([server]).find)
        attributor.ask([Detection(observation, UNKNOWN)])
        answers: list[tuple[int, Source]] = []
        wait_until(lambda: answers.append(*found) if (found := attributor.answers()) else answers)
        attributor.close()
    assert answers == [(observation.key, Source(host="laptop-7.corp.example"))]

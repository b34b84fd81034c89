from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dns_server import unbound
from free_ports import free_port
from observations import NOW_NS

from molecatcher.names.own_lookups import OwnLookups
from molecatcher.names.resolve import NameResolver
from molecatcher.names.zone_checks import FAILED_S, NO_ZONE_S, ZoneChecks
from molecatcher.names.zone_questions import MAX_QUESTIONS, ZoneQuestions
from molecatcher.shared_file import SharedFile
from rules.values.zones import ZoneAnswer

NAME, SERVERS = "a.tunnels.myblog.net", ("ns1.ngrok-dns.com", "ns2.ngrok-dns.com")
DELEGATION = "\n".join(f'  local-data: "tunnels.myblog.net. 600 IN NS {name}."' for name in SERVERS)
S = 1_000_000_000


class Exchange:
    """Sensor's and resolver's side over the files they share, at a time that a test sets."""

    def __init__(self, folder: Path, server: str) -> None:
        self.now_ns = NOW_NS
        questions, answers = folder / "questions.json", folder / "answers.json"
        self.sensor = ZoneQuestions(SharedFile(questions, list[str]), SharedFile(answers, list[ZoneAnswer]))
        resolver = NameResolver([server], timeout_s=1, spell=OwnLookups(bytes(32)).mark)
        self.checks = ZoneChecks(
            [SharedFile(path, list[str]) for path in (questions, folder / "other.json")],
            SharedFile(answers, list[ZoneAnswer]),
            resolver,
            lambda: self.now_ns,
        )

    def turn(self) -> None:
        self.sensor.exchange()
        self.checks.check()
        self.sensor.exchange()

    def ask(self, name: str) -> ZoneAnswer | None:
        if self.sensor.find(name, self.now_ns) is None:
            self.turn()
        return self.sensor.find(name, self.now_ns)


@contextmanager
def exchange(folder: Path) -> Iterator[Exchange]:
    with unbound(folder, {"www.example.org": ("192.0.2.1",)}, f"server:\n{DELEGATION}") as server:
        yield Exchange(folder, server)


def test_the_closest_zone_is_found_and_its_servers_hold_for_their_time_to_live(tmp_path: Path) -> None:
    with exchange(tmp_path) as here:
        assert here.ask(NAME) == ZoneAnswer(NAME, "tunnels.myblog.net", SERVERS, NOW_NS + 600 * S)
        assert here.sensor.news() == [NAME]
        assert here.sensor.news() == []
        asked = here.checks.asked
        here.now_ns += 599 * S
        assert here.ask(NAME) is not None
        here.turn()
        assert here.checks.asked == asked
        here.now_ns += 2 * S
        assert here.ask(NAME) is not None
        assert here.checks.asked > asked


def test_steps_that_names_share_are_asked_for_once(tmp_path: Path) -> None:
    with exchange(tmp_path) as here:
        here.ask(NAME)
        asked = here.checks.asked
        here.ask("b.tunnels.myblog.net")
        assert here.checks.asked == asked + 1


def test_no_zone_is_an_answer_that_holds_for_an_hour_and_a_registry_is_never_asked(tmp_path: Path) -> None:
    with exchange(tmp_path) as here:
        assert here.ask("www.example.org") == ZoneAnswer("www.example.org", until_ns=NOW_NS + NO_ZONE_S * S)
        assert here.checks.asked == 2
        for name in ("localhost", "co.uk", "net", "a..b", "x" * 300):
            here.ask(name)
        assert here.checks.asked == 2


def test_a_resolver_that_is_away_is_asked_again_after_a_minute(tmp_path: Path) -> None:
    here = Exchange(tmp_path, f"127.0.0.1#{free_port()}")
    assert here.ask(NAME) == ZoneAnswer(NAME, until_ns=NOW_NS + FAILED_S * S)
    assert here.checks.failed == 1
    here.now_ns += (FAILED_S + 1) * S
    here.ask(NAME)
    assert here.checks.failed == 2


def test_what_several_sensors_want_is_answered_in_one_file(tmp_path: Path) -> None:
    with exchange(tmp_path) as here:
        SharedFile(tmp_path / "other.json", list[str]).write(["c.tunnels.myblog.net"])
        here.ask(NAME)
    answers = SharedFile(tmp_path / "answers.json", list[ZoneAnswer]).poll()
    assert answers is not None
    assert {answer.name for answer in answers} == {NAME, "c.tunnels.myblog.net"}


def test_a_flood_of_names_is_bounded(tmp_path: Path) -> None:
    here = Exchange(tmp_path, f"127.0.0.1#{free_port()}")
    for number in range(MAX_QUESTIONS + 10):
        here.sensor.find(f"{number}.example", NOW_NS)
    here.sensor.exchange()
    assert here.sensor.shed == 10
    waiting = SharedFile(tmp_path / "questions.json", list[str]).poll()
    assert waiting is not None
    assert (len(waiting), waiting[-1]) == (MAX_QUESTIONS, f"{MAX_QUESTIONS + 9}.example")


def test_a_damaged_or_oversized_file_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    shared = SharedFile(path, list[str])
    for content in (b"{", b'{"a": 1}', b"\0" * (5 << 20)):
        path.write_bytes(content)
        assert shared.poll() is None
    shared.write(["a"])
    assert SharedFile(path, list[str]).poll() == ["a"]

"""What a screen lets through of crafted packets, and what is detected with and without one."""

import random
from collections.abc import Callable, Iterable
from pathlib import Path

from conversations import APPLICATION, BANNER, SERVER_HELLO, client_hello
from crafted import write_pcap
from frames import MS, Conversation, S, ask
from hellos import records

from rules.catalogue.catalogue import load_catalogue
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset
from sensor.capture.offline.file import open_capture
from sensor.capture.screening.compiled import IS_COMPILED, CompiledScreen
from sensor.capture.screening.plain import PlainScreen
from sensor.capture.screening.screen import Asked, Screen
from sensor.detection.detect import Detector
from sensor.detection.detection import Detection
from sensor.packet import Packet
from sensor.pipeline import Pipeline

LISTED = "connect.ngrok-agent.com"
POLICY = '[[sanctioned]]\ndomain = "tunnels.example.com"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'
SCREENS: tuple[type[Screen], ...] = (CompiledScreen, PlainScreen) if IS_COMPILED else (PlainScreen,)
kind = SCREENS[0]  # the fixture `each_screen` sets it
CLIENT_OCTETS, SERVER_OCTETS = bytes((10, 0, 0, 2)), bytes((192, 0, 2, 10))


def ruleset() -> Ruleset:
    catalogue = load_catalogue()
    return Ruleset(catalogue, parse_policy(POLICY, "policy.toml", catalogue, S))


RULES = ruleset()


def new_screen() -> Screen:
    """A screen of the kind that a test is run with."""
    return kind()


def nothing(_kind: int, _name: str) -> bool:
    return False


def is_listed(_kind: int, name: str) -> bool:
    return name == LISTED


def hello(name: str = "www.example.org", *, is_split: bool = False) -> bytes:
    return records(client_hello(name, random.Random(3), is_split=is_split))


def greeting(
    name: str = "www.example.org", *, start_ns: int = 2 * S, answer: bytes = SERVER_HELLO, isn: int = 1000
) -> list[Packet]:
    """A TLS connection from its SYN to application data."""
    talk = Conversation(start_ns=start_ns, isn=isn)
    return [*talk.open(), *talk.send(hello(name)), *talk.answer(answer), *talk.send(APPLICATION)]


def ssh(*, start_ns: int = 2 * S) -> list[Packet]:
    talk = Conversation(start_ns=start_ns)
    return [*talk.open(), *talk.answer(BANNER), *talk.send(BANNER)]


def handed_out(packets: list[Packet], ask_about: Callable[[int, str], bool], tmp_path: Path) -> list[Packet]:
    """What a screen lets through of a file."""
    return through(packets, ask_about, tmp_path)[0]


def through(
    packets: list[Packet], ask_about: Callable[[int, str], bool], tmp_path: Path, screen: Screen | None = None
) -> tuple[list[Packet], Screen]:
    path = tmp_path / "screened.pcap"
    write_pcap(path, packets)
    screen = screen if screen is not None else new_screen()
    screen.ask = ask_about
    found: list[Packet] = []
    with open_capture(str(path), heads_only=True, screen=screen) as source:
        while (batch := source.read()) is not None:
            found += batch
    return found, screen


def detected(path: Path, screen: Screen | None, rules: Callable[[], Ruleset] = lambda: RULES) -> list[Detection]:
    detector = Detector(Pipeline(screen=screen), rules)
    found: list[Detection] = []
    with open_capture(str(path), heads_only=True, screen=screen) as source:
        while (packets := source.read()) is not None:
            found += detector.feed_counted(packets, source.counts) + detector.advance(source.last_ns)
    return found + detector.flush()


def said(found: list[Detection]) -> set[tuple[object, ...]]:
    last = {row.observation.key: row for row in found}
    return {(row.observation.five_tuple, row.verdict.outcome, row.verdict.service) for row in last.values()}


class Listener:
    """What a screen asks about."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __call__(self, kind: int, name: str) -> bool:
        if kind != Asked.PROTOCOL:
            self.names.add(name)
        return False


def asked_about(names: Iterable[str], screen: Screen, folder: Path) -> set[str]:
    """Which of `names`, asked for one after the other, the screen asks about."""
    listener = Listener()
    lookups = [ask(S + number * MS, name, port=1024 + number % 60_000) for number, name in enumerate(names)]
    through(lookups, listener, folder, screen)
    return listener.names

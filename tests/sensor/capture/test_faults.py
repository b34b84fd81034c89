"""A fault of the program in what sorts packets out before they are read costs no packet, and is counted and said."""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cable import Wire, open_wire
from crafted import write_pcap
from frames import SYN, Conversation, S, ask, told
from netns import needs_root
from screened import LISTED, RULES, greeting, hello, is_listed, new_screen, nothing, through

import molecatcher.recordings.replay
from molecatcher.recordings.replay import Replay
from sensor.capture.copies import Copies
from sensor.capture.filter.limits import Limits
from sensor.capture.live.engine import open_source
from sensor.capture.screening.plain import PlainScreen
from sensor.packet import Packet

pytestmark = pytest.mark.faults
WATCHFUL_NS = 31 * S  # after a fault


class Unreadable(bytes):
    """Octets of a packet that parsers in Python fail on, and those in C do not."""

    def __getitem__(self, part: slice) -> bytes:  # type: ignore[override]
        if part.start:
            raise TypeError("no end")
        return super().__getitem__(part)


class Fickle(bytes):
    """Octets whose number nobody can tell any more once `is_spent` is set."""

    is_spent = False

    def __len__(self) -> int:
        if self.is_spent:
            raise TypeError("no length")
        return super().__len__()


def with_data(packet: Packet, data: bytes) -> Packet:
    return msgspec.structs.replace(packet, data=data)


def fail(_kind: int, name: str) -> bool:
    raise TypeError(f"no answer to {name}")


@pytest.mark.usefixtures("each_screen")
def test_what_a_fault_keeps_from_being_judged_is_handed_out_whole_and_counted(tmp_path: Path) -> None:
    packets = [*told("www.example.org", at_ns=S), *greeting(), *told("cdn.example.org", at_ns=4 * S)]
    found, screen = through(packets, fail, tmp_path)
    assert found == packets
    assert screen.faults.count >= 4
    assert screen.faults.first is not None
    assert (str(screen.faults.first[0]), screen.faults.first[1]) == ("no answer to www.example.org", b"www.example.org")
    assert screen.totals().packets == 0


@pytest.mark.parametrize("tunnel", [greeting(LISTED, start_ns=2 * S), told(LISTED, at_ns=2 * S)])
@pytest.mark.parametrize("at", range(5))
def test_a_packet_that_the_screen_fails_on_comes_behind_what_was_held_and_none_of_its_flow_is_missing(
    at: int, tunnel: list[Packet]
) -> None:
    screen = PlainScreen()
    screen.ask = is_listed
    failing = [with_data(row, Unreadable(row.data)) if number == at else row for number, row in enumerate(tunnel)]
    begun = [ask(S, "www.example.org", port=999), *Conversation(("10.0.0.9", 999, "192.0.2.9", 443), start_ns=S).open()]
    found = screen.sift([*begun, *failing])
    held = begun if at < len(tunnel) else []
    assert sorted(found, key=id) == sorted([*held, *failing], key=id)
    assert [row for row in found if row in failing] == failing
    assert screen.faults.count == (at < len(tunnel))
    assert screen.totals().packets == len(begun) - len(held)


def test_after_a_fault_connections_are_left_to_the_pipeline_for_a_while_and_judged_again_then() -> None:
    screen = PlainScreen()
    screen.ask = nothing
    answer = told("www.example.org", at_ns=S)[1]
    assert screen.sift([with_data(answer, Unreadable(answer.data))])
    soon = greeting(start_ns=2 * S)
    assert screen.sift(soon) == soon  # the answer may have led there
    talk = Conversation(("10.0.0.2", 999, "192.0.2.9", 443), start_ns=S + WATCHFUL_NS)
    assert screen.sift([*talk.open(), *talk.send(hello())]) == []


def test_a_fault_while_time_passes_hands_out_what_was_held() -> None:
    screen = PlainScreen()
    screen.ask = nothing
    syn = Conversation(start_ns=S).segment(SYN)
    other = Conversation(("10.0.0.9", 999, "192.0.2.9", 443), start_ns=S).segment(SYN)
    fickle = Fickle(syn.data)
    held = [with_data(syn, fickle), other]
    assert screen.sift(held) == []
    fickle.is_spent = True
    assert [row.ts_ns for row in screen.advance(9 * S)] == [S, S]
    assert screen.faults.count == 1
    assert screen.advance(20 * S) == []


def test_offline_the_summary_of_a_replay_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(PlainScreen):
        def decide(self, kind: int, name: str) -> bool:
            self.ask = fail
            return super().decide(kind, name)

    path = tmp_path / "tunnel.pcap"
    write_pcap(path, [*told(LISTED, at_ns=S), *greeting(LISTED)])
    summaries, events = [], []
    for make in (PlainScreen, Failing):
        monkeypatch.setattr(molecatcher.recordings.replay, "make_screen", make)
        replay = Replay(RULES)
        events.append([(row.src_ip, row.dst_name, row.verdict) for row in replay.play(str(path))])
        summaries.append(replay.summary)
    assert events[0] == events[1] != []
    assert summaries[0].warnings == []
    assert len(summaries[1].warnings) == 1
    assert "no answer to" in summaries[1].warnings[0]


def test_a_packet_that_cannot_be_told_from_copies_is_none() -> None:
    copies = Copies()
    good = told("www.example.org")
    odd = msgspec.structs.replace(good[0], data=Unreadable(good[0].data), wire_octets=None)  # C wants the latter
    assert copies.leave_out([good[0], odd, good[1], odd]) == [good[0], odd, good[1], odd]
    assert copies.faults.count == 2


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as cable:
        cable.network.cable(cable.sensor, "eth1", cable.sender, "eth1")
        yield cable


@needs_root
@pytest.mark.usefixtures("each_screen")
@pytest.mark.parametrize("interfaces", [["eth0"], ["eth0", "eth1"]])
def test_live_a_source_goes_on_and_hands_the_packet_out(interfaces: list[str], wire: Wire) -> None:
    screen = new_screen()
    packets = [*told("www.example.org"), *Conversation().open(), *Conversation().send(hello("www.example.org"))]
    with open_source(interfaces, Limits(flows=1024), screen=screen) as source:
        screen.ask = fail
        wire.send(*(row.data for row in packets))
        found: list[Packet] = []
        until_s = time.monotonic() + 60
        while len(found) < len(packets) and time.monotonic() < until_s:
            found += source.read(0.2) or []
        assert sorted(row.data for row in found) == sorted(row.data for row in packets)
        assert source.counters().faults == source.faults.count == screen.faults.count > 0

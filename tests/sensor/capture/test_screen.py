import random
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cable import Wire, open_wire, send_frames
from conversations import APPLICATION, BANNER, SERVER_HELLO
from crafted import write_pcap
from damage import changed
from frames import ACK, CLIENT, FIN, MS, SERVER, SYN, Conversation, S, ask, dns_answer, read_packets, tell, told
from mix import write_mix
from netns import needs_root
from recordings import CAPTURES, recording_names
from screened import (
    CLIENT_OCTETS,
    LISTED,
    RULES,
    SERVER_OCTETS,
    detected,
    greeting,
    handed_out,
    hello,
    is_listed,
    new_screen,
    nothing,
    said,
    ssh,
    through,
)
from traps import DETECTED
from traps_quiet import QUIET

import molecatcher.recordings.replay
from molecatcher.recordings.replay import Replay
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from rules.values.observation import NameSource
from sensor.capture.filter.flow_heads import FlowHeads
from sensor.capture.filter.limits import Limits
from sensor.capture.live.engine import open_source
from sensor.capture.live.live import LiveSource
from sensor.capture.live.plain import PlainTap
from sensor.capture.live.ring import RingTap
from sensor.capture.live.sockets import Engine
from sensor.capture.live.tap import TapOpener
from sensor.capture.offline.file import open_capture
from sensor.capture.offline.pcapng_file import Commented, write_pcapng
from sensor.capture.screening.screen import Asked
from sensor.detection.detect import Detector
from sensor.packet import LinkType, Packet
from sensor.pipeline import Pipeline

pytestmark = pytest.mark.usefixtures("each_screen")


def events(path: Path) -> list[dict[str, object]]:
    replay = Replay(RULES, keeps_packets=True)
    rows = [msgspec.structs.asdict(event) for event in replay.play(str(path))]
    return [{key: value for key, value in row.items() if key != "event_id"} for row in rows]


def events_without(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    with monkeypatch.context() as patch:
        patch.setattr(molecatcher.recordings.replay, "make_screen", lambda: None)
        return events(path)


@pytest.mark.parametrize("name", recording_names())
def test_a_recording_says_the_same_with_a_screen_down_to_the_packets_kept(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = CAPTURES / f"{name}.pcap"
    assert events(path) == events_without(path, monkeypatch)


@pytest.mark.parametrize("name", recording_names())
def test_so_does_a_file_of_two_interfaces(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = read_packets(str(CAPTURES / f"{name}.pcap"))
    first = next((row.data[6:12] for row in rows), b"")
    path = tmp_path / "two.pcapng"
    named = [msgspec.structs.replace(row, interface="eth0" if row.data[6:12] == first else "eth1") for row in rows]
    path.write_bytes(write_pcapng([Commented(row, "") for row in named]))
    assert events(path) == events_without(path, monkeypatch)


def test_of_a_mix_hardly_anything_is_handed_out_and_nothing_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mix.pcap"
    truth = write_mix(path, 60_000)
    found = events(path)
    assert len(found) == len(truth.tunnels) == 200
    assert found == events_without(path, monkeypatch)
    screen = new_screen()
    pipeline = Pipeline(screen=screen)
    Detector(pipeline, lambda: RULES)
    with open_capture(str(path), heads_only=True) as source:
        heads = sum(map(len, iter(source.read, None)))
    with open_capture(str(path), heads_only=True, screen=screen) as source:
        handed_out_of_mix = sum(map(len, iter(source.read, None)))
    assert handed_out_of_mix < heads / 3


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_to_packets_no_detection_is_lost_by_a_screen(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    packets: list[Packet] = []
    for trap in chance.sample((*DETECTED, *QUIET), 3):
        rows = changed([row for row in trap.packets() if row.link_type == LinkType.ETHERNET], chance)
        shift_ns = 1_700_000_000 * S - (rows[0].ts_ns if rows else 0)
        packets += [Packet(row.ts_ns + shift_ns, row.link_type, row.data, row.wire_octets) for row in rows]
    path = tmp_path / "changed.pcap"
    write_pcap(path, sorted(packets, key=lambda row: row.ts_ns))
    assert said(detected(path, None)) <= said(detected(path, new_screen()))


def test_look_ups_and_connections_of_no_interest_are_passed_over_and_counted(tmp_path: Path) -> None:
    packets = [*told("www.example.org", at_ns=S), *greeting()]
    found, screen = through(packets, nothing, tmp_path)
    totals = screen.totals()
    assert found == []
    assert (totals.packets, totals.octets) == (len(packets), sum(row.wire_octets for row in packets))
    assert (totals.flows, totals.lookups, totals.messages) == (1, 1, 2)


def test_each_name_is_asked_about_once_and_anew_when_what_is_of_interest_changes(tmp_path: Path) -> None:
    asked: list[tuple[int, str]] = []

    def note(kind: int, name: str) -> bool:
        asked.append((kind, name))
        return False

    packets = [row for number in range(1, 9) for row in told("www.example.org", at_ns=number * S)]
    _, screen = through([*packets, *greeting(start_ns=10 * S)], note, tmp_path)
    once = [(Asked.QUESTION, "www.example.org")]
    assert asked == [*once, (Asked.PROTOCOL, "h2"), (Asked.PROTOCOL, "http/1.1")]
    screen.follow([])
    asked.clear()
    path = tmp_path / "again.pcap"
    write_pcap(path, packets)
    with open_capture(str(path), heads_only=True, screen=screen) as source:
        while source.read() is not None:
            pass
    assert asked == once


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(greeting(LISTED), id="a listed name"),
        pytest.param(greeting(answer=BANNER), id="what answers a hello is no TLS"),
        pytest.param(ssh(), id="the server speaks first"),
        pytest.param(told(LISTED, at_ns=S), id="a listed question"),
        pytest.param(
            [ask(S, "cdn.example"), tell(S + MS, dns_answer("cdn.example", [SERVER], aliases=[LISTED]))],
            id="a listed alias",
        ),
        pytest.param([ask(S, "www.example.org"), ask(2 * S, "WWW.example.org", ident=8)][1:], id="upper case"),
        pytest.param([ask(S, "www.example.org", qtype=16)], id="a question for text"),
        pytest.param(greeting(LISTED)[3:], id="a listed hello without its SYN"),
    ],
)
def test_a_flow_that_something_may_come_of_is_handed_out_whole(packets: list[Packet], tmp_path: Path) -> None:
    assert handed_out(packets, is_listed, tmp_path) == packets
    noise = [*Conversation(("10.0.0.8", 4000, "192.0.2.80", 443)).open(), *greeting("www.example.org", start_ns=20 * S)]
    mixed = sorted([*packets, *noise], key=lambda row: row.ts_ns)
    assert [row for row in handed_out(mixed, is_listed, tmp_path) if row.ts_ns < 20 * S] == packets


@pytest.mark.parametrize("is_swapped", [False, True])
def test_a_hello_in_two_segments_is_read_in_either_order(is_swapped: bool, tmp_path: Path) -> None:
    for name in ("www.example.org", LISTED):
        talk = Conversation(start_ns=S)
        opening, segments = talk.open(), talk.send(hello(name, is_split=True))
        assert len(segments) == 2
        rest = [*talk.answer(SERVER_HELLO), *talk.send(APPLICATION), talk.segment(FIN | ACK)]
        packets = [*opening, *(segments[::-1] if is_swapped else segments), *rest]
        assert handed_out(packets, is_listed, tmp_path) == (packets if name == LISTED else [])


def test_a_hello_that_differs_where_segments_overlap_is_handed_out(tmp_path: Path) -> None:
    talk = Conversation(start_ns=S)
    opening = talk.open()
    whole = hello("www.example.org", is_split=True)
    first, second = talk.send(whole)
    again = Conversation(start_ns=2 * S)
    again.open()
    other = again.send(hello(LISTED, is_split=True))
    packets = [*opening, first, other[0], second, *talk.answer(SERVER_HELLO)]
    assert handed_out(packets, is_listed, tmp_path) == packets


def test_a_connection_is_handed_out_where_a_listed_name_led_its_client_there(tmp_path: Path) -> None:
    lookup = told(LISTED, at_ns=S)
    packets = greeting(start_ns=3 * S)
    assert handed_out([*lookup, *packets], is_listed, tmp_path) == [*lookup, *packets]
    elsewhere = told(LISTED, "192.0.2.99", at_ns=S)
    assert handed_out([*elsewhere, *packets], is_listed, tmp_path) == elsewhere


def test_an_answer_that_is_not_read_here_leaves_its_client_s_connections_to_the_pipeline(tmp_path: Path) -> None:
    odd = [ask(S, "Www.example.org"), tell(S + MS, dns_answer("Www.example.org", [SERVER])[:-3])]
    packets = greeting(start_ns=3 * S)
    assert handed_out([*odd, *packets], nothing, tmp_path) == [*odd, *packets]


def test_a_name_that_was_passed_over_is_found_for_a_flow_that_carries_none(tmp_path: Path) -> None:
    look_ups = [*told("alias.example.org", at_ns=S), *told("ssh.example.org", at_ns=2 * S)]
    path = tmp_path / "ssh.pcap"
    write_pcap(path, [*look_ups, *ssh(start_ns=3 * S)])
    screen = new_screen()
    found = detected(path, screen)[-1].observation
    assert screen.totals().lookups == 2
    assert found.told == (("ssh.example.org",), ("alias.example.org",))
    assert msgspec.structs.replace(found, key=0) == msgspec.structs.replace(detected(path, None)[-1].observation, key=0)


def test_two_look_ups_with_the_same_number_are_handed_out(tmp_path: Path) -> None:
    first, second = told("www.example.org", at_ns=S), told("cdn.example.org", at_ns=S)
    packets = [first[0], second[0], first[1], second[1]]
    assert handed_out(packets, nothing, tmp_path) == packets


def test_what_was_passed_over_counts_as_told_when_it_came(tmp_path: Path) -> None:
    path = tmp_path / "told.pcap"
    write_pcap(path, [*told("older.example.org", at_ns=S), *told(LISTED, at_ns=2 * S), *ssh(start_ns=3 * S)])
    last = detected(path, new_screen())[-1].observation
    assert last.told == ((LISTED,), ("older.example.org",))
    assert last.told == detected(path, None)[-1].observation.told


def test_a_name_that_is_told_again_and_again_was_told_at_each_of_these_times(tmp_path: Path) -> None:
    path = tmp_path / "again.pcap"
    packets = told(LISTED, at_ns=S)
    for number in range(4):
        start_ns = (20 + 7 * number) * 100 * MS
        packets += told("www.example.org", at_ns=start_ns)
        talk = Conversation((CLIENT, 50_000 + number, SERVER, 443), start_ns=start_ns + 100 * MS)
        packets += [*talk.open(), *talk.send(hello("www.example.org")), *talk.answer(SERVER_HELLO)]
    write_pcap(path, packets)
    screen = new_screen()
    assert said(detected(path, screen)) == said(detected(path, None))
    assert screen.totals().lookups == 4


def test_when_a_client_asked_for_a_name_is_known_and_since_when_it_is_watched(tmp_path: Path) -> None:
    later_ns = 4000 * S
    packets = [*told("www.example.org", at_ns=S), *told("other.example.org", at_ns=later_ns)]
    _, screen = through(packets, nothing, tmp_path)
    asked = Pipeline(screen=screen)._told_names.asked
    assert asked.source(CLIENT_OCTETS, "www.example.org", later_ns) is NameSource.DNS
    assert asked.source(CLIENT_OCTETS, "never.example.org", later_ns) is NameSource.NOT_ASKED
    assert asked.source(SERVER_OCTETS, "never.example.org", later_ns) is NameSource.NO_DNS_SEEN
    assert screen.asked(CLIENT_OCTETS, "www.example.org")[1] == S


def test_of_answers_only_those_are_told_that_had_come(tmp_path: Path) -> None:
    packets = [*told("one.example.org", at_ns=S), *told("two.example.org", at_ns=3 * S)]
    _, screen = through(packets, nothing, tmp_path)
    assert screen.answers(CLIENT_OCTETS, bytes((192, 0, 2, 11)), 9 * S) == []
    assert [ts_ns for ts_ns, _ in screen.answers(CLIENT_OCTETS, SERVER_OCTETS, 2 * S)] == [S + MS]
    assert [ts_ns for ts_ns, _ in screen.answers(CLIENT_OCTETS, SERVER_OCTETS, 4 * S)] == [3 * S + MS]
    assert screen.answers(CLIENT_OCTETS, SERVER_OCTETS, 4 * S) == []


def test_other_rules_are_followed_at_once(tmp_path: Path) -> None:
    rules = [Ruleset(RULES.catalogue, Policy()), RULES]
    screen = new_screen()
    detector = Detector(Pipeline(screen=screen), lambda: rules[0])
    assert not screen.ask(Asked.NAME, "us.tunnels.example.com")
    rules.reverse()
    detector.feed([])
    assert screen.ask(Asked.NAME, "us.tunnels.example.com")
    assert handed_out(greeting("us.tunnels.example.com"), screen.ask, tmp_path) == greeting("us.tunnels.example.com")


def test_names_below_a_domain_that_a_dns_tunnel_uses_are_of_interest_from_then_on() -> None:
    screen = new_screen()
    detector = Detector(Pipeline(screen=screen), lambda: RULES)
    assert not screen.ask(Asked.QUESTION, "a.t.example.org")
    path = CAPTURES / "dns-iodine-txt.pcap"
    assert detected(path, screen)
    with open_capture(str(path)) as source:
        found = [row for packets in iter(source.read, None) for row in detector.feed(packets)]
    domain = next(row.value for one in found for row in one.observation.indicators if row.evidence == "protocol")
    assert screen.ask(Asked.QUESTION, f"a.{domain.rpartition(':')[2]}")


def test_a_hello_that_is_never_completed_is_handed_out_after_three_seconds(tmp_path: Path) -> None:
    talk = Conversation(start_ns=S)
    packets = [*talk.open(), *talk.send(hello(is_split=True))[:1]]
    later = told("www.example.org", at_ns=9 * S)
    assert handed_out([*packets, *later], nothing, tmp_path) == packets
    assert handed_out(packets, nothing, tmp_path) == packets


def test_a_syn_that_nothing_follows_is_dropped_unless_its_address_was_told_since(tmp_path: Path) -> None:
    syn = [Conversation(start_ns=S).segment(SYN)]
    assert handed_out(syn, is_listed, tmp_path) == []
    told_since = told(LISTED, at_ns=2 * S)
    assert handed_out([*syn, *told_since], is_listed, tmp_path) == [*told_since, *syn]


def test_another_connection_with_the_same_ends_is_judged_anew(tmp_path: Path) -> None:
    first = greeting()
    talk = Conversation(start_ns=9 * S, isn=900_000)
    second = [*talk.open(), *talk.send(hello(LISTED)), *talk.answer(SERVER_HELLO)]
    assert handed_out([*first, *second], is_listed, tmp_path) == second


def test_a_clock_that_goes_back_begins_anew(tmp_path: Path) -> None:
    late = greeting(start_ns=500 * S)[:4]
    early = greeting(LISTED, start_ns=S)
    assert handed_out([*late, *early], is_listed, tmp_path) == early
    cut = Conversation(start_ns=500 * S)
    open_hello = [*cut.open(), *cut.send(hello(is_split=True))[:1]]
    assert handed_out([*open_hello, *early], is_listed, tmp_path) == [*open_hello, *early]


def test_a_flood_makes_room_for_itself_and_no_hello_is_lost(tmp_path: Path) -> None:
    cut = Conversation((CLIENT, 1000, SERVER, 443), start_ns=S)
    waiting = [*cut.open(), *cut.send(hello(is_split=True))[:1]]
    flood = [
        Conversation((CLIENT, 6000 + number % 50_000, f"198.18.{number // 50_000}.9", 443), start_ns=2 * S).segment(SYN)
        for number in range(120_000)
    ]
    found, screen = through([*waiting, *flood], nothing, tmp_path)
    assert found == waiting
    totals = screen.totals()
    assert totals.packets == len(flood)
    assert totals.evicted > 10_000


def test_what_cannot_be_judged_is_handed_out_whole(tmp_path: Path) -> None:
    def fail(_kind: int, _name: str) -> bool:
        raise LookupError("no rules")

    packets = [*told("www.example.org", at_ns=S), *greeting()]
    assert handed_out(packets, fail, tmp_path) == packets


def test_no_screen_takes_a_wrong_address() -> None:
    screen = new_screen()
    with pytest.raises(ValueError, match="no packed address"):
        screen.mark(b"one", CLIENT_OCTETS)
    with pytest.raises(ValueError, match="no packed address"):
        screen.answers(CLIENT_OCTETS, b"", S)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with open_wire() as cable:
        cable.network.cable(cable.sensor, "eth1", cable.sender, "eth1")
        yield cable


@needs_root
def test_live_a_tunnel_is_handed_out_at_once_and_nothing_else(wire: Wire) -> None:
    screen = new_screen()
    screen.ask = is_listed
    dull, tunnel = [*told("www.example.org"), *greeting("other.example.org")], told(LISTED)
    with open_source(["eth0"], Limits(flows=1024), screen=screen) as source:
        wire.send(*(row.data for row in [*dull, *tunnel]))
        found: list[Packet] = []
        until_s = time.monotonic() + 60
        while len(found) < len(tunnel) and time.monotonic() < until_s:
            found += source.read(0.2) or []
        assert [row.data for row in found] == [row.data for row in tunnel]
        counters = source.counters()
        assert counters.packets == len(tunnel)
        assert counters.filtered_packets >= len(dull)


@needs_root
def test_live_what_was_held_comes_before_what_is_newer_and_is_told_apart(wire: Wire) -> None:
    screen = new_screen()
    packets = Conversation().open()
    with open_source(["eth0"], Limits(flows=1024), screen=screen) as source:
        screen.ask = is_listed
        wire.send(*(row.data for row in packets))
        assert source.read(0.5) == []
        until_s = time.monotonic() + 60
        screen.mark(CLIENT_OCTETS, SERVER_OCTETS)  # so they go on in three seconds, alone
        while not (held := source.read(0.1) or []) and time.monotonic() < until_s:
            pass
        assert [row.data for row in held] == [row.data for row in packets]
        assert source.late == len(held)
        wire.send(*(row.data for row in told(LISTED)))
        assert source.read(1)
        assert source.late == 0


@needs_root
@pytest.mark.parametrize("open_tap", [PlainTap, RingTap])
def test_live_of_flows_that_are_handed_out_at_the_same_time_every_packet_comes(open_tap: TapOpener, wire: Wire) -> None:
    screen = new_screen()
    screen.ask = is_listed
    talks = [Conversation((CLIENT, 40_000 + number, SERVER, 443)) for number in range(20)]
    packets = [row for rows in zip(*(talk.open() for talk in talks), strict=True) for row in rows]
    packets += [talk.send(hello(LISTED))[0] for talk in talks]
    with LiveSource(("eth0",), Engine("test", "", FlowHeads(Limits(flows=1024)), open_tap), screen=screen) as source:
        wire.send(*(row.data for row in packets))
        found: list[Packet] = []
        until_s = time.monotonic() + 60
        while len(found) < len(packets) and time.monotonic() < until_s:
            found += source.read(0.3) or []
    assert sorted(row.data for row in found) == sorted(row.data for row in packets)


@needs_root
def test_live_what_is_held_is_handed_out_when_a_second_interface_comes(wire: Wire) -> None:
    screen = new_screen()
    talk = Conversation()
    packets = [*talk.open(), *talk.send(hello(is_split=True))[:1]]
    with open_source(["eth0"], Limits(flows=1024), screen=screen) as source:
        screen.ask = nothing
        wire.send(*(row.data for row in packets))
        assert source.read(0.5) == []
        source.listen_on(["eth0", "eth1"])
        found = source.read(0.5) or []
        assert [row.data for row in found] == [row.data for row in packets]
        assert source.late == len(packets)  # so their age is not taken for the sensor being behind


@needs_root
def test_live_packets_of_several_interfaces_are_held_back_too_and_handed_out_with_their_own(wire: Wire) -> None:
    screen = new_screen()
    screen.ask = is_listed
    talk = Conversation()
    packets = [*talk.open(), *talk.send(hello(LISTED))]
    with open_source(["eth0", "eth1"], Limits(flows=1024), screen=screen) as source:
        dull = told("www.example.org")
        wire.send(*(row.data for row in dull))
        wire.sender.call(send_frames, "eth1", tuple(row.data for row in packets))
        found: list[Packet] = []
        until_s = time.monotonic() + 60
        while len(found) < len(packets) and time.monotonic() < until_s:
            found += source.read(0.3) or []
        assert [(row.interface, row.data) for row in found] == [("eth1", row.data) for row in packets]
        assert source.counters().filtered_packets >= len(dull)

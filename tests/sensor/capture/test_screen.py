"""What the screens hold back, and what they hand out or still know of it."""

from pathlib import Path

import msgspec
import pytest
from conversations import APPLICATION, BANNER, SERVER_HELLO
from crafted import write_pcap
from frames import ACK, CLIENT, FIN, MS, SERVER, SYN, Conversation, S, ask, dns_answer, tell, told
from recordings import CAPTURES
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

from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from rules.values.observation import NameSource
from sensor.capture.offline.file import open_capture
from sensor.capture.screening.screen import Asked
from sensor.detection.detect import Detector
from sensor.packet import Packet
from sensor.pipeline import Pipeline

pytestmark = pytest.mark.usefixtures("each_screen")


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


def test_no_screen_takes_a_wrong_address() -> None:
    screen = new_screen()
    with pytest.raises(ValueError, match="no packed address"):
        screen.mark(b"one", CLIENT_OCTETS)
    with pytest.raises(ValueError, match="no packed address"):
        screen.answers(CLIENT_OCTETS, b"", S)

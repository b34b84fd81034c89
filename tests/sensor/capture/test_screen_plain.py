"""The screen in Python: what it knows of connections that were passed over, and its tables when they are full."""

import random
from collections.abc import Iterator

import pytest
from conversations import APPLICATION, BANNER, SERVER_HELLO
from damage import with_time
from frames import CLIENT, MS, SERVER, SYN, Conversation, S, ask, packed, told
from screened import CLIENT_OCTETS, LISTED, SERVER_OCTETS, greeting, hello, is_listed, nothing

from sensor.capture.screening import (
    plain_connections,
    plain_held,
    plain_lookups,
    plain_names,
    plain_suspects,
    plain_told,
)
from sensor.capture.screening.plain import PlainScreen
from sensor.capture.screening.plain_dns import is_like_answer, match_answer, match_query, read_message, read_question
from sensor.capture.screening.plain_hello import read_hello
from sensor.capture.screening.screen import Ask
from sensor.errors import NeedMoreData
from sensor.extract.dns import parse_message
from sensor.flows.flow import reverse_key
from sensor.packet import Packet

KEY = CLIENT_OCTETS + SERVER_OCTETS + (40_000).to_bytes(2) + (443).to_bytes(2)


def screen_with(ask_about: Ask) -> PlainScreen:
    screen = PlainScreen()
    screen.ask = ask_about
    return screen


def connection(number: int, start_ns: int, *, name: str = "www.example.org") -> list[Packet]:
    """A connection of its own, passed over if `name` is of no interest."""
    talk = Conversation((CLIENT, 1024 + number % 60_000, f"198.18.{number // 60_000}.1", 443), start_ns=start_ns)
    return [*talk.open(), *talk.send(hello(name)), *talk.answer(SERVER_HELLO), *talk.send(APPLICATION)]


def test_both_directions_of_a_connection_are_known_once_nothing_came_of_it() -> None:
    screen = screen_with(is_listed)
    passed, rows = screen.passed, greeting()
    key = rows[0].data[26:38]
    assert screen.sift(rows[:4]) == []
    assert passed == {}
    assert screen.sift(rows[4:]) == []
    assert passed.keys() == {key, reverse_key(key)}
    assert screen.sift(greeting(LISTED, start_ns=9 * S, isn=900_000)) == greeting(LISTED, start_ns=9 * S, isn=900_000)
    assert passed == {}
    assert screen.passed is passed


def test_a_syn_that_is_repeated_begins_no_other_connection() -> None:
    screen = screen_with(nothing)
    rows = greeting()
    assert screen.sift([*rows, rows[0], rows[1]]) == []
    assert len(screen.passed) == 2
    assert screen.totals().flows == 1


@pytest.mark.parametrize("is_back", [False, True], ids=["forgotten", "the clock goes back"])
def test_flows_that_are_forgotten_are_judged_anew(is_back: bool) -> None:
    screen = screen_with(nothing)
    rows = greeting(start_ns=500 * S)
    held = [Conversation((CLIENT, 999, SERVER, 443), start_ns=500 * S).segment(SYN)]
    passed = screen.passed
    assert screen.sift([*rows, *held]) == []
    if is_back:
        talk = Conversation((CLIENT, 998, SERVER, 22), start_ns=S)
        earlier = [*talk.open(), *talk.answer(BANNER)]
        assert screen.sift(earlier) == earlier
    else:
        screen.forget_flows()
    assert passed == {}
    assert screen.passed is passed
    assert screen.sift(rows) == []
    assert len(passed) == 2


def test_nothing_is_known_of_a_connection_for_longer_than_an_hour() -> None:
    screen = screen_with(nothing)
    rows = greeting(start_ns=500 * S)
    for row in rows:
        assert screen.sift([row]) == []
    assert screen.sift([with_time(rows[-1], 4000 * S)]) == []
    last = with_time(rows[-1], 4101 * S)
    assert screen.sift([last]) == [last]
    assert screen.passed == {}


def test_a_full_table_of_connections_passed_over_forgets_those_of_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_connections, "PASSED", 100)
    screen = screen_with(nothing)
    rows = [connection(number, S + number * MS) for number in range(130)]
    assert [row for each in rows for row in screen.sift(each)] == []
    assert 150 <= len(screen.passed) <= 200
    assert rows[0][0].data[26:38] not in screen.passed
    assert rows[-1][0].data[26:38] in screen.passed


def test_a_full_table_of_connections_hands_a_hello_out_that_is_not_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_connections, "CONNECTIONS", 100)
    screen = screen_with(nothing)
    talk = Conversation((CLIENT, 1000, SERVER, 443), start_ns=S)
    waiting = [*talk.open(), *talk.send(hello(is_split=True))[:1]]
    syns = [Conversation((CLIENT, 2000 + number, SERVER, 443), start_ns=S).segment(SYN) for number in range(300)]
    assert screen.sift([*waiting, *syns]) == waiting
    assert len(screen._connections._sides) <= 200
    assert 100 < screen.totals().evicted < 300


def test_a_full_table_of_look_ups_drops_those_that_wait_for_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_lookups, "LOOKUPS", 100)
    screen = screen_with(nothing)
    assert screen.sift([ask(S, "www.example.org", port=2000 + number) for number in range(300)]) == []
    assert len(screen._lookups._lookups) <= 100
    assert screen.totals().lookups == screen.totals().evicted > 150


@pytest.mark.parametrize(("limit", "most"), [("HELD_OCTETS", 20_000), ("HELD_FLOWS", 100)])
def test_as_much_is_held_as_there_is_room_for(limit: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_held, limit, most)
    screen = screen_with(nothing)
    talks = [Conversation((CLIENT, 2000 + number, SERVER, 443), start_ns=S) for number in range(500)]
    begun = [row for talk in talks for row in (*talk.open(), *talk.send(hello()))]
    found = screen.sift(begun)
    held = screen._held
    assert held.octets <= 20_000 or limit == "HELD_FLOWS"
    assert len(held._fresh) <= 100 or limit == "HELD_OCTETS"
    assert found == []
    assert screen.totals().evicted > 300
    assert screen.advance(2 * S, is_end=True) == []
    assert held.octets == 0


def test_clients_that_lose_a_name_early_count_as_newly_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_told, "ASKED", 100)
    screen = screen_with(nothing)
    for number in range(101):
        screen.sift(told(f"host{number}.example.org", f"192.0.3.{number}", at_ns=(1 + number) * S))
    assert screen.asked(CLIENT_OCTETS, "host0.example.org") == (-1, 101 * S)
    assert screen.asked(CLIENT_OCTETS, "host100.example.org") == (101 * S, 101 * S)
    assert screen.totals().names_evicted == 26


def test_clients_beyond_the_table_are_watched_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_told, "CLIENTS", 100)
    screen = PlainScreen()
    clients = [packed(f"10.1.0.{number}") for number in range(120)]
    for number, client in enumerate(clients):
        screen._lookups.asked.watch(client, number)
    assert len(screen._lookups.asked.watched) <= 100
    assert screen.asked(clients[0], "www.example.org") == (-1, -1)
    assert screen.asked(clients[-1], "www.example.org") == (-1, 119)


def test_answers_beyond_their_memory_are_forgotten_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_told, "ANSWERS_OCTETS", 20_000)
    screen = screen_with(nothing)
    for number in range(100):
        screen.sift(told("www.example.org", f"192.0.3.{number}", at_ns=(1 + number) * S))
    known = screen._lookups.told
    assert known.octets <= 20_000
    assert screen.answers(CLIENT_OCTETS, packed("192.0.3.0"), 200 * S) == []
    assert len(screen.answers(CLIENT_OCTETS, packed("192.0.3.99"), 200 * S)) == 1
    assert 0 < screen.totals().names_evicted == 100 - len(known._rows) - 1


def test_what_many_names_led_to_one_address_leaves_no_octet_uncounted() -> None:
    screen = screen_with(nothing)
    chance = random.Random(1)
    for number in range(400):
        name = f"host{chance.randrange(12)}.example.org"
        screen.sift(told(name, at_ns=(1 + number * chance.choice((1, 40))) * S))
    assert len(screen.answers(CLIENT_OCTETS, SERVER_OCTETS, 1 << 62)) == 8
    assert screen._lookups.told.octets == 0


def test_pairs_and_doubts_beyond_their_tables_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_suspects, "PAIRS", 100)
    monkeypatch.setattr(plain_suspects, "DOUBTS", 100)
    screen = PlainScreen()
    addresses = [packed(f"192.0.3.{number}") for number in range(150)]
    for address in addresses:
        screen.mark(CLIENT_OCTETS, address)
        screen._suspects.doubt(address, S)
    assert len(screen._suspects.marked) <= 200
    assert len(screen._suspects._doubts) <= 100
    assert CLIENT_OCTETS + addresses[-1] in screen._suspects.marked
    assert addresses[-1] + CLIENT_OCTETS in screen._suspects.marked
    assert CLIENT_OCTETS + addresses[0] not in screen._suspects.marked


def test_names_beyond_their_tables_are_asked_about_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("NAMES", "ANSWERS"):
        monkeypatch.setattr(plain_names, limit, 10)
    asked: list[str] = []

    def note(_kind: int, name: str) -> bool:
        asked.append(name)
        return False

    screen = screen_with(note)
    names = [f"host{number}.example.org" for number in range(15)]
    for number, name in enumerate(names + names):
        assert screen.sift(told(name, at_ns=(1 + number) * S)) == []
    assert set(asked) == set(names)
    assert len(names) < len(asked) <= 2 * len(names)
    assert len(screen._names.questions) <= 10
    assert len(screen._names._dull) <= 11


def wire_messages() -> Iterator[bytes]:
    for row in (*told("www.example.org", at_ns=S), *told("a.b.example.com", "2001:db8::1", at_ns=S)):
        yield row.data[42:]


@pytest.mark.parametrize("message", [*wire_messages()])
def test_a_message_that_is_cut_anywhere_is_not_plain(message: bytes) -> None:
    whole = read_message(message)
    assert whole is not None
    assert whole.question == parse_message(message).qname
    assert [address for address, _ in parse_message(message).addresses] == whole.addresses
    wire = message[12 : message.index(0, 12) + 1]
    assert read_question(wire) == whole.question
    assert read_question(wire.upper()) is None
    for length in range(len(wire)):
        assert read_question(wire[:length]) is None
    for length in range(len(message)):
        assert read_message(message[:length]) is None
        assert match_query(message[:length]) is None
    assert (match_query(message) is None) != (match_answer(message) is None)
    assert is_like_answer(message)
    assert is_like_answer(len(message).to_bytes(2) + message)


def test_a_hello_that_is_cut_anywhere_is_not_all_there() -> None:
    whole = hello("www.example.org")
    found = read_hello(whole)
    assert found is not None
    assert found.server == b"www.example.org"
    assert read_hello(whole + b"more") == found
    for length in range(len(whole)):
        with pytest.raises(NeedMoreData):
            read_hello(whole[:length])


def test_names_that_refer_to_others_over_and_over_are_not_followed_for_long() -> None:
    """Each record of a message may name what takes hundreds of steps to read."""
    question = b"\x01a\0\0\x0c\0\x01"
    head = bytes(2) + b"\x81\x80\0\x01" + (32).to_bytes(2) + bytes(4) + question
    holder = b"\xc0\x0c\0\x0c\0\x01" + bytes(4)
    start = len(head) + len(holder) + 2
    links = b"\xc0\x0c" + b"".join((0xC000 | start + 2 * step).to_bytes(2) for step in range(100))
    end = (0xC000 | start + len(links) - 2).to_bytes(2)
    address = end + b"\0\x01\0\x01" + bytes(4) + b"\0\x04\xc0\0\2\1"
    message = head + holder + len(links).to_bytes(2) + links + 31 * address
    assert read_message(message) is None
    assert read_message(head[:6] + b"\0\2" + head[8:] + holder + len(links).to_bytes(2) + links + address) is not None


def test_domains_of_tunnels_that_are_forgotten_are_not_asked_about_any_longer() -> None:
    asked: list[str] = []

    def note(_kind: int, name: str) -> bool:
        asked.append(name)
        return False

    screen = screen_with(note)
    screen.follow([], ["followed.example"])
    screen.ask_again(["first.example"])
    screen.ask_again(["second.example"])
    for number, name in enumerate(("a.first.example", "a.second.example", "a.followed.example")):
        screen.sift([ask((number + 1) * S, name)])
    assert asked == ["a.second.example", "a.followed.example"]


def test_a_doubt_that_is_renewed_is_the_last_to_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_suspects, "DOUBTS", 4)
    suspects = plain_suspects.Suspects()
    for number in range(4):
        suspects.doubt(bytes([10, 0, 0, number]), number)
    suspects.doubt(bytes([10, 0, 0, 0]), 4)
    suspects.doubt(bytes([10, 0, 0, 9]), 5)
    assert suspects.is_suspect(bytes([10, 0, 0, 0]) + SERVER_OCTETS + bytes(4), 6)

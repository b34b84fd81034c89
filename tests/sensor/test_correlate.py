from frames import CLIENT, SERVER, S, packed

from rules.values.observation import NameSource
from sensor.correlate import MAX_CHAINS, MAX_NAMES, WATCH_NS, AskedNames, ToldNames
from sensor.extract.dns import DnsMessage

HOST, OTHER = packed(CLIENT), packed("10.0.0.3")


def answer(qname: str, *addresses: str, ttl: int = 300, aliases: tuple[str, ...] = ()) -> DnsMessage:
    return DnsMessage(1, True, 0, 0, qname, 1, aliases, tuple((packed(row), ttl) for row in addresses), ttl)


def query(qname: str) -> DnsMessage:
    return DnsMessage(1, False, 0, 0, qname, 1)


def test_the_chain_for_every_address_in_its_order() -> None:
    told = ToldNames()
    told.learn(HOST, answer("www.example", SERVER, "192.0.2.11", aliases=("edge.example", "pop.example")), 0)
    expected = (("www.example", "edge.example", "pop.example"),)
    assert told.chains(HOST, packed(SERVER), S) == expected
    assert told.chains(HOST, packed("192.0.2.11"), S) == expected


def test_only_the_client_that_asked_was_told() -> None:
    told = ToldNames()
    told.learn(HOST, answer("www.example", SERVER), 0)
    assert not told.has_told(OTHER, packed(SERVER), S)
    assert not told.has_told(HOST, packed("192.0.2.99"), S)


def test_the_newest_answer_stands_first() -> None:
    told = ToldNames()
    for name in ("a.example", "b.example", "a.example"):
        told.learn(HOST, answer(name, SERVER), 0)
    assert told.chains(HOST, packed(SERVER), S) == (("a.example",), ("b.example",))


def test_answers_expire_after_a_minute_at_least_and_a_day_at_most() -> None:
    told = ToldNames()
    told.learn(HOST, answer("short.example", SERVER, ttl=0), 0)
    told.learn(HOST, answer("long.example", SERVER, ttl=10**6), 0)
    assert told.chains(HOST, packed(SERVER), 59 * S) == (("long.example",), ("short.example",))
    assert told.chains(HOST, packed(SERVER), 60 * S) == (("long.example",),)
    assert not told.has_told(HOST, packed(SERVER), 86_400 * S)


def test_at_most_so_many_chains_an_address() -> None:
    told = ToldNames()
    for number in range(MAX_CHAINS + 3):
        told.learn(HOST, answer(f"{number}.example", SERVER), 0)
    expected = tuple((f"{number}.example",) for number in range(MAX_CHAINS + 2, 2, -1))
    assert told.chains(HOST, packed(SERVER), S) == expected
    assert told.evicted == 3


def test_a_chain_of_as_many_names_as_resolvers_follow() -> None:
    told = ToldNames()
    told.learn(HOST, answer("www.example", SERVER, aliases=tuple(f"{number}.example" for number in range(20))), 0)
    ((*_, last),) = told.chains(HOST, packed(SERVER), S)
    assert last == f"{MAX_NAMES - 2}.example"
    assert told.evicted == 21 - MAX_NAMES


def test_the_oldest_pair_makes_room() -> None:
    told = ToldNames(limit=5)
    for number in range(8):
        told.learn(HOST, answer("www.example", f"192.0.2.{number}"), 0)
    assert len(told) == 5
    assert told.evicted == 3
    assert not told.has_told(HOST, packed("192.0.2.2"), 0)
    assert told.has_told(HOST, packed("192.0.2.3"), 0)


def test_long_names_are_bounded_by_what_they_take() -> None:
    told = ToldNames(limit_octets=10_000)
    for number in range(100):
        told.learn(HOST, answer(f"{number}.{'a' * 200}.example", f"192.0.2.{number}"), 0)
    assert 9_000 < told.held_octets <= 10_000
    assert told.evicted == 100 - len(told)
    assert told.has_told(HOST, packed("192.0.2.99"), S)
    assert not told.has_told(HOST, packed("192.0.2.0"), S)


def test_an_ipv4_client_of_an_ipv6_address_is_not_the_reverse() -> None:
    told = ToldNames()
    long = packed("2001:db8::1")
    told.learn(long[:4], DnsMessage(1, True, 0, 0, "a.example", 1, (), ((long, 300),), 300), 0)
    assert told.has_told(long[:4], long, S)
    swapped = long[:4] + long[:12]
    assert not told.has_told(swapped, long[12:], S)


def test_a_name_that_a_client_asked_for_or_was_told_as_an_alias_is_from_dns() -> None:
    asked = AskedNames()
    asked.learn(HOST, query("asked.example"), 0)
    asked.learn(HOST, answer("www.example", SERVER, aliases=("edge.example",)), 0)
    for name in ("asked.example", "www.example", "edge.example"):
        assert asked.source(HOST, name, 2 * WATCH_NS) is NameSource.DNS
        assert asked.source(OTHER, name, 2 * WATCH_NS) is NameSource.NO_DNS_SEEN


def test_a_name_is_not_asked_for_only_once_its_client_was_watched_for_an_hour() -> None:
    asked = AskedNames()
    asked.learn(HOST, query("www.example"), 0)
    assert asked.source(HOST, "other.example", WATCH_NS - 1) is NameSource.NO_DNS_SEEN
    assert asked.source(HOST, "other.example", WATCH_NS) is NameSource.NOT_ASKED


def test_a_client_that_lost_a_name_for_room_is_watched_anew() -> None:
    asked = AskedNames(limit=3)
    for number in range(4):
        asked.learn(HOST, query(f"{number}.example"), number)
    assert (len(asked), asked.evicted) == (3, 1)
    assert asked.source(HOST, "0.example", WATCH_NS) is NameSource.NO_DNS_SEEN
    assert asked.source(HOST, "0.example", WATCH_NS + 3) is NameSource.NOT_ASKED

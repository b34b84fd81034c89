from frames import CLIENT, SERVER, S, packed

from sensor.correlate import MAX_NAMES, ToldNames
from sensor.extract.dns import DnsMessage

HOST, OTHER = packed(CLIENT), packed("10.0.0.3")


def answer(qname: str, *addresses: str, ttl: int = 300, aliases: tuple[str, ...] = ()) -> DnsMessage:
    return DnsMessage(1, True, 0, 0, qname, 1, aliases, tuple((packed(row), ttl) for row in addresses), ttl)


def test_the_name_and_its_aliases_for_every_address() -> None:
    told = ToldNames()
    told.learn(HOST, answer("www.example", SERVER, "192.0.2.11", aliases=("edge.example", "pop.example")), 0)
    expected = ("www.example", "edge.example", "pop.example")
    assert told.names(HOST, packed(SERVER), S) == expected
    assert told.names(HOST, packed("192.0.2.11"), S) == expected


def test_only_the_client_that_asked_was_told() -> None:
    told = ToldNames()
    told.learn(HOST, answer("www.example", SERVER), 0)
    assert told.names(OTHER, packed(SERVER), S) == ()
    assert told.names(HOST, packed("192.0.2.99"), S) == ()


def test_the_newest_answer_stands_first() -> None:
    told = ToldNames()
    for name in ("a.example", "b.example", "a.example"):
        told.learn(HOST, answer(name, SERVER), 0)
    assert told.names(HOST, packed(SERVER), S) == ("a.example", "b.example")


def test_answers_expire_after_a_minute_at_least_and_a_day_at_most() -> None:
    told = ToldNames()
    told.learn(HOST, answer("short.example", SERVER, ttl=0), 0)
    told.learn(HOST, answer("long.example", SERVER, ttl=10**6), 0)
    assert told.names(HOST, packed(SERVER), 59 * S) == ("long.example", "short.example")
    assert told.names(HOST, packed(SERVER), 60 * S) == ("long.example",)
    assert told.names(HOST, packed(SERVER), 86_400 * S) == ()


def test_at_most_so_many_names_an_address() -> None:
    told = ToldNames()
    for number in range(MAX_NAMES + 3):
        told.learn(HOST, answer(f"{number}.example", SERVER), 0)
    assert told.names(HOST, packed(SERVER), S) == tuple(f"{number}.example" for number in range(10, 2, -1))
    assert told.evicted == 3


def test_the_oldest_pair_makes_room() -> None:
    told = ToldNames(limit=5)
    for number in range(8):
        told.learn(HOST, answer("www.example", f"192.0.2.{number}"), 0)
    assert len(told) == 5
    assert told.evicted == 3
    assert told.names(HOST, packed("192.0.2.2"), 0) == ()
    assert told.names(HOST, packed("192.0.2.3"), 0) == ("www.example",)


def test_long_names_are_bounded_by_what_they_take() -> None:
    told = ToldNames(limit_octets=10_000)
    for number in range(100):
        told.learn(HOST, answer(f"{number}.{'a' * 200}.example", f"192.0.2.{number}"), 0)
    assert 9_000 < told.held_octets <= 10_000
    assert told.evicted == 100 - len(told)
    assert told.names(HOST, packed("192.0.2.99"), S)
    assert not told.names(HOST, packed("192.0.2.0"), S)


def test_an_ipv4_client_of_an_ipv6_address_is_not_the_reverse() -> None:
    told = ToldNames()
    long = packed("2001:db8::1")
    told.learn(long[:4], DnsMessage(1, True, 0, 0, "a.example", 1, (), ((long, 300),), 300), 0)
    assert told.names(long[:4], long, S) == ("a.example",)
    swapped = long[:4] + long[:12]
    assert told.names(swapped, long[12:], S) == ()

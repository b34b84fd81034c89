"""How often somebody may ask, and when again."""

import pytest

from api.access.principal import Principal
from api.access.rates import MAX_KEYS, Rates
from api.problems import Kind, Problem
from db.access.values import ActorKind

SOMEBODY = "192.0.2.1"


class Clock:
    """Seconds that pass when they are told to."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def answered(rates: Rates, tries: int) -> int:
    """Return how many of so many requests of somebody unknown were answered."""
    return sum(again_s(rates) == 0 for _ in range(tries))


def again_s(rates: Rates) -> int:
    """Return after how many seconds a request that was refused may be tried again, 0 where it was not refused."""
    try:
        rates.count_unknown(SOMEBODY)
    except Problem as problem:
        return int(problem.headers["Retry-After"])
    return 0


def test_an_edge_lets_nobody_ask_twice_as_often(clock: Clock) -> None:
    rates = Rates("5/minute", "100/minute", clock)
    assert answered(rates, 1) == 1  # the window begins
    clock.now_s += 59
    assert answered(rates, 200) == 99
    clock.now_s += 2
    assert answered(rates, 200) == 2
    clock.now_s += 29
    assert answered(rates, 200) == 48


@pytest.mark.parametrize("pace_s", [0.1, 0.7, 7.0])
def test_whoever_asks_too_often_is_answered_as_often_as_the_limit_says(clock: Clock, pace_s: float) -> None:
    rates, times = Rates("5/minute", "60/minute", clock), []
    for _ in range(int(600 / pace_s)):
        if not again_s(rates):
            times.append(clock.now_s)
        clock.now_s += pace_s
    assert len(times) >= min(600 / pace_s, 10 * 60) * 0.98
    within_a_minute = [sum(began <= at < began + 60 for at in times) for began in times]
    assert max(within_a_minute) <= 60 * 1.1


@pytest.mark.parametrize("before", [0, 40, 100])
def test_what_is_said_of_the_next_try_holds(clock: Clock, before: int) -> None:
    rates = Rates("5/minute", "100/minute", clock)
    assert answered(rates, max(before, 1)) == max(before, 1)
    clock.now_s += 70 if before else 1
    answered(rates, 100)
    wait_s = again_s(rates)
    assert wait_s
    clock.now_s += wait_s
    assert answered(rates, 1) == 1


def test_what_was_long_ago_does_not_count(clock: Clock) -> None:
    rates = Rates("5/minute", "3/minute", clock)
    assert answered(rates, 9) == 3
    clock.now_s += 121
    assert answered(rates, 9) == 3


def test_counts_are_bounded() -> None:
    rates = Rates("5/hour", "1/hour")
    for number in range(MAX_KEYS):
        rates.count_unknown(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    rates.count_unknown("192.0.2.1")
    with pytest.raises(Problem) as refused:
        rates.count_unknown("192.0.2.2")
    assert refused.value.kind is Kind.RATE_LIMITED
    assert len(rates._unknown.counts) == MAX_KEYS + 1
    rates.count_unknown("127.0.0.1")
    with pytest.raises(Problem):
        rates.count_unknown("::1")
    person = Principal(ActorKind.PERSON, "a")
    assert rates.count(person)["RateLimit"].startswith('"known";r=4')


def test_a_network_of_ipv6_addresses_counts_as_one() -> None:
    rates = Rates("5/hour", "1/hour")
    rates.count_unknown("2001:db8::1")
    with pytest.raises(Problem):
        rates.count_unknown("2001:db8::2")
    rates.count_unknown("2001:db8:0:1::1")

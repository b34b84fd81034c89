from observations import NOW_NS, hello

from rules.values.observation import Observation
from rules.values.verdict import UNKNOWN
from sensor.candidates import LATELY_NS, MAX_OF_CLIENT, Candidate, Candidates


def seen(key: int, src: str = "10.1.2.3", name: str = "x.example") -> Observation:
    return hello(name, key=key, src=src)


def keep(candidates: Candidates, *observations: Observation) -> None:
    for row in observations:
        candidates.keep(row, UNKNOWN, row.hello.sni if row.hello else None, None)


def keys(rows: list[Candidate]) -> list[int]:
    return [row.observation.key for row in rows]


def test_they_are_found_by_client_for_ten_minutes_and_by_name() -> None:
    candidates = Candidates()
    keep(candidates, seen(1), seen(2, "10.9.9.9"), seen(3, name="y.example"))
    source = seen(1).five_tuple.src
    assert keys(candidates.of_client(source, NOW_NS + LATELY_NS)) == [1, 3]
    assert keys(candidates.named("x.example")) == [1, 2]
    assert candidates.of_client(source, NOW_NS + LATELY_NS + 1) == []
    assert keys(candidates.named("x.example")) == [2]
    candidates.drop(2)
    candidates.drop(2)
    assert (candidates.named("x.example"), len(candidates)) == ([], 0)


def test_the_newest_of_what_is_known_of_one_counts() -> None:
    candidates = Candidates()
    keep(candidates, seen(1), seen(1), seen(1, name="y.example"))
    assert (len(candidates), candidates.named("x.example")) == (1, [])
    assert keys(candidates.named("y.example")) == [1]


def test_there_are_so_many_of_a_client_and_in_all() -> None:
    candidates = Candidates(limit=20)
    keep(candidates, *(seen(number) for number in range(MAX_OF_CLIENT + 3)))
    assert keys(candidates.of_client(seen(0).five_tuple.src, NOW_NS)) == list(range(3, MAX_OF_CLIENT + 3))
    assert candidates.evicted == 0
    keep(candidates, *(seen(100 + number, f"10.0.0.{number}") for number in range(30)))
    assert (len(candidates), candidates.evicted) == (20, 26)

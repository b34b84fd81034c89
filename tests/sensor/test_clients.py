from observations import NOW_NS, hello

from rules.observation import Beside, BesideKind, Observation
from rules.verdict import Outcome, Role, Verdict
from sensor.clients import LATELY_NS, MAX_BESIDE, MAX_CANDIDATES, Clients

CRL = "crl.ngrok-agent.com"


def auxiliary(service: str = "ngrok", outcome: Outcome = Outcome.UNKNOWN) -> Verdict:
    return Verdict(outcome, service=service, role=Role.AUXILIARY, dst_name=CRL)


def seen(at_ns: int = NOW_NS, src: str = "10.1.2.3", key: int = 1) -> Observation:
    return hello("x.example", at_ns=at_ns, src=src, key=key)


def test_what_a_client_did_is_known_beside_its_own_flows_for_ten_minutes() -> None:
    clients = Clients()
    clients.learn(seen(), auxiliary())
    assert clients.beside(seen(NOW_NS + LATELY_NS)) == (Beside("ngrok", BesideKind.AUXILIARY, CRL),)
    assert clients.beside(seen(NOW_NS + LATELY_NS + 1)) == ()
    assert clients.beside(seen(src="10.9.9.9")) == ()


def test_what_says_nothing_of_a_service_takes_no_room() -> None:
    clients = Clients()
    clients.learn(seen(), Verdict(Outcome.UNKNOWN))
    clients.learn(seen(), Verdict(Outcome.UNSANCTIONED, service="ngrok", role=Role.VISITOR))
    assert len(clients) == 0


def test_news_is_told_once_and_only_where_a_candidate_waits() -> None:
    clients = Clients()
    assert not clients.learn(seen(src="10.9.9.9"), auxiliary())
    clients.keep(seen(key=7))
    assert clients.learn(seen(), auxiliary())
    assert not clients.learn(seen(), auxiliary())
    assert [row.key for row in clients.take_candidates(seen().five_tuple.src, NOW_NS)] == [7]
    assert clients.take_candidates(seen().five_tuple.src, NOW_NS + LATELY_NS + 1) == []


def test_the_client_heard_of_least_recently_makes_room() -> None:
    clients = Clients(limit=3)
    for number in range(5):
        clients.learn(seen(src=f"10.0.0.{number}"), auxiliary())
    assert (len(clients), clients.evicted) == (3, 2)
    assert clients.beside(seen(src="10.0.0.1")) == ()
    assert clients.beside(seen(src="10.0.0.2"))


def test_one_client_has_so_many_services_and_candidates() -> None:
    clients = Clients()
    for number in range(MAX_BESIDE + 5):
        clients.learn(seen(), auxiliary(f"service{number}"))
    for number in range(MAX_CANDIDATES + 5):
        clients.keep(seen(key=number))
    assert len(clients.beside(seen())) == MAX_BESIDE
    assert [row.key for row in clients.take_candidates(seen().five_tuple.src, NOW_NS)] == list(range(5, 13))

from observations import NOW_NS, hello

from rules.values.observation import Beside, BesideKind, Observation
from rules.values.verdict import Outcome, Role, Verdict
from sensor.clients import LATELY_NS, MAX_BESIDE, MAX_ZONES, Clients

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


def test_news_is_told_once() -> None:
    clients = Clients()
    assert clients.learn(seen(), auxiliary())
    assert not clients.learn(seen(), auxiliary())


def test_a_zone_that_a_client_was_told_of_holds_for_ten_minutes_for_it_and_for_names_in_it() -> None:
    clients = Clients()
    source, other = seen().five_tuple.src, seen(src="10.9.9.9").five_tuple.src
    clients.learn_zone(source, "myblog.net", "ns1.ngrok-dns.com", NOW_NS)
    for name in ("myblog.net", "a.tunnels.myblog.net"):
        assert clients.zone_of(source, name, NOW_NS + LATELY_NS) == ("myblog.net", "ns1.ngrok-dns.com")
    assert clients.zone_of(source, "notmyblog.net", NOW_NS) is None
    assert clients.zone_of(other, "myblog.net", NOW_NS) is None
    assert clients.zone_of(source, "myblog.net", NOW_NS + LATELY_NS + 1) is None
    for number in range(MAX_ZONES):
        clients.learn_zone(source, f"{number}.example", "ns1.ngrok-dns.com", NOW_NS)
    assert clients.zone_of(source, "myblog.net", NOW_NS) is None


def test_the_client_heard_of_least_recently_makes_room() -> None:
    clients = Clients(limit=3)
    for number in range(5):
        clients.learn(seen(src=f"10.0.0.{number}"), auxiliary())
    assert (len(clients), clients.evicted) == (3, 2)
    assert clients.beside(seen(src="10.0.0.1")) == ()
    assert clients.beside(seen(src="10.0.0.2"))


def test_one_client_has_so_many_services() -> None:
    clients = Clients()
    for number in range(MAX_BESIDE + 5):
        clients.learn(seen(), auxiliary(f"service{number}"))
    assert len(clients.beside(seen())) == MAX_BESIDE

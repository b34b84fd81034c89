"""Near misses of every entry of the catalogue as packets: looked up, then dialled, through the whole sensor."""

from collections.abc import Iterable

import pytest
from frames import CLIENT, MS, RESOLVER, Conversation, dns_answer, dns_query, udp
from hellos import extension, hello_message, records, server_name, vector
from near_misses import Oracle, names, spared, variants, visited
from observations import NOW_NS

from rules.catalogue.catalogue import Catalogue, load_catalogue
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset
from rules.values.verdict import Outcome, Role, Severity
from sensor.detect import Detector
from sensor.detection import Detection
from sensor.packet import Packet
from sensor.pipeline import Pipeline

POLICY = '[[sanctioned]]\ndomain = "tunnels.example.com"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'
SHARED, VISITOR = "192.0.2.77", "10.0.0.3"
ALPN = extension(16, vector(2, vector(1, b"h2") + vector(1, b"http/1.1")))
APART_NS = 100 * MS


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture(scope="module")
def ruleset(catalogue: Catalogue) -> Ruleset:
    return Ruleset(catalogue, parse_policy(POLICY, "policy.toml", catalogue, NOW_NS))


def used(number: int, name: str, *aliases: str, client: str = CLIENT, alpn: bool = True) -> list[Packet]:
    """The packets of a look-up and of the TLS connection after it; every name has the same address, as at a CDN."""
    at_ns, port = NOW_NS + number * APART_NS, 10_000 + number % 50_000
    ends = (client, port, RESOLVER, 53)
    asked = udp(at_ns, ends, dns_query(name, ident=number % 65536))
    answer = dns_answer(name, [SHARED], ident=number % 65536, aliases=aliases)
    told = udp(at_ns + MS, (RESOLVER, 53, client, port), answer)
    talk = Conversation((client, port, SHARED, 443), start_ns=at_ns + 2 * MS)
    sent = records(hello_message(server_name(name.encode()), *([ALPN] if alpn else [])))
    server = records(b"\x02" + vector(3, bytes(80)))
    return [asked, told, *talk.open(), *talk.send(sent), *talk.answer(server), *talk.send(b"\x17\x03\x03\0\x10" * 4)]


def detections(packets: Iterable[Packet], ruleset: Ruleset) -> tuple[list[Detection], int]:
    detector = Detector(Pipeline(), lambda: ruleset)
    found = [*detector.feed(packets), *detector.flush()]
    assert not detector.pipeline.counters.malformed
    return found, detector.observations


def test_near_misses_looked_up_and_dialled_are_nothing(catalogue: Catalogue, ruleset: Ruleset) -> None:
    listed = Oracle(catalogue)
    missed = sorted({near for name in names(catalogue) for near in variants(name) if near not in listed})
    packets = [row for at, name in enumerate(missed) for row in used(at, name, alpn=bool(at % 2))]
    found, observed = detections(packets, ruleset)
    assert not found, found[0]
    assert observed >= 2 * len(missed) > 4000


def test_the_same_beside_somebody_who_runs_an_agent_on_the_same_address(catalogue: Catalogue, ruleset: Ruleset) -> None:
    """The other client's flows are found, and say nothing of this one's."""
    listed = Oracle(catalogue)
    missed = sorted({near for name in names(catalogue) for near in variants(name) if near not in listed})[::7]
    agents = names(catalogue)
    packets: list[Packet] = []
    for at, name in enumerate(missed):
        packets += used(2 * at, agents[at % len(agents)], client=VISITOR) + used(2 * at + 1, name, alpn=False)
    found, _ = detections(packets, ruleset)
    sources = {row.observation.five_tuple.src for row in found}
    assert sources == {bytes(map(int, VISITOR.split(".")))}


def test_spared_names_looked_up_and_dialled_are_nothing(catalogue: Catalogue, ruleset: Ruleset) -> None:
    packets = [row for at, name in enumerate(spared(catalogue)) for row in used(at, name)]
    found, _ = detections(packets, ruleset)
    assert {row.verdict.role for row in found} <= {Role.AUXILIARY}


def test_sites_that_are_aliases_of_tunnels_are_visits_and_no_more(catalogue: Catalogue, ruleset: Ruleset) -> None:
    aliases = visited(catalogue)
    sites = [f"site{at}.customer.example" for at in range(len(aliases))]
    packets = [row for at, alias in enumerate(aliases) for row in used(at, sites[at], alias)]
    found, _ = detections(packets, ruleset)
    assert {(row.verdict.role, row.verdict.severity) for row in found} == {(Role.VISITOR, Severity.LOW)}
    assert {row.verdict.outcome for row in found} == {Outcome.UNSANCTIONED}
    assert {row.verdict.dst_name for row in found} == set(sites)


def test_the_search_domain_behind_every_name_is_nothing(catalogue: Catalogue, ruleset: Ruleset) -> None:
    searched = [f"{name}.{domain}" for name in names(catalogue) for domain in ("corp.example", "lan", "local")]
    packets = [row for at, name in enumerate(searched) for row in used(at, name, alpn=False)]
    found, _ = detections(packets, ruleset)
    assert not found, found[0]

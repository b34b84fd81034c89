"""DNS over HTTPS or TLS and files of addresses beside an agent whose names do not resolve: a reason, no verdict."""

from pathlib import Path

import pytest
from frames import CLIENT, RESOLVER, S, dns_query, read_packets, udp
from observations import NOW_NS

from rules.catalogue.catalogue import load_catalogue
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from rules.values.observation import Evidence
from sensor.detect import Detector
from sensor.packet import Packet
from sensor.pipeline import Pipeline

PCAPS = Path(__file__).parents[2] / "pcaps"
RULES = Ruleset(load_catalogue(), Policy())


def fallbacks(packets: list[Packet]) -> dict[str, set[str]]:
    """The fallbacks among the reasons, by the name that the detection is of."""
    detector = Detector(Pipeline(), lambda: RULES)
    found: dict[str, set[str]] = {}
    for row in detector.feed(packets) + detector.flush():
        said = {reason.indicator for reason in row.verdict.reasons if reason.evidence is Evidence.FALLBACK}
        found.setdefault(row.verdict.dst_name or "", set()).update(said)
    return found


@pytest.mark.parametrize(
    ("name", "agent", "places"),
    [
        ("ngrok2-default", "korgn.su.lennut.com", {"s3.amazonaws.com"}),
        ("cloudflared-dot", "h2.cftunnel.com", {"cloudflare-dns.com"}),
    ],
)
def test_an_agent_s_fallback_is_a_reason_beside_its_flow(name: str, agent: str, places: set[str]) -> None:
    found = fallbacks(read_packets(str(PCAPS / f"{name}.pcap")))
    assert found[agent] == places
    assert not {"dns.google.com", "s3.amazonaws.com", "cloudflare-dns.com"} & found.keys()


def asks(at_s: int, name: str, client: str = CLIENT) -> Packet:
    return udp(NOW_NS + at_s * S, (client, 5000 + at_s, RESOLVER, 53), dns_query(name))


@pytest.mark.parametrize(
    "packets",
    [
        [asks(0, "dns.google.com"), asks(1, "s3.amazonaws.com"), asks(2, "cloudflare-dns.com")],
        [asks(0, "dns.google.com"), asks(1, "tunnel.us.ngrok.com")],
        [asks(0, "tunnel.us.ngrok.com"), asks(1, "dns.google.com", "10.0.0.9"), asks(2, "tunnel.us.ngrok.com")],
        [asks(0, "tunnel.us.ngrok.com"), asks(1, "cloudflare-dns.com"), asks(2, "tunnel.us.ngrok.com")],
        [asks(0, "tunnel.us.ngrok.com"), asks(1, "dns.google.com"), asks(700, "tunnel.us.ngrok.com")],
    ],
    ids=["alone", "before any agent", "another client's", "another service's", "long ago"],
)
def test_of_anybody_else_they_are_nothing(packets: list[Packet]) -> None:
    assert not set().union(*fallbacks(packets).values())

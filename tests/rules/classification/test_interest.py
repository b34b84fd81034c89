"""What the quick test passes over must be what the rules say nothing of, whatever else comes to be known."""

from pathlib import Path

import pytest
from frames import read_packets
from msgspec.structs import replace
from observations import NOW_NS, flow, hello, lookup

from rules.catalogue.catalogue import load_catalogue
from rules.classification.classify import classify
from rules.classification.fallbacks import find_fallback
from rules.classification.ingress import is_candidate
from rules.classification.interest import Interest
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset
from rules.values.observation import Beside, BesideKind, DnsTransaction, Evidence, Observation
from rules.values.verdict import UNKNOWN
from sensor.pipeline import Pipeline

PCAPS = Path(__file__).parents[3] / "pcaps"
CATALOGUE = load_catalogue()
POLICY = """
[[sanctioned]]
domain = "tunnels.example.com"
service = "ngrok"
owner = "o"
reason = "r"
expires = 2020-01-01
"""
RULES = Ruleset(CATALOGUE, parse_policy(POLICY, "policy.toml", CATALOGUE, NOW_NS))
BROWSER = ("h2", "http/1.1")
AGENT = "connect.ngrok-agent.com"
DELEGATED = (("tunnels.example.org", "ns1.example.net"),)


def is_possible(observation: Observation, *, is_client_known: bool = False) -> bool:
    return Interest(RULES).is_possible(observation, is_client_known=is_client_known)


@pytest.mark.parametrize(
    "observation",
    [
        hello("www.example.org", alpn=BROWSER),
        hello("www.example.org", alpn=BROWSER, told=(("www.example.org", "edge.example.net"),)),
        hello("notngrok-agent.com", alpn=BROWSER),
        flow((Evidence.HTTP_HOST, "www.example.org")),
        flow(told=("www.example.org",)),
        flow((Evidence.HTTP_HOST, "www.example.org"), dst="1.1.1.1", dst_port=853),
        lookup("www.example.org", "edge.example.net"),
        lookup("www.example.org", dst="8.8.8.8"),
    ],
)
def test_what_nothing_is_known_of_is_passed_over(observation: Observation) -> None:
    assert not is_possible(observation)
    assert classify(observation, RULES.policy, RULES.catalogue) == UNKNOWN


@pytest.mark.parametrize(
    "observation",
    [
        hello(AGENT, alpn=BROWSER),
        hello("www.example.org", alpn=BROWSER, told=(("www.example.org", AGENT),)),
        hello("a.tunnels.example.com", alpn=BROWSER),
        hello("www.example.org", alpn=("argotunnel",)),
        hello("www.example.org"),  # may be a candidate
        hello("dns.google", alpn=BROWSER),  # may be a fallback
        flow((Evidence.SSH_BANNER, "SSH-2.0-OpenSSH_9.2p1")),
        flow((Evidence.PROTOCOL, "frp-first-byte")),
        flow((Evidence.HTTP_CONNECT, AGENT)),
        flow((Evidence.SOCKS, AGENT)),
        flow(told=(AGENT,)),
        lookup(AGENT),
        lookup("www.example.org", AGENT),
        replace(lookup("www.example.org"), dns=DnsTransaction("www.example.org", 1, 0, delegations=DELEGATED)),
    ],
)
def test_what_the_rules_may_speak_of_is_not(observation: Observation) -> None:
    assert is_possible(observation)


def test_a_place_counts_only_beside_something_else_of_its_client() -> None:
    observation = flow((Evidence.HTTP_HOST, "www.example.org"), dst="1.1.1.1", dst_port=853)
    assert is_possible(observation, is_client_known=True)
    assert is_possible(lookup("www.example.org", dst="8.8.8.8"), is_client_known=True)


@pytest.mark.parametrize("path", sorted(PCAPS.glob("*.pcap")), ids=lambda path: path.stem)
def test_nothing_recorded_is_passed_over_of_which_more_could_be_said(path: Path) -> None:
    pipeline = Pipeline()
    agents = tuple(Beside(name, BesideKind.AGENT, "") for name in CATALOGUE.services)
    for observation in pipeline.feed_batch(read_packets(str(path))) + pipeline.flush():
        if not is_possible(observation, is_client_known=True):
            known = replace(observation, beside=agents, agent_address=("ngrok", AGENT), beats=10)
            assert classify(known, RULES.policy, CATALOGUE) == UNKNOWN
            assert not is_candidate(known)
            assert find_fallback(known, CATALOGUE) is None

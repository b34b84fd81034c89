from typing import Any

import msgspec
import pytest
from observations import NOW_NS, flow, hello, lookup

from rules.catalogue.catalogue import Catalogue
from rules.classification.classify import classify
from rules.classification.ingress import BEATS_ENOUGH
from rules.policy.policy import Policy
from rules.policy.reader import parse_policy
from rules.values.observation import Beside, BesideKind, Evidence, NameSource, Observation
from rules.values.verdict import Outcome, Role, Verdict

AGENT_JA4 = "t13d190900_9dc949149365_97f8aa674fd9"  # pcaps/ngrok2-default
AUXILIARY = Beside("ngrok", BesideKind.AUXILIARY, "crl.ngrok-agent.com")


SERVER = "ns1.ngrok-dns.com"
OURS = ("ngrok", "connect.ngrok-agent.com")


def verdict_of(
    catalogue: Catalogue, observation: Observation, policy: Policy | None = None, **known: object
) -> Verdict:
    return classify(msgspec.structs.replace(observation, **known), policy or Policy(), catalogue)


def says_hello(*beside: Beside, ja4: str = AGENT_JA4, alpn: tuple[str, ...] = ()) -> Observation:
    made = hello("tunnels.myblog.net", alpn=alpn)
    assert made.hello is not None
    return msgspec.structs.replace(made, hello=msgspec.structs.replace(made.hello, ja4=ja4), beside=beside)


def test_an_agent_s_hello_to_an_unlisted_name_beside_its_auxiliary_look_up(catalogue: Catalogue) -> None:
    verdict = classify(says_hello(AUXILIARY), Policy(), catalogue)
    assert (verdict.outcome, verdict.service, verdict.role) == (Outcome.SUSPICIOUS, "ngrok", Role.AGENT)
    assert verdict.dst_name == "tunnels.myblog.net"
    assert [(row.evidence, row.indicator) for row in verdict.reasons] == [
        (Evidence.DNS_QUERY, "crl.ngrok-agent.com"),
        (Evidence.JA4, AGENT_JA4),
    ]
    unasked = msgspec.structs.replace(says_hello(AUXILIARY), name_source=NameSource.NOT_ASKED)
    assert classify(unasked, Policy(), catalogue).confidence > verdict.confidence


@pytest.mark.parametrize(
    "observation",
    [
        says_hello(),  # any program on the same library
        says_hello(AUXILIARY, ja4="t13d000000_000000000000_000000000000"),
        says_hello(AUXILIARY, alpn=("h2",)),
        says_hello(AUXILIARY, Beside("ngrok", BesideKind.AGENT, "connect.ngrok-agent.com")),
        says_hello(AUXILIARY, Beside("ngrok", BesideKind.SANCTIONED, "tunnels.example.com")),
        says_hello(Beside("hookdeck", BesideKind.AUXILIARY, "api.hookdeck.com")),
    ],
)
def test_less_than_that_is_nothing(catalogue: Catalogue, observation: Observation) -> None:
    assert classify(observation, Policy(), catalogue).outcome is Outcome.UNKNOWN
    hidden = msgspec.structs.replace(observation, name_source=NameSource.NOT_ASKED)
    assert classify(hidden, Policy(), catalogue).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    "observation",
    [
        says_hello(),
        says_hello(ja4="t13d000000_000000000000_000000000000"),
        flow((Evidence.SSH_BANNER, "SSH-2.0-Go"), told=("tunnels.myblog.net",), dst_port=22),
        lookup("tunnels.myblog.net"),
    ],
)
def test_a_zone_that_its_owner_delegated_to_the_service_says_so_by_itself(
    catalogue: Catalogue, observation: Observation
) -> None:
    verdict = verdict_of(catalogue, observation, delegation=("myblog.net", SERVER))
    assert (verdict.outcome, verdict.service, verdict.role) == (Outcome.UNSANCTIONED, "ngrok", Role.AGENT)
    assert (verdict.dst_name, verdict.reasons[0].evidence) == ("tunnels.myblog.net", Evidence.NS_DELEGATION)
    assert verdict.confidence >= 85


def test_a_delegation_to_anybody_else_is_nothing_and_a_sanctioned_name_stays_sanctioned(catalogue: Catalogue) -> None:
    elsewhere = verdict_of(catalogue, says_hello(), delegation=("myblog.net", "ns1.example.net"))
    assert elsewhere.outcome is Outcome.UNKNOWN
    lookalike = verdict_of(catalogue, says_hello(), delegation=("myblog.net", "ns1.notngrok-dns.com"))
    assert lookalike.outcome is Outcome.UNKNOWN
    ours = verdict_of(catalogue, says_hello(), sanctioning(catalogue), delegation=("myblog.net", SERVER), beats=20)
    assert ours.outcome is Outcome.SANCTIONED


def sanctioning(catalogue: Catalogue, domain: str = "tunnels.myblog.net", pin: str = "") -> Policy:
    text = f'[[sanctioned]]\ndomain = "{domain}"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n{pin}'
    return parse_policy(text, "policy.toml", catalogue, NOW_NS)


def test_an_agent_s_address_and_its_hello_or_its_beat_add_up(catalogue: Catalogue) -> None:
    hello_there = verdict_of(catalogue, says_hello(), agent_address=OURS)
    assert (hello_there.outcome, hello_there.service) == (Outcome.SUSPICIOUS, "ngrok")
    assert hello_there.reasons[0].evidence is Evidence.ADDRESS
    beating = verdict_of(catalogue, says_hello(), agent_address=OURS, beats=BEATS_ENOUGH)
    assert beating.confidence > hello_there.confidence
    another_program = says_hello(ja4="t13d000000_000000000000_000000000000")
    assert verdict_of(catalogue, another_program, agent_address=OURS).outcome is Outcome.UNKNOWN
    assert verdict_of(catalogue, another_program, agent_address=OURS, beats=BEATS_ENOUGH).service == "ngrok"


@pytest.mark.parametrize(
    ("observation", "known"),
    [
        (says_hello(), {"beats": BEATS_ENOUGH}),
        (says_hello(), {"agent_address": ("no-such-service", "x.example")}),
        (says_hello(alpn=("h2",)), {"agent_address": OURS, "beats": BEATS_ENOUGH}),
        (flow((Evidence.HTTP_HOST, "www.example.org")), {"agent_address": OURS, "beats": BEATS_ENOUGH}),
    ],
)
def test_less_than_that_says_nothing(catalogue: Catalogue, observation: Observation, known: dict[str, Any]) -> None:
    assert verdict_of(catalogue, observation, **known).outcome is Outcome.UNKNOWN


def test_ssh_to_an_agent_s_address_is_suspicious_unless_sanctioned_agents_may_share_it(catalogue: Catalogue) -> None:
    ssh = flow((Evidence.SSH_BANNER, "SSH-2.0-Go"), dst_port=22)
    found = verdict_of(catalogue, ssh, agent_address=OURS)
    assert (found.outcome, found.service, found.role) == (Outcome.SUSPICIOUS, "ngrok", Role.AGENT)
    shared = sanctioning(catalogue, "tunnels.example.com")
    assert verdict_of(catalogue, ssh, shared, agent_address=OURS).outcome is Outcome.UNKNOWN
    pinned = sanctioning(catalogue, "tunnels.example.com", 'addresses = ["203.0.113.0/24"]')
    assert verdict_of(catalogue, ssh, pinned, agent_address=OURS).outcome is Outcome.SUSPICIOUS


def test_what_adds_up_outweighs_a_weaker_tell_and_no_stronger_one(catalogue: Catalogue) -> None:
    on_443 = flow((Evidence.SSH_BANNER, "SSH-2.0-Go"))
    assert verdict_of(catalogue, on_443).service == "ssh-remote-forward"
    assert verdict_of(catalogue, on_443, agent_address=OURS).service == "ngrok"
    with_tell = flow((Evidence.SSH_BANNER, "SSH-2.0-Go"), (Evidence.PROTOCOL, "frp-login"))
    assert verdict_of(catalogue, with_tell, agent_address=OURS).service == "frp"

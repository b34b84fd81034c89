import msgspec
import pytest
from observations import hello

from rules.catalogue import Catalogue
from rules.classify import classify
from rules.observation import Beside, BesideKind, Evidence, NameSource, Observation
from rules.policy import Policy
from rules.verdict import Outcome, Role

AGENT_JA4 = "t13d190900_9dc949149365_97f8aa674fd9"  # pcaps/ngrok2-default
AUXILIARY = Beside("ngrok", BesideKind.AUXILIARY, "crl.ngrok-agent.com")


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

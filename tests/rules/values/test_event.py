"""What an event says beyond what was seen: which rule decided, under which rules, and which way the flow went."""

import ipaddress

import msgspec
import pytest
from observations import NOW_NS, flow, hello, lookup

from rules.catalogue.catalogue import Catalogue
from rules.classification.classify import classify
from rules.policy.overlay import apply_overlay
from rules.policy.policy import Policy
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset, digest_of
from rules.policy.shared import as_overlay
from rules.values.direction import Direction, direction_of
from rules.values.event import Basis, Origin, make_event, with_source
from rules.values.observation import Beside, BesideKind, Evidence, Observation
from rules.values.source import Source
from rules.values.verdict import Outcome, Rule

LISTED = "connect.ngrok-agent.com"
INGRESS = "tunnels.example.com"
PINNED = "203.0.113.7"
AGENT_JA4 = "t13d190900_9dc949149365_97f8aa674fd9"  # pcaps/ngrok2-default
BANNER = (Evidence.SSH_BANNER, "SSH-2.0-OpenSSH_9")
SANCTIONED = '[[sanctioned]]\ndomain = "{}"\nservice = "{}"\nowner = "it"\nreason = "ours"\n'
BASTION = SANCTIONED.format("bastion.example.com", "ssh-remote-forward") + f'addresses = ["{PINNED}/32"]\n'
POLICY = f"""
{SANCTIONED.format(INGRESS, "ngrok")}
{BASTION}
[[exception]]
sources = ["10.20.0.0/16", "10.4.0.0/16"]
users = ["bob", "alice"]
service = "devtunnels"
owner = "it"
reason = "pilot"
expires = 2027-03-31

[[blocked]]
entry = "tunnel.colleague.example"
owner = "it"
reason = "a colleague's"

[services]
mesh-vpn = "monitor"
devtunnels = "monitor"
"""


@pytest.fixture
def policy(catalogue: Catalogue) -> Policy:
    return parse_policy(POLICY, "policy.toml", catalogue, NOW_NS)


def agents_hello() -> Observation:
    made = hello("tunnels.myblog.net")
    assert made.hello is not None
    beside = (Beside("ngrok", BesideKind.AUXILIARY, "crl.ngrok-agent.com"),)
    return msgspec.structs.replace(made, hello=msgspec.structs.replace(made.hello, ja4=AGENT_JA4), beside=beside)


@pytest.mark.parametrize(
    ("rule", "observation"),
    [
        (Rule.SANCTIONED_NAME, hello(INGRESS)),
        (Rule.SANCTIONED_NAME_ELSEWHERE, hello("bastion.example.com")),
        (Rule.SANCTIONED_NAME_ELSEWHERE, flow((Evidence.HTTP_CONNECT, LISTED), (Evidence.TLS_SNI, INGRESS))),
        (Rule.SANCTIONED_NAME_ELSEWHERE, flow((Evidence.HTTP_CONNECT, "a.example"), (Evidence.TLS_SNI, INGRESS))),
        (Rule.LISTED_NAME, lookup(LISTED)),
        (Rule.ALIAS, lookup("tunnel.colleague.example", LISTED)),
        (Rule.TOLD_ADDRESS, flow(told=(LISTED,))),
        (Rule.SANCTIONED_ADDRESS, flow(told=(INGRESS,))),
        (
            Rule.DELEGATED_ZONE,
            msgspec.structs.replace(
                hello("tunnels.myblog.net"), delegation=("tunnels.myblog.net", "ns1.ngrok-dns.com")
            ),
        ),
        (Rule.SIGNS, agents_hello()),
        (Rule.PROTOCOL, flow(BANNER, dst_port=443)),
        (Rule.PINNED_ADDRESS, flow(BANNER, dst_port=443, dst=PINNED)),
    ],
)
def test_an_event_says_which_rule_decided(
    catalogue: Catalogue, policy: Policy, rule: Rule, observation: Observation
) -> None:
    rules = Ruleset(catalogue, policy)
    verdict = classify(observation, policy, catalogue)
    assert verdict.rule is rule
    event = make_event(observation, verdict, "id", Origin("s", "gateway", "Berlin"), rules.basis)
    assert (event.rule_id, event.rule_version) == (rule.value, catalogue.version)
    assert event.policy_digest == digest_of(policy)
    assert (event.sensor_id, event.sensor_name, event.site) == ("s", "gateway", "Berlin")


def test_what_is_nothing_was_decided_by_no_rule(catalogue: Catalogue, policy: Policy) -> None:
    verdict = classify(hello("shop.example"), policy, catalogue)
    assert (verdict.outcome, verdict.rule) == (Outcome.UNKNOWN, None)


def test_a_policy_that_came_from_an_api_has_the_digest_that_it_has_there(catalogue: Catalogue, policy: Policy) -> None:
    """However file and database share it: a sensor has all of it as an overlay, without a file."""
    taken = apply_overlay(Policy(), as_overlay(policy), catalogue, NOW_NS)
    assert taken != policy
    assert digest_of(taken) == digest_of(policy)
    parsed = parse_policy(POLICY + "# a comment\n", "other.toml", catalogue, NOW_NS)
    assert digest_of(parsed) == digest_of(policy)
    changed = parse_policy(POLICY.replace('"pilot"', '"trial"'), "policy.toml", catalogue, NOW_NS)
    assert digest_of(changed) != digest_of(policy) != digest_of(Policy())
    assert Ruleset(catalogue, policy).basis == Basis(catalogue.version, digest_of(policy))


@pytest.mark.parametrize(
    ("src", "dst", "expected"),
    [
        ("10.1.2.3", "198.51.100.7", Direction.OUTBOUND),
        ("100.64.0.9", "198.51.100.7", Direction.OUTBOUND),
        ("10.1.2.3", "192.168.0.1", Direction.INTERNAL),
        ("127.0.0.1", "127.0.0.53", Direction.INTERNAL),
        ("198.51.100.7", "10.1.2.3", Direction.INBOUND),
        ("172.32.0.1", "172.31.255.255", Direction.INBOUND),
        ("198.51.100.7", "198.51.100.8", None),
        ("fd00::1", "2001:db8::1", Direction.OUTBOUND),
        ("fe80::1", "fe80::2", Direction.INTERNAL),
        ("2001:db8::1", "2001:db8:1::1", None),
        ("10.1.2.3", "0.0.0.0", Direction.OUTBOUND),
    ],
)
def test_a_direction_follows_from_the_two_addresses(src: str, dst: str, expected: Direction | None) -> None:
    packed = [ipaddress.ip_address(text).packed for text in (src, dst)]
    assert direction_of(*packed) is expected


def test_who_is_known_to_be_one_of_ours_goes_out(catalogue: Catalogue) -> None:
    unknown = make_event(
        flow((Evidence.TLS_SNI, LISTED), src="192.0.2.7"),
        classify(hello(LISTED), Policy(), catalogue),
        "id",
        Origin("s"),
    )
    assert unknown.direction is None
    assert with_source(unknown, Source(host="router.example.net")).direction is None  # its reverse name, no more
    assert with_source(unknown, Source(mac="02:00:5e:10:00:01")).direction is Direction.OUTBOUND
    assert with_source(unknown, Source(uid=1000)).direction is Direction.OUTBOUND

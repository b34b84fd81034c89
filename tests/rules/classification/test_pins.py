"""Flows that carry no name, to an address that the policy pins."""

from typing import Any

import pytest
from observations import NOW_NS, flow

from rules.catalogue.catalogue import Catalogue
from rules.classification.classify import classify
from rules.policy.policy import Policy
from rules.policy.reader import parse_policy
from rules.values.observation import Evidence, Observation
from rules.values.verdict import Outcome, Role

BASTION, ELSEWHERE = "203.0.113.22", "203.0.113.23"
SANCTION = """
[[sanctioned]]
domain = "{domain}"
service = "{service}"
owner = "infrastructure@example.com"
reason = "the way in for administrators"
addresses = ["{address}"]
{more}
"""


def policy(catalogue: Catalogue, service: str = "ssh-remote-forward", more: str = "") -> Policy:
    text = SANCTION.format(domain="bastion.example.com", service=service, address=BASTION, more=more)
    return parse_policy(text, "policy.toml", catalogue, NOW_NS)


def ssh(address: str, **rest: Any) -> Observation:
    return flow((Evidence.SSH_BANNER, "SSH-2.0-OpenSSH_9.2"), dst=address, **rest)


def wireguard(address: str) -> Observation:
    return flow((Evidence.PROTOCOL, "wireguard-handshake"), dst=address)


def test_ssh_on_443_to_the_pinned_bastion_is_sanctioned(catalogue: Catalogue) -> None:
    verdict = classify(ssh(BASTION), policy(catalogue), catalogue)
    assert (verdict.outcome, verdict.service, verdict.role) == (Outcome.SANCTIONED, "ssh-remote-forward", Role.AGENT)
    assert verdict.dst_name == "bastion.example.com"
    assert [reason.evidence for reason in verdict.reasons] == [Evidence.ADDRESS, Evidence.SSH_BANNER]


def test_ssh_through_a_pinned_ingress_of_a_service_whose_agents_speak_ssh_is_sanctioned(catalogue: Catalogue) -> None:
    assert classify(ssh(BASTION), policy(catalogue, "ngrok"), catalogue).service == "ngrok"


@pytest.mark.parametrize("service", ["wireguard-generic", "netbird"])
def test_a_mesh_at_its_pinned_address_is_sanctioned(catalogue: Catalogue, service: str) -> None:
    verdict = classify(wireguard(BASTION), policy(catalogue, service), catalogue)
    assert (verdict.outcome, verdict.service) == (Outcome.SANCTIONED, service)


def test_elsewhere_another_protocol_and_a_day_late_stay_suspicious(catalogue: Catalogue) -> None:
    expired = policy(catalogue, more="expires = 2020-01-01")
    for observation, rules in (
        (ssh(ELSEWHERE), policy(catalogue)),
        (wireguard(BASTION), policy(catalogue)),
        (ssh(BASTION), policy(catalogue, "cloudflared")),
        (ssh(BASTION), expired),
    ):
        assert classify(observation, rules, catalogue).outcome is Outcome.SUSPICIOUS


def test_who_was_led_to_the_pinned_address_by_a_listed_name_stays_suspicious(catalogue: Catalogue) -> None:
    led = ssh(BASTION, told=(("serveo.net",),))
    verdict = classify(led, policy(catalogue), catalogue)
    assert (verdict.outcome, verdict.service) == (Outcome.SUSPICIOUS, "serveo")


def test_what_shows_no_protocol_at_all_stays_nothing(catalogue: Catalogue) -> None:
    assert classify(flow(dst=BASTION), policy(catalogue), catalogue).outcome is Outcome.UNKNOWN

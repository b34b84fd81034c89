import pytest
from msgspec.structs import replace
from observations import NOW_NS, SERVER, flow

from rules.catalogue.catalogue import Catalogue, build_catalogue, read_files
from rules.classification.classify import classify
from rules.classification.tells import DNS_SHAPES, PROTOCOLS, SUBPROTOCOLS
from rules.policy.policy import Policy
from rules.policy.reader import parse_policy
from rules.values.observation import Evidence, Observation
from rules.values.verdict import Outcome, Role, Severity


def seen(*protocols: str, told: tuple[str, ...] = (), **endpoints: object) -> Observation:
    return flow(*((Evidence.PROTOCOL, row) for row in protocols), told=told, **endpoints)  # type: ignore[arg-type]


def test_every_tell_speaks_for_a_service_of_the_catalogue_or_for_none(catalogue: Catalogue) -> None:
    for row in (*PROTOCOLS.values(), *SUBPROTOCOLS.values(), *DNS_SHAPES.values()):
        assert row.service is None or row.service in catalogue.services
        assert row.service is not None or row.carries
        assert 0 < row.confidence < 100


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_a_protocol_alone_is_suspicious(catalogue: Catalogue, protocol: str) -> None:
    verdict = classify(seen(protocol), Policy(), catalogue)
    row = PROTOCOLS[protocol]
    assert (verdict.outcome, verdict.service, verdict.role) == (Outcome.SUSPICIOUS, row.service, row.role)
    assert (verdict.confidence, verdict.severity) == (row.confidence, row.severity)
    assert verdict.category
    assert verdict.reasons[0].detail == row.detail


def test_the_surest_of_several_tells_counts(catalogue: Catalogue) -> None:
    verdict = classify(seen("wireguard-initiation", "wireguard-handshake"), Policy(), catalogue)
    assert (verdict.confidence, verdict.severity) == (PROTOCOLS["wireguard-handshake"].confidence, Severity.LOW)


def test_dns_shapes_name_the_domain(catalogue: Catalogue) -> None:
    verdict = classify(seen("dns-tunnel:iodine:t1.dnstun.example"), Policy(), catalogue)
    assert (verdict.service, verdict.dst_name) == ("iodine", "t1.dnstun.example")
    assert "t1.dnstun.example" in verdict.reasons[0].detail
    unnamed = classify(seen("dns-tunnel:bulk:t.example.net"), Policy(), catalogue)
    assert (unnamed.outcome, unnamed.service, unnamed.category) == (Outcome.SUSPICIOUS, None, "dns-tunnel")


def test_a_vpn_to_an_address_told_for_an_agent_is_that_agent(catalogue: Catalogue) -> None:
    verdict = classify(seen("wireguard-handshake", told=("api.netbird.io",)), Policy(), catalogue)
    assert (verdict.service, verdict.role) == ("netbird", Role.AGENT)
    assert [row.evidence for row in verdict.reasons] == [Evidence.ADDRESS, Evidence.PROTOCOL]
    other = classify(seen("wireguard-handshake", told=("connect.ngrok-agent.com",)), Policy(), catalogue)
    assert [row.evidence for row in other.reasons] == [Evidence.ADDRESS]  # WireGuard says nothing for ngrok


def test_bore_to_bore_pub_is_an_agent(catalogue: Catalogue) -> None:
    verdict = classify(seen("bore", told=("bore.pub",), dst_port=7835), Policy(), catalogue)
    assert (verdict.service, verdict.role, verdict.confidence) == ("bore", Role.AGENT, 84)
    assert classify(seen(told=("bore.pub",)), Policy(), catalogue).role is Role.UNCLEAR


def test_who_serves_requests_of_a_listed_endpoint_is_an_agent(catalogue: Catalogue) -> None:
    host = (Evidence.HTTP_HOST, "abc.loca.lt")
    assert classify(flow(host), Policy(), catalogue).role is not Role.AGENT
    assert classify(flow(host, (Evidence.PROTOCOL, "reverse-http")), Policy(), catalogue).role is Role.AGENT


def policy(text: str, catalogue: Catalogue) -> Policy:
    return parse_policy(text, "policy.toml", catalogue, NOW_NS)


def test_what_is_decided_on_a_category_holds_for_what_has_no_service(catalogue: Catalogue) -> None:
    ignored = policy('[services]\nmesh-vpn = "ignore"\n', catalogue)
    assert classify(seen("openvpn-handshake"), ignored, catalogue).outcome is Outcome.UNKNOWN
    excepted = policy(
        '[[exception]]\nsources = ["10.1.0.0/16"]\nservice = "mesh-vpn"\nowner = "o"\nreason = "r"\n', catalogue
    )
    assert classify(seen("openvpn-handshake"), excepted, catalogue).exception_id


def test_the_sanctioned_vpn_is_sanctioned(catalogue: Catalogue) -> None:
    rules = policy(
        '[[sanctioned]]\ndomain = "vpn.corp.example"\nservice = "wireguard-generic"\nowner = "o"\nreason = "r"\n',
        catalogue,
    )
    found = classify(seen("wireguard-handshake", told=("vpn.corp.example",), dst=SERVER), rules, catalogue)
    assert found.outcome is Outcome.SANCTIONED


@pytest.mark.parametrize(
    ("alpn", "service"),
    [("nb-quic", "netbird"), ("frp", "frp"), ("teleport-reversetunnelv2", "teleport"), ("argotunnel", "cloudflared")],
)
def test_an_alpn_that_one_program_owns(catalogue: Catalogue, alpn: str, service: str) -> None:
    verdict = classify(flow(alpn=(alpn,)), Policy(), catalogue)
    assert (verdict.outcome, verdict.service, verdict.confidence) == (Outcome.SUSPICIOUS, service, 85)


def ssh(port: int = 443, *indicators: tuple[Evidence, str], told: tuple[str, ...] = (), asked: int = 0) -> Observation:
    seen = flow((Evidence.SSH_BANNER, "SSH-2.0-x"), *indicators, told=told, dst_port=port)
    return replace(seen, hello=None, asked_port=asked)


@pytest.mark.parametrize(
    ("observation", "confidence"),
    [
        (ssh(), 60),
        (ssh(22), 0),
        (ssh(2222), 40),
        (ssh(3128, asked=22), 0),
        (ssh(22, asked=443), 60),
        (ssh(told=("ssh.github.com",)), 0),
        (ssh(told=("altssh.gitlab.com",)), 0),
        (ssh(told=("altssh.bitbucket.org",)), 0),
        (ssh(told=("notssh.github.com",)), 60),
        (ssh(told=("a.ssh.github.com",)), 60),
        (ssh(3128, (Evidence.HTTP_CONNECT, "ssh.github.com"), asked=443), 0),
        (ssh(3128, (Evidence.HTTP_CONNECT, "other.example.org"), told=("ssh.github.com",), asked=443), 60),
    ],
)
def test_ssh_is_told_by_the_port_that_is_dialled_and_git_by_its_hosts(
    catalogue: Catalogue, observation: Observation, confidence: int
) -> None:
    assert classify(observation, Policy(), catalogue).confidence == confidence


def test_an_organisation_adds_its_own_git_hosts() -> None:
    ours = 'extends = "ssh-remote-forward"\n[add]\nexclude_domains = ["=git.corp.example", "forge.example"]\n'
    catalogue = build_catalogue(read_files(), {"git.toml": ours})
    for name, confidence in {"git.corp.example": 0, "eu.forge.example": 0, "x.git.corp.example": 60}.items():
        assert classify(ssh(told=(name,)), Policy(), catalogue).confidence == confidence

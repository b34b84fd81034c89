import msgspec
import pytest
from observations import NOW_NS, SERVER, flow, hello, lookup

from rules.catalogue.catalogue import Catalogue
from rules.classification.classify import classify
from rules.policy.policy import Policy
from rules.policy.reader import parse_policy
from rules.values.observation import Evidence, NameSource
from rules.values.verdict import Outcome, Role, Severity, Verdict

POLICY = """
[[sanctioned]]
domain = "tunnels.example.com"
service = "ngrok"
owner = "platform@example.com"
reason = "team tenant"
"""
PINNED = POLICY + 'addresses = ["203.0.113.0/24"]\n'
SANCTIONED, UNSANCTIONED, SUSPICIOUS, UNKNOWN = (
    Outcome.SANCTIONED,
    Outcome.UNSANCTIONED,
    Outcome.SUSPICIOUS,
    Outcome.UNKNOWN,
)
LISTED = "connect.ngrok-agent.com"


@pytest.fixture
def policy(catalogue: Catalogue) -> Policy:
    return parse_policy(POLICY, "policy.toml", catalogue, NOW_NS)


@pytest.fixture
def pinned(catalogue: Catalogue) -> Policy:
    return parse_policy(PINNED, "policy.toml", catalogue, NOW_NS)


def said(verdict: Verdict) -> tuple[Outcome, str | None, Role]:
    return verdict.outcome, verdict.service, verdict.role


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tunnels.example.com", (SANCTIONED, "ngrok", Role.AGENT)),
        ("TUNNEL.us.Tunnels.Example.com.", (SANCTIONED, "ngrok", Role.AGENT)),
        (LISTED, (UNSANCTIONED, "ngrok", Role.AGENT)),
        ("Connect.EU.ngrok-agent.com", (UNSANCTIONED, "ngrok", Role.AGENT)),
        ("tunnel.ngrok.com", (UNSANCTIONED, "ngrok", Role.AGENT)),
        ("abc.ngrok-free.app", (UNSANCTIONED, "ngrok", Role.VISITOR)),
        ("x.trycloudflare.com", (UNSANCTIONED, "cloudflared", Role.VISITOR)),
        ("bore.pub", (UNSANCTIONED, "bore", Role.UNCLEAR)),
        ("h2.cftunnel.com", (UNSANCTIONED, "cloudflared", Role.AGENT)),
        ("api.hookdeck.com", (UNSANCTIONED, "hookdeck", Role.AUXILIARY)),
    ],
)
def test_a_name_alone_decides(
    catalogue: Catalogue, policy: Policy, name: str, expected: tuple[Outcome, str, Role]
) -> None:
    assert said(classify(hello(name), policy, catalogue)) == expected
    assert said(classify(lookup(name), policy, catalogue)) == expected


@pytest.mark.parametrize(
    "name",
    [
        *("connect.ngrok-agent.com.example.net", "notngrok-agent.com", "evil-tunnels.example.com", "example.com"),
        *("ngrok.com", "dashboard.ngrok.com", "docs.ngrok.com", "tunnels.example.com.evil.net", "api.ngrok.com"),
        *("update.equinox.io", "crl.ngrok-agent.com"),  # beside a sanctioned agent: nothing
    ],
)
def test_lookalikes_sites_and_the_sanctioned_agents_auxiliaries_are_nothing(
    catalogue: Catalogue, policy: Policy, name: str
) -> None:
    assert classify(hello(name), policy, catalogue).outcome is UNKNOWN
    assert classify(lookup(name), policy, catalogue).outcome is UNKNOWN


def test_auxiliary_names_are_informational_where_nothing_is_sanctioned(catalogue: Catalogue) -> None:
    verdict = classify(hello("crl.ngrok-agent.com"), Policy(), catalogue)
    assert said(verdict) == (UNSANCTIONED, "ngrok", Role.AUXILIARY)
    assert verdict.severity is Severity.INFORMATIONAL


def test_severity_says_agents_before_visitors(catalogue: Catalogue, policy: Policy) -> None:
    assert classify(hello(LISTED), policy, catalogue).severity is Severity.HIGH
    assert classify(hello("abc.ngrok.app"), policy, catalogue).severity is Severity.LOW


def test_every_verdict_says_how_we_know(catalogue: Catalogue, policy: Policy) -> None:
    verdict = classify(flow((Evidence.HTTP_CONNECT, LISTED), (Evidence.TLS_SNI, LISTED)), policy, catalogue)
    assert [reason.evidence for reason in verdict.reasons] == [Evidence.HTTP_CONNECT, Evidence.TLS_SNI]
    assert "dialled by agents of ngrok" in verdict.reasons[0].detail
    assert verdict.dst_name == LISTED


def test_an_expired_sanction_protects_nothing_it_only_stops_being_named(catalogue: Catalogue) -> None:
    expired = parse_policy(POLICY + "expires = 2026-11-17\n", "policy.toml", catalogue, NOW_NS)
    assert classify(hello("tunnels.example.com"), expired, catalogue).outcome is UNKNOWN


def test_sanction_wins_over_a_listed_alias(catalogue: Catalogue, policy: Policy) -> None:
    verdict = classify(lookup("tunnels.example.com", LISTED), policy, catalogue)
    assert verdict.outcome is SANCTIONED


def test_sanction_wins_where_it_lies_below_a_listed_name(catalogue: Catalogue) -> None:
    policy = parse_policy(POLICY.replace("tunnels.example.com", "acme.ngrok.io"), "p", catalogue, NOW_NS)
    assert classify(hello("us.acme.ngrok.io"), policy, catalogue).outcome is SANCTIONED
    assert classify(hello("other.ngrok.io"), policy, catalogue).outcome is UNSANCTIONED


@pytest.mark.parametrize(
    ("alias", "role"), [(LISTED, Role.AGENT), ("abc.x.ngrok-cname.com", Role.VISITOR), ("bore.pub", Role.UNCLEAR)]
)
def test_an_alias_takes_the_role_of_the_list_that_holds_it(
    catalogue: Catalogue, policy: Policy, alias: str, role: Role
) -> None:
    verdict = classify(lookup("tunnel.colleague.example", "edge.colleague.example", alias), policy, catalogue)
    assert (verdict.outcome, verdict.role) == (UNSANCTIONED, role)
    assert verdict.dst_name == "tunnel.colleague.example"
    assert verdict.reasons[0].evidence is Evidence.DNS_CNAME


@pytest.mark.parametrize(
    ("alias", "role"), [(LISTED, Role.AGENT), ("abc.x.ngrok-cname.com", Role.VISITOR), ("bore.pub", Role.UNCLEAR)]
)
def test_the_flow_behind_an_alias_is_what_the_look_up_is(
    catalogue: Catalogue, policy: Policy, alias: str, role: Role
) -> None:
    chain = ("tunnels.myblog.net", "edge.myblog.net", alias)
    verdict = classify(hello("tunnels.myblog.net", told=(chain,)), policy, catalogue)
    assert (verdict.outcome, verdict.role, verdict.dst_name) == (UNSANCTIONED, role, "tunnels.myblog.net")
    assert [reason.evidence for reason in verdict.reasons] == [Evidence.DNS_CNAME, Evidence.DNS_ANSWER]
    nameless = classify(flow(told=(chain,)), policy, catalogue)
    assert nameless.outcome is (SUSPICIOUS if role is not Role.VISITOR else UNKNOWN)


def test_the_sanctioned_name_stays_so_through_an_alias_of_the_provider(catalogue: Catalogue, policy: Policy) -> None:
    chains = (("tunnels.example.com", LISTED), ("build.example.com", "tunnels.example.com", LISTED))
    assert classify(hello("tunnels.example.com", told=chains), policy, catalogue).outcome is SANCTIONED
    assert classify(hello("build.example.com", told=chains), policy, catalogue).outcome is UNKNOWN
    assert classify(flow(told=chains), policy, catalogue).outcome is SANCTIONED


def test_an_ignored_name_that_was_told_hides_no_other(catalogue: Catalogue) -> None:
    ignoring = parse_policy('[services]\ncloudflared = "ignore"\n', "policy.toml", catalogue, NOW_NS)
    both = flow(told=("region1.v2.argotunnel.com", LISTED))
    assert said(classify(both, ignoring, catalogue)) == (SUSPICIOUS, "ngrok", Role.AGENT)


def test_a_name_that_was_never_asked_for_adds_to_what_is_known_and_says_nothing_alone(
    catalogue: Catalogue, policy: Policy
) -> None:
    listed, other = hello(LISTED), hello("shop.example")
    hidden = [msgspec.structs.replace(row, name_source=NameSource.NOT_ASKED) for row in (listed, other)]
    plain, verdict = classify(listed, policy, catalogue), classify(hidden[0], policy, catalogue)
    assert verdict.confidence > plain.confidence
    assert Evidence.DNS_QUERY in {reason.evidence for reason in verdict.reasons}
    assert classify(hidden[1], policy, catalogue).outcome is UNKNOWN


def test_a_sanctioned_hello_inside_a_connect_to_another_name_is_a_lie(catalogue: Catalogue, policy: Policy) -> None:
    inner = (Evidence.TLS_SNI, "tunnels.example.com")
    verdict = classify(flow((Evidence.HTTP_CONNECT, "relay.myblog.net"), inner), policy, catalogue)
    assert said(verdict) == (SUSPICIOUS, "ngrok", Role.AGENT)
    assert verdict.dst_name == "relay.myblog.net"
    by_address = flow((Evidence.HTTP_CONNECT, "203.0.113.7"), inner)
    assert classify(by_address, policy, catalogue).outcome is SANCTIONED


def test_an_alias_of_the_sanctioned_name_raises_no_alarm(catalogue: Catalogue, policy: Policy) -> None:
    observation = lookup("build.example.com", "tunnels.example.com", LISTED)
    assert classify(observation, policy, catalogue).outcome is UNKNOWN


def test_a_lying_sni_is_suspicious_with_both_addresses(catalogue: Catalogue, pinned: Policy) -> None:
    verdict = classify(hello("tunnels.example.com"), pinned, catalogue)
    assert said(verdict) == (SUSPICIOUS, "ngrok", Role.AGENT)
    details = " ".join(reason.detail for reason in verdict.reasons)
    assert SERVER in details
    assert "203.0.113.0/24" in details


def test_the_pin_holds_for_the_destination_only(catalogue: Catalogue, pinned: Policy) -> None:
    assert classify(hello("tunnels.example.com", dst="203.0.113.7"), pinned, catalogue).outcome is SANCTIONED
    through_proxy = flow((Evidence.HTTP_CONNECT, "tunnels.example.com"), (Evidence.TLS_SNI, "tunnels.example.com"))
    assert classify(through_proxy, pinned, catalogue).outcome is SANCTIONED
    assert classify(lookup("tunnels.example.com"), pinned, catalogue).outcome is SANCTIONED


@pytest.mark.parametrize("evidence", [Evidence.HTTP_CONNECT, Evidence.SOCKS])
@pytest.mark.parametrize(
    ("asked", "outcome"),
    [
        ("203.0.113.7", SANCTIONED),
        ("::ffff:203.0.113.7", SANCTIONED),
        ("198.51.100.99", SUSPICIOUS),
        ("2001:db8::1", SUSPICIOUS),
        ("relay1", SUSPICIOUS),  # a name, and not the sanctioned one
        ("3325256803", SUSPICIOUS),  # which no agent writes
    ],
)
def test_the_pin_holds_for_the_address_that_a_proxy_is_asked_to_dial(
    catalogue: Catalogue, pinned: Policy, evidence: Evidence, asked: str, outcome: Outcome
) -> None:
    observation = flow((evidence, asked), (Evidence.TLS_SNI, "tunnels.example.com"), dst_port=3128)
    verdict = classify(observation, pinned, catalogue)
    assert verdict.outcome is outcome
    assert outcome is SANCTIONED or asked in {reason.indicator for reason in verdict.reasons}


def test_without_a_pin_a_proxy_may_be_asked_for_any_address(catalogue: Catalogue, policy: Policy) -> None:
    observation = flow((Evidence.SOCKS, "198.51.100.99"), (Evidence.TLS_SNI, "tunnels.example.com"))
    assert classify(observation, policy, catalogue).outcome is SANCTIONED


def test_a_name_of_its_own_at_a_shared_address_is_not_suspicious(catalogue: Catalogue, policy: Policy) -> None:
    shared, told = "104.16.230.132", ("api.trycloudflare.com",)
    assert classify(hello("www.example.org", dst=shared, told=told), policy, catalogue).outcome is UNKNOWN
    assert classify(flow(dst=shared, told=told), policy, catalogue).service == "cloudflared"  # without one it is
    assert classify(hello("www.example.org", told=told), policy, catalogue).outcome is SUSPICIOUS


def test_without_a_pin_an_unexpected_address_is_a_reason_only(catalogue: Catalogue, policy: Policy) -> None:
    verdict = classify(hello("tunnels.example.com", told=("other.example",)), policy, catalogue)
    assert verdict.outcome is SANCTIONED
    assert Evidence.ADDRESS in {reason.evidence for reason in verdict.reasons}


def test_a_sanctioned_sni_inside_a_connect_to_a_listed_host_is_a_lie(catalogue: Catalogue, policy: Policy) -> None:
    observation = flow((Evidence.HTTP_CONNECT, LISTED), (Evidence.TLS_SNI, "tunnels.example.com"))
    verdict = classify(observation, policy, catalogue)
    assert said(verdict) == (SUSPICIOUS, "ngrok", Role.AGENT)
    assert verdict.severity is Severity.HIGH


def test_an_auxiliary_request_beside_the_sanctioned_connect_on_one_connection_is_no_lie(
    catalogue: Catalogue, policy: Policy
) -> None:
    names = (Evidence.HTTP_HOST, "crl.ngrok-agent.com"), (Evidence.HTTP_CONNECT, "tunnels.example.com")
    assert said(classify(flow(*names), policy, catalogue)) == (SANCTIONED, "ngrok", Role.AGENT)


def test_an_ignored_name_hides_no_other_on_the_same_connection(catalogue: Catalogue) -> None:
    ignoring = parse_policy('[services]\ncloudflared = "ignore"\n', "policy.toml", catalogue, NOW_NS)
    both = flow((Evidence.HTTP_CONNECT, "abc.ngrok-free.app"), (Evidence.TLS_SNI, "h2.cftunnel.com"))
    assert said(classify(both, ignoring, catalogue)) == (UNSANCTIONED, "ngrok", Role.VISITOR)
    assert classify(hello("h2.cftunnel.com"), ignoring, catalogue).outcome is UNKNOWN


def test_a_nameless_flow_to_an_unclear_name_s_address_is_unclear_without_ssh(
    catalogue: Catalogue, policy: Policy
) -> None:
    nameless = flow(told=("foo.portmap.io",))
    assert said(classify(nameless, policy, catalogue)) == (SUSPICIOUS, "portmap", Role.UNCLEAR)


def test_a_nameless_flow_to_a_told_agent_address_is_suspicious(catalogue: Catalogue, policy: Policy) -> None:
    plain = classify(flow(told=(LISTED,)), policy, catalogue)
    assert said(plain) == (SUSPICIOUS, "ngrok", Role.AGENT)
    ssh = classify(flow((Evidence.SSH_BANNER, "SSH-2.0-OpenSSH_9"), told=(LISTED,), dst_port=22), policy, catalogue)
    assert ssh.confidence > plain.confidence


def test_a_shared_address_does_not_taint_its_other_tenants(catalogue: Catalogue, policy: Policy) -> None:
    both = ("tunnels.example.com", LISTED)
    assert classify(hello("tunnels.example.com", told=both), policy, catalogue).outcome is SANCTIONED
    assert classify(flow(told=both), policy, catalogue).outcome is SANCTIONED
    ordinary = hello("shop.example", told=("shop.example", LISTED))
    assert classify(ordinary, policy, catalogue).outcome is UNKNOWN


def test_ssh_off_its_port_is_suspicious_and_on_it_nothing(catalogue: Catalogue, policy: Policy) -> None:
    banner = (Evidence.SSH_BANNER, "SSH-2.0-OpenSSH_9.2")
    assert said(classify(flow(banner, dst_port=443), policy, catalogue)) == (
        SUSPICIOUS,
        "ssh-remote-forward",
        Role.UNCLEAR,
    )
    assert classify(flow(banner, dst_port=22), policy, catalogue).outcome is UNKNOWN


def test_a_programs_own_alpn_or_subprotocol_is_a_tell(catalogue: Catalogue, policy: Policy) -> None:
    assert classify(hello("h.example", alpn=("argotunnel",)), policy, catalogue).service == "cloudflared"
    assert classify(hello("h.example", alpn=("h2", "http/1.1")), policy, catalogue).outcome is UNKNOWN
    upgrade = flow((Evidence.HTTP_HOST, "h.example"), (Evidence.PROTOCOL, "websocket:chisel-v3"), dst_port=80)
    assert classify(upgrade, policy, catalogue).service == "chisel"


def test_ssh_makes_an_unclear_name_an_agent(catalogue: Catalogue, policy: Policy) -> None:
    observation = flow((Evidence.HTTP_CONNECT, "tuns.sh"), (Evidence.SSH_BANNER, "SSH-2.0-OpenSSH_9"), dst_port=3128)
    assert classify(observation, policy, catalogue).role is Role.AGENT


def test_an_exception_leaves_the_verdict_and_says_which(catalogue: Catalogue) -> None:
    text = '[[exception]]\nsources = ["10.1.0.0/16"]\nservice = "reverse-tunnel"\nowner = "it"\nreason = "pilot"\n'
    policy = parse_policy(text, "policy.toml", catalogue, NOW_NS)
    verdict = classify(hello(LISTED), policy, catalogue)
    assert verdict.outcome is UNSANCTIONED
    assert verdict.exception_id == policy.exceptions[0].id
    assert classify(hello(LISTED, src="10.2.0.1"), policy, catalogue).exception_id is None


def test_what_was_decided_changes_what_is_said(catalogue: Catalogue) -> None:
    ignoring = parse_policy('[services]\nngrok = "ignore"\n', "policy.toml", catalogue, NOW_NS)
    assert classify(hello(LISTED), ignoring, catalogue).outcome is UNKNOWN
    watching = parse_policy('[services]\nngrok = "monitor"\n', "policy.toml", catalogue, NOW_NS)
    assert classify(hello(LISTED), watching, catalogue).severity is Severity.MEDIUM


def test_classify_is_pure(catalogue: Catalogue, policy: Policy) -> None:
    observation = hello(LISTED)
    assert classify(observation, policy, catalogue) == classify(
        msgspec.structs.replace(observation, key=9), policy, catalogue
    )

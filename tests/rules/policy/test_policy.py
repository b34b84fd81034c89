import ipaddress
import time
from datetime import date

import pytest
from observations import NOW_NS

from rules.catalogue.catalogue import Catalogue
from rules.errors import InvalidPolicy
from rules.policy.overlay import Overlay, apply_overlay
from rules.policy.policy import Policy
from rules.policy.reader import parse_policy
from rules.values.source import Source
from rules.values.verdict import Decision

GOOD = """
[[sanctioned]]
domain = "Tunnels.Example.com."
service = "ngrok"
owner = "platform@example.com"
reason = "team tenant"
expires = 2027-12-31
addresses = ["203.0.113.0/24", "2001:db8::/32"]

[[exception]]
sources = ["10.20.0.0/16"]
service = "devtunnels"
owner = "it@example.com"
reason = "Codespaces pilot"
expires = 2027-03-31

[services]
devtunnels = "monitor"
mesh-vpn = "ignore"
tailscale = "block"
"""
NS_PER_DAY = 86_400 * 1_000_000_000


def parse(catalogue: Catalogue, text: str) -> Policy:
    return parse_policy(text, "policy.toml", catalogue, NOW_NS)


def test_all_keys_are_read(catalogue: Catalogue) -> None:
    policy = parse(catalogue, GOOD)
    (sanction,) = policy.sanctions
    assert (sanction.domain, sanction.service, sanction.expires) == ("tunnels.example.com", "ngrok", date(2027, 12, 31))
    assert sanction.covers_address(bytes([203, 0, 113, 9]))
    assert not sanction.covers_address(bytes([198, 51, 100, 9]))
    assert sanction.covers_address(ipaddress.ip_address("2001:db8::1").packed)
    devtunnels = catalogue.services["devtunnels"]
    assert policy.exception_for(bytes([10, 20, 1, 1]), devtunnels, NOW_NS) is not None
    assert policy.exception_for(bytes([10, 21, 1, 1]), devtunnels, NOW_NS) is None
    assert policy.warnings == ()


def test_a_service_beats_its_category_which_beats_the_default(catalogue: Catalogue) -> None:
    policy = parse(catalogue, GOOD)
    assert policy.decide(catalogue.services["tailscale"]) is Decision.BLOCK
    assert policy.decide(catalogue.services["zerotier"]) is Decision.IGNORE
    assert policy.decide(catalogue.services["devtunnels"]) is Decision.MONITOR
    assert policy.decide(catalogue.services["ngrok"]) is Decision.BLOCK


@pytest.mark.parametrize("name", ["tunnels.example.com", "us.tunnels.example.com", "a.b.tunnels.example.com"])
def test_a_sanction_holds_at_and_below_its_domain(catalogue: Catalogue, name: str) -> None:
    assert parse(catalogue, GOOD).sanction_for(name, NOW_NS) is not None


@pytest.mark.parametrize("name", ["evil-tunnels.example.com", "example.com", "tunnels.example.com.evil.net", "example"])
def test_a_sanction_ends_at_whole_labels(catalogue: Catalogue, name: str) -> None:
    assert parse(catalogue, GOOD).sanction_for(name, NOW_NS) is None


def test_a_sanction_holds_through_its_last_day(catalogue: Catalogue) -> None:
    policy = parse(catalogue, GOOD.replace("2027-12-31", "2026-11-18"))
    assert policy.sanction_for("tunnels.example.com", NOW_NS) is not None
    assert policy.sanction_for("tunnels.example.com", NOW_NS + NS_PER_DAY) is None


def test_an_expired_entry_is_kept_without_effect_and_warned_about(catalogue: Catalogue) -> None:
    policy = parse(catalogue, GOOD.replace("2027-12-31", "2026-11-17"))
    assert policy.sanction_for("tunnels.example.com", NOW_NS) is None
    assert len(policy.warnings) == 1
    assert "expired on 2026-11-17" in policy.warnings[0]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("owner =", "ownr =", "ownr"),
        ("[[exception]]", "[[exceptions]]", "Known keys"),
        ('reason = "team tenant"', "", "reason"),
        ('owner = "platform@example.com"', 'owner = " "', r"sanctioned\[0\]\.owner"),
        ("Tunnels.Example.com.", "co.uk", "public suffix"),
        ("Tunnels.Example.com.", "com", "public suffix"),
        ("Tunnels.Example.com.", "ngrok.app", "public suffix"),
        ("Tunnels.Example.com.", "ngrok.com", "covers the catalogue name"),
        ("Tunnels.Example.com.", "connect.ngrok-agent.com", "covers the catalogue name"),
        ("Tunnels.Example.com.", "connect.zz.ngrok-agent.com", "covers the catalogue name"),
        ("Tunnels.Example.com.", "10.0.0.1", "address"),
        ('service = "ngrok"', 'service = "ngork"', "did you mean ngrok"),
        ("203.0.113.0/24", "203.0.113.1/24", "host bits"),
        ("10.20.0.0/16", "ten", "networks such as"),
        ('"monitor"', '"allow"', "devtunnels"),
        ("tailscale =", "tailscael =", "did you mean tailscale"),
        ("expires = 2027-12-31", "expires = never", "not TOML"),
        ("expires = 2027-12-31", "expires = " + "9" * 5000, "not TOML"),
        ("expires = 2027-12-31", "expires = " + "[" * 100_000, "not TOML"),
    ],
)
def test_a_wrong_policy_says_file_key_and_fix(catalogue: Catalogue, old: str, new: str, says: str) -> None:
    with pytest.raises(InvalidPolicy, match=says) as raised:
        parse(catalogue, GOOD.replace(old, new, 1))
    assert str(raised.value).startswith("policy.toml")


def test_the_same_domain_twice_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(InvalidPolicy, match="twice"):
        parse(catalogue, GOOD.split("[[exception]]", maxsplit=1)[0] * 2)


def test_a_byte_order_mark_is_no_content(catalogue: Catalogue) -> None:
    assert parse(catalogue, "\ufeff" + GOOD).sanctions == parse(catalogue, GOOD).sanctions


def test_a_policy_of_ten_thousand_sanctions_is_read_and_asked_in_no_time(catalogue: Catalogue) -> None:
    row = '[[sanctioned]]\ndomain = "t{}.example.com"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'
    policy = parse(catalogue, "".join(row.format(number) + "expires = 2030-01-01\n" for number in range(10_000)))
    started = time.process_time()
    for _ in range(1000):
        assert policy.sanction_for("a.t9999.example.com", NOW_NS) is not None
        assert policy.sanction_for("connect.ngrok-agent.com", NOW_NS) is None
    assert time.process_time() - started < 1  # a scan took 6 ms a name


def test_an_empty_policy_sanctions_nothing(catalogue: Catalogue) -> None:
    policy = parse(catalogue, "")
    assert policy.sanction_for("tunnels.example.com", NOW_NS) is None
    assert policy.decide(catalogue.services["ngrok"]) is Decision.BLOCK


WHO = """
[[exception]]
service = "ngrok"
owner = "o"
reason = "r"
expires = 2027-01-31
"""
ALICE = Source(
    user="alice",
    host="Build-7.Example.com",
    mac="02:00:5e:10:00:01",
    exe="/opt/agent",
    container="docker:4f1c2a9b7d3e",
)


@pytest.mark.parametrize(
    ("selector", "is_covered"),
    [
        ('users = ["bob", "alice"]', True),
        ('users = ["bob"]', False),
        ('hosts = ["build-7.example.com"]', True),
        ('hosts = ["example.com"]', False),
        ('macs = ["02-00-5E-10-00-01"]', True),
        ('macs = ["02:00:5e:10:00:02"]', False),
        ('executables = ["/opt/agent"]', True),
        ('executables = ["/opt"]', False),
        ('containers = ["docker:4f1c2a9b7d3e"]', True),
        ('containers = ["docker:4f1c2a9b7d3f"]', False),
        ('users = ["alice"]\nsources = ["10.0.0.0/8"]', True),
        ('users = ["alice"]\nsources = ["192.0.2.0/24"]', False),
        ('users = ["alice"]\nexecutables = ["/opt/other"]', False),
    ],
)
def test_an_exception_holds_for_those_whom_all_of_it_names(
    catalogue: Catalogue, selector: str, is_covered: bool
) -> None:
    policy, service = parse(catalogue, WHO + selector), catalogue.services["ngrok"]
    client = bytes([10, 1, 2, 3])
    assert (policy.exception_for(client, service, NOW_NS, ALICE) is not None) is is_covered
    assert policy.exception_for(client, service, NOW_NS) is None  # nothing is known of it yet
    assert policy.exception_for(client, service, NOW_NS + 365 * NS_PER_DAY, ALICE) is None


@pytest.mark.parametrize(
    ("selector", "says"),
    [
        ("", "users, hosts"),
        ("users = []", "users, hosts"),
        ('users = ["a b"]', "write it as alice"),
        ('hosts = ["a b"]', "build-7"),
        ('macs = ["02:00"]', "02:00:5e"),
        ('executables = ["agent"]', "/usr/bin"),
        ('containers = ["4f1c"]', "docker:"),
        ('user = ["alice"]', "Known keys"),
    ],
)
def test_an_exception_for_nobody_or_somebody_impossible_is_refused(
    catalogue: Catalogue, selector: str, says: str
) -> None:
    with pytest.raises(InvalidPolicy, match=says):
        parse(catalogue, WHO + selector)


def test_exceptions_for_different_people_have_different_ids(catalogue: Catalogue) -> None:
    texts = ('users = ["alice"]', 'users = ["bob"]', 'hosts = ["alice"]')
    ids = {parse(catalogue, WHO + text).exceptions[0].id for text in texts}
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("com", "everybody's"),
        ("github.io", "everybody's"),
        ("cloudfront.net", "everybody's"),
        ("tunnels.example.com", "would block tunnels.example.com, which is sanctioned"),
        ("=a.tunnels.example.com", "would block tunnels.example.com, which is sanctioned"),
        ("example.com", "would block tunnels.example.com, which is sanctioned"),
        ("10.0.0.0/8", "private, or too wide"),
        ("0.0.0.0/0", "private, or too wide"),
        ("9.9.8.7/24", "host bits"),
        ("", "is empty"),
        ("a b", "not a host name"),
    ],
)
def test_what_may_not_be_listed_is_refused(catalogue: Catalogue, entry: str, problem: str) -> None:
    text = f"""
[[sanctioned]]
domain = "tunnels.example.com"
service = "ngrok"
owner = "o"
reason = "r"

[[blocked]]
entry = "{entry}"
owner = "o"
reason = "r"
"""
    with pytest.raises(InvalidPolicy, match=problem) as error:
        parse_policy(text, "policy.toml", catalogue, NOW_NS)
    assert "blocked[0].entry" in str(error.value)


def test_a_service_that_no_list_can_hold_is_not_blocked_in_silence(catalogue: Catalogue) -> None:
    for decided in ("aws-ssm", "remote-access"):
        blocking = f'[services]\n{decided} = "block"\n'
        warned = parse_policy(blocking, "policy.toml", catalogue, NOW_NS).warnings
        assert any("aws-ssm is decided block" in warning and "[[blocked]]" in warning for warning in warned)
        assert not any("teamviewer" in warning for warning in warned)  # of which some names are listed
        by_hand = '[[blocked]]\nentry = "ssmmessages.eu-central-1.amazonaws.com"\nowner = "o"\nreason = "r"\n'
        named = parse_policy(by_hand + blocking, "policy.toml", catalogue, NOW_NS)
        assert not any("aws-ssm" in warning for warning in named.warnings)
    in_database = apply_overlay(Policy(), Overlay(decisions=(("aws-ssm", "block"),)), catalogue, NOW_NS)
    assert "aws-ssm is decided block" in in_database.warnings[0]

"""A zone for each profile, and keys that open one of them."""

import ipaddress
from dataclasses import replace

import dns.message
import dns.name
import dns.rcode
import msgspec
import pytest
from installation import names_of, snapshot_of
from zone_service import KEY, ORIGIN, signing_key

from api.zone.answers import Answers, Transfer
from api.zone.keys import Keyring
from api.zone.policy_zone import PolicyZone
from api.zone.profile_zones import ProfileZones, zone_name
from rules.lists.blocklist import Snapshot

ELSEWHERE = ipaddress.ip_address("192.0.2.7")
BODIES = {"agents-only": names_of("agent.example"), "strict": names_of("agent.example visitor.example")}
STRICT = zone_name(ORIGIN, "strict")


def snapshot(profile: str) -> Snapshot:
    return msgspec.structs.replace(snapshot_of(BODIES[profile], 7), profile=profile)


def zones_of(*profiles: str) -> ProfileZones:
    return ProfileZones(ORIGIN, lambda: profiles, lambda it: PolicyZone(lambda: snapshot(it), profile=it))


def ask(zones: ProfileZones, profile: str | None, name: dns.name.Name) -> tuple[dns.rcode.Rcode, str, list[Transfer]]:
    """Return what a holder of a key for `profile` gets of a zone, and what is noted of it."""
    noted: list[Transfer] = []
    keyring = Keyring([msgspec.structs.replace(KEY, profile=profile)])
    query = dns.message.make_query(name, "AXFR")
    query.use_tsig(signing_key())
    wires = list(Answers(zones, lambda: keyring, noted.append).answer(query.to_wire(), ELSEWHERE, over_tcp=True))
    messages = [dns.message.from_wire(it, keyring=signing_key(), request_mac=query.mac, xfr=True) for it in wires]
    return messages[0].rcode(), " ".join(str(rrset) for it in messages for rrset in it.answer), noted


@pytest.mark.parametrize(
    ("profile", "name", "is_open"),
    [
        (None, ORIGIN, True),
        (None, STRICT, True),
        ("strict", STRICT, True),
        ("strict", ORIGIN, False),
        ("agents-only", ORIGIN, True),
        ("agents-only", STRICT, False),
        ("gone", ORIGIN, False),
        (None, zone_name(ORIGIN, "gone"), False),
        (None, dns.name.from_text("a.strict", ORIGIN), False),
    ],
)
def test_a_key_opens_the_zone_of_its_profile(profile: str | None, name: dns.name.Name, is_open: bool) -> None:
    rcode, text, noted = ask(zones_of("agents-only", "strict"), profile, name)
    if not is_open:
        assert (rcode, text, noted) == (dns.rcode.REFUSED, "", [])
        return
    assert rcode == dns.rcode.NOERROR
    assert "agent.example" in text
    assert ("visitor.example" in text) == (name == STRICT)
    expected = Transfer("strict" if name == STRICT else "agents-only", KEY.name, str(ELSEWHERE), 7)
    assert noted == [replace(expected, is_new=True)]


def test_zones_are_those_of_the_profiles_there_are() -> None:
    profiles = ["agents-only"]
    zones = ProfileZones(ORIGIN, lambda: profiles, lambda it: PolicyZone(lambda: snapshot(it), profile=it))
    assert (list(zones), STRICT in zones) == ([ORIGIN], False)
    profiles.append("strict")
    assert zones[STRICT] is zones[STRICT]
    assert zones[dns.name.from_text("STRICT.Molecatcher.RPZ")].profile == "strict"
    profiles.append("x" * 60)
    assert len(zones) == 2, "the name is too long for what stands below it"


def test_the_zone_of_a_profile_that_was_removed_is_let_go() -> None:
    profiles, made = ["agents-only", "strict"], []

    def make(profile: str) -> PolicyZone:
        made.append(profile)
        return PolicyZone(lambda: snapshot(profile), profile=profile)

    zones = ProfileZones(ORIGIN, lambda: profiles, make)
    assert zones[STRICT] is zones[STRICT]
    profiles.remove("strict")
    assert (STRICT in zones, zones[ORIGIN] is zones[ORIGIN]) == (False, True)
    profiles.append("strict")
    assert zones[STRICT] is zones[STRICT]
    assert made == ["strict", "agents-only", "strict"]

"""What a zone answers, message by message."""

import ipaddress
import time
from base64 import b64encode

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from installation import names_of
from zone_service import KEY, ORIGIN, Zones, signing_key

from api.feeds.rpz import soa_text
from api.zone.answers import Answers, Transfer
from api.zone.keys import Keyring, ZoneKey
from api.zone.policy_zone import PolicyZone
from rules.lists.blocklist import NameEntry, NameList, Scope
from rules.policy.profiles import DEFAULT_PROFILE

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
HERE, ELSEWHERE = ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("192.0.2.7")
REFUSED, SERVFAIL, NOERROR = dns.rcode.REFUSED, dns.rcode.SERVFAIL, dns.rcode.NOERROR


@pytest.fixture
def zones() -> Zones:
    made = Zones()
    made.publish(names_of("tunnel.example"), 7)
    return made


def make_query(rdtype: str = "SOA", name: str = "molecatcher.rpz", **options: object) -> dns.message.QueryMessage:
    return dns.message.make_query(name, rdtype, **options)  # type: ignore[arg-type]  # options come by name


def ixfr(serial: int) -> dns.message.QueryMessage:
    query = make_query("IXFR")
    query.authority.append(dns.rrset.from_text(ORIGIN, 0, "IN", "SOA", soa_text(serial)))
    return query


def ask(
    zones: Zones,
    query: dns.message.Message,
    client: Address = HERE,
    *,
    tcp: bool = True,
) -> list[dns.message.Message]:
    wires = list(zones.answers().answer(query.to_wire(), client, over_tcp=tcp))
    context, answers = None, []
    for wire in wires:
        answer = dns.message.from_wire(
            wire,
            keyring=query.keyring or None,
            request_mac=query.mac if query.keyring else b"",
            one_rr_per_rrset=True,
            tsig_ctx=context,
            multi=bool(query.keyring) and query.question[0].rdtype in (252, 251),
        )
        context = answer.tsig_ctx
        assert query.is_response(answer)
        answers.append(answer)
    return answers


def rcode(*arguments: object, **options: bool) -> dns.rcode.Rcode:
    (answer,) = ask(*arguments, **options)  # type: ignore[arg-type]  # passed on
    return answer.rcode()


def records(answers: list[dns.message.Message]) -> list[str]:
    rows = [row for answer in answers for row in answer.answer]
    return [f"{row.name.relativize(ORIGIN)} {row[0].to_text()}" for row in rows]


SOA = "@ localhost. molecatcher.localhost. {} 300 60 2592000 60"
POLICIES = ["tunnel.example .", "*.tunnel.example ."]


@pytest.mark.parametrize("tcp", [True, False])
def test_soa_and_ns(zones: Zones, tcp: bool) -> None:
    (answer,) = ask(zones, make_query(), tcp=tcp)
    assert answer.flags & dns.flags.AA
    assert records([answer]) == [SOA.format(7)]
    assert records(ask(zones, make_query("NS"), tcp=tcp)) == ["@ localhost."]


def test_a_whole_zone(zones: Zones) -> None:
    answers = ask(zones, make_query("AXFR", use_edns=True))
    assert records(answers) == [SOA.format(7), "@ localhost.", *POLICIES, SOA.format(7)]
    assert answers[0].edns == 0


def test_a_large_zone_takes_several_messages_each_signed(zones: Zones) -> None:
    entries = tuple(NameEntry(f"n{at:05}.tunnel.example", Scope.SUBTREE, "s") for at in range(2000))
    zones.publish(NameList(blocked=entries, wide=entries))
    query = make_query("AXFR")
    query.use_tsig(signing_key())
    answers = ask(zones, query, ELSEWHERE)
    assert len(answers) > 3
    assert all(answer.had_tsig for answer in answers)
    assert len(records(answers)) == 2 + 4000 + 1


def publish_names(zones: Zones, serial: int, words: str, allowed: str = "", *, first: int = 0) -> None:
    """Publish `words` beside a hundred names, so that a difference is smaller than the zone."""
    many = tuple(NameEntry(f"n{at:05}.example", Scope.EXACT, "s") for at in range(first, 100))
    body = names_of(words, allowed)
    zones.publish(NameList(wide=(*body.wide, *many), allowed=body.allowed), serial)


def test_the_difference_to_what_a_secondary_has(zones: Zones) -> None:
    publish_names(zones, 7, "tunnel.example")
    publish_names(zones, 9, "tunnel.example =new.example", "ok.tunnel.example", first=1)
    old, new = SOA.format(7), SOA.format(9)
    added = ["new.example .", "ok.tunnel.example rpz-passthru.", "*.ok.tunnel.example rpz-passthru."]
    assert records(ask(zones, ixfr(7))) == [new, old, "n00000.example .", new, *added, new]


def test_a_name_that_changes_its_action_is_taken_out_and_put_in(zones: Zones) -> None:
    publish_names(zones, 7, "tunnel.example =ok.tunnel.example", "a.ok.tunnel.example")
    publish_names(zones, 9, "tunnel.example =ok.tunnel.example", "ok.tunnel.example")
    gone = ["*.a.ok.tunnel.example rpz-passthru.", "a.ok.tunnel.example rpz-passthru."]
    changed = ["ok.tunnel.example", "*.ok.tunnel.example"]
    rows = records(ask(zones, ixfr(7)))
    middle = rows.index(SOA.format(9), 1)
    assert sorted(rows[2:middle]) == sorted([*gone, *(f"{name} ." for name in changed)])
    assert rows[middle + 1 : -1] == [f"{name} rpz-passthru." for name in changed]


@pytest.mark.parametrize("serial", [3, 8])
def test_the_whole_zone_where_there_is_no_difference_to_give(zones: Zones, serial: int) -> None:
    publish_names(zones, 9, "tunnel.example")
    zones.is_database_lost = serial == 8
    rows = records(ask(zones, ixfr(serial)))
    assert rows[0] == rows[-1] == SOA.format(9)
    assert rows[1] == "@ localhost."
    assert len(rows) == 2 + 2 + 100 + 1


def test_the_whole_zone_where_the_difference_is_larger(zones: Zones) -> None:
    publish_names(zones, 7, "old.example")
    zones.publish(names_of("tunnel.example"), 9)
    assert records(ask(zones, ixfr(7))) == [SOA.format(9), "@ localhost.", *POLICIES, SOA.format(9)]


@pytest.mark.parametrize("serial", [7, 8, 2**31 + 6])
def test_one_soa_for_a_secondary_that_is_not_behind(zones: Zones, serial: int) -> None:
    assert records(ask(zones, ixfr(serial))) == [SOA.format(7)]


def test_one_soa_over_udp_says_to_come_over_tcp(zones: Zones) -> None:
    assert records(ask(zones, ixfr(3), tcp=False)) == [SOA.format(7)]


def test_serials_wrap(zones: Zones) -> None:
    publish_names(zones, 2**32 - 1, "tunnel.example")
    publish_names(zones, 2**32 + 1, "tunnel.example =new.example")
    last = SOA.format(1)
    assert records(ask(zones, ixfr(2**32 - 1))) == [last, SOA.format(2**32 - 1), last, "new.example .", last]


def test_before_the_first_list_nothing_is_said(zones: Zones) -> None:
    zones.is_ready = False
    assert {rcode(zones, make_query(rdtype)) for rdtype in ("SOA", "NS", "AXFR")} == {SERVFAIL}


def test_an_empty_zone_only_after_there_was_another(zones: Zones) -> None:
    zones.kept.clear()
    zones.publish(NameList(), 1)
    assert rcode(zones, make_query("AXFR")) == SERVFAIL
    zones.publish(names_of("tunnel.example"), 2)
    zones.publish(NameList(), 3)  # a person confirmed it, or it would not be in force
    assert records(ask(zones, make_query("AXFR"))) == [SOA.format(3), "@ localhost.", SOA.format(3)]


def test_a_list_that_cannot_be_a_zone(zones: Zones) -> None:
    zones.publish(NameList(wide=(NameEntry("no name", Scope.EXACT, "s"),)))
    assert rcode(zones, make_query("AXFR")) == SERVFAIL
    assert rcode(zones, ixfr(7)) == SERVFAIL


@pytest.mark.parametrize("name", ["tunnel.example.molecatcher.rpz", "rpz", "example.com", "version.bind", "."])
@pytest.mark.parametrize("rdtype", ["A", "SOA", "AXFR"])
def test_anything_else_is_refused(zones: Zones, name: str, rdtype: str) -> None:
    assert rcode(zones, make_query(rdtype, name)) == REFUSED


def test_other_types_classes_and_transports_are_refused(zones: Zones) -> None:
    for query in (make_query("ANY"), make_query("TXT"), make_query("A"), make_query("SOA", rdclass="CH")):
        assert rcode(zones, query) == REFUSED
    assert rcode(zones, make_query("AXFR"), tcp=False) == REFUSED


def test_other_operations_are_not_implemented(zones: Zones) -> None:
    for operation in (dns.opcode.NOTIFY, dns.opcode.UPDATE, dns.opcode.STATUS):
        query = dns.message.make_query("molecatcher.rpz", "SOA")
        query.set_opcode(operation)
        wire = query.to_wire()
        (answer,) = zones.answers().answer(wire, HERE, over_tcp=True)
        assert dns.message.from_wire(answer).rcode() in {dns.rcode.NOTIMP, dns.rcode.FORMERR}


@pytest.mark.parametrize("rdtype", ["SOA", "NS", "AXFR"])
@pytest.mark.parametrize("tcp", [True, False])
def test_beyond_this_host_nothing_without_a_key(zones: Zones, rdtype: str, tcp: bool) -> None:
    assert rcode(zones, make_query(rdtype), ELSEWHERE, tcp=tcp) == REFUSED


@pytest.mark.parametrize("algorithm", ["hmac-sha256", "hmac-sha384", "hmac-sha512"])
def test_with_a_key(zones: Zones, algorithm: str) -> None:
    key = ZoneKey(name="k", secret=KEY.secret, algorithm=algorithm)
    zones.keyring = Keyring([key])
    for rdtype in ("SOA", "AXFR"):
        query = make_query(rdtype)
        query.use_tsig(signing_key(key), algorithm=f"{algorithm}.")
        answers = ask(zones, query, ELSEWHERE)
        assert records(answers)[0] == SOA.format(7)
        assert all(answer.had_tsig for answer in answers)


def test_a_key_is_good_only_from_its_addresses(zones: Zones) -> None:
    zones.keyring = Keyring([ZoneKey(name="k", secret=KEY.secret, allowed=("192.0.2.0/24",), denied=("192.0.2.9/32",))])
    given = {"192.0.2.7": NOERROR, "192.0.2.9": REFUSED, "198.51.100.1": REFUSED, "127.0.0.1": REFUSED}
    for address, wanted in given.items():
        query = make_query()
        query.use_tsig(signing_key(zones.keyring.keys[0]))
        (answer,) = ask(zones, query, ipaddress.IPv4Address(address))
        assert answer.rcode() == wanted


def refused_as(zones: Zones, query: dns.message.Message, wire: bytes | None = None) -> dns.message.Message:
    (answer,) = zones.answers().answer(wire or query.to_wire(), HERE, over_tcp=True)
    return dns.message.from_wire(answer, keyring=False)


def test_a_key_that_is_not_known(zones: Zones) -> None:
    for key in (
        ZoneKey(name="other", secret=KEY.secret),
        ZoneKey(name=KEY.name, secret=KEY.secret, algorithm="hmac-sha512"),
    ):
        query = make_query("AXFR")
        query.use_tsig(signing_key(key), algorithm=f"{key.algorithm}.")
        answer = refused_as(zones, query)
        assert (answer.rcode(), answer.tsig_error, answer.mac) == (dns.rcode.NOTAUTH, dns.rcode.BADKEY, b"")


def test_a_signature_that_is_wrong(zones: Zones) -> None:
    query = make_query("AXFR")
    other = msgspec.structs.replace(KEY, secret=b64encode(b"another secret there is").decode())
    query.use_tsig(signing_key(other))
    answer = refused_as(zones, query)
    assert (answer.rcode(), answer.tsig_error, answer.mac) == (dns.rcode.NOTAUTH, dns.rcode.BADSIG, b"")


def test_a_signature_of_another_time(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    query = make_query("AXFR")
    query.use_tsig(signing_key())
    now_s = time.time()
    with monkeypatch.context() as past:
        past.setattr(time, "time", lambda: now_s - 3600)
        wire = query.to_wire()
        query_mac = query.mac
    (reply,) = zones.answers().answer(wire, HERE, over_tcp=True)
    answer = dns.message.from_wire(reply, keyring=False)
    assert (answer.rcode(), answer.tsig_error) == (dns.rcode.NOTAUTH, dns.rcode.BADTIME)
    assert answer.tsig is not None
    assert abs(int.from_bytes(answer.tsig[0].other) - now_s) < 60
    assert answer.tsig[0].time_signed == int(now_s - 3600)
    with pytest.raises(dns.tsig.PeerBadTime):
        dns.message.from_wire(reply, keyring=signing_key(), request_mac=query_mac)


@given(octets=st.binary(max_size=200), at=st.integers(0, 80), cut=st.integers(0, 120))
def test_whatever_comes_gets_a_short_answer_or_none(octets: bytes, at: int, cut: int) -> None:
    zones = Zones()
    zones.publish(names_of("tunnel.example"), 7)
    query = ixfr(7)
    query.use_tsig(signing_key())
    wire = query.to_wire()
    for broken in (octets, wire[:cut], wire[:at] + octets[:1] + wire[at + 1 :], wire + octets):
        for answer in zones.answers().answer(broken, ELSEWHERE, over_tcp=False):
            assert dns.message.from_wire(answer, keyring=False).rcode() != SERVFAIL
            assert len(answer) <= 512


def noted(
    zones: Zones,
    query: dns.message.Message,
    client: Address = HERE,
    *,
    tcp: bool = True,
) -> list[Transfer]:
    found: list[Transfer] = []
    answers = Answers({ORIGIN: PolicyZone(zones.current, zones.earlier)}, lambda: zones.keyring, found.append)
    for answer in answers.answer(query.to_wire(), client, over_tcp=tcp):
        is_refusal = dns.message.from_wire(answer, keyring=False).rcode() != NOERROR
        assert is_refusal or not found or not found[0].is_new, "noted before it was sent"
    return found


def test_what_a_secondary_has_is_noted_once_it_has_it(zones: Zones) -> None:
    signed = make_query("AXFR")
    signed.use_tsig(signing_key())
    assert noted(zones, signed, ELSEWHERE) == [Transfer(DEFAULT_PROFILE, "bind-berlin", "192.0.2.7", 7)]
    assert noted(zones, ixfr(7)) == [Transfer(DEFAULT_PROFILE, "", "127.0.0.1", 7, is_new=False)]
    for query, tcp in ((make_query("SOA"), True), (ixfr(7), False), (make_query("AXFR", "other.rpz"), True)):
        assert noted(zones, query, tcp=tcp) == []
    assert noted(zones, make_query("AXFR"), ELSEWHERE) == []
    zones.is_ready = False
    assert noted(zones, make_query("AXFR")) == [Transfer(DEFAULT_PROFILE, "", "127.0.0.1", None)]

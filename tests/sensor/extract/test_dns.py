import random
import struct

import dns.exception
import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset
import pytest
from hellos import truncations
from hypothesis import given
from hypothesis import strategies as st
from recordings import Recording

from sensor.errors import MalformedDns
from sensor.extract.dns import MAX_DELEGATIONS, MAX_RECORDS, is_likely_dns, may_become_dns, parse_message

QUERY = bytes.fromhex(
    "30e501200001000000000001 07636f6e6e656374 0b6e67726f6b2d6167656e74 03636f6d 00 0001 0001 00002904d0000000000000"
)
CHAIN = [
    "www.example.com. 300 IN CNAME edge.example.net.",
    "edge.example.net. 60 IN CNAME tunnel.us.ngrok.com.",
    "tunnel.us.ngrok.com. 30 IN A 192.0.2.1",
    "tunnel.us.ngrok.com. 20 IN A 192.0.2.2",
    "other.example. 5 IN A 192.0.2.99",
]


def answer(qname: str, records: list[str], qtype: str = "A", rcode: int = 0) -> bytes:
    message = dns.message.make_response(dns.message.make_query(qname, qtype), recursion_available=True)
    message.set_rcode(dns.rcode.Rcode(rcode))
    for record in records:
        owner, ttl, rdclass, kind, rdata = record.split(" ", 4)
        message.answer.append(dns.rrset.from_text(owner, int(ttl), rdclass, kind, rdata))
    return message.to_wire()


def with_servers(*servers: str, zone: str = "myblog.net") -> dns.message.Message:
    """An answer with an address, and the name servers of the zone in its authority section."""
    made = dns.message.make_response(dns.message.make_query("a.myblog.net", "A"))
    made.answer.append(dns.rrset.from_text("a.myblog.net.", 60, "IN", "A", "192.0.2.1"))
    made.authority.append(dns.rrset.from_text(f"{zone}.", 60, "IN", "NS", *servers))
    return made


def test_the_name_servers_that_an_answer_names_are_read_in_both_sections() -> None:
    message = parse_message(with_servers("NS1.ngrok-dns.com.", "ns2.ngrok-dns.com.").to_wire())
    assert set(message.delegations) == {("myblog.net", "ns1.ngrok-dns.com"), ("myblog.net", "ns2.ngrok-dns.com")}
    assert [address for address, _ in message.addresses] == [bytes([192, 0, 2, 1])]
    asked = answer("myblog.net", ["myblog.net. 60 IN NS ns1.ngrok-dns.com."], "NS")
    assert parse_message(asked).delegations == (("myblog.net", "ns1.ngrok-dns.com"),)


def test_what_else_stands_in_the_authority_section_answers_nothing() -> None:
    made = with_servers("ns1.example.")
    made.authority.append(dns.rrset.from_text("a.myblog.net.", 60, "IN", "A", "203.0.113.9"))
    made.authority.append(dns.rrset.from_text("a.myblog.net.", 60, "IN", "CNAME", "connect.ngrok-agent.com."))
    message = parse_message(made.to_wire())
    assert (message.cnames, [address for address, _ in message.addresses]) == ((), [bytes([192, 0, 2, 1])])


def test_an_authority_section_that_is_wrong_or_cut_hides_no_answer() -> None:
    wire = with_servers("ns1.ngrok-dns.com.").to_wire()
    whole = parse_message(wire)
    for length in range(wire.index(bytes([192, 0, 2, 1])) + 4, len(wire)):
        cut = parse_message(wire[:length])
        assert (cut.addresses, cut.is_truncated) == (whole.addresses, False)
    wrong = parse_message(wire[:-2] + b"\xff\xff")
    assert (wrong.addresses, wrong.delegations) == (whole.addresses, ())


def test_so_many_name_servers_are_kept() -> None:
    message = parse_message(with_servers(*(f"ns{number}.example." for number in range(40))).to_wire())
    assert len(message.delegations) == MAX_DELEGATIONS


def header(flags: int = 0x0100, questions: int = 1, answers: int = 0) -> bytes:
    return struct.pack(">6H", 1, flags, questions, answers, 0, 0)


def test_a_query_gives_its_question() -> None:
    message = parse_message(QUERY)
    assert (message.id, message.is_response, message.opcode) == (0x30E5, False, 0)
    assert (message.qname, message.qtype) == ("connect.ngrok-agent.com", 1)
    assert (message.cnames, message.addresses) == ((), ())


def test_names_are_lower_case_without_the_trailing_dot() -> None:
    assert parse_message(dns.message.make_query("TuNNel.NGROK.com.", "A").to_wire()).qname == "tunnel.ngrok.com"
    assert parse_message(dns.message.make_query(".", "NS").to_wire()).qname == ""


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (b"tunnels.example", r"tunnels\046example.com"),
        (b"a\\b", r"a\092b.com"),
        (b"a b", r"a\032b.com"),
        (b"A\x00\xff", r"a\000\255.com"),
        (b"\n", r"\010.com"),
    ],
)
def test_what_is_no_host_name_is_escaped(label: bytes, text: str) -> None:
    wire = header() + bytes([len(label)]) + label + b"\x03com\0\0\x01\0\x01"
    assert parse_message(wire).qname == text


@pytest.mark.parametrize("seed", range(6))
def test_the_chain_is_followed_in_whatever_order_the_records_stand(seed: int) -> None:
    records = random.Random(seed).sample(CHAIN, len(CHAIN))
    message = parse_message(answer("www.example.com.", records))
    assert message.is_response
    assert message.cnames == ("edge.example.net", "tunnel.us.ngrok.com")
    assert set(message.addresses) == {(bytes([192, 0, 2, 1]), 30), (bytes([192, 0, 2, 2]), 20)}
    assert message.min_ttl == 20
    assert not message.is_truncated


def test_a_cname_loop_ends() -> None:
    records = ["a.example. 9 IN CNAME b.example.", "b.example. 8 IN CNAME a.example.", "a.example. 7 IN A 192.0.2.1"]
    message = parse_message(answer("a.example.", records))
    assert message.cnames == ("b.example",)
    assert message.addresses == ((bytes([192, 0, 2, 1]), 7),)
    assert message.min_ttl == 7


def test_ipv6_addresses_are_packed() -> None:
    message = parse_message(answer("a.example.", ["a.example. 7 IN AAAA 2001:db8::1"], "AAAA"))
    assert message.addresses == ((bytes.fromhex("20010db8000000000000000000000001"), 7),)


def test_service_bindings_give_their_target_and_hints() -> None:
    records = [
        "svc.example. 60 IN HTTPS 0 pool.example.net.",
        "pool.example.net. 30 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1",
    ]
    message = parse_message(answer("svc.example.", records, "HTTPS"))
    assert message.cnames == ("pool.example.net",)
    assert [address[:4] for address, _ in message.addresses] == [b"\xc0\0\2\1", b"\xc0\0\2\2", b"\x20\1\x0d\xb8"]
    assert message.min_ttl == 30


def test_a_negative_answer_keeps_its_code() -> None:
    message = parse_message(answer("gone.example.", [], rcode=3))
    assert (message.rcode, message.addresses, message.min_ttl) == (3, (), 0)


def test_a_time_to_live_with_the_top_bit_set_is_zero() -> None:
    wire = bytearray(answer("a.example.", ["a.example. 7 IN A 192.0.2.1"]))
    at = wire.index(b"\0\0\0\x07\0\x04")
    wire[at] = 0x80
    assert parse_message(bytes(wire)).min_ttl == 0


def test_a_truncated_answer_gives_its_complete_records() -> None:
    whole = answer("www.example.com.", CHAIN)
    question_end = whole.index(b"\x03com\0") + 9
    seen = 0
    for cut in range(question_end, len(whole)):
        message = parse_message(whole[:cut])
        assert message.is_truncated
        assert message.qname == "www.example.com"
        assert len(message.addresses) >= seen
        seen = len(message.addresses)
    assert seen == 2


def test_the_truncation_flag_is_told() -> None:
    wire = bytearray(answer("a.example.", []))
    wire[2] |= dns.flags.TC >> 8
    assert parse_message(bytes(wire)).is_truncated


def test_a_cut_off_query_is_malformed_at_every_length() -> None:
    for beginning in truncations(QUERY[:41]):
        with pytest.raises(MalformedDns):
            parse_message(beginning)


@pytest.mark.parametrize(
    "question",
    [
        b"\xc0\x0c\0\x01\0\x01\0",  # a pointer to itself
        b"\x01a\xc0\x0c\0\x01\0\x01",  # a loop
        b"\xc0\x02\0\x01\0\x01\0",  # into the header
        b"\xc0\x20\0\x01\0\x01\0",  # forward
        b"\x41a\0\0\x01\0\x01",  # a label type that was never used
        b"\x3f" + b"a" * 63 + b"\x3f" + b"a" * 63 + b"\x3f" + b"a" * 63 + b"\x3f" + b"a" * 63 + b"\0\0\x01\0\x01",
        b"\x01a\0\0\x01\x12\x34",  # class
    ],
)
def test_impossible_questions_are_malformed(question: bytes) -> None:
    with pytest.raises(MalformedDns):
        parse_message(header() + question)


def test_a_name_of_the_greatest_length_is_read() -> None:
    labels = b"".join(b"\x3f" + bytes([letter]) * 63 for letter in b"abc") + b"\x3d" + b"d" * 61 + b"\0"
    assert len(labels) == 255
    assert len(parse_message(header() + labels + b"\0\x01\0\x01").qname) == 253


def test_an_address_of_the_wrong_size_is_malformed() -> None:
    wire = bytearray(answer("a.example.", ["a.example. 7 IN A 192.0.2.1"]))
    wire[-5] = 3
    with pytest.raises(MalformedDns):
        parse_message(bytes(wire))


def test_hostile_counts_do_bounded_work() -> None:
    record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x01\0\x04\x7f\0\0\x01"
    wire = header(0x8180, 1, 0xFFFF) + b"\x01a\0\0\x01\0\x01" + record * 4000
    message = parse_message(wire)
    assert len(message.addresses) == MAX_RECORDS
    assert message.is_truncated


def test_dns_is_recognised_by_content() -> None:
    assert is_likely_dns(QUERY)
    assert is_likely_dns(answer("www.example.com.", CHAIN))
    assert not is_likely_dns(QUERY[:20])
    for other in (
        b"\x01\0\0\0" + bytes(144),  # WireGuard handshake
        b"\x1b" + bytes(47),  # NTP
        bytes.fromhex("000100002112a442") + bytes(12),  # STUN
        b"\xc3\0\0\0\x01\x08" + bytes(1194),  # QUIC
        b"\x16\xfe\xfd" + bytes(60),  # DTLS
        header(0x2800) + b"\x01a\0\0\x01\0\x01",  # opcode UPDATE
        header(0x0100, 2) + b"\x01a\0\0\x01\0\x01",
    ):
        assert not is_likely_dns(other)


def test_random_payload_is_not_recognised() -> None:
    source = random.Random(1)
    assert not any(is_likely_dns(source.randbytes(source.randint(17, 300))) for _ in range(100_000))


def test_a_beginning_may_become_dns_until_it_cannot() -> None:
    assert all(may_become_dns(beginning) for beginning in truncations(QUERY))
    assert not may_become_dns(b"\0\x01\x28\0")
    assert not may_become_dns(header(questions=2)[:6])


def test_recorded_names_are_all_read(recording: Recording) -> None:
    names = set()
    for (_, _, _, port), payload in recording.datagrams:
        if port == 53:
            assert is_likely_dns(payload)
            names.add(parse_message(payload).qname)
    expected = {entry["name"].lower() for entry in recording.manifest["dns_detail"] if entry["transport"] == "udp53"}
    assert {name for name in names if "\\" not in name} == {name for name in expected if "\\" not in name}


def test_recorded_answers_equal_those_of_dnspython(recording: Recording) -> None:
    for (_, port, _, _), payload in recording.datagrams:
        if port != 53:
            continue
        own = parse_message(payload)
        try:
            peer = dns.message.from_wire(payload)
        except dns.exception.FormError:
            assert own.is_truncated  # the first fragment of a large answer
            continue
        wanted = {
            rdata.address
            for rrset in peer.answer
            for rdata in rrset
            if rdata.rdtype in {dns.rdatatype.A, dns.rdatatype.AAAA}
        }
        assert len(own.addresses) == len(wanted)
        assert own.rcode == peer.rcode()


@given(st.binary(max_size=200))
def test_random_octets_raise_nothing_else(octets: bytes) -> None:
    is_likely_dns(octets)
    may_become_dns(octets)
    for wire in (octets, header(0x8180, 1, 9) + octets, header() + b"\x01a\0\0\x01\0\x01" + octets):
        try:
            parse_message(wire)
        except MalformedDns:
            continue


@given(st.integers(0, 2**16), st.integers(0, 255), st.integers(0, 200))
def test_mutated_answers_raise_nothing_else(position: int, octet: int, cut: int) -> None:
    wire = bytearray(answer("www.example.com.", CHAIN))
    wire[position % len(wire)] = octet
    try:
        parse_message(bytes(wire[: len(wire) - cut]))
    except MalformedDns:
        return

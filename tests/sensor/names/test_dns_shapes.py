import base64
import hashlib

import pytest
from frames import CLIENT, MS, S, ask, dns_answer, dns_query, packed, replay, tell

from rules.catalogue.catalogue import load_catalogue
from rules.values.observation import Evidence, Indicator
from sensor.extract.dns import DnsMessage, parse_message
from sensor.extract.dns_tunnel import QueryType
from sensor.names.dns_shapes import WINDOW_NS, DnsShapes

ME, OTHER = packed(CLIENT), packed("10.0.0.9")
A, AAAA, PTR = 1, 28, 12
LOOKUP_SERVICES = load_catalogue().lookup_services


def hashed(number: int, octets: int = 20) -> str:
    return base64.b32encode(hashlib.sha512(str(number).encode()).digest())[:octets].decode().lower()


def asked(shapes: DnsShapes, names: list[str], qtype: int = A, *, answer: int = 60, step_ns: int = MS) -> str:
    """What is known of the last name after all of them were asked and answered with `answer` octets."""
    for number, name in enumerate(names):
        shapes.note_query(ME, DnsMessage(1, False, 0, 0, name, qtype), S + number * step_ns)
        octets = len(name) + 18 + answer
        shapes.note_answer(ME, DnsMessage(1, True, 0, 0, name, qtype, octets=octets))
    return shapes.find(ME, names[-1])


def data_name(number: int, labels: int, domain: str = "t.example.net") -> str:
    return ".".join([hashed(number * 10 + label, 50) for label in range(labels)]) + "." + domain


@pytest.mark.parametrize(
    ("names", "shape"),
    [
        (["vaaaakar2qe.t1.dnstun.example"], "iodine:t1.dnstun.example"),
        (["zg0jaa-aaahhh-drink-mal-ein-j\\228germeister-.t1.a.co.uk"], "iodine:t1.a.co.uk"),
        (["aaaaagayaa.=auth.t2.dnstun.example"], "dns2tcp:t2.dnstun.example"),
        (["dnscat.49e6000193000000000a0b"], "dnscat2:dnscat"),
    ],
)
def test_a_program_s_own_words_are_enough(names: list[str], shape: str) -> None:
    assert asked(DnsShapes(), names, QueryType.TXT) == shape


def test_what_lies_below_the_domain_is_told_and_nothing_else() -> None:
    shapes = DnsShapes()
    asked(shapes, ["vaaaakar2qe.t1.dnstun.example"], QueryType.NULL)
    assert shapes.find(ME, "paba.t1.dnstun.example") == "iodine:t1.dnstun.example"
    assert shapes.find(ME, "www.dnstun.example") == shapes.find(ME, "www.example.org") == ""
    assert shapes.find(ME, "xt1.dnstun.example") == ""
    assert shapes.find(OTHER, "paba.t1.dnstun.example") == ""


def test_long_names_of_data_types_with_long_answers_carry_data() -> None:
    names = [data_name(number, 1) for number in range(40)]
    assert asked(DnsShapes(), names, QueryType.TXT, answer=120) == "bulk:t.example.net"
    assert asked(DnsShapes(), names, QueryType.TXT, answer=20) == ""
    assert asked(DnsShapes(), names, A, answer=120) == ""


def test_very_long_names_carry_data_whatever_their_type() -> None:
    assert asked(DnsShapes(), [data_name(number, 3) for number in range(40)], A) == "bulk:t.example.net"


def test_types_that_nobody_asks_for() -> None:
    names = [f"p{hashed(number, 6)}.t.example.net" for number in range(8)]
    assert asked(DnsShapes(), names, QueryType.NULL) == "rare-types:t.example.net"
    assert asked(DnsShapes(), names[:3], QueryType.NULL) == ""
    assert asked(DnsShapes(), ["host.example.net"] * 20, QueryType.KEY) == ""


def test_a_session_of_dnscat2() -> None:
    packets = [f"{0x4000 + number * 977:04x}01beef" + hashlib.sha1(b"%d" % number).hexdigest() for number in range(6)]  # noqa: S324 - a name
    names = [f"{data}.t.example.net" for data in packets]
    assert asked(DnsShapes(), names, QueryType.MX) == "dnscat2:t.example.net"
    assert asked(DnsShapes(), names[:3], QueryType.MX) == ""
    others = [f"{number:04x}01{number:04x}{data[10:]}.t.example.net" for number, data in enumerate(packets)]
    assert asked(DnsShapes(), others, QueryType.MX) == ""  # ever another session: no session


ORDINARY = {
    "hashed names of a CDN": ([f"{hashed(number, 32)}.cdn.example.net" for number in range(300)], A, 120),
    "video caches": ([f"rr{n}---sn-{hashed(n, 14)}.googlevideo.com" for n in range(300)], A, 60),
    "McAfee GTI": (
        [f"0.0.0.0.1.0.0.4e.{hashed(n, 26)}.{hashed(n + 1, 26)}.avqs.mcafee.com" for n in range(300)],
        A,
        16,
    ),
    "Sophos": ([f"3.1{hashed(n, 40)}.{hashed(n + 1, 50)}.i.03.s.sophosxl.net" for n in range(300)], 16, 90),
    "ESET": ([f"{hashed(n, 50)}.{hashed(n + 1, 40)}.a.j.e5.sk" for n in range(300)], 16, 90),
    "an unknown vendor's short answers": ([f"{hashed(n, 60)}.rep.vendor.example" for n in range(300)], 16, 20),
    "DKIM keys": ([f"{hashed(n, 24)}._domainkey.example.net" for n in range(100)], 16, 400),
    "DMARC and SPF": ([f"_dmarc.{hashed(n, 30)}.example.net" for n in range(100)], 16, 200),
    "ACME": ([f"_acme-challenge.{hashed(n, 30)}.example.net" for n in range(100)], 16, 80),
    "reverse look-ups": ([f"{n}.2.0.192.in-addr.arpa" for n in range(200)], PTR, 60),
    "reverse look-ups of IPv6": ([".".join(f"{n:032x}") + ".ip6.arpa" for n in range(200)], PTR, 60),
    "a block list by address": ([f"{n}.2.0.192.zen.bl.example" for n in range(200)], 16, 80),
    "a block list by IPv6 address": ([".".join(f"{n * 7919:032x}") + ".v6.bl.example" for n in range(200)], 16, 80),
    "a block list by hash": ([f"{hashed(n, 40)}.ebl.example" for n in range(200)], A, 16),
    "multicast DNS": ([f"{hashed(n, 30)}-{hashed(n + 1, 40)}.local" for n in range(200)], 16, 300),
    "service discovery": ([f"_ldap._tcp.{hashed(n, 30)}.corp.example" for n in range(200)], 33, 200),
    "a browser's random probes": ([f"{hashed(n, 12)}.corp.example" for n in range(200)], A, 0),
    "the same long name": (["a" * 60 + "." + "b" * 60 + ".example.net"] * 300, 16, 400),
    "mail servers": ([f"{hashed(n, 20)}.example" for n in range(300)], 15, 100),
}


@pytest.mark.parametrize("case", list(ORDINARY))
def test_ordinary_names_that_look_odd_are_nothing(case: str) -> None:
    names, qtype, answer = ORDINARY[case]
    shapes = DnsShapes()
    shapes.lookup_services = LOOKUP_SERVICES
    asked(shapes, names, qtype, answer=answer)
    assert not any(shapes.find(ME, name) for name in names)


@pytest.mark.parametrize("domain", ["sophosxl.net", "s.sophosxl.net"])
def test_a_vendor_s_look_ups_are_spared_by_name_alone(domain: str) -> None:
    names = [data_name(number, 3, domain) for number in range(40)]
    assert asked(DnsShapes(), names) == f"bulk:{domain}"
    shapes = DnsShapes()
    shapes.lookup_services = LOOKUP_SERVICES
    assert asked(shapes, names) == ""
    assert asked(shapes, [data_name(number, 3, f"x{domain[-12:]}") for number in range(40)]) == "bulk:xsophosxl.net"


def test_a_minute_is_what_counts() -> None:
    names = [data_name(number, 3) for number in range(40)]
    assert asked(DnsShapes(), names, A, step_ns=WINDOW_NS // 10) == ""
    assert asked(DnsShapes(), names, A, step_ns=WINDOW_NS // 100) != ""


def test_what_was_found_outlasts_its_minute() -> None:
    shapes = DnsShapes()
    names = ["vaaaakar2qe.t1.dnstun.example", *(f"paba{hashed(n, 40)}.t1.dnstun.example" for n in range(3))]
    assert asked(shapes, names, QueryType.NULL, step_ns=2 * WINDOW_NS) == "iodine:t1.dnstun.example"


def test_the_table_is_bounded() -> None:
    shapes = DnsShapes(limit=10)
    asked(shapes, [f"{hashed(number, 50)}.domain{number}.example" for number in range(30)], QueryType.TXT)
    assert len(shapes) == 10
    assert shapes.evicted == 20


def test_the_query_that_shows_it_says_so_in_its_observation() -> None:
    name = "vaaaakar2qe.t1.dnstun.example"
    (found,) = replay([ask(S, name), tell(S + MS, dns_answer(name, []))])
    assert Indicator(Evidence.PROTOCOL, "dns-tunnel:iodine:t1.dnstun.example") in found.indicators


def test_answers_know_their_length() -> None:
    answer = dns_answer("a.example", ["192.0.2.1"])
    assert parse_message(answer).octets == len(answer)
    assert parse_message(dns_query("a.example")).octets == 0

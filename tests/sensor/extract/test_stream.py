import random

import dns.message
import pytest
from hellos import extension, hello_message, records, server_name, truncations, vector
from hypothesis import given
from hypothesis import strategies as st
from recordings import Recording

from rules.values.observation import Evidence, Indicator, Kind
from sensor.errors import NeedMoreData
from sensor.extract.stream import StreamFacts, read_stream

HELLO = records(hello_message(server_name(b"tunnel.us.ngrok.com"), extension(16, vector(2, vector(1, b"h2")))), 30)
CONNECT = b"CONNECT tunnel.us.ngrok.com:443 HTTP/1.1\r\nHost: tunnel.us.ngrok.com:443\r\n\r\n"
SOCKS5 = b"\x05\x01\0" + b"\x05\x01\0\x03\x13tunnel.us.ngrok.com\x01\xbb"
SOCKS4 = b"\x04\x01\x01\xbb\x01\0\0\x01\0"  # to 1.0.0.1, whose octets could be those of a DNS header
BANNER = b"SSH-2.0-chisel-v3-client\r\n"
UPGRADE = b"GET /x HTTP/1.1\r\nHost: c.example\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: chisel-v3\r\n\r\n"
QUERIES = b"".join(vector(2, dns.message.make_query(name, "A", id=7).to_wire()) for name in ("a.example", "b.example"))
PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12)
STREAMS = {
    "tls": HELLO,
    "frp": b"\x17" + HELLO,
    "connect, tls": CONNECT + HELLO,
    "connect twice, tls": CONNECT + CONNECT + HELLO,
    "connect, ssh": CONNECT.replace(b"443", b"22") + BANNER + b"\0\0\x01\x02",
    "connect, rubbish": CONNECT + b"\xff\xff\xff\xff\xff\xff\xff\xff",
    "socks5, tls": SOCKS5 + HELLO,
    "socks4, http": SOCKS4 + b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "proxy protocol 1, tls": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n" + HELLO,
    "proxy protocol 2, tls": PROXY_V2 + HELLO,
    "upgrade": UPGRADE + b"\x81\x05hello",
    "frp over websocket": UPGRADE.replace(b"/x", b"/~!frp"),
    "requests": b"GET http://a.example/ HTTP/1.1\r\n\r\nPOST http://b.example/ HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
    b"GET http://c.example/ HTTP/1.1\r\n\r\n",
    "chunked": b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "ssh": BANNER + b"\0\0\x05\xdc",
    "ssh after lines": b"hello\r\n" + BANNER,
    "dns": QUERIES,
    "dns, rubbish": QUERIES + b"\xff" * 40,
    "bore": b'{"Hello":0}\0',
    "response": b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n",
    "smtp": b"220 mail.example ESMTP\r\n" + b"250 text\r\n" * 120,
    "server hello": b"\x16\x03\x03\0\x05\x02\0\0\x01\0",
    "application data": b"\x17\x03\x03\0\x05hello",
    "zeros": bytes(64),
}


def answers(stream: bytes, lengths: list[int]) -> list[StreamFacts | None]:
    found: list[StreamFacts | None] = []
    for length in lengths:
        try:
            found.append(read_stream(stream[:length]))
        except NeedMoreData:
            found.append(None)
    return found


def values(facts: StreamFacts, evidence: Evidence) -> list[str]:
    return [indicator.value for indicator in facts.indicators if indicator.evidence is evidence]


@pytest.mark.parametrize("name", STREAMS)
def test_facts_only_grow_and_end_the_same_however_the_head_came(name: str) -> None:
    stream = STREAMS[name]
    last = read_stream(stream, is_final=True)
    before = StreamFacts(is_complete=False)
    for facts in answers(stream, list(range(len(stream) + 1))):
        if facts is None:
            assert before == StreamFacts(is_complete=False)
            continue
        if before.is_complete:
            assert facts == before
        assert facts.indicators[: len(before.indicators)] == before.indicators
        assert facts.dns[: len(before.dns)] == before.dns
        assert before.hello in {None, facts.hello}
        assert before.protocol in {"", facts.protocol}
        before = facts
    assert (before.indicators, before.hello, before.dns) == (last.indicators, last.hello, last.dns)
    assert (before.protocol, before.kind) == (last.protocol, last.kind)
    assert last.is_complete


@pytest.mark.parametrize("name", STREAMS)
def test_a_final_beginning_says_no_more_than_the_whole(name: str) -> None:
    stream = STREAMS[name]
    whole = set(read_stream(stream, is_final=True).indicators)
    for beginning in truncations(stream):
        facts = read_stream(beginning, is_final=True)
        assert facts.is_complete
        assert set(facts.indicators) <= whole


def test_tls() -> None:
    facts = read_stream(HELLO)
    assert facts.hello
    assert facts.indicators == (
        Indicator(Evidence.TLS_SNI, "tunnel.us.ngrok.com"),
        Indicator(Evidence.ALPN, "h2"),
        Indicator(Evidence.JA4, facts.hello.ja4),
    )
    assert (facts.protocol, facts.kind, facts.is_complete) == ("tls", Kind.TLS, True)


def test_the_first_octet_of_frp_is_a_tell() -> None:
    facts = read_stream(b"\x17" + HELLO)
    assert facts.indicators[0] == Indicator(Evidence.PROTOCOL, "frp-first-byte")
    assert facts.indicators[1:] == read_stream(HELLO).indicators


def test_connect_is_said_before_what_is_inside_it() -> None:
    outer = read_stream(CONNECT)
    assert outer.indicators == (Indicator(Evidence.HTTP_CONNECT, "tunnel.us.ngrok.com"),)
    assert (outer.protocol, outer.kind, outer.is_complete) == ("connect", Kind.HTTP, False)
    assert read_stream(CONNECT + HELLO[:40]) == outer
    whole = read_stream(CONNECT + HELLO)
    assert whole.indicators == outer.indicators + read_stream(HELLO).indicators
    assert (whole.protocol, whole.kind, whole.is_complete) == ("connect", Kind.TLS, True)
    assert whole.hello


def test_a_repeated_connect_is_one_indicator() -> None:
    assert read_stream(CONNECT * 3 + HELLO) == read_stream(CONNECT + HELLO)


def test_ssh_through_a_proxy_shows() -> None:
    facts = read_stream(STREAMS["connect, ssh"])
    assert values(facts, Evidence.SSH_BANNER) == ["SSH-2.0-chisel-v3-client"]
    assert values(facts, Evidence.HTTP_CONNECT) == ["tunnel.us.ngrok.com"]


def test_socks_is_followed_to_the_hello_inside() -> None:
    facts = read_stream(SOCKS5 + HELLO)
    assert values(facts, Evidence.SOCKS) == values(facts, Evidence.TLS_SNI) == ["tunnel.us.ngrok.com"]
    assert read_stream(SOCKS5).protocol == "socks"


def test_socks_that_could_be_dns_waits() -> None:
    with pytest.raises(NeedMoreData):
        read_stream(SOCKS4)
    assert values(read_stream(SOCKS4, is_final=True), Evidence.SOCKS) == ["1.0.0.1"]
    assert values(read_stream(STREAMS["socks4, http"]), Evidence.HTTP_HOST) == ["a.example"]


def test_requests_on_one_connection_are_all_read() -> None:
    facts = read_stream(STREAMS["requests"])
    assert values(facts, Evidence.HTTP_HOST) == ["a.example", "b.example", "c.example"]
    assert not facts.is_complete


def test_websocket_subprotocols_are_tells() -> None:
    assert values(read_stream(UPGRADE), Evidence.PROTOCOL) == ["websocket:chisel-v3"]
    assert values(read_stream(STREAMS["frp over websocket"]), Evidence.PROTOCOL)[-1] == "frp-websocket"


def test_dns_over_tcp_gives_every_message() -> None:
    facts = read_stream(QUERIES)
    assert [message.qname for message in facts.dns] == ["a.example", "b.example"]
    assert (facts.protocol, facts.kind, facts.is_complete) == ("dns", Kind.DNS, False)
    assert len(read_stream(QUERIES * 50).dns) == 100


def test_a_damaged_dns_message_takes_nothing_from_those_before_it() -> None:
    good = dns.message.make_response(dns.message.make_query("a.example", "A")).to_wire()
    record = b"\xc0\x0c" + (1).to_bytes(2, "big") + (1).to_bytes(2, "big") + bytes(4) + b"\0\3" + bytes(3)
    damaged = good[:6] + b"\0\1" + good[8:] + record
    stream = b"".join(len(message).to_bytes(2, "big") + message for message in (good, damaged))
    assert [message.qname for message in read_stream(stream).dns] == ["a.example"]


def test_a_dns_answer_longer_than_the_head_is_read_as_far_as_it_goes() -> None:
    response = dns.message.make_response(dns.message.make_query("a.example", "A"))
    stream = b"\x10\x00" + response.to_wire()
    with pytest.raises(NeedMoreData):
        read_stream(stream)
    assert read_stream(stream, is_final=True).dns[0].qname == "a.example"


@pytest.mark.parametrize("name", ["smtp", "server hello", "application data", "zeros"])
def test_what_is_none_of_ours_gives_empty_facts(name: str) -> None:
    assert read_stream(STREAMS[name]) == StreamFacts()


def test_a_response_is_named_without_indicators() -> None:
    facts = read_stream(STREAMS["response"])
    assert (facts.protocol, facts.indicators, facts.is_complete) == ("http-response", (), True)


def test_layers_are_bounded() -> None:
    stream = b"".join(b"CONNECT a%d.example:1 HTTP/1.1\r\n\r\n" % number for number in range(60))
    assert len(read_stream(stream).indicators) == 16
    assert read_stream(stream).is_complete


def test_recorded_flows_equal_their_manifest(recording: Recording) -> None:
    found = set()
    for head in recording.heads.values():
        facts = read_stream(head[:4096], is_final=True)
        if facts.hello:
            found.add((facts.hello.sni, facts.hello.alpn, facts.hello.ja4))
    assert found == recording.hellos("tcp")


def test_recorded_flows_give_the_same_facts_in_any_segments(recording: Recording) -> None:
    for head in list(recording.heads.values())[:6]:
        whole = read_stream(head[:4096], is_final=True)
        lengths = sorted(random.Random(1).sample(range(len(head[:4096]) + 1), min(40, len(head[:4096]))))
        seen: tuple[Indicator, ...] = ()
        for facts in answers(head[:4096], lengths):
            if facts:
                assert facts.indicators[: len(seen)] == seen
                seen = facts.indicators
        assert whole.indicators[: len(seen)] == seen


FRAGMENTS = st.sampled_from(
    [*STREAMS.values(), CONNECT, SOCKS5, SOCKS4, PROXY_V2, b"\x16\x03\x01", b"\x05\x01\0", b"SSH-"]
)


@given(st.lists(FRAGMENTS | st.binary(max_size=30), max_size=4).map(b"".join))
def test_any_octets_give_growing_facts_and_nothing_but_need_more(stream: bytes) -> None:
    stream = stream[:700]
    seen: tuple[Indicator, ...] = ()
    is_complete = False
    for facts in answers(stream, list(range(0, len(stream) + 1, 7))):
        assert not (is_complete and facts is None)
        if facts is None:
            assert not seen
            continue
        assert facts.indicators[: len(seen)] == seen
        assert not is_complete or facts.indicators == seen
        seen, is_complete = facts.indicators, facts.is_complete
    assert read_stream(stream, is_final=True).indicators[: len(seen)] == seen

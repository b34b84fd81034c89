import dns.message
from hypothesis import given
from hypothesis import strategies as st
from observations import NOW_NS
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from molecatcher.names.own_lookups import OwnLookups
from sensor.packet import LinkType, Packet
from sensor.pipeline import Pipeline

LABEL = st.from_regex(r"[a-z][a-z0-9]{0,9}", fullmatch=True)
NAME = st.lists(LABEL, min_size=2, max_size=4).map(".".join)


def query(name: str) -> Packet:
    payload = dns.message.make_query(f"{name}.", "A", id=7).to_wire()
    frame = bytes(Ether() / IP(src="192.0.2.2", dst="192.0.2.1") / UDP(sport=40000, dport=53) / payload)
    return Packet(NOW_NS, LinkType.ETHERNET, frame, len(frame))


def seen(pipeline: Pipeline, packet: Packet) -> int:
    return len([*pipeline.feed(packet), *pipeline.flush()])


@given(NAME)
def test_the_sensor_passes_over_our_own_questions_and_no_others(name: str) -> None:
    ours, theirs = OwnLookups(b"a" * 32), OwnLookups(b"b" * 32)
    assert ours.mark(name).lower() == name
    assert ours.mark(name) != name
    assert seen(Pipeline(is_own_lookup=ours.is_own), query(ours.mark(name))) == 0
    assert seen(Pipeline(is_own_lookup=ours.is_own), query(name)) == 1
    if theirs.mark(name) != ours.mark(name):
        assert seen(Pipeline(is_own_lookup=ours.is_own), query(theirs.mark(name))) == 1


def test_they_are_counted() -> None:
    ours = OwnLookups(b"a" * 32)
    pipeline = Pipeline(is_own_lookup=ours.is_own)
    seen(pipeline, query(ours.mark("connect.ngrok-agent.com")))
    assert pipeline.counters.own_lookups == 1

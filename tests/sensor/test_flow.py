from frames import ACK, CLIENT, FIN, RST, SERVER, SYN, S, packed, tcp, udp

from rules.values.observation import FiveTuple, Transport
from sensor.flow import TCP_IDLE_NS, UDP_IDLE_NS, Flow, FlowHead, FlowTable, flow_key, reverse_key

V6_CLIENT, V6_SERVER = "2001:db8::2", "2001:db8::10"
BULK = bytes(1000)


def flow(number: int = 1, *, now_ns: int = 0, transport: Transport = Transport.TCP, v6: bool = False) -> Flow:
    ends = (V6_CLIENT, V6_SERVER) if v6 else (CLIENT, SERVER)
    key = flow_key(transport, packed(ends[0]), 40000 + number, packed(ends[1]), 443)
    return Flow(key, number, now_ns, FlowHead(""))


def test_keys_keep_addresses_ports_and_transport() -> None:
    for transport in Transport:
        for v6 in (False, True):
            made = flow(1, transport=transport, v6=v6)
            ends = made.five_tuple(0)
            assert ends == FiveTuple(transport, ends.src, 40001, ends.dst, 443)
            assert ends.src == packed(V6_CLIENT if v6 else CLIENT)
            back = made.five_tuple(1)
            assert (back.src, back.src_port, back.dst, back.dst_port) == (ends.dst, 443, ends.src, 40001)
            assert reverse_key(reverse_key(made.key)) == made.key


def test_both_directions_find_the_flow() -> None:
    table = FlowTable()
    made = flow()
    table.insert(made)
    assert table.find(made.key) == (made, 0)
    assert table.find(reverse_key(made.key)) == (made, 1)
    assert table.find(flow(2).key) is None
    assert table.find(flow(1, transport=Transport.UDP).key) is None


def test_a_quiet_side_is_only_counted() -> None:
    table = FlowTable()
    for v6 in (False, True):
        made = flow(v6=v6)
        table.insert(made)
        ends = (V6_CLIENT, 40001, V6_SERVER, 443) if v6 else (CLIENT, 40001, SERVER, 443)
        packet, answer = tcp(7, ends, (1, 1, ACK), BULK), tcp(8, (*ends[2:], *ends[:2]), (1, 1, ACK), BULK)
        assert not table.count_quiet(packet)
        made.quiet = 1
        assert table.count_quiet(packet)
        assert not table.count_quiet(answer)
        made.quiet = 3
        assert table.count_quiet(answer)
        assert (made.octets_0, made.octets_1, made.last_ns) == (len(packet.data), len(answer.data), 8)
        for flag in (SYN, FIN, RST):
            assert not table.count_quiet(tcp(9, ends, (1, 1, ACK | flag), BULK))


def test_a_quiet_udp_flow_ends_when_idle() -> None:
    table = FlowTable()
    made = flow(transport=Transport.UDP)
    made.quiet = 3
    table.insert(made)
    assert table.count_quiet(udp(S, (CLIENT, 40001, SERVER, 443), BULK))
    assert not table.count_quiet(udp(S + UDP_IDLE_NS + 1, (CLIENT, 40001, SERVER, 443), BULK))


def test_a_fragment_is_never_only_counted() -> None:
    table = FlowTable()
    made = flow()
    made.quiet = 3
    table.insert(made)
    packet = tcp(0, (CLIENT, 40001, SERVER, 443), (1, 1, ACK), BULK)
    packet.data = packet.data[:20] + b"\x20\x00" + packet.data[22:]
    assert not table.count_quiet(packet)


def test_a_full_table_drops_what_is_unused() -> None:
    table = FlowTable(limit=3)
    flows = [flow(number) for number in range(4)]
    for made in flows[:3]:
        assert table.insert(made) == []
    flows[0].last_ns = 5
    assert table.insert(flows[3]) == [flows[1]]
    assert (len(table), table.evicted) == (3, 1)
    assert table.find(flows[0].key) is not None


def test_idle_flows_leave_without_being_counted() -> None:
    table = FlowTable()
    first, second = flow(1), flow(2)
    table.insert(first)
    table.insert(second)
    second.last_ns = TCP_IDLE_NS
    assert table.insert(flow(3, now_ns=TCP_IDLE_NS + 1)) == [first]
    assert table.evicted == 0
    table.remove(second)
    table.remove(second)
    assert len(table) == 1
    assert len(table.clear()) == 1
    assert len(table) == 0

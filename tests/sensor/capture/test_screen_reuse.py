"""Five-tuples that are used again, by connections that begin in a way that few do: nothing of them is passed over."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conversations import APPLICATION, BANNER, SERVER_HELLO
from crafted import write_pcap
from frames import CLIENT, SERVER, Conversation, S, udp
from screened import LISTED, detected, hello, new_screen, said

from rules.values.observation import FlowState
from sensor.capture.screening import plain_connections
from sensor.detection.detection import Detection
from sensor.packet import Packet

pytestmark = pytest.mark.usefixtures("each_screen")

IPV4 = (CLIENT, 40_000, SERVER, 443)
IPV6 = ("2001:db8::2", 40_000, "2001:db8::1", 443)
Change = Callable[[bytearray], None]
Talk = Callable[[Conversation], list[Packet]]


def add_ipv4_options(data: bytearray) -> None:
    data[14] = 0x46
    data[16:18] = (int.from_bytes(data[16:18]) + 4).to_bytes(2)
    data[34:34] = b"\x01\x01\x01\x00"


def set_reserved_bit(data: bytearray) -> None:
    data[20] |= 0x80


def set_traffic_class(data: bytearray) -> None:
    data[14] = 0x62


def add_two_tags(data: bytearray) -> None:
    data[12:12] = b"\x88\xa8\x00\x07\x81\x00\x00\x08"


def changed(row: Packet, change: Change) -> Packet:
    data = bytearray(row.data)
    change(data)
    return Packet(row.ts_ns, row.link_type, bytes(data), len(data))


def browse(talk: Conversation) -> list[Packet]:
    return [*talk.send(hello()), *talk.answer(SERVER_HELLO), *talk.send(APPLICATION)]


def move_much(talk: Conversation) -> list[Packet]:
    rest = [row for _ in range(6) for row in (*talk.answer(b"\x17" * 1400), *talk.send(b"\x17" * 1400))]
    return [*talk.send(hello()), *talk.answer(SERVER_HELLO), *rest]


def dial_agent(talk: Conversation) -> list[Packet]:
    return [*talk.send(hello(LISTED)), *talk.answer(SERVER_HELLO), *talk.send(APPLICATION)]


def forward(talk: Conversation) -> list[Packet]:
    return [*talk.answer(BANNER), *talk.send(BANNER)]


def between(at_ns: int) -> Packet:
    """A packet of somebody else."""
    return udp(at_ns, ("10.0.0.77", 1000, "10.0.0.78", 1000), b"x" * 30)


@pytest.mark.parametrize("first", [browse, move_much])
@pytest.mark.parametrize("second", [dial_agent, forward])
@pytest.mark.parametrize(
    ("ends", "change"),
    [(IPV4, add_ipv4_options), (IPV4, set_reserved_bit), (IPV4, add_two_tags), (IPV6, set_traffic_class)],
)
def test_an_odd_syn_begins_another_connection(
    ends: tuple[str, int, str, int], change: Change, first: Talk, second: Talk, tmp_path: Path
) -> None:
    one = Conversation(ends, start_ns=2 * S)
    rows = [*one.open(), *first(one)]
    other = Conversation(ends, start_ns=rows[-1].ts_ns + 5 * S, isn=700_000)
    syn, answer, ack = other.open()
    odd = [changed(syn, change), changed(answer, change), ack]
    path = tmp_path / "reused.pcap"
    write_pcap(path, [*rows, between(syn.ts_ns - S), *odd, *second(other)])
    assert said(detected(path, new_screen())) == said(detected(path, None)) != set()


def test_what_makes_room_leaves_in_both_directions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_connections, "PASSED", 8)  # a quarter of the directions and one more is an odd number
    rows: list[Packet] = []
    now_ns = 2 * S
    for port in range(40_000, 40_009):
        talk = Conversation((CLIENT, port, SERVER, 443), start_ns=now_ns)
        rows += [*talk.open(), *browse(talk)]
        now_ns = talk.now_ns
    for number, port in enumerate(range(40_000, 40_009)):
        talk = Conversation((CLIENT, port, SERVER, 443), start_ns=now_ns + (5 + number) * S, isn=900_000)
        rows += [between(talk.now_ns - S // 2), *talk.open(), *dial_agent(talk)]
    path = tmp_path / "reused.pcap"
    write_pcap(path, rows)
    assert states(detected(path, new_screen())) == states(detected(path, None))


def states(found: list[Detection]) -> list[FlowState]:
    """Return what became of each flow."""
    return list({row.observation.key: row.observation.state for row in found}.values())

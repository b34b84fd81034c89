"""DHCP in the pipeline: who has an address is handed on, and is no flow."""

from typing import TYPE_CHECKING

from dhcp_messages import dhcp, option
from frames import S, udp

from sensor.pipeline import Pipeline

if TYPE_CHECKING:
    from sensor.extract.dhcp import DhcpMessage

ENDS = ("0.0.0.0", 68, "255.255.255.255", 67)


def test_every_client_of_the_one_five_tuple_is_heard() -> None:
    hosts, times = [], []

    def hear(message: "DhcpMessage", _interface: str, now_ns: int) -> None:
        hosts.append(message.host)
        times.append(now_ns)

    pipeline = Pipeline(on_dhcp=hear)
    for number in range(50):
        request = dhcp(3, option(12, b"pc-%d" % number), option(50, bytes((192, 0, 2, number))))
        pipeline.feed(udp(number * S, ENDS, request))
    assert hosts == [f"pc-{number}" for number in range(50)]
    assert times[-1] == 49 * S
    assert (pipeline.open_flows, pipeline.flush()) == (0, [])


def test_a_malformed_message_is_counted_and_something_else_on_the_port_is_a_flow() -> None:
    pipeline = Pipeline(on_dhcp=lambda *_row: None)
    pipeline.feed(udp(S, ENDS, dhcp(3)[:-1] + b"\x0c\xff"))
    assert pipeline.counters.malformed == {"MalformedDhcp": 1}
    pipeline.feed(udp(S, ENDS, b"something else"))
    assert pipeline.open_flows == 1

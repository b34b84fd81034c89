from pathlib import Path

from frames import read_packets
from hypothesis import given
from hypothesis import strategies as st

from sensor.capture.offline.pcapng_file import Commented, write_pcapng
from sensor.packet import LinkType, Packet

PACKETS = st.builds(
    lambda ts_ns, link_type, data, beyond, interface: Packet(ts_ns, link_type, data, len(data) + beyond, interface),
    st.integers(0, (1 << 63) - 1),
    st.sampled_from(LinkType),
    st.binary(min_size=1, max_size=64),
    st.integers(0, 1500),
    st.sampled_from(["", "eth0", "wg-b\u00fcro"]),
)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "file.pcap"

    @given(st.lists(PACKETS, min_size=1, max_size=6), st.text(max_size=50))
    def check(packets: list[Packet], comment: str) -> None:
        path.write_bytes(write_pcapng([Commented(packet, comment) for packet in packets]))
        assert read_packets(str(path)) == packets

    check()

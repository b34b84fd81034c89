import os
import pwd
import socket
from ipaddress import ip_address

import pytest
from free_ports import free_port
from netns import Network, needs_root

from rules.values.observation import FiveTuple, Transport
from sensor.attribution.sockets import Socket, SocketTable

FAMILIES = pytest.mark.parametrize(
    ("family", "host", "address"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET6, "::ffff:127.0.0.1", "127.0.0.1"),
    ],
)


def flow(transport: Transport, address: str, src_port: int, dst_port: int) -> FiveTuple:
    packed = ip_address(address).packed
    return FiveTuple(transport, packed, src_port, packed, dst_port)


def inode(held: socket.socket) -> int:
    return os.fstat(held.fileno()).st_ino


@FAMILIES
def test_a_connection_is_found_by_its_five_tuple(family: int, host: str, address: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as listener:
        listener.bind((address, 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket.socket(family) as client:
            client.connect((host, port))
            table = SocketTable()
            found = table.find(flow(Transport.TCP, address, client.getsockname()[1], port))
            assert found == Socket(inode(client), os.getuid())
            assert table.find(flow(Transport.TCP, address, port, 9)) is None  # only somebody who listens
            table.close()


@FAMILIES
@pytest.mark.parametrize("is_connected", [True, False])
def test_a_datagram_socket_is_found_connected_or_not(family: int, host: str, address: str, is_connected: bool) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        if is_connected:
            client.connect((host, 9))
        else:
            client.sendto(b"x", (host, 9))
        table = SocketTable()
        assert table.find(flow(Transport.UDP, address, client.getsockname()[1], 9)) == Socket(
            inode(client), os.getuid()
        )
        table.close()


def test_what_is_gone_is_not_found() -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", port))
        client.connect(("127.0.0.1", 9))
    table = SocketTable()
    assert table.find(flow(Transport.UDP, "127.0.0.1", port, 9)) is None
    assert table.find(flow(Transport.TCP, "192.0.2.1", 1, 2)) is None
    table.close()


@needs_root
def test_each_namespace_has_its_own_sockets() -> None:
    with Network() as network:
        host = network.host("one")
        host.ip("address add 192.0.2.9/32 dev lo")
        client = host.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        client.bind(("192.0.2.9", 0))
        client.connect(("192.0.2.9", 9))
        wanted = flow(Transport.UDP, "192.0.2.9", client.getsockname()[1], 9)
        inside, outside = host.call(SocketTable), SocketTable()
        assert inside.find(wanted) == Socket(inode(client), pwd.getpwnam("root").pw_uid)
        assert outside.find(wanted) is None
        for each in (inside, outside, client):
            each.close()

"""Ports for programs that cannot be told to choose one."""

import itertools
import os
import random
import socket

LOWEST = 10_000  # the kernel gives those from 32,768 on to who asks for any (ip(7), ip_local_port_range)
SHARE = 1_000  # ports of each process of a run of the tests


def own_ports() -> range:
    """Return the ports of this process: none that another of pytest-xdist's takes."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return range(LOWEST + worker * SHARE, LOWEST + (worker + 1) * SHARE)


_ports = itertools.cycle(random.sample(own_ports(), SHARE))  # another run of the tests begins elsewhere


def free_port() -> int:
    """Return a port that nobody uses, neither for UDP nor for TCP, and that nobody gets who asks for any."""
    return next(port for port in _ports if is_free(port))


def is_free(port: int) -> bool:
    """Tell whether a socket of either kind can be bound to it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
        try:
            udp.bind(("127.0.0.1", port))
            tcp.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

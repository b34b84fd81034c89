"""What saying who is behind each detection adds to the sensor's CPU, in one run with and without it.

The traffic is the mix of bench/offline.py, all of whose flows are this host's own here: in a network namespace its
addresses are local, and processes hold a real socket for every detected connection. Heads of flows are read, as the
kernel passes them. Counted is the CPU of the packet loop and of the thread that asks the kernel and looks through
/proc, which otherwise is a process of its own. Needs root. Times are CPU time, the best of three rounds.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mix import write_mix
from veth import command, within

from rules.catalogue.catalogue import load_catalogue
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from rules.values.observation import FiveTuple, Transport
from sensor.attribution.attributor import Attributor
from sensor.capture.live.namespaces import Namespaces
from sensor.capture.offline.file import open_capture
from sensor.detection.detect import Detector
from sensor.pipeline import Pipeline

ROUNDS = 3
HOLDERS = 20
ANSWERS_S = 60.0
IPV4_OCTETS = 4
KINDS = {Transport.TCP: socket.SOCK_STREAM, Transport.UDP: socket.SOCK_DGRAM}
Row = tuple[str, str, int, str, int]


def feed(capture: Path, rules: Ruleset, attributor: Attributor | None) -> list[FiveTuple]:
    """Take the heads of flows through pipeline and rules, and ask who is behind what is detected: those flows."""
    detector = Detector(Pipeline(), lambda: rules)
    flows: dict[FiveTuple, None] = {}
    with open_capture(str(capture), heads_only=True) as source:
        while (packets := source.read()) is not None:
            found = detector.feed(packets)
            if attributor is None:
                flows.update(dict.fromkeys(row.observation.five_tuple for row in found if row.observation.dns is None))
                continue
            attributor.ask(found)
    return list(flows)


def row_of(flow: FiveTuple) -> Row:
    """Return a flow as text."""
    family = socket.AF_INET if len(flow.src) == IPV4_OCTETS else socket.AF_INET6
    ends = (socket.inet_ntop(family, flow.src), flow.src_port, socket.inet_ntop(family, flow.dst), flow.dst_port)
    return (flow.transport.value, *ends)


def hold(rows: list[Row]) -> None:
    """Hold the sockets of `rows` until standard input ends."""
    with contextlib.ExitStack() as stack:
        for transport, src, src_port, dst, dst_port in rows:
            family = socket.AF_INET6 if ":" in src else socket.AF_INET
            held = stack.enter_context(socket.socket(family, KINDS[Transport(transport)]))
            held.bind((src, src_port))
            held.connect((dst, dst_port))
        print("ready", flush=True)
        sys.stdin.read()


@contextlib.contextmanager
def sockets(flows: list[FiveTuple]) -> Iterator[None]:
    """Have processes hold a socket for each of `flows`."""
    for address in {end for flow in flows for end in (flow.src, flow.dst) if len(end) > IPV4_OCTETS}:
        command("ip", "address", "add", f"{socket.inet_ntop(socket.AF_INET6, address)}/128", "dev", "lo")
    ports = {flow.dst_port for flow in flows if flow.transport is Transport.TCP}
    with contextlib.ExitStack() as stack:
        for port in ports:
            server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096)
            stack.enter_context(server)
        rows = [row_of(flow) for flow in flows]
        for number in range(HOLDERS):
            argv = [sys.executable, __file__, "--hold", json.dumps(rows[number::HOLDERS])]
            holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.enter_context(holder)
            holder.stdout.readline()  # type: ignore[union-attr]  # a pipe
        yield


def measure(capture: Path, rules: Ruleset, expected: int) -> tuple[float, int]:
    """Return the CPU seconds with attribution, and how many of `expected` flows got an answer."""
    before_s = time.process_time()
    attributor = Attributor(Namespaces())
    feed(capture, rules, attributor)
    answers, until_s = 0, time.monotonic() + ANSWERS_S
    while answers < expected and time.monotonic() < until_s:
        answers += sum(source.process is not None for _, source in attributor.answers())
        time.sleep(0.05)
    attributor.close()
    return time.process_time() - before_s, answers


def inside(capture: Path, packets: int) -> None:
    """Measure in the namespace, and print."""
    rules = Ruleset(load_catalogue(), Policy())
    flows = feed(capture, rules, None)
    without_s, with_s, answered = [], [], 0
    with sockets(flows):
        for _ in range(ROUNDS):
            before_s = time.process_time()
            feed(capture, rules, None)
            without_s.append(time.process_time() - before_s)
            spent_s, answered = measure(capture, rules, len(flows))
            with_s.append(spent_s)
    plain, whole = (min(times) / packets * 1e6 for times in (without_s, with_s))
    each_us = (min(with_s) - min(without_s)) / len(flows) * 1e6
    print(f"{packets} packets, {len(flows)} detected flows, {answered} of them with their process")
    print(f"processes on this host: {sum(path.name.isdecimal() for path in Path('/proc').iterdir())}")
    print(f"without attribution {plain:.3f} us a packet, with it {whole:.3f}: {whole / plain - 1:.1%} more; ", end="")
    print(f"{each_us:.0f} us a detected flow")


def main() -> None:
    """Make the traffic and the namespace, and measure there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=2_000_000)
    parser.add_argument("--hold", help=argparse.SUPPRESS)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.hold:
        hold(json.loads(options.hold))
        return
    if options.inside:
        inside(options.inside, options.packets)
        return
    if os.geteuid():
        raise SystemExit("network namespaces need root")
    name = f"mc-bench-{os.getpid()}-local"
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        capture = Path(folder) / "mix.pcap"
        packets = write_mix(capture, options.packets).packets
        command("ip", "netns", "add", name)
        stack.callback(command, "ip", "netns", "delete", name)
        command("ip", "-n", name, "link", "set", "lo", "up")
        command("ip", "-n", name, "route", "add", "local", "0.0.0.0/0", "dev", "lo")
        subprocess.run(
            within(name, [sys.executable, __file__, "--inside", str(capture), "--packets", str(packets)]), check=True
        )


if __name__ == "__main__":
    main()

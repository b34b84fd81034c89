"""What correlation adds to the sensor's CPU: one run with it, and in the same run its own work done alone.

The traffic is that of bench/pipeline.py. Alone: every DNS message is learned again, and for every observation of a flow
the chains, the source of its name and what its client did beside it are looked up again. The share is that against the
rest of the run. Times are CPU time of this process, the best of three rounds.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from pipeline import best_cpu_s, read_all, write_capture

from rules.catalogue.catalogue import load_catalogue
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from rules.values.observation import Observation
from sensor.clients import Clients
from sensor.correlate import ToldNames
from sensor.decode import Datagram, decode
from sensor.detect import Detector
from sensor.extract.dns import DnsMessage, is_likely_dns, parse_message
from sensor.packet import Packet
from sensor.pipeline import Pipeline

Learned = tuple[bytes, DnsMessage, int]


def detect(packets: list[Packet], rules: Ruleset) -> None:
    """Take `packets` through pipeline and rules."""
    detector = Detector(Pipeline(), lambda: rules)
    detector.feed(packets)
    detector.flush()


def messages(packets: list[Packet]) -> list[Learned]:
    """Return the DNS messages among `packets`: client, message, time."""
    found = []
    for packet in packets:
        datagram = decode(packet)
        if isinstance(datagram, Datagram) and is_likely_dns(datagram.payload):
            message = parse_message(datagram.payload)
            found.append((datagram.dst if message.is_response else datagram.src, message, datagram.ts_ns))
    return found


def correlation(learned: list[Learned], flows: list[Observation]) -> Callable[[], None]:
    """Return the work of correlation alone."""

    def work() -> None:
        told, clients = ToldNames(), Clients()
        for client, message, now_ns in learned:
            told.asked.learn(client, message, now_ns)
            if message.is_response:
                told.learn(client, message, now_ns)
        for flow in flows:
            ends = flow.five_tuple
            told.chains(ends.src, ends.dst, flow.observed_at_ns)
            told.asked.source(ends.src, flow.indicators[0].value if flow.indicators else "", flow.observed_at_ns)
            clients.beside(flow)

    return work


def main() -> None:
    """Print microseconds a packet and the share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=100_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mix.pcap"
        count = write_capture(path, parser.parse_args().packets)
        packets = read_all(path)
    rules = Ruleset(load_catalogue(), Policy())
    pipeline = Pipeline()
    flows = [row for row in [*pipeline.feed_batch(packets), *pipeline.flush()] if row.dns is None]
    learned = messages(packets)
    whole = best_cpu_s(lambda: detect(packets, rules)) / count * 1e6
    alone = best_cpu_s(correlation(learned, flows)) / count * 1e6
    print(f"{count} packets, {len(learned)} DNS messages, {len(flows)} observations of flows")
    print(
        f"with correlation {whole:.3f} us a packet, of it correlation {alone:.3f}: {alone / (whole - alone):.1%} more"
    )


if __name__ == "__main__":
    main()

"""Measures transfers of a large policy zone: the whole zone, the same again, and the difference after a small change.

    python bench/zone_transfers.py [--entries 500000]

Each entry is a subtree, two records. The server is a process of its own; CPU is its user and system time, memory its
largest resident set. The client reads messages as they come and looks into none.
"""

import argparse
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
from children import tree_peak_kb
from list_pulls import cpu_s, snapshot_of

from api.feeds.rpz import soa_text
from api.serving.server import parse_listen
from api.zone.answers import Answers
from api.zone.keys import Keyring
from api.zone.policy_zone import PolicyZone
from api.zone.server import ZoneServer, bind_both
from rules.lists.blocklist import NameEntry, Scope

ORIGIN = dns.name.from_text("molecatcher.rpz.")
CHANGED = 10


def serve(entries: int) -> None:
    """Serve a zone of `entries` subtrees until the end; SIGUSR1 publishes one that lacks `CHANGED` of them."""
    rows = tuple(sorted(NameEntry(f"h{at}.example{at % 1000}.net", Scope.SUBTREE, "service") for at in range(entries)))
    states = [snapshot_of(rows, 1)]
    signal.signal(signal.SIGUSR1, lambda _signal, _frame: states.append(snapshot_of(rows[CHANGED:], 2)))
    zones = {ORIGIN: PolicyZone(lambda: states[-1], lambda serial: states[serial - 1])}
    server = ZoneServer(bind_both(parse_listen("127.0.0.1:0")), zones, Answers(zones, Keyring), lambda: ())
    print(server.address.port, flush=True)
    server.run()


@contextmanager
def running(entries: int) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Yield port and process of the server."""
    command = [sys.executable, __file__, "--serve", "--entries", str(entries)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL) as child:
        try:
            yield int(next(iter(child.stdout or ()))), child
        finally:
            child.terminate()


def transfer(port: int, serial: int | None) -> tuple[float, float, int]:
    """Return the seconds until the first message and until the last, and the octets of a transfer."""
    query = dns.message.make_query(ORIGIN, dns.rdatatype.AXFR if serial is None else dns.rdatatype.IXFR)
    if serial is not None:
        query.authority.append(dns.rrset.from_text(ORIGIN, 0, "IN", "SOA", soa_text(serial)))
    begun_s, first_s, octets = time.monotonic(), 0.0, 0
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(query.to_wire(prepend_length=True))
        stream.shutdown(socket.SHUT_WR)
        while piece := stream.recv(1 << 20):
            first_s = first_s or time.monotonic() - begun_s
            octets += len(piece)
    return first_s, time.monotonic() - begun_s, octets


def main() -> None:
    """Print a row for each transfer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=500_000)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.serve:
        serve(wanted.entries)
        return
    with running(wanted.entries) as (port, child):
        print(f"before: peak {tree_peak_kb(child.pid) / 1024:.0f} MiB")
        for what, serial in (("AXFR", None), ("AXFR again", None), ("IXFR", 1), ("IXFR again", 1)):
            if what == "IXFR":
                child.send_signal(signal.SIGUSR1)
                time.sleep(wanted.entries / 50_000)
            before_s = cpu_s(child.pid)
            first_s, whole_s, octets = transfer(port, serial)
            spent_s, peak_mib = cpu_s(child.pid) - before_s, tree_peak_kb(child.pid) / 1024
            print(
                f"{what:10} first message {first_s:6.2f} s, whole {whole_s:6.2f} s, {octets / 2**20:7.3f} MiB,"
                f" CPU {spent_s:5.2f} s, peak {peak_mib:.0f} MiB"
            )


if __name__ == "__main__":
    main()

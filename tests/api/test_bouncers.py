"""CrowdSec's own bouncers, unchanged, fed from our lists."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from urllib.request import urlopen

import pytest
from installation import NOW_NS, Installation, names_of, snapshot_of, wait_until
from netns import Host, Network, needs_root

from api.app import create_app
from api.server import ApiServer, ListenAddress, bind, parse_listen
from db.store import open_store
from db.values import SnapshotRow
from rules.blocklist import AddressEntry, AddressList, NameList, encode

needs_firewall_bouncer = pytest.mark.skipif(
    shutil.which("crowdsec-firewall-bouncer") is None, reason="apt-get install crowdsec-firewall-bouncer"
)
needs_custom_bouncer = pytest.mark.skipif(
    shutil.which("crowdsec-custom-bouncer") is None, reason="apt-get install crowdsec-custom-bouncer"
)
pytestmark = needs_root

SETS = """
add table ip molecatcher4
add set ip molecatcher4 listed4 { type ipv4_addr; flags timeout; }
add table ip6 molecatcher6
add set ip6 molecatcher6 listed6 { type ipv6_addr; flags timeout; }
"""
COMMON = """
daemonize: false
update_frequency: 1s
log_mode: stdout
log_level: info
api_url: http://{address}/
api_key: secret
prometheus:
  enabled: false
"""
FIREWALL = """
mode: nftables
pid_dir: {folder}
disable_ipv6: false
deny_action: DROP
supported_decisions_types: [ban]
blacklists_ipv4: listed4
blacklists_ipv6: listed6
nftables:
  ipv4: {{enabled: true, set-only: true, table: molecatcher4, chain: none}}
  ipv6: {{enabled: true, set-only: true, table: molecatcher6, chain: none}}
"""
CUSTOM = """
bin_path: {folder}/told
piddir: {folder}
feed_via_stdin: false
cache_retention_duration: 1s
scenarios_containing: []
scenarios_not_containing: []
origins: []
"""


@dataclass
class Egress:
    """A host with our API on its loopback, and a folder."""

    host: Host
    installation: Installation
    folder: Path
    address: ListenAddress

    def put(self, *prefixes: str) -> None:
        """Publish a list of addresses: stored, then in force."""
        self._put(AddressList(tuple(AddressEntry(prefix, "ngrok") for prefix in prefixes)))

    def put_names(self, words: str) -> None:
        self._put(names_of(words))

    def _put(self, body: AddressList | NameList) -> None:
        snapshot = snapshot_of(body)
        row = SnapshotRow(snapshot.list_name, 1, NOW_NS, snapshot.digest, encode(body))
        self.installation.publish(body, self.installation.store.publish_snapshot(row).serial)

    def start(self, program: str, config: str) -> Popen[bytes]:
        path = self.folder / f"{program}.yaml"
        path.write_text((COMMON + config).format(address=self.address, folder=self.folder))
        log = (self.folder / "log").open("wb")
        with log:
            return self.host.popen([program, "-c", str(path)], stdout=log, stderr=log)

    def was_answered(self, status: int) -> bool:
        """Tell whether a bouncer was given this status, by the server's own metrics."""
        metrics = self.host.call(urlopen, f"http://{self.address}/metrics").read().decode()
        return f'route="/v1/decisions/stream",status="{status}"' in metrics

    def elements(self) -> set[str]:
        """What the bouncer put into the sets."""
        found = set()
        for family, number in (("ip", 4), ("ip6", 6)):
            text = self.host.run(["nft", "-j", "list", "set", family, f"molecatcher{number}", f"listed{number}"]).stdout
            rows = next(row["set"] for row in json.loads(text)["nftables"] if "set" in row).get("elem", [])
            found |= {row["elem"]["val"] if isinstance(row, dict) else row for row in rows}
        return found


@contextmanager
def serving(installation: Installation, host: Host, address: str) -> Iterator[ListenAddress]:
    server = ApiServer(create_app(installation.context()), host.call(bind, parse_listen(address)))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.is_started)
    yield server.address
    server.stop()
    thread.join(10)


@pytest.fixture
def egress(tmp_path: Path) -> Iterator[Egress]:
    with Network() as network, open_store(tmp_path / "events.db") as store:
        host, installation = network.host("egress"), Installation(store, tmp_path / "events.db")
        host.nft(SETS)
        yield Egress(host, installation, tmp_path, parse_listen("127.0.0.1:8484"))


@needs_firewall_bouncer
def test_the_firewall_bouncer_keeps_a_set_in_step(egress: Egress) -> None:
    egress.put("198.51.100.7/32", "198.51.100.8/32", "2001:db8::7/128")
    with serving(egress.installation, egress.host, str(egress.address)):
        bouncer = egress.start("crowdsec-firewall-bouncer", FIREWALL)
        wait_until(lambda: egress.elements() == {"198.51.100.7", "198.51.100.8", "2001:db8::7"}, 30)
        egress.put("198.51.100.8/32", "198.51.100.9/32", "2001:db8::7/128")
        wait_until(lambda: egress.elements() == {"198.51.100.8", "198.51.100.9", "2001:db8::7"}, 30)
        held = egress.elements()
    wait_until(lambda: b"connection refused" in (egress.folder / "log").read_bytes(), 30)
    assert egress.elements() == held, "protection stays while the server is away"
    egress.put("198.51.100.9/32", "198.51.100.10/32", "2001:db8::7/128")
    with serving(egress.installation, egress.host, str(egress.address)):
        wait_until(lambda: egress.elements() == {"198.51.100.9", "198.51.100.10", "2001:db8::7"}, 30)
        egress.installation.snapshots.clear()
        wait_until(lambda: egress.was_answered(503), 30)
        assert egress.elements() == {"198.51.100.9", "198.51.100.10", "2001:db8::7"}
    assert bouncer.poll() is None


@needs_custom_bouncer
def test_the_custom_bouncer_runs_a_program_for_each_change(egress: Egress) -> None:
    told = egress.folder / "told"
    told.write_text(f'#!/bin/sh\necho "$1 $2" >> {egress.folder}/said\n')
    told.chmod(0o755)
    said = egress.folder / "said"
    egress.put("198.51.100.7/32")
    with serving(egress.installation, egress.host, str(egress.address)):
        egress.start("crowdsec-custom-bouncer", CUSTOM)
        wait_until(lambda: said.exists() and "add 198.51.100.7" in said.read_text(), 30)
        egress.put("198.51.100.8/32")
        wait_until(lambda: {"add 198.51.100.8", "del 198.51.100.7"} <= set(said.read_text().splitlines()), 30)

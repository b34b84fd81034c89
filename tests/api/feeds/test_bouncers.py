"""CrowdSec's own bouncers, unchanged, fed from our lists."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import pytest
from following import Judgement, Reader, State, follow
from list_service import ListService, serving_lists
from netns import Host, Network, needs_root

from rules.lists.blocklist import AddressEntry, AddressList

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
    service: ListService
    folder: Path

    def start(self, program: str, config: str) -> Popen[bytes]:
        path = self.folder / f"{program}.yaml"
        path.write_text((COMMON + config).format(address=self.service.http, folder=self.folder))
        log = (self.folder / "log").open("wb")
        with log:
            return self.host.popen([program, "-c", str(path)], stdout=log, stderr=log)

    def is_refused(self) -> bool:
        """Tell whether the bouncer says that our server is away."""
        return b"connection refused" in (self.folder / "log").read_bytes()

    def elements(self) -> set[str]:
        """What the bouncer put into the sets."""
        found = set()
        for family, number in (("ip", 4), ("ip6", 6)):
            text = self.host.run(["nft", "-j", "list", "set", family, f"molecatcher{number}", f"listed{number}"]).stdout
            rows = next(row["set"] for row in json.loads(text)["nftables"] if "set" in row).get("elem", [])
            found |= {row["elem"]["val"] if isinstance(row, dict) else row for row in rows}
        return found

    def told(self) -> set[str]:
        """What the bouncer's program was told and not told to forget."""
        said = self.folder / "said"
        held: set[str] = set()
        for line in said.read_text().splitlines() if said.exists() else ():
            command, address = line.split()
            held = held | {address} if command == "add" else held - {address}
        return held


@pytest.fixture
def egress(tmp_path: Path) -> Iterator[Egress]:
    with Network() as network:
        host = network.host("egress")
        host.nft(SETS)
        with serving_lists(tmp_path, FIRST.body, host.call) as service:
            yield Egress(host, service, tmp_path)


def state(*listed: str) -> State:
    entries = tuple(AddressEntry(f"{it}/{128 if ':' in it else 32}", "ngrok") for it in listed)
    return State(AddressList(entries), {address: address not in listed for address in ADDRESSES})


ADDRESSES = ("198.51.100.7", "198.51.100.8", "198.51.100.9", "2001:db8::7", "2001:db8::8")
FIRST = state("198.51.100.7", "198.51.100.8", "2001:db8::7")
SECOND = state("198.51.100.8", "198.51.100.9", "2001:db8::8")
THIRD = state(*ADDRESSES)


def judging(held: Callable[[], set[str]]) -> Callable[[], Judgement]:
    def judge() -> Judgement:
        found = held()
        return {address: address not in found for address in ADDRESSES}

    return judge


@needs_firewall_bouncer
def test_the_firewall_bouncer_keeps_a_set_in_step(egress: Egress) -> None:
    bouncer = egress.start("crowdsec-firewall-bouncer", FIREWALL)
    follow(egress.service, Reader(judging(egress.elements), complains=egress.is_refused), FIRST, SECOND, THIRD)
    assert bouncer.poll() is None


@needs_custom_bouncer
@pytest.mark.full
def test_the_custom_bouncer_runs_a_program_for_each_change(egress: Egress) -> None:
    told = egress.folder / "told"
    told.write_text(f'#!/bin/sh\necho "$1 $2" >> {egress.folder}/said\n')
    told.chmod(0o755)
    bouncer = egress.start("crowdsec-custom-bouncer", CUSTOM)
    follow(egress.service, Reader(judging(egress.told), complains=egress.is_refused), FIRST, SECOND, THIRD)
    assert bouncer.poll() is None

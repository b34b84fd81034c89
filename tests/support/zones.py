"""A tree of DNS zones on real name servers (NSD), and a resolver (unbound) that finds its way down from the root."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import dns.message
import pytest
from dns_client import asked
from installation import wait_until
from netns import Host

SOA = "@ 60 IN SOA ns.example. admin.example. 1 3600 600 86400 60"


def serve_zones(host: Host, directory: Path, address: str, zones: Mapping[str, str]) -> None:
    """Run NSD on `host` at `address`; `zones` holds the records of each zone by its name (`.` is the root)."""
    program = shutil.which("nsd", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("nsd is not installed: apt-get install nsd")
    folder = directory / f"nsd-{address}"
    folder.mkdir()
    parts = [f'server:\n  ip-address: {address}\n  zonesdir: "{folder}"\n  username: ""\n  chroot: ""\n  database: ""']
    parts.append(f'  pidfile: "{folder}/pid"\n  xfrdfile: "{folder}/xfrd"\n  zonelistfile: "{folder}/list"')
    parts.append("  server-count: 1\nremote-control:\n  control-enable: no")
    for number, (zone, records) in enumerate(zones.items()):
        file = folder / f"zone{number}"
        file.write_text(f"$ORIGIN {zone.rstrip('.')}.\n{SOA}\n{records}\n")
        parts.append(f'zone:\n  name: "{zone}"\n  zonefile: "{file}"')
    config = folder / "nsd.conf"
    config.write_text("\n".join([*parts, ""]))
    host.popen([program, "-d", "-c", str(config)], stderr=subprocess.DEVNULL)


def resolve_from_root(host: Host, directory: Path, address: str, root: str) -> None:
    """Run unbound on `host` at `address`; it begins at the root server at `root`."""
    program = shutil.which("unbound", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("unbound is not installed: apt-get install unbound")
    hints = directory / "root.hints"
    hints.write_text(f". 3600 IN NS root.example.\nroot.example. 3600 IN A {root}\n")
    lines = [
        *("server:", f"  interface: {address}", "  access-control: 0.0.0.0/0 allow", "  do-daemonize: no"),
        *('  username: ""', '  chroot: ""', '  directory: "/"', '  pidfile: ""', "  use-syslog: no"),
        *('  module-config: "iterator"', f'  root-hints: "{hints}"', "  do-ip6: no", "  num-threads: 1"),
        *('  local-zone: "example." nodefault', '  local-zone: "example.net." nodefault'),
    ]
    config = directory / "resolver.conf"
    config.write_text("\n".join([*lines, ""]))
    host.popen([program, "-d", "-c", str(config)], stderr=subprocess.DEVNULL)


def wait_until_answered(host: Host, server: str, name: str) -> None:
    """Wait until `server` gives an address for `name`."""
    question = dns.message.make_query(name, "A")

    def has_answer() -> bool:
        found = host.call(asked, 53, question, server)
        return found is not None and bool(found.answer)

    wait_until(has_answer)

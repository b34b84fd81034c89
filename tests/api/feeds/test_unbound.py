"""A real resolver reads the zone, from a file and from the running API, and is asked for names."""

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from installation import Eventually, Installation

from api.feeds import FeedFormat, render
from rules.blocklist import NameList, Snapshot

Resolver = Callable[[str], AbstractContextManager[Callable[[str], int]]]
UNBOUND = shutil.which("unbound", path="/usr/sbin:/usr/bin:/sbin:/bin")
ALIAS, LISTED_TARGET = "tunnels.sanctioned.example", "custom.tunnel.example"
BODY = ("tunnel.example =tunnel.other.example", "ok.very.deep.tunnel.example =crl.tunnel.example")
ANSWERS = {
    "tunnel.example": dns.rcode.NXDOMAIN,
    "connect.tunnel.example": dns.rcode.NXDOMAIN,
    "a.b.connect.tunnel.example": dns.rcode.NXDOMAIN,
    "ok.very.deep.tunnel.example": dns.rcode.NOERROR,
    "a.ok.very.deep.tunnel.example": dns.rcode.NOERROR,
    "evil.very.deep.tunnel.example": dns.rcode.NXDOMAIN,
    "very.deep.tunnel.example": dns.rcode.NXDOMAIN,
    "evil.deep.tunnel.example": dns.rcode.NXDOMAIN,
    "crl.tunnel.example": dns.rcode.NOERROR,
    "evil.crl.tunnel.example": dns.rcode.NXDOMAIN,
    "tunnel.other.example": dns.rcode.NXDOMAIN,
    "a.tunnel.other.example": dns.rcode.NOERROR,
    "other.example": dns.rcode.NOERROR,
    "nottunnel.example": dns.rcode.NOERROR,
}
CONFIG = """
server:
  directory: "{folder}"
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  verbosity: 1
  do-daemonize: no
  interface: 127.0.0.1
  port: {port}
  access-control: 127.0.0.0/8 allow
  module-config: "respip iterator"
  do-not-query-localhost: no
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{upstream}
rpz:
  name: "rpz.invalid"
{source}
"""

pytestmark = pytest.mark.skipif(UNBOUND is None, reason="needs the program unbound")


@pytest.fixture
def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def upstream() -> Iterator[int]:
    """Return the port of a name server that has an address for every name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=answer_all, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        listener.sendto(b"", listener.getsockname())
        thread.join(10)


def answer_all(listener: socket.socket) -> None:
    """Answer until an empty datagram comes."""
    while True:
        octets, client = listener.recvfrom(4096)
        if not octets:
            return
        query = dns.message.from_wire(octets)
        response = dns.message.make_response(query)
        question = query.question[0]
        if question.name == dns.name.from_text(ALIAS):
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", "CNAME", f"{LISTED_TARGET}."))
        elif question.rdtype == dns.rdatatype.A:
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", "192.0.2.1"))
        listener.sendto(response.to_wire(), client)


@pytest.fixture
def resolver(tmp_path: Path, free_port: int, upstream: int) -> Resolver:
    """Return what runs a resolver with a zone and yields a function that answers a name's rcode."""
    return partial(run_unbound, tmp_path, free_port, upstream)


@contextmanager
def run_unbound(folder: Path, port: int, upstream: int, source: str) -> Iterator[Callable[[str], int]]:
    config = folder / "unbound.conf"
    config.write_text(CONFIG.format(folder=folder, port=port, upstream=upstream, source=source))
    with (folder / "unbound.log").open("wb") as log:
        process = subprocess.Popen([str(UNBOUND), "-d", "-c", str(config)], stdout=log, stderr=log)
        try:
            yield lambda name: ask(port, name)
        finally:
            process.terminate()
            process.wait(10)


def ask(port: int, name: str) -> int:
    """Return the rcode; -1 while nobody answers."""
    try:
        return dns.query.udp(dns.message.make_query(name, "A"), "127.0.0.1", timeout=1, port=port).rcode()
    except OSError:
        return -1
    except dns.exception.Timeout:
        return -1


def test_a_resolver_that_reads_the_file_judges_names_as_meant(
    tmp_path: Path,
    resolver: Resolver,
    make_snapshot: Callable[..., Snapshot],
    make_names: Callable[..., NameList],
    eventually: Eventually,
) -> None:
    zone = tmp_path / "rpz.zone"
    zone.write_bytes(render(make_snapshot(make_names(*BODY)), FeedFormat.RPZ))
    with resolver(f'  zonefile: "{zone}"') as rcode:
        eventually(lambda: rcode("tunnel.example") == dns.rcode.NXDOMAIN)
        assert {name: rcode(name) for name in ANSWERS} == ANSWERS


def test_a_resolver_that_pulls_the_feed_judges_names_as_meant(
    resolver: Resolver,
    installation: Installation,
    make_names: Callable[..., NameList],
    eventually: Eventually,
) -> None:
    installation.publish(make_names(*BODY))
    url = f"{installation.url}/feeds/unsanctioned-domains.rpz"
    with resolver(f'  url: "{url}"') as rcode:
        eventually(lambda: rcode("tunnel.example") == dns.rcode.NXDOMAIN)
        assert {name: rcode(name) for name in ANSWERS} == ANSWERS


def test_a_sanctioned_name_passes_although_its_alias_is_listed(
    tmp_path: Path,
    resolver: Resolver,
    make_snapshot: Callable[..., Snapshot],
    make_names: Callable[..., NameList],
    eventually: Eventually,
) -> None:
    zone = tmp_path / "rpz.zone"
    zone.write_bytes(render(make_snapshot(make_names("tunnel.example", "sanctioned.example")), FeedFormat.RPZ))
    with resolver(f'  zonefile: "{zone}"') as rcode:
        eventually(lambda: rcode(LISTED_TARGET) == dns.rcode.NXDOMAIN)
        assert rcode(ALIAS) == dns.rcode.NOERROR

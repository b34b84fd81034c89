"""A real resolver reads the zone, from a file and from the running API, and is asked for names."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import dns.message
import dns.rcode
import pytest
from dns_client import asked
from feed_programs import unbound, upstream
from installation import Eventually, Installation

from api.feeds import FeedFormat, render
from rules.lists.blocklist import NameList, Snapshot

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
ZONE = """
rpz:
  name: "rpz.invalid"
{source}
"""

pytestmark = pytest.mark.skipif(UNBOUND is None, reason="needs the program unbound")


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    """Return what runs a resolver with a zone and yields a function that answers a name's rcode."""
    return partial(run_unbound, tmp_path)


@contextmanager
def run_unbound(folder: Path, source: str) -> Iterator[Callable[[str], int]]:
    with (
        upstream({ALIAS: LISTED_TARGET}) as upstream_port,
        unbound(folder, upstream_port, ZONE.format(source=source)) as (port, _),
    ):
        yield partial(ask, port)


def ask(port: int, name: str) -> int:
    """Return the rcode; -1 while nobody answers."""
    answer = asked(port, dns.message.make_query(name, "A"))
    return -1 if answer is None else answer.rcode()


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

"""Real resolvers and a real proxy read the shipped catalogue's list: they block, spare, follow what changes, and keep
their protection while our server is stopped, answers 500 or SERVFAIL, or has lost its database.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.query
import pytest
from dns_client import resolves
from feed_programs import (
    ADDED,
    BLOCKED,
    BLOCKED_WIDE,
    PASSED,
    dnsmasq,
    pulling,
    shipped_names,
    squid,
    unbound,
    upstream,
)
from following import Judgement, Reader, State, follow
from free_ports import free_port
from list_service import ListService, serving_lists
from main_job import open_folder
from proxies import ask, echo_server
from resolvers import bind, knot_resolver, powerdns
from zone_service import KEY, ORIGIN, signing_key

from molecatcher.lists.resolver_configuration import configurations

REMOVED, LATER = "tunnel.ngrok.com", "later.tunnel.example"
WANTED = dict.fromkeys((*BLOCKED, *BLOCKED_WIDE), False) | dict.fromkeys((*PASSED, ADDED, LATER), True)
FIRST = State(shipped_names(), WANTED)
SECOND = State(shipped_names(without=REMOVED, added=ADDED), WANTED | {REMOVED: True, ADDED: False})
THIRD = State(shipped_names(added=f"{ADDED} {LATER}"), WANTED | {ADDED: False, LATER: False})

Reading = Callable[[Path, int, ListService], AbstractContextManager[Reader]]


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as folder:
        folder.chmod(0o777)  # Squid gives up root
        yield folder


@pytest.fixture
def service(folder: Path) -> Iterator[ListService]:
    with serving_lists(folder, FIRST.body) as service:
        yield service


def judge(port: int) -> Judgement:
    return {name: resolves(port, name) for name in WANTED}


@contextmanager
def unbound_with(more: Callable[[ListService], str], folder: Path, up: int, service: ListService) -> Iterator[Reader]:
    with unbound(folder, up, f"rpz:\n  name: molecatcher.rpz\n  {more(service)}\n") as (port, control):
        yield Reader(partial(judge, port), partial(control, "auth_zone_transfer", "molecatcher.rpz"))


@contextmanager
def unbound_with_a_file(name: str, more: str, folder: Path, up: int, service: ListService) -> Iterator[Reader]:
    file, hook = folder / "list", f"unbound-control -c {folder}/unbound.conf reload"
    pulling(service.feed(name), file)()
    with unbound(folder, up, more.format(file=file)) as (port, _):
        pull = pulling(service.feed(name), file, hook)
        yield Reader(partial(judge, port), pull)


@contextmanager
def bind_with_a_key(folder: Path, up: int, service: ListService) -> Iterator[Reader]:
    port = free_port()
    printed = configurations(KEY, "molecatcher.rpz", "127.0.0.1", service.zone_port)["BIND: named.conf"]
    with bind(folder, up, printed, port):
        yield Reader(partial(judge, port), partial(notify, port), partial(says, folder / "named.log", "refused"))


def notify(port: int) -> None:
    """Tell a secondary to look, as our server does at a new serial."""
    message = dns.message.make_query(ORIGIN, "SOA")
    message.flags = dns.flags.AA
    message.set_opcode(dns.opcode.NOTIFY)
    message.use_tsig(signing_key())
    dns.query.udp(message, "127.0.0.1", 5, port)


def says(log: Path, word: str) -> bool:
    return word in log.read_text()


@contextmanager
def powerdns_with_a_key(folder: Path, up: int, service: ListService) -> Iterator[Reader]:
    found = configurations(KEY, "molecatcher.rpz", "127.0.0.1", service.zone_port)
    lua = next(text for resolver, text in found.items() if resolver.startswith("PowerDNS"))
    quick = lua.replace("refresh = 60", "refresh = 1").replace("/var/lib/powerdns", str(folder))
    with powerdns(folder, up, quick) as port:
        yield Reader(partial(judge, port), complains=partial(says, folder / "recursor.log", "refused"))


@contextmanager
def knot_resolver_that_watches(folder: Path, up: int, service: ListService) -> Iterator[Reader]:
    file = folder / "zone.rpz"
    pull = pulling(service.feed("unsanctioned-domains.rpz"), file)
    pull()
    with knot_resolver(folder, up, file) as port:
        yield Reader(partial(judge, port), pull)


@contextmanager
def dnsmasq_with_a_servers_file(folder: Path, up: int, service: ListService) -> Iterator[Reader]:
    url, file = service.feed("unsanctioned-domains.dnsmasq.conf"), folder / "list"
    pulling(url, file)()
    with dnsmasq(file, up) as (port, process):
        yield Reader(partial(judge, port), pulling(url, file, f"kill -HUP {process.pid}"))


@contextmanager
def squid_with_an_acl(folder: Path, up: int, service: ListService) -> Iterator[Reader]:
    del up
    url, file = service.feed("unsanctioned-domains.squid.txt"), folder / "list"
    pulling(url, file)()
    with squid(folder, file, tuple(WANTED)) as (proxy, process), echo_server() as target:

        def judge() -> Judgement:
            names = [name for name in WANTED if name not in BLOCKED_WIDE]  # an ACL has no exemptions
            return {name: is_let_through(proxy, f"{name}:{target}") for name in names}

        yield Reader(judge, pulling(url, file, f"kill -HUP {process.pid}"))


def is_let_through(proxy: int, target: str) -> bool | None:
    """Tell what the proxy says; None while it reads its configuration and does not listen."""
    try:
        return {b"200": True, b"403": False}.get(ask(proxy, target).split()[1])
    except (OSError, IndexError):
        return None


READERS: dict[str, Reading] = {
    "unbound, file": partial(
        unbound_with_a_file, "unsanctioned-domains.rpz", 'rpz:\n  name: molecatcher.rpz\n  zonefile: "{file}"'
    ),
    "unbound, local zones": partial(unbound_with_a_file, "unsanctioned-domains.unbound.conf", 'include: "{file}"'),
    "unbound, http": partial(unbound_with, lambda service: f'url: "{service.feed("unsanctioned-domains.rpz")}"'),
    "unbound, transfer": partial(unbound_with, lambda service: f"primary: 127.0.0.1@{service.zone_port}"),
    "bind": bind_with_a_key,
    "powerdns": powerdns_with_a_key,
    "knot resolver": knot_resolver_that_watches,
    "dnsmasq": dnsmasq_with_a_servers_file,
    "squid": squid_with_an_acl,
}


@pytest.mark.parametrize("reading", READERS.values(), ids=READERS.keys())
def test_a_reader_follows_the_list_and_keeps_it(reading: Reading, folder: Path, service: ListService) -> None:
    with upstream() as name_server, reading(folder, name_server, service) as reader:
        follow(service, reader, FIRST, SECOND, THIRD)

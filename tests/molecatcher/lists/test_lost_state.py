"""Secondaries take the zone of a server that lost its state directory, since its serials are higher than any before."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import dns.flags
import dns.message
import dns.opcode
import dns.query
import pytest
from dns_client import resolves
from empty_store import empty_store
from feed_programs import unbound, upstream
from free_ports import free_port
from installation import names_of, wait_until
from main_job import open_folder
from resolvers import bind
from zone_service import KEY, ORIGIN, Zones, signing_key

from api.zone.policy_zone import is_up_to_date
from molecatcher.lists.list_files import ListFiles
from molecatcher.lists.published import PublishedLists
from molecatcher.lists.resolver_configuration import configurations
from rules.lists.blocklist import ListName, Snapshot
from rules.lists.guards import Spared
from rules.policy.profiles import AGENTS_ONLY

NAMES = ListName.UNSANCTIONED_DOMAINS
S = 1_000_000_000
START_NS = 1_795_460_400 * S
Secondary = Callable[[Path, int, int], AbstractContextManager[tuple[int, Callable[[], object]]]]


def published(state: Path, at_ns: int, *lists: str) -> Snapshot:
    """Return the last of these lists as a server publishes them one after the other that has this state directory."""
    state.mkdir()
    with empty_store(state / "molecatcher.db") as store:
        there = PublishedLists(store, ListFiles(state / "lists"), lambda: at_ns)
        for names in lists:
            assert there.publish(NAMES, AGENTS_ONLY, names_of(names), Spared())
        found = there.snapshot(NAMES)
        assert found is not None
        return found


@contextmanager
def unbound_that_transfers(folder: Path, up: int, port: int) -> Iterator[tuple[int, Callable[[], object]]]:
    zone = f"rpz:\n  name: molecatcher.rpz\n  primary: 127.0.0.1@{port}\n"
    with unbound(folder, up, zone) as (own, control):
        yield own, partial(control, "auth_zone_transfer", "molecatcher.rpz")


@contextmanager
def bind_that_transfers(folder: Path, up: int, port: int) -> Iterator[tuple[int, Callable[[], object]]]:
    own = free_port()
    printed = configurations(KEY, "molecatcher.rpz", "127.0.0.1", port)["BIND: named.conf"]
    with bind(folder, up, printed, own):
        yield own, partial(notify, own)


def notify(port: int) -> None:
    message = dns.message.make_query(ORIGIN, "SOA")
    message.flags = dns.flags.AA
    message.set_opcode(dns.opcode.NOTIFY)
    message.use_tsig(signing_key())
    dns.query.udp(message, "127.0.0.1", 5, port)


@pytest.mark.parametrize("secondary", [unbound_that_transfers, bind_that_transfers])
def test_a_secondary_takes_the_zone_of_a_server_that_lost_its_state(tmp_path: Path, secondary: Secondary) -> None:
    before = published(tmp_path / "first", START_NS, "a.example", "b.example", "tunnel.example")
    after = published(tmp_path / "second", START_NS + 60 * S, "new.example")
    zones = Zones()
    zones.kept = {before.serial: before}
    with (
        open_folder() as folder,
        upstream() as name_server,
        zones.serving(),
        secondary(folder, name_server, zones.port) as (port, look),
    ):
        wait_until(lambda: resolves(port, "tunnel.example") is False)
        zones.kept = {after.serial: after}
        look()
        wait_until(lambda: resolves(port, "new.example") is False, 90)
        assert resolves(port, "tunnel.example") is True


@pytest.mark.parametrize("days", [1, 365 * 60, 365 * 90])  # over the end of 32 bits, in 2106
def test_serials_never_go_back_with_the_state(tmp_path: Path, days: int) -> None:
    before = published(tmp_path / "first", START_NS + (days - 1) * 86_400 * S, "a.example", "b.example")
    after = published(tmp_path / "second", START_NS + days * 86_400 * S, "new.example")
    assert after.serial > before.serial + 1
    assert not is_up_to_date(before.serial % 2**32, after)
    assert not is_up_to_date(7, published(tmp_path / "third", START_NS, "new.example"))  # of an earlier version

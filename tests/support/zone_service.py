"""A zone server on loopback whose snapshots a test replaces, and resolvers' and dnspython's view of it."""

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dns.name
import dns.query
import dns.tsig
import dns.zone
from free_ports import free_port
from installation import snapshot_of
from servers import running

from api.serving.server import parse_listen
from api.zone.answers import Answers
from api.zone.keys import Keyring, ZoneKey, tsig_key
from api.zone.notices import Target
from api.zone.policy_zone import PolicyZone
from api.zone.server import ZoneServer, bind_both
from rules.lists.blocklist import NameList, Snapshot

ORIGIN = dns.name.from_text("molecatcher.rpz.")
KEY = ZoneKey(name="bind-berlin", secret=b64encode(b"a secret for tests alone").decode())


@dataclass
class Zones:
    """The snapshots there are, by serial; the newest is in force while `is_ready`."""

    kept: dict[int, Snapshot] = field(default_factory=dict)
    keyring: Keyring = field(default_factory=lambda: Keyring([KEY]))
    targets: tuple[Target, ...] = ()
    is_ready: bool = True
    is_database_lost: bool = False
    port: int = field(default_factory=free_port)
    server: ZoneServer | None = None

    def publish(self, body: NameList, serial: int = 0) -> int:
        serial = serial or max(self.kept, default=0) + 1
        self.kept[serial] = snapshot_of(body, serial)
        return serial

    def current(self) -> Snapshot | None:
        return self.kept[max(self.kept)] if self.kept and self.is_ready else None

    def earlier(self, serial: int) -> Snapshot | None:
        return None if self.is_database_lost else self.kept.get(serial)

    def answers(self) -> Answers:
        return Answers({ORIGIN: PolicyZone(self.current, self.earlier)}, lambda: self.keyring)

    @contextmanager
    def serving(self, host: str = "127.0.0.1") -> Iterator[ZoneServer]:
        """Run a server of these zones, on the same port each time; a new one knows nothing of the one before."""
        zones = {ORIGIN: PolicyZone(self.current, self.earlier)}
        answers = Answers(zones, lambda: self.keyring)
        server = ZoneServer(
            bind_both(parse_listen(f"{host}:{self.port}", only_loopback=False)), zones, answers, lambda: self.targets
        )
        self.server = server
        with running(server):
            yield server


def transferred(port: int, zone: dns.zone.Zone | None = None, key: dns.tsig.Key | None = None) -> dns.zone.Zone:
    """Return the zone as a secondary has it after a transfer: incremental where it has one already."""
    zone = zone or dns.zone.Zone(ORIGIN, relativize=False)
    query, _ = dns.xfr.make_query(zone, keyring=key)
    dns.query.inbound_xfr("127.0.0.1", zone, query, port, timeout=10)
    return zone


def signing_key(key: ZoneKey = KEY) -> dns.tsig.Key:
    return tsig_key(key)

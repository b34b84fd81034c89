"""The zone server of the API's process: what it serves, whom it tells of new serials, and where it listens."""

import re
import socket
from dataclasses import dataclass
from http import HTTPStatus

import dns.name
import msgspec
import structlog

from api.access.addresses import parse_address
from api.context import ApiContext
from api.errors import RefusedListenAddress
from api.feeds.pull_log import Consumer, Pulled, PullLog
from api.serving.server import parse_listen
from api.zone.answers import Answers, Transfer
from api.zone.keys import tsig_key
from api.zone.notices import Target
from api.zone.policy_zone import PolicyZone
from api.zone.profile_zones import MAX_ORIGIN_OCTETS, ProfileZones
from api.zone.server import ZoneServer, bind_both
from db.errors import DbError
from db.store import Store
from molecatcher.errors import SetupError
from molecatcher.lists.zone_keys import ZoneKeyFiles
from molecatcher.processes.listener_thread import ListenerThread
from molecatcher.settings import Settings
from rules.lists.blocklist import ListName, Snapshot
from rules.lists.encoding import decode
from rules.policy.profiles import DEFAULT_PROFILE

log = structlog.get_logger()

DNS_PORT = 53
ZONE_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*", re.ASCII)


@dataclass(frozen=True, slots=True)
class ZoneListener:
    """Sockets for UDP and TCP, and the zone that is to be served there."""

    sockets: tuple[socket.socket, socket.socket]
    origin: dns.name.Name
    unsigned: tuple[Target, ...]


def listen_for_zone(settings: Settings) -> ZoneListener | None:
    """Return the sockets that the settings ask for, None when they ask for none.

    Raises:
        SetupError, ApiError: an address, a name or a secondary that cannot be used.
    """
    if settings.zone_listen is None:
        return None
    origin = zone_origin(settings.zone_name)
    unsigned = tuple(Target(*parse_secondary(text)) for text in settings.zone_notify)
    return ZoneListener(bind_both(parse_listen(settings.zone_listen, only_loopback=False)), origin, unsigned)


def zone_origin(text: str) -> dns.name.Name:
    """Return the zone's name.

    Raises:
        SetupError: it is none, or too long for names below it.
    """
    name = text.lower().removesuffix(".")
    if len(name) > MAX_ORIGIN_OCTETS or not ZONE_NAME.fullmatch(name):
        advice = f"take one of at most {MAX_ORIGIN_OCTETS} octets such as molecatcher.rpz"
        raise SetupError(f"{text[:80]!r} is no name for a zone: {advice}")
    return dns.name.from_text(name)


def parse_secondary(text: str) -> tuple[str, int]:
    """Return address and port of `192.0.2.53`, `192.0.2.53:5300`, `2001:db8::53` or `[2001:db8::53]:5300`.

    Raises:
        SetupError: it is neither.
    """
    whole = parse_address(text)
    if whole is not None:
        return str(whole), DNS_PORT
    try:
        listen = parse_listen(text, only_loopback=False)
    except RefusedListenAddress:
        listen = None
    host = parse_address(listen.host) if listen else None
    if listen is None or host is None or not listen.port:
        raise SetupError(f"{text!r} is no secondary: give its address, or ADDRESS:PORT")
    return str(host), listen.port


class OpenZone(ListenerThread):
    """Serves the list of names as a zone."""

    def __init__(
        self,
        listener: ZoneListener,
        context: ApiContext,
        keys: ZoneKeyFiles,
        pulls: PullLog,
    ) -> None:
        self._context = context
        self._pulls = pulls
        self._keys = keys
        self._unsigned = listener.unsigned
        zones = ProfileZones(listener.origin, self._profiles, self._make)
        keys.poll()
        answers = Answers(zones, lambda: keys.keyring, self._note)
        self._zone_server = ZoneServer(listener.sockets, zones, answers, self._targets)
        super().__init__(self._zone_server, "open-zone")

    def counts(self) -> dict[str, int]:
        """Return how often what was answered."""
        return self._zone_server.counts()

    def poll(self) -> None:
        """Take up keys that were made or removed; a profile that a key is bound to is in use."""
        self._keys.poll()
        for profile in {key.profile for key in self._keys.keyring.keys if key.profile}:
            self._context.use_profile(profile)

    def _profiles(self) -> list[str]:
        return [profile.name for profile, _is_in_use in self._context.profiles()]

    def _make(self, profile: str) -> PolicyZone:
        snapshot, store, name = self._context.snapshot, self._context.store, ListName.UNSANCTIONED_DOMAINS
        return PolicyZone(lambda: snapshot(name, profile), lambda serial: _kept(store, name, serial, profile), profile)

    def _note(self, transfer: Transfer) -> None:
        """Put a transfer among the pulls, so that a secondary that is behind shows; its profile is in use."""
        self._context.use_profile(transfer.profile)
        status = HTTPStatus.OK if transfer.is_new else HTTPStatus.NOT_MODIFIED
        status = status if transfer.serial is not None else HTTPStatus.SERVICE_UNAVAILABLE
        who = Consumer("", transfer.key, transfer.address, f"zone transfer {transfer.key}".rstrip())
        self._pulls.note(
            who, Pulled(ListName.UNSANCTIONED_DOMAINS, transfer.profile, "transfer"), transfer.serial, status
        )

    def _targets(self) -> tuple[Target, ...]:
        signed = [
            Target(*parse_secondary(text), tsig_key(key), key.profile or DEFAULT_PROFILE)
            for key in self._keys.keyring.keys
            for text in key.notify
        ]
        return (*self._unsigned, *signed)


def _kept(store: Store, name: ListName, serial: int, profile: str) -> Snapshot | None:
    """Return an earlier snapshot; without a database none is kept, and the whole zone is handed out."""
    try:
        row = store.snapshot(name, serial, profile)
        if row is None:
            return None
        return Snapshot(name, row.serial, row.created_at_ns, row.digest, decode(row.body), profile)
    except (DbError, msgspec.MsgspecError) as error:
        log.warning("snapshot_unreadable", list=name.value, serial=serial, error=str(error))
        return None

"""The zone server on its sockets: transfers, notices to secondaries, and clients that are slow or too many."""

import socket
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import pytest
from free_ports import free_port
from installation import names_of, wait_until
from zone_service import KEY, ORIGIN, Zones, signing_key, transferred

from api.errors import RefusedListenAddress
from api.serving.server import parse_listen
from api.zone import notices, server
from api.zone.notices import Target
from api.zone.server import ZoneServer, bind_both
from rules.lists.blocklist import NameEntry, NameList, Scope


@pytest.fixture
def zones() -> Zones:
    made = Zones()
    made.publish(names_of("tunnel.example"), 7)
    return made


@pytest.fixture
def served(zones: Zones) -> Iterator[ZoneServer]:
    with zones.serving() as running:
        yield running


def owners(zone: object) -> set[str]:
    return {name.relativize(ORIGIN).to_text() for name in zone}  # type: ignore[attr-defined]  # a zone has names


def large(count: int) -> NameList:
    entries = tuple(NameEntry(f"n{at:06}.tunnel.example", Scope.EXACT, "s") for at in range(count))
    return NameList(blocked=entries, wide=entries)


@pytest.mark.parametrize("key", [None, signing_key()])
def test_a_secondary_follows_the_zone(zones: Zones, served: ZoneServer, key: object) -> None:
    zones.publish(large(5000))
    zone = transferred(zones.port, key=key)  # type: ignore[arg-type]  # a key or none
    assert len(owners(zone)) == 5001
    more = (*large(4999).wide, NameEntry("new.example", Scope.EXACT, "s"))
    zones.publish(NameList(wide=more))
    transferred(zones.port, zone, key)  # type: ignore[arg-type]  # a key or none
    assert "new.example" in owners(zone)
    assert "n004999.tunnel.example" not in owners(zone)
    assert served.counts()["axfr"] == 1
    assert served.counts()["ixfr"] == 1
    assert zone.get_soa().serial == 9


@pytest.mark.usefixtures("served")
def test_several_questions_on_one_connection(zones: Zones) -> None:
    with socket.create_connection(("127.0.0.1", zones.port), timeout=60) as stream:
        for _ in range(3):
            query = dns.message.make_query(ORIGIN, "SOA")
            dns.query.send_tcp(stream, query)
            answer, _ = dns.query.receive_tcp(stream)
            assert answer.id == query.id


def test_both_families_at_once(zones: Zones) -> None:
    secondary = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    secondary.bind(("127.0.0.1", 0))
    zones.targets = (Target("127.0.0.1", secondary.getsockname()[1]),)
    with secondary, zones.serving("[::]"):
        for address in ("127.0.0.1", "::1"):
            answer = dns.query.tcp(dns.message.make_query(ORIGIN, "SOA"), address, 5, zones.port)
            assert answer.rcode() == dns.rcode.NOERROR
        heard(secondary)


def heard(secondary: socket.socket, *, reply: bool = True, key: object = None) -> dns.message.Message:
    secondary.settimeout(10)
    wire, sender = secondary.recvfrom(4096)
    notice = dns.message.from_wire(wire, keyring=key)
    assert notice.opcode() == dns.opcode.NOTIFY
    assert notice.flags & dns.flags.AA
    if reply:
        secondary.sendto(dns.message.make_response(notice).to_wire(), sender)
    return notice


@pytest.fixture
def secondary() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener


@pytest.mark.parametrize("key", [None, signing_key()])
def test_a_secondary_is_told_of_each_new_serial_until_it_says_that_it_heard(
    zones: Zones, secondary: socket.socket, monkeypatch: pytest.MonkeyPatch, key: object
) -> None:
    monkeypatch.setattr(notices, "FIRST_WAIT_S", 0.5)  # the third word would come a second after the next
    zones.targets = (Target("127.0.0.1", secondary.getsockname()[1], key),)  # type: ignore[arg-type]  # a key or none
    with zones.serving() as running:
        first = heard(secondary, reply=False, key=key)
        again = heard(secondary, key=key)
        assert first.id == again.id
        assert first.answer[0][0].serial == 7
        wait_until(lambda: running.counts()["notified"] == 1)
        zones.publish(names_of("new.example"))
        assert heard(secondary, key=key).answer[0][0].serial == 8
        wait_until(lambda: running.counts()["notified"] == 2)
    secondary.settimeout(0.5)
    with pytest.raises(TimeoutError):
        secondary.recvfrom(4096)


def test_an_unsigned_word_does_not_end_signed_notices(
    zones: Zones, secondary: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "FIRST_WAIT_S", 0.05)
    zones.targets = (Target("127.0.0.1", secondary.getsockname()[1], signing_key()),)
    with zones.serving() as running:
        for _ in range(notices.MAX_TRIES):
            secondary.settimeout(10)
            wire, sender = secondary.recvfrom(4096)
            notice = dns.message.from_wire(wire, keyring=False)
            notice.tsig = None
            secondary.sendto(dns.message.make_response(notice).to_wire(), sender)
        wait_until(lambda: running.counts()["notify_given_up"] == 1)
        assert running.counts()["notified"] == 0


def test_a_secondary_that_is_not_there_does_not_hinder(zones: Zones, secondary: socket.socket) -> None:
    zones.targets = (Target("127.0.0.1", free_port()), Target("127.0.0.1", secondary.getsockname()[1]))
    with zones.serving():
        heard(secondary)
        assert transferred(zones.port).get_soa().serial == 7


def test_a_slow_reader_is_cut_off(zones: Zones, served: ZoneServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WRITE_S", 0.5)
    entries = tuple(NameEntry(f"n{at:06}.{'x' * 60}.{'y' * 60}.example", Scope.EXACT, "s") for at in range(50_000))
    zones.publish(NameList(blocked=entries, wide=entries))  # more than the kernel's buffers hold
    with socket.socket() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.settimeout(10)
        stream.connect(("127.0.0.1", zones.port))
        dns.query.send_tcp(stream, dns.message.make_query(ORIGIN, "AXFR"))
        wait_until(lambda: served.counts()["cut"] == 1)


@pytest.mark.usefixtures("served")
def test_who_asks_nothing_does_not_stay(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_S", 0.3)
    for sent in (b"", b"\0", b"\0\x40half"):
        with socket.create_connection(("127.0.0.1", zones.port), timeout=60) as stream:
            stream.sendall(sent)
            assert stream.recv(10) == b""


@pytest.mark.usefixtures("served")
def test_one_address_does_not_take_every_place(zones: Zones, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_AN_ADDRESS", 3)
    held = [socket.create_connection(("127.0.0.1", zones.port), timeout=60) for _ in range(3)]
    for stream in held:
        dns.query.send_tcp(stream, dns.message.make_query(ORIGIN, "SOA"))
        dns.query.receive_tcp(stream)
    with socket.create_connection(("127.0.0.1", zones.port), timeout=60) as refused:
        assert refused.recv(10) == b""
    for stream in held:
        stream.close()
    wait_until(lambda: is_answered(zones.port))


def is_answered(port: int) -> bool:
    """Tell whether there is a place: the server hears a moment later that others have gone."""
    try:
        return bool(dns.query.tcp(dns.message.make_query(ORIGIN, "SOA"), "127.0.0.1", 60, port))
    except (EOFError, ConnectionError):
        return False


@pytest.mark.usefixtures("served")
def test_a_client_that_has_said_everything_gets_everything(zones: Zones) -> None:
    zones.publish(large(50_000))
    with socket.create_connection(("127.0.0.1", zones.port), timeout=60) as stream:
        dns.query.send_tcp(stream, dns.message.make_query(ORIGIN, "AXFR"))
        stream.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: stream.recv(1 << 16), b""))
    count = 0
    while received:
        length = int.from_bytes(received[:2])
        message, received = received[2 : 2 + length], received[2 + length :]
        count += int.from_bytes(message[6:8])
    assert count == 50_000 + 3


def test_two_transfers_share_their_messages(zones: Zones) -> None:
    zones.publish(large(1000))
    answers = zones.answers()
    zone = next(iter(answers._zones.values()))
    snapshot = zone.current()
    assert snapshot is not None
    assert zone.whole(snapshot) is zone.whole(snapshot)


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RefusedListenAddress, match="give another address"):
            bind_both(parse_listen(f"127.0.0.1:{port}"))


def test_a_key_does_not_print_its_secret() -> None:
    assert KEY.secret not in repr(KEY)

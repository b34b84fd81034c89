from sensor.attribution.leases import Lease
from sensor.attribution.seen_leases import DAY_NS, MAX_REQUESTS, SeenLeases
from sensor.extract.dhcp import DhcpMessage, DhcpType

ADDRESS, OTHER = bytes((192, 0, 2, 9)), bytes((192, 0, 2, 10))
MAC, FOREIGN = "02:00:5e:10:00:01", "02:00:5e:10:00:02"
S = 1_000_000_000


def message(kind: DhcpType, host: str | None = None, **rest: object) -> DhcpMessage:
    fields = {"transaction": 7, "mac": MAC, "address": ADDRESS, "lease_s": 0} | rest
    return DhcpMessage(kind=kind, host=host, **fields)  # type: ignore[arg-type]


def seen(*messages: DhcpMessage, now_ns: int = S) -> SeenLeases:
    table = SeenLeases()
    for row in messages:
        table.learn(row, "", now_ns)
    return table


def test_the_servers_ack_gives_the_address_the_name_that_its_request_had() -> None:
    table = seen(message(DhcpType.REQUEST, "build-7", address=None), message(DhcpType.ACK, lease_s=600))
    assert table.find("", ADDRESS, S) == Lease("build-7", MAC)
    assert table.find("other", ADDRESS, S) is None
    assert table.find("", ADDRESS, 602 * S) is None


def test_where_answers_pass_elsewhere_the_request_counts() -> None:
    assert seen(message(DhcpType.REQUEST, "build-7")).find("", ADDRESS, S) == Lease("build-7", MAC)


def test_what_a_client_asks_for_does_not_take_what_a_server_gave_to_another() -> None:
    table = seen(
        message(DhcpType.REQUEST, "build-7"), message(DhcpType.ACK), message(DhcpType.REQUEST, "evil", mac=FOREIGN)
    )
    assert table.find("", ADDRESS, S) == Lease("build-7", MAC)
    table.learn(message(DhcpType.ACK, mac=FOREIGN), "", 2 * S)
    assert table.find("", ADDRESS, 2 * S) == Lease("evil", FOREIGN)


def test_a_renewal_without_a_name_keeps_it() -> None:
    table = seen(message(DhcpType.REQUEST, "build-7"), message(DhcpType.ACK))
    table.learn(message(DhcpType.ACK, transaction=8), "", DAY_NS)
    assert table.find("", ADDRESS, DAY_NS + S) == Lease("build-7", MAC)


def test_a_refusal_and_a_release_end_it_for_its_own_client_only() -> None:
    table = seen(message(DhcpType.REQUEST, "build-7"))
    table.learn(message(DhcpType.NAK, mac=FOREIGN), "", S)
    assert table.find("", ADDRESS, S) is not None
    table.learn(message(DhcpType.RELEASE), "", S)
    assert table.find("", ADDRESS, S) is None


def test_a_flood_takes_no_more_than_its_room() -> None:
    table = SeenLeases(limit=100)
    for number in range(5000):
        address = number.to_bytes(4, "big")
        table.learn(message(DhcpType.REQUEST, "x", transaction=number, address=address), "", S)
    assert (len(table), table.evicted) == (100, 4900)
    assert len(table._requests) == MAX_REQUESTS

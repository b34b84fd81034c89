"""Every recorded agent varied: where, when and beside whom it was recorded changes nothing; losing its names does."""

import json
from functools import cache
from pathlib import Path

import pytest
import variations
from frames import read_packets
from observations import NOW_NS
from variations import Change

from rules.catalogue.catalogue import load_catalogue
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset
from rules.values.event import address_text
from sensor.detect import Detector
from sensor.packet import Packet
from sensor.pipeline import Pipeline

PCAPS = Path(__file__).parents[1] / "pcaps"
NAMES = sorted(path.stem for path in PCAPS.glob("*.pcap"))
INGRESS, OTHER_INGRESS = "tunnels.example.com", "devices.example.net"
NGROK, UNLISTED = (b"ngrok", b"kgron"), (b"lennut", b"tunnel")
SPLIT_NAMES = {"link-disorder-ngrok-py-sanctioned", "ngrok-py-sanctioned-region"}  # over two segments
REPEATS_ITS_PORT = "hyperdht"  # its tell is a message that names its own destination
CHANGES: list[Change] = [
    variations.moved,
    variations.on_other_ports,
    variations.tagged,
    variations.in_fragments,
    variations.copied,
    variations.a_year_later,
]

Verdict = tuple[str, str | None, str, str | None]


@cache
def ruleset(domain: str = INGRESS) -> Ruleset:
    text = f'[[sanctioned]]\ndomain = "{domain}"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'
    catalogue = load_catalogue()
    return Ruleset(catalogue, parse_policy(text, "policy.toml", catalogue, NOW_NS))


@cache
def recorded(name: str) -> list[Packet]:
    return read_packets(str(PCAPS / f"{name}.pcap"))


def by_client(packets: list[Packet], domain: str = INGRESS) -> dict[str, set[Verdict]]:
    """The last verdict on each flow and look-up, by the client's address."""
    detector = Detector(Pipeline(), lambda: ruleset(domain))
    found = detector.feed(packets) + detector.flush()
    said: dict[str, set[Verdict]] = {}
    for row in {row.observation.key: row for row in found}.values():
        verdict = row.verdict
        line = (verdict.outcome.value, verdict.service, verdict.role.value, verdict.dst_name)
        said.setdefault(address_text(row.observation.five_tuple.src), set()).add(line)
    return said


def verdicts(packets: list[Packet], domain: str = INGRESS) -> set[Verdict]:
    return set().union(*by_client(packets, domain).values())


def without_auxiliaries(said: set[Verdict]) -> set[Verdict]:
    """Without what is informational: look-ups for updates that no agent seen here explains."""
    return {row for row in said if row[2] != "auxiliary"}


@cache
def unvaried(name: str) -> frozenset[Verdict]:
    return frozenset(verdicts(recorded(name)))


def expected_services(name: str) -> set[str | None]:
    manifest = json.loads((PCAPS / f"{name}.json").read_text(encoding="utf-8"))
    return {row["service"] for row in manifest["expected"]}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", NAMES)
def test_where_when_and_how_a_link_carries_it_change_nothing(name: str, change: Change) -> None:
    if (name, change) == (REPEATS_ITS_PORT, variations.on_other_ports):
        pytest.skip("the port stands in the message too")
    changed = change(recorded(name))
    assert changed != recorded(name) or change is variations.in_fragments
    assert verdicts(changed) == unvaried(name)


@pytest.mark.parametrize("name", NAMES)
def test_two_clients_of_one_resolver_are_told_apart(name: str) -> None:
    """Beside another client that runs another agent, each gets the verdicts that it gets alone."""
    first, other = recorded(name), variations.of_client(recorded("ngrok-py-default"), 0x80)
    said = by_client(variations.side_by_side(first, other))
    alone, others = by_client(first), by_client(other)
    assert not alone.keys() & others.keys()
    assert said == alone | others


@pytest.mark.parametrize("name", [name for name in NAMES if "sanctioned" in name and name not in SPLIT_NAMES])
def test_another_sanctioned_domain(name: str) -> None:
    """A name that the policy holds is sanctioned, whichever it is; the same traffic without it is not."""
    text = (INGRESS.encode(), OTHER_INGRESS.encode())
    labels = (b"\7tunnels\7example\3com", b"\7devices\7example\3net")
    renamed = variations.replaced(recorded(name), [text, labels])
    said = verdicts(renamed, OTHER_INGRESS)
    assert {row[0] for row in said} == {"sanctioned"}
    assert all((row[3] or "").endswith(OTHER_INGRESS) for row in said)
    assert not {row for row in verdicts(renamed) if row[0] == "sanctioned"}


# Of these agents' look-ups for updates the recordings hold some, below names that stay listed.
WITH_UPDATES = {name for name in NAMES if "ngrok2" in name}


@pytest.mark.parametrize("name", [name for name in NAMES if "ngrok" in expected_services(name)])
def test_an_unlisted_name_in_place_of_a_listed_one_says_nothing_by_itself(name: str) -> None:
    """What may stay is the agent's hello beside its look-ups for updates: somebody's own ingress, perhaps."""
    renamed = variations.replaced(recorded(name), [NGROK, UNLISTED])
    said = {row for row in without_auxiliaries(verdicts(renamed)) if row[1] == "ngrok" and row[0] != "sanctioned"}
    assert {row[0] for row in said} <= ({"suspicious"} if name in WITH_UPDATES else set())


def at_one_address(name: str) -> tuple[list[Packet], list[Packet]]:
    """A sanctioned agent's packets, and those of an agent that is not, which goes to the very same server."""
    good, bad = recorded(name), recorded("ngrok-node-default")
    (server,) = variations.servers(bad)
    shared = min(row for row in variations.servers(good) if len(row) == len(server))
    return good, variations.replaced(bad, [(server, shared)])


SANCTIONED = [name for name in NAMES if "sanctioned" in name and not name.startswith("ipv6")]


@pytest.mark.parametrize("name", SANCTIONED)
def test_sanctioned_and_unsanctioned_flows_of_two_clients_interleaved_on_one_address(name: str) -> None:
    """One server answers to both names; each client gets the verdicts that it gets alone."""
    good, bad = at_one_address(name)
    bad = variations.of_client(bad, 0x80)
    said = by_client(variations.side_by_side(good, bad))
    assert said == by_client(good) | by_client(bad)
    assert sorted({row[0] for row in rows} == {"sanctioned"} for rows in said.values()) == [False, True]


@pytest.mark.parametrize("name", SANCTIONED)
def test_sanctioned_and_unsanctioned_flows_of_one_client_interleaved_on_one_address(name: str) -> None:
    """The client was told the address for both names; what each flow says decides."""
    good, bad = at_one_address(name)
    (client,) = variations.clients(good)
    bad = variations.on_other_ports(variations.as_client(bad, client))
    said = verdicts(variations.side_by_side(good, bad))
    assert said == verdicts(good) | verdicts(bad)
    assert {row[0] for row in said} == {"sanctioned", "unsanctioned"}


def cuts(name: str, count: int) -> list[int]:
    octets = len(recorded(name))
    return sorted({octets * step // (count + 1) for step in range(1, count + 1)})


def check_cuts(name: str, count: int) -> None:
    """The rest speaks of no other service, or of a tell that names none; a sanctioned agent is never called another."""
    whole = unvaried(name)
    services = {row[1] for row in whole} | {None for row in whole if row[0] == "suspicious"}
    services |= {"ssh-remote-forward"} if name.startswith("ssh-") else set()  # the banner, without the look-up
    for cut in cuts(name, count):
        found = verdicts(recorded(name)[cut:])
        assert {row[1] for row in found} <= services, f"from packet {cut} on"
        if {row[0] for row in whole} == {"sanctioned"}:
            assert {row[0] for row in without_auxiliaries(found)} <= {"sanctioned"}, f"from packet {cut} on"


@pytest.mark.parametrize("name", NAMES)
def test_a_capture_that_begins_in_mid_stream_gives_no_other_verdicts(name: str) -> None:
    check_cuts(name, 4)


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_a_capture_that_begins_anywhere_gives_no_other_verdicts(name: str) -> None:
    check_cuts(name, 60)

"""Suricata reads the rules, or the dataset, and look-ups and hellos: listed names speak up, sanctioned ones do not."""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

from crafted import write_pcap
from feed_programs import ADDED, BLOCKED, BLOCKED_WIDE, PASSED, program, pulling, shipped_names
from floods import hello
from following import Reader, State, follow
from frames import CLIENT, SERVER, Conversation, S, ask
from installation import snapshot_of
from list_service import serving_lists

from api.feeds import FeedFormat, render
from sensor.packet import Packet

NAMES = (*BLOCKED, *BLOCKED_WIDE, *PASSED, ADDED, "later.tunnel.example")
LATER, REMOVED = "later.tunnel.example", "tunnel.ngrok.com"
WANTED = dict.fromkeys((*BLOCKED, *BLOCKED_WIDE), False) | dict.fromkeys((*PASSED, ADDED, LATER), True)
FIRST = State(shipped_names(), WANTED)
SECOND = State(shipped_names(without=REMOVED, added=ADDED), WANTED | {REMOVED: True, ADDED: False})
THIRD = State(shipped_names(added=f"{ADDED} {LATER}"), WANTED | {ADDED: False, LATER: False})
DATASET_RULE = (
    'drop dns any any -> any any (msg:"listed"; dns.query; to_lowercase; '
    "dataset:isset,molecatcher,type string,load {file}; sid:1; rev:1;)\n"
)


def spoken_up(folder: Path, rules: str) -> set[tuple[str, str]]:
    """Return the names that a rule names, with the protocol in which each was seen."""
    packets = [
        packet
        for number, name in enumerate(NAMES)
        for packet in [ask((1 + number) * S, name.upper(), port=5000 + number), *says_hello(number, name)]
    ]
    capture, file = folder / "names.pcap", folder / "molecatcher.rules"
    write_pcap(capture, packets)
    file.write_text(rules)
    argv = [program("suricata"), "-r", str(capture), "-S", str(file), "-l", str(folder), "-k", "none"]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    return set(alerts((folder / "eve.json").read_text().splitlines()))


def says_hello(number: int, name: str) -> list[Packet]:
    talk = Conversation((CLIENT, 40000 + number, SERVER, 8443), start_ns=(1 + number) * S + S // 2)
    return [*talk.open(), *talk.send(hello(name))]


def alerts(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for event in map(json.loads, lines):
        if event["event_type"] == "alert" and event["proto"] == "UDP":
            yield event["dns"]["query"][0]["rrname"].lower(), "dns"
        elif event["event_type"] == "alert":
            yield event["tls"]["sni"], "tls"


def judge_rules(folder: Path, rules: bytes) -> dict[str, bool]:
    """Return which names no rule speaks of; both protocols must agree."""
    spoken = spoken_up(folder, rules.decode())
    by_protocol = [{name for name, seen in spoken if seen == protocol} for protocol in ("dns", "tls")]
    assert by_protocol[0] == by_protocol[1]
    return {name: name not in by_protocol[0] for name in NAMES}


def test_the_rules(tmp_path: Path) -> None:
    """Suricata reads a capture with the file as it is; a file that has not changed says what it said before."""
    file, judged = tmp_path / "fetched", dict[bytes, dict[str, bool]]()
    with serving_lists(tmp_path, FIRST.body) as service:

        def judge() -> dict[str, bool]:
            rules = file.read_bytes()
            if rules not in judged:
                run = tmp_path / str(len(judged))
                run.mkdir()
                judged[rules] = judge_rules(run, rules)
            return judged[rules]

        reader = Reader(judge, pulling(service.feed("unsanctioned-domains.suricata.rules"), file))
        follow(service, reader, FIRST, SECOND, THIRD)


def test_the_dataset(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(render(snapshot_of(shipped_names()), FeedFormat.SURICATA_DATASET))
    spoken = spoken_up(tmp_path, DATASET_RULE.format(file=tmp_path / "list"))
    assert spoken == {(name, "dns") for name in BLOCKED}

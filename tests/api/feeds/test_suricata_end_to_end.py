"""Suricata reads the rules, or the dataset, and look-ups and hellos: listed names speak up, sanctioned ones do not."""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

from crafted import write_pcap
from feed_programs import ADDED, BLOCKED, BLOCKED_WIDE, PASSED, program, shipped_names
from floods import hello
from frames import CLIENT, SERVER, Conversation, S, ask
from installation import snapshot_of

from api.feeds import FeedFormat, render
from sensor.packet import Packet

NAMES = (*BLOCKED, *BLOCKED_WIDE, *PASSED, ADDED)
WANTED = {(name, protocol) for name in (*BLOCKED, *BLOCKED_WIDE) for protocol in ("dns", "tls")}
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


def test_the_rules(tmp_path: Path) -> None:
    rules = render(snapshot_of(shipped_names()), FeedFormat.SURICATA).decode()
    assert spoken_up(tmp_path, rules) == WANTED


def test_the_rules_after_a_change(tmp_path: Path) -> None:
    body = shipped_names(without="tunnel.ngrok.com", added=ADDED)
    spoken = {name for name, _protocol in spoken_up(tmp_path, render(snapshot_of(body), FeedFormat.SURICATA).decode())}
    assert spoken == {name for name, _protocol in WANTED} - {"tunnel.ngrok.com"} | {ADDED}


def test_the_dataset(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(render(snapshot_of(shipped_names()), FeedFormat.SURICATA_DATASET))
    spoken = spoken_up(tmp_path, DATASET_RULE.format(file=tmp_path / "list"))
    assert spoken == {(name, "dns") for name in BLOCKED}

"""Suricata reads the rules, or the dataset, and look-ups and hellos: listed names speak up, sanctioned ones do not."""

import json
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from crafted import write_pcap
from feed_programs import ADDED, BLOCKED, BLOCKED_WIDE, PASSED, program, pulling, shipped_names
from floods import hello
from following import Reader, State, follow
from frames import CLIENT, SERVER, Conversation, S, ask
from list_service import serving_lists

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


def judge_dataset(folder: Path, names: bytes) -> dict[str, bool]:
    """Return which look-ups the rule of docs/feeds.md is silent about."""
    (folder / "list").write_bytes(names)
    spoken = spoken_up(folder, DATASET_RULE.format(file=folder / "list"))
    return {name: (name, "dns") not in spoken for name in NAMES}


def exact(state: State) -> State:
    """Return what is wanted of a reader that knows single names: what lies below one is let through."""
    return State(state.body, {**state.wanted, **dict.fromkeys(BLOCKED_WIDE, True)})


@pytest.mark.parametrize(
    ("extension", "judge_file", "states"),
    [
        ("rules", judge_rules, (FIRST, SECOND, THIRD)),
        ("lst", judge_dataset, tuple(map(exact, (FIRST, SECOND, THIRD)))),
    ],
    ids=["rules", "dataset"],
)
def test_suricata_follows_the_list_and_keeps_it(
    tmp_path: Path, extension: str, judge_file: Callable[[Path, bytes], dict[str, bool]], states: tuple[State, ...]
) -> None:
    """Suricata reads a capture with the file as it is; a file that has not changed says what it said before."""
    file, judged = tmp_path / "fetched", dict[bytes, dict[str, bool]]()
    with serving_lists(tmp_path, states[0].body) as service:

        def judge() -> dict[str, bool]:
            content = file.read_bytes()
            if content not in judged:
                run = tmp_path / str(len(judged))
                run.mkdir()
                judged[content] = judge_file(run, content)
            return judged[content]

        reader = Reader(judge, pulling(service.feed(f"unsanctioned-domains.suricata.{extension}"), file))
        follow(service, reader, *states)

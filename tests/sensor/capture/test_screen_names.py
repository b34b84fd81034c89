"""Of which names the screen asks nobody, and that nothing could have come of these."""

import random
import string
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from damage import changed
from frames import S, packed, told
from screened import LISTED, POLICY, RULES, Listener, asked_about, greeting, new_screen, through

from rules.catalogue.catalogue import load_catalogue
from rules.classification.interest import Interest
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset
from sensor.capture.screening.screen import Asked
from sensor.detection.detect import Detector
from sensor.extract.dns import DnsMessage
from sensor.extract.dns_tunnel import QueryType
from sensor.pipeline import Pipeline

pytestmark = pytest.mark.usefixtures("each_screen")

LETTERS = string.ascii_lowercase + string.digits + "-_"


@pytest.mark.parametrize(
    ("name", "is_asked"),
    [
        ("example.net", True),
        ("www.example.net", True),
        ("a.b.example.net", True),
        ("notexample.net", False),
        ("example.net.example.org", False),
        ("net", False),
        ("frp-abc.com", True),
        ("x.frp-abc.com", True),
        ("f.com", True),  # the pattern is not tried here, its letter is
        ("www.example.com", False),
        ("com", False),
        ("v.example.org", True),  # iodine and dnscat2 begin so
        ("z.example.org", True),
        ("dnscat.00", True),
        ("dnscat.org", True),
        ("dnscats.org", False),
        ("a" * 27 + ".example.org", False),
        ("a" * 28 + ".example.org", True),  # long enough to carry data
    ],
)
def test_asked_about_is_what_the_rules_speak_of_and_what_may_carry_data(
    name: str, is_asked: bool, tmp_path: Path
) -> None:
    screen = new_screen()
    screen.follow([], ["example.net", "f*.com"])
    assert asked_about([name], screen, tmp_path) == ({name} if is_asked else set())


def test_a_name_that_somebody_says_hello_to_may_be_as_long_as_it_likes(tmp_path: Path) -> None:
    screen, listener = new_screen(), Listener()
    screen.follow([], ["example.net"])
    packets = [
        row for number in range(1, 4) for row in greeting(f"{'v' * 20 * number}.example.org", start_ns=number * S)
    ]
    assert through(packets, listener, tmp_path, screen)[0] == []
    assert listener.names == set()


def test_more_names_are_asked_about_once_more_are_spoken_of_and_only_the_new_ones_under_other_rules(
    tmp_path: Path,
) -> None:
    names = ["a.example.net", "b.example.org", "c.example.com"]
    screen = new_screen()
    assert asked_about(names, screen, tmp_path) == set(names)  # until somebody says what the rules speak of
    screen.follow([], ["example.net"])
    assert asked_about(names, screen, tmp_path) == {"a.example.net"}
    screen.ask_again(["example.org"])
    assert asked_about(names, screen, tmp_path) == {"a.example.net", "b.example.org"}
    screen.follow([], ["example.com"])
    assert asked_about(names, screen, tmp_path) == {"c.example.com"}
    screen.follow([])
    assert asked_about(names, screen, tmp_path) == set(names)


def near(names: Iterable[str], chance: random.Random) -> Iterator[str]:
    """`names`, and what looks like them."""
    for name in names:
        label = "".join(chance.choices(LETTERS, k=chance.randint(1, 12)))
        yield from (name, f"{label}.{name}", f"{label}{name}", name.partition(".")[2] or name, name[1:] or name)
        at = chance.randrange(len(name))
        yield name[:at] + chance.choice(LETTERS) + name[at + 1 :]
        yield f"{label}.example.{chance.choice(('com', 'org', 'us', 'gg'))}"


def is_plain(name: str) -> bool:
    """Tell whether a question for it can be put on the wire."""
    return len(name) < 250 and all(0 < len(label) < 64 for label in name.split("."))


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_not_asked_about_the_rules_do_not_speak_of(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    catalogue = load_catalogue()
    policy = parse_policy(POLICY, "policy.toml", catalogue, S)
    rules = Ruleset(catalogue, policy)
    screen = new_screen()
    pipeline = Pipeline(screen=screen)
    detector = Detector(pipeline, lambda: rules)
    for query in ("vaaaakar2qe.t1.dnstun.example", "paaaa.dnscat.x.co.uk"):
        pipeline._shapes.note_query(packed("10.0.0.2"), DnsMessage(1, False, 0, 0, query, QueryType.NULL), S)
    detector.feed([])  # learns that a tunnel was found
    entries = [entry for service in catalogue.services.values() for _, entry in service.entries()]
    patterned = [entry.replace("*", "x1").replace("?", "7").lstrip("=") for entry in entries]
    spoken = [*patterned, *catalogue.by_fallback, "tunnels.example.com", "www.dnstun.example", "dnstun.example"]
    names = sorted(
        {name for name in near(spoken, chance) if is_plain(name) and name[-1] not in "-." and ":" not in name}
    )
    decide = screen.ask
    asked = asked_about(names, screen, tmp_path)
    missed = [name for name in names if name not in asked and decide(Asked.QUESTION, name)]
    assert missed == []
    assert "www.dnstun.example" in asked
    assert sum(decide(Asked.QUESTION, name) for name in names) > len(names) / 4
    assert len(asked) < 0.7 * len(names)


def test_a_sanctioned_name_is_spoken_of() -> None:
    assert "tunnels.example.com" in Interest(RULES).ends()


@pytest.mark.parametrize("seed", range(20))
def test_hostile_names_are_read_within_their_bounds(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    screen = new_screen()
    screen.follow([], ["example.net", "f*.com", LISTED])
    packets = [*told(LISTED, at_ns=S), *told("f.com", at_ns=2 * S), *greeting("x.example.net", start_ns=3 * S)]
    through(sorted(changed(packets * 5, chance), key=lambda row: row.ts_ns), Listener(), tmp_path, screen)

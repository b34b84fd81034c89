"""False positives: what ordinary programs do all day raises no alarm. Their flows are made here, each time anew.

make test-full ARGS="tests/test_everyday.py -s"    # prints how many flows, of which program, and what was said
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from everyday import office, recorded
from everyday_clients import CLIENTS, Missing
from everyday_servers import BASTION
from frames import read_packets
from main_job import open_folder
from near_misses import spared
from netns import needs_root
from observations import NOW_NS
from variations import ACK, SYN, transports

from molecatcher.recordings.replay import Replay
from rules.catalogue.catalogue import Catalogue, load_catalogue
from rules.policy.reader import parse_policy
from rules.policy.ruleset import Ruleset
from rules.values.event import Event
from rules.values.observation import Observation
from rules.values.verdict import Outcome
from sensor.decode import Datagram, Segment
from sensor.detect import Detector
from sensor.pipeline import Pipeline

pytestmark = [needs_root, pytest.mark.timeout(600)]

SOME_NAMES, ALL_NAMES = 15, 130
MOST_SUSPICIOUS = 0.001  # of all flows
SLOWER = 40  # a beat of a quarter of a second becomes that of an idle agent
POLICY = f"""
[[sanctioned]]
domain = "tunnels.example.com"
service = "ngrok"
owner = "o"
reason = "r"

[[sanctioned]]
domain = "bastion.example.com"
service = "ssh-remote-forward"
owner = "o"
reason = "the way in for administrators"
addresses = ["{BASTION}"]
"""
SITES = ("www", "mail", "api", "cdn", "login", "static", "img", "docs", "app", "intranet", "wiki", "shop")
COMPANIES = ("example.com", "example.org", "company.example", "bank.example", "news.example", "cloud.example")


def names(catalogue: Catalogue, many: int) -> list[str]:
    """Return names that ordinary programs use: half of them of tunnel services or shared with them."""
    plain = [f"{site}.{company}" for company in COMPANIES for site in SITES]
    mixed = [name for pair in zip(spared(catalogue), plain, strict=False) for name in pair]
    return (mixed + plain)[:many]


@dataclass(frozen=True, slots=True)
class Corpus:
    """What each client's programs sent: a capture for each, or why there is none."""

    captures: dict[str, Path]
    missing: dict[str, str]

    def of(self, client: str) -> Path:
        if client in self.missing:
            pytest.skip(self.missing[client])
        return self.captures[client]


@pytest.fixture(
    scope="module",
    params=[pytest.param(SOME_NAMES, id="some"), pytest.param(ALL_NAMES, id="all", marks=pytest.mark.full)],
)
def corpus(request: pytest.FixtureRequest) -> Iterator[Corpus]:
    """Run every client in turn, with so many names to connect to."""
    made = Corpus({}, {})
    used = names(load_catalogue(), request.param)
    with open_folder() as folder, office(folder) as client:
        for number, (name, work) in enumerate(CLIENTS.items()):
            home, capture = folder / f"home-{number}", folder / f"{number}.pcap"
            home.mkdir()
            for shared in ("spki", "key", "www"):
                (home / shared).symlink_to(folder / shared)
            try:
                with recorded(client, capture):
                    work(client, home, used)
            except Missing as missing:
                made.missing[name] = str(missing)
            else:
                made.captures[name] = capture
        yield made


def ruleset() -> Ruleset:
    catalogue = load_catalogue()
    return Ruleset(catalogue, parse_policy(POLICY, "policy.toml", catalogue, NOW_NS))


def events(capture: Path) -> list[Event]:
    return list(Replay(ruleset()).play(str(capture)))


def flows(capture: Path) -> int:
    """Return how many TCP connections were begun, and how many pairs of UDP endpoints there are."""
    seen = transports(read_packets(str(capture)))
    begun = {row.ends for row in seen if is_first(row)}
    asked = {frozenset({row.ends[:2], row.ends[2:]}) for row in seen if isinstance(row, Datagram)}
    return len(begun) + len(asked)


def is_first(row: Segment | Datagram) -> bool:
    return isinstance(row, Segment) and row.flags & (SYN | ACK) == SYN


def hellos(capture: Path) -> list[Observation]:
    observed = {row.key: row for row in Pipeline().feed_batch(read_packets(str(capture)))}
    return [row for row in observed.values() if row.hello is not None]


@pytest.mark.parametrize("client", CLIENTS)
def test_an_ordinary_client_raises_no_alarm(corpus: Corpus, client: str) -> None:
    found = events(corpus.of(client))
    assert {event.verdict for event in found} <= {Outcome.SANCTIONED}, found
    assert {event.dst_name for event in found} <= {"bastion.example.com"}


def test_over_all_of_them_few_are_even_suspicious(corpus: Corpus, request: pytest.FixtureRequest) -> None:
    """No flow is `unsanctioned`, and at most one in a thousand `suspicious`."""
    verdicts, total = Counter[Outcome](), 0
    for client, capture in corpus.captures.items():
        counted, said = flows(capture), Counter(event.verdict for event in events(capture))
        print(f"{client:40} {counted:5} flows {dict(said) or ''}")  # noqa: T201 - with -s, what was measured
        total += counted
        verdicts += said
    for client, why in corpus.missing.items():
        print(f"{client:40} left out: {why}")  # noqa: T201 - the same
    print(f"{'all':40} {total:5} flows {dict(verdicts)}")  # noqa: T201 - the same
    assert verdicts[Outcome.UNSANCTIONED] == 0
    assert verdicts[Outcome.SUSPICIOUS] <= total * MOST_SUSPICIOUS
    assert total >= (1000 if request.node.callspec.params["corpus"] == ALL_NAMES else 300)


@pytest.mark.full
@pytest.mark.parametrize("client", CLIENTS)
def test_the_same_forty_times_slower_raises_no_alarm(corpus: Corpus, client: str) -> None:
    """Long connections with a steady beat; look-ups that are old when the flow begins."""
    packets = read_packets(str(corpus.of(client)))
    first_ns = packets[0].ts_ns
    slow = [msgspec.structs.replace(row, ts_ns=first_ns + (row.ts_ns - first_ns) * SLOWER) for row in packets]
    detector = Detector(Pipeline(), ruleset)
    found = detector.feed(slow) + detector.flush()
    assert {row.verdict.outcome for row in found} <= {Outcome.SANCTIONED}


@pytest.mark.parametrize("client", [name for name in CLIENTS if "without ALPN" in name or "no-alpn" in name])
def test_clients_without_alpn_send_none(corpus: Corpus, client: str) -> None:
    seen = hellos(corpus.of(client))
    assert len(seen) >= 3
    assert all(row.hello is not None and not row.hello.alpn for row in seen)


@pytest.mark.parametrize("client", ["Chromium, also QUIC", "HTTP/3 (aioquic)", "DNS over UDP, TCP, TLS, HTTPS"])
def test_clients_of_http3_send_it(corpus: Corpus, client: str) -> None:
    assert [row for row in hellos(corpus.of(client)) if row.hello is not None and "h3" in row.hello.alpn]

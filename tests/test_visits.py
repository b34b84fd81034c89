"""A real browser on pages of tunnels, and on a page about them: visits, and look-ups that nothing follows."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from everyday import office, recorded
from everyday_clients import Missing, need, run
from main_job import open_folder
from netns import needs_root

from molecatcher.recordings.replay import Replay
from rules.catalogue.catalogue import load_catalogue
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from rules.values.event import Event
from rules.values.observation import Kind
from rules.values.verdict import Outcome, Role, Severity

pytestmark = needs_root

PAGES = ("abc.ngrok-free.app", "abc.trycloudflare.com", "abc.euw.devtunnels.ms", "abc.gradio.live")
AGENT = "connect.ngrok-agent.com"
PREFETCHED = ("def.ngrok-free.app", AGENT)
ABOUT = "".join(
    f'<link rel="dns-prefetch" href="https://{name}"><a href="https://{name}/">{name}</a>' for name in PREFETCHED
)


@pytest.fixture(scope="module")
def seen() -> Iterator[list[Event]]:
    """Open the pages, and a page of documentation whose links are looked up before anybody follows them."""
    with open_folder() as folder, office(folder) as host:
        (folder / "www" / "about.html").write_text(f"<!doctype html><title>about</title>{ABOUT}")
        try:
            browser = [need("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        except Missing as missing:
            pytest.skip(str(missing))
        browser += ["--ignore-certificate-errors", f"--user-data-dir={folder / 'profile'}"]
        browser += ["--virtual-time-budget=2500", "--dump-dom"]
        capture = folder / "visits.pcap"
        with recorded(host, capture):
            for url in ("https://docs.ngrok.com/about.html", *(f"https://{name}/" for name in PAGES)):
                run(host, [*browser, url], folder)
        yield replayed(capture)


def replayed(capture: Path) -> list[Event]:
    return list(Replay(Ruleset(load_catalogue(), Policy())).play(str(capture)))


def test_whoever_opens_a_tunnel_s_page_is_a_visitor_of_low_severity(seen: list[Event]) -> None:
    visits = [event for event in seen if event.dst_name != AGENT]
    assert {event.dst_name for event in visits} == {*PAGES, "def.ngrok-free.app"}
    assert {(event.verdict, event.role, event.severity) for event in visits} == {
        (Outcome.UNSANCTIONED, Role.VISITOR, Severity.LOW)
    }
    assert {event.dst_name for event in visits if event.kind is Kind.TLS} == set(PAGES)


def test_a_link_that_a_browser_looks_up_in_advance_is_a_look_up_and_no_more(seen: list[Event]) -> None:
    """Of an agent's own name it has the verdict of every look-up of it; that no flow follows is what tells."""
    looked_up = [event for event in seen if event.dst_name == AGENT]
    assert looked_up
    assert {(event.kind, event.role, event.state) for event in looked_up} == {(Kind.DNS, Role.AGENT, "attempted")}


def test_the_page_about_tunnels_is_nothing(seen: list[Event]) -> None:
    assert "docs.ngrok.com" not in {event.dst_name for event in seen}

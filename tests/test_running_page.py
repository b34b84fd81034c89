"""The page of the running program in a real browser, while a real agent connects.

`MOLECATCHER_SCREENSHOT=docs/page.png` keeps the picture that the README shows.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chrome import console_log, headless_chrome, needs_chrome
from main_job import BASE, open_folder, running, wait_for
from netns import needs_root
from past_week import add_past_week
from selenium.webdriver.common.by import By
from stand_ins import SERVER, Internet, internet, require_agent

from db.store import open_store

pytestmark = [needs_root, needs_chrome]

PCAPS = Path(__file__).parents[1] / "pcaps"
EARLIER = (
    *("cf2025-quick", "gradio-share", "ssh-serveo", "ngrok-py-sanctioned", "benign-visitor-ngrok-app", "bore"),
    *("chisel", "localtunnel", "devtunnels", "ngrok2-default", "dns-iodine-txt", "pinggy-py"),
)
LISTED, SANCTIONED = "connect.ngrok-agent.com", "tunnels.example.com"
POLICY = f'[[sanctioned]]\ndomain = "{SANCTIONED}"\nservice = "ngrok"\nowner = "platform@example.com"\nreason = "r"\n'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Internet]:
    require_agent()
    with internet(tmp_path, {LISTED: (SERVER,), SANCTIONED: (SERVER,)}) as built:
        yield built


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as opened:
        yield opened


def replay_earlier_traffic(state: Path, policy: Path) -> None:
    """Give the database a history, as the user that the program will run as."""
    argv = [sys.executable, "-m", "molecatcher", "replay", "--store", "--state", str(state), "--policy", str(policy)]
    subprocess.run([*argv, *(str(PCAPS / f"{name}.pcap") for name in EARLIER)], check=True, capture_output=True)
    with open_store(state / "molecatcher.db") as store:
        add_past_week(store, time.time_ns())
    subprocess.run(["chown", "-R", "molecatcher:", str(state)], check=True)


def test_an_agent_appears_on_the_open_page(world: Internet, folder: Path, tmp_path: Path) -> None:
    state, policy = folder / "state", folder / "policy.toml"
    policy.write_text(POLICY)
    replay_earlier_traffic(state, policy)
    with (
        world.client.inside(),
        running(world, state, "--interface", "eth0", "--policy", str(policy)),
        headless_chrome(tmp_path / "profile") as browser,
    ):
        browser.get(BASE)
        page: Callable[[], str] = lambda: browser.find_element(By.TAG_NAME, "main").text  # noqa: E731 - read anew at each look
        assert "Cloudflare" in page()
        assert "The last seven days" in page()
        assert "192.0.2.2" not in page()
        with world.agent(), world.agent(SANCTIONED):
            wait_for(lambda: "192.0.2.2" in page())
        wait_for(lambda: SANCTIONED in page())
        assert not [row for row in console_log(browser) if row["level"] == "SEVERE"]
        if picture := os.environ.get("MOLECATCHER_SCREENSHOT"):
            browser.set_window_size(1280, 1400)
            browser.save_screenshot(picture)

"""The analyst's story in a browser against the real API process: from alert to exception, and to lists that change.

`MOLECATCHER_SCREENSHOTS=docs` keeps the pictures that docs/page.md shows.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from chrome import console_log, follow, headless_chrome, needs_chrome
from free_ports import free_port
from main_job import wait_for
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

pytestmark = needs_chrome
PCAPS = Path(__file__).parents[1] / "pcaps"
WIDTHS = {"desktop": 1280, "phone": 390}


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """An API process whose database has seen an ngrok agent."""
    state, port = tmp_path / "state", free_port()
    program = [sys.executable, "-m", "molecatcher"]
    replay = [*program, "replay", "--store", "--state", str(state), str(PCAPS / "ngrok-py-default.pcap")]
    subprocess.run(replay, check=True, capture_output=True)
    serve = [*program, "serve", "--state", str(state), "--listen", f"127.0.0.1:{port}"]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(serve, stdout=log, stderr=log) as process:
        try:
            wait_for(lambda: answers(f"http://127.0.0.1:{port}"))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/feeds/unsanctioned-domains.txt", trust_env=False, timeout=60).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(params=WIDTHS)
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[webdriver.Chrome]:
    with headless_chrome(tmp_path / "profile") as driver:
        metrics = {
            "width": WIDTHS[request.param],
            "height": 900,
            "deviceScaleFactor": 1,
            "mobile": request.param == "phone",
        }
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        yield driver


class Page:
    """What a person sees, clicks and types."""

    def __init__(self, browser: webdriver.Chrome, address: str, name: str) -> None:
        self.browser, self.address, self.name = browser, address, name

    def go(self, path: str) -> None:
        self.browser.get(self.address + path)

    def see(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def says(self, selector: str, text: str) -> None:
        wait_for(lambda: text in self.text(selector))

    def text(self, selector: str) -> str:
        return str(self.browser.execute_script(f"return document.querySelector({selector!r})?.innerText ?? ''"))

    def open(self, selector: str) -> None:
        """Open a disclosure with the keyboard."""
        summary = self.see(f"{selector} summary")
        self.browser.execute_script("arguments[0].focus()", summary)
        summary.send_keys(Keys.ENTER)

    def fill(self, form: str, **fields: str) -> None:
        for name, text in fields.items():
            field = self.see(f"{form} [name={name}]")
            if field.tag_name != "select":
                field.clear()
            field.send_keys(text)

    def press(self, label: str, within: str = "main") -> None:
        buttons = self.browser.find_elements(By.CSS_SELECTOR, f"{within} button")
        next(button for button in buttons if button.text == label).send_keys(Keys.ENTER)

    def submit(self, label: str, within: str = "main") -> None:
        """Press a button that makes the page load anew, and wait for that: it would undo an earlier `go`."""
        self.browser.execute_script("document.documentElement.dataset.old = 'yes'")
        self.press(label, within)
        old = "return document.documentElement.dataset.old"
        wait_for(lambda: self.browser.execute_script(old) is None)

    def keep(self, what: str) -> None:
        if folder := os.environ.get("MOLECATCHER_SCREENSHOTS"):
            self.browser.execute_script("window.scrollTo(0, 0)")
            self.browser.save_screenshot(str(Path(folder) / f"soc-{what}-{self.name}.png"))


def feed(address: str, name: str = "unsanctioned-domains.txt") -> str:
    return httpx.get(f"{address}/feeds/{name}", trust_env=False, timeout=60).text


def renewed(browser: webdriver.Chrome, page: Page) -> str:
    browser.refresh()
    return page.text("#live")


def test_from_the_alert_to_the_exception_and_the_list(
    browser: webdriver.Chrome, address: str, request: pytest.FixtureRequest
) -> None:
    page = Page(browser, address, request.node.callspec.params["browser"])
    page.go("/")
    page.says("#findings", "connect.ngrok-agent.com")
    page.keep("overview")
    follow(browser, "#findings a.title")  # who, since when, how do we know
    page.says("#what-title", "10.77.0.2 runs a tunnel of ngrok")
    page.submit("Acknowledge")
    page.says("#finding-state", "acknowledged")
    page.fill(".inline", assignee="alice")
    page.submit("Assign")
    page.says("#finding-assignee", "alice")
    page.fill("form[aria-label=Comment]", comment="asked the owner of the laptop")
    page.submit("Write it down")
    page.says(".history", "asked the owner of the laptop")
    page.keep("finding")

    page.open("#block")  # somebody's private name goes on the lists, and off again
    page.fill("#block form", entry="tunnels.colleague.example", owner="soc@example.com", reason="a private ingress")
    page.submit("Block", "#block")
    wait_for(lambda: "tunnels.colleague.example" in feed(address))
    page.go("/lists/unsanctioned-domains?q=colleague")
    page.says("#content", "a private ingress")
    page.keep("list")
    page.go("/policy")
    page.press("Unblock", "#blocked")  # what that does is shown first
    page.says("#agree", "*.tunnels.colleague.example")
    page.keep("preview")
    page.submit("Go ahead", "#agree")
    wait_for(lambda: "tunnels.colleague.example" not in feed(address))

    page.go("/findings?service=ngrok")  # who allowed it: an exception for the source, with an owner
    follow(browser, "#live a.title")
    page.open("#allow")
    page.fill("#allow form", owner="it@example.com", reason="pilot until spring")
    page.submit("Allow ngrok", "#allow")
    wait_for(lambda: "pilot until spring" in httpx.get(f"{address}/v1/exceptions", trust_env=False, timeout=60).text)
    page.go("/policy")
    page.says("#exceptions", "pilot until spring")
    page.keep("policy")
    page.go("/findings?state=excepted")
    wait_for(lambda: "connect.ngrok-agent.com" in renewed(browser, page))

    assert "ngrok-agent.com" in feed(address)  # and the whole service comes off the lists by a decision
    page.go("/services")
    page.open("#service-ngrok")
    page.fill("#service-ngrok form", decision="monitor", owner="ciso@example.com", reason="bought for everybody")
    page.press("Decide", "#service-ngrok")
    page.says("#agree", "ngrok-agent.com")
    page.submit("Go ahead", "#agree")
    wait_for(lambda: "ngrok-agent.com" not in feed(address))
    page.go("/audit")
    assert all(action in page.text("#content") for action in ("finding.update", "exception"))
    assert [row["message"] for row in console_log(browser) if row["level"] == "SEVERE"] == []

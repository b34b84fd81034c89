"""The policy edited on the page: what a change would do is shown before it is made, by mouse and by keyboard."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from built_lists import build_lists
from chrome import headless_chrome, needs_chrome
from installation import Eventually, Installation
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

AXE = Path(__file__).parents[2] / "npm" / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = needs_chrome
Text = Callable[[str], str]


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with headless_chrome(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def policy(installation: Installation, tmp_path: Path) -> Installation:
    build_lists(installation, tmp_path / "lists")
    installation.add()
    return installation


@pytest.fixture
def text(chrome: webdriver.Chrome) -> Text:
    return lambda selector: str(chrome.execute_script(f"return document.querySelector({selector!r})?.innerText ?? ''"))


def set_width(chrome: webdriver.Chrome, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 800}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def opened(chrome: webdriver.Chrome, section: str) -> WebElement:
    """Return the form of a section, its disclosure opened with the keyboard."""
    chrome.find_element(By.CSS_SELECTOR, f"{section} summary").send_keys(Keys.ENTER)
    return chrome.find_element(By.CSS_SELECTOR, f"{section} form")


def enter(form: WebElement, **fields: str) -> None:
    for name, value in fields.items():
        form.find_element(By.NAME, name).send_keys(value)


def press(chrome: webdriver.Chrome, label: str, within: str) -> None:
    buttons = chrome.find_elements(By.CSS_SELECTOR, f"{within} button")
    next(button for button in buttons if button.text == label).send_keys(Keys.ENTER)


def barriers(chrome: webdriver.Chrome) -> list[str]:
    chrome.execute_script(AXE.read_text())
    chrome.set_script_timeout(60)
    found = chrome.execute_async_script("axe.run(document, {}).then(arguments[0], arguments[0])")
    return [f"{row['id']}: {row['nodes'][0]['html']}" for row in found["violations"]]


@pytest.mark.parametrize("width", [390, 1280])
def test_an_entry_is_looked_at_then_made_then_taken_back(
    policy: Installation, chrome: webdriver.Chrome, text: Text, eventually: Eventually, width: int
) -> None:
    set_width(chrome, width)
    chrome.get(f"{policy.url}/policy")
    form = opened(chrome, "#blocked")
    enter(form, entry="tunnel.colleague.example")
    eventually(lambda: "*.tunnel.colleague.example" in text("#blocked .preview"))
    assert "None of 1 sources" in text("#blocked .preview")
    assert policy.store.policy.blocked() == []
    assert barriers(chrome) == []
    assert chrome.execute_script("return document.documentElement.scrollWidth") <= width
    enter(form, owner="soc@example.com", reason="ticket")
    press(chrome, "Block", "#blocked")
    eventually(lambda: "ticket" in text("#blocked tbody td.wide"))
    press(chrome, "Unblock", "#blocked")
    eventually(lambda: "*.tunnel.colleague.example" in text("#agree"))
    assert barriers(chrome) == []
    assert chrome.execute_script("return document.getElementById('agree').scrollWidth") <= width
    press(chrome, "Leave it", "#agree")
    eventually(lambda: not chrome.find_element(By.ID, "agree").is_displayed())
    assert len(policy.store.policy.blocked()) == 1
    press(chrome, "Unblock", "#blocked")
    press(chrome, "Go ahead", "#agree")
    eventually(lambda: policy.store.policy.blocked() == [])


def test_what_cannot_be_kept_is_said_at_its_field(
    policy: Installation, chrome: webdriver.Chrome, text: Text, eventually: Eventually
) -> None:
    set_width(chrome, 1280)
    chrome.get(f"{policy.url}/policy")
    form = opened(chrome, "#sanctioned")
    enter(form, domain="ngrok.com")
    eventually(lambda: "covers the catalogue name" in text("#sanctioned .preview"))
    field = form.find_element(By.NAME, "domain")
    assert field.get_attribute("aria-invalid") == "true"
    assert field.get_attribute("aria-describedby") == "preview-sanctioned"
    assert barriers(chrome) == []
    field.clear()
    field.send_keys("tunnels.partner.example")
    eventually(lambda: "No address of ngrok would be" in text("#sanctioned .preview"))
    assert field.get_attribute("aria-invalid") is None
    enter(form, owner="it@example.com", reason="pilot")
    press(chrome, "Sanction", "#sanctioned")
    eventually(lambda: [row.domain for row in policy.ruleset().policy.sanctions] == ["tunnels.partner.example"])
    eventually(lambda: "the policy file" not in text("#sanctioned tbody") and "local" in text("#sanctioned tbody"))


def test_a_decision_shows_which_findings_it_changes(
    policy: Installation, chrome: webdriver.Chrome, text: Text, eventually: Eventually
) -> None:
    set_width(chrome, 1280)
    chrome.get(f"{policy.url}/policy")
    form = opened(chrome, "#decisions")
    enter(form, service="ngrok", decision="ignore")
    eventually(lambda: "not reported" in text("#decisions .preview"))
    assert "10.20.0.7" in text("#decisions .preview")
    assert barriers(chrome) == []
    enter(form, owner="ciso@example.com", reason="bought for everybody")
    press(chrome, "Decide", "#decisions")
    eventually(lambda: "bought for everybody" in text("#decisions td.wide"))
    assert policy.ruleset().policy.decisions["ngrok"].value == "ignore"
    press(chrome, "Take back", "#decisions")
    eventually(lambda: "1 of 1 sources" not in text("#agree") and "No block list" not in text("#agree"))
    press(chrome, "Go ahead", "#agree")
    eventually(lambda: "ngrok" not in policy.ruleset().policy.decisions)


@pytest.mark.parametrize("width", [390, 1280])
def test_a_decision_beside_its_service_is_made_once_what_it_changes_was_seen(
    policy: Installation, chrome: webdriver.Chrome, text: Text, eventually: Eventually, width: int
) -> None:
    set_width(chrome, width)
    chrome.get(f"{policy.url}/services")
    form = opened(chrome, "#service-ngrok")
    enter(form, decision="ignore", owner="ciso@example.com", reason="bought for everybody")
    press(chrome, "Decide", "#service-ngrok")
    eventually(lambda: "not reported" in text("#agree"))
    assert text("#agree h2") == "Decide this about ngrok (agent and SDKs)?"
    assert "10.20.0.7" in text("#agree")
    assert barriers(chrome) == []
    assert chrome.execute_script("return document.getElementById('agree').scrollWidth") <= width
    press(chrome, "Leave it", "#agree")
    eventually(lambda: not chrome.find_element(By.ID, "agree").is_displayed())
    assert "ngrok" not in policy.ruleset().policy.decisions
    press(chrome, "Decide", "#service-ngrok")
    press(chrome, "Go ahead", "#agree")
    eventually(lambda: "ngrok" in policy.ruleset().policy.decisions)
    assert policy.ruleset().policy.decisions["ngrok"].value == "ignore"

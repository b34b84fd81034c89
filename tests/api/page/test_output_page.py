"""The pages of outputs and tokens in a real browser: what is made there is tried, held, shown once and removed."""

from collections.abc import Callable

import httpx
from chrome import needs_chrome, severe_log, text_of
from installation import NOW_NS, Eventually, Installation
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from db.workflow.output_values import DeadLetter

pytestmark = needs_chrome
See = Callable[[str], WebElement]


def press(browser: webdriver.Chrome, label: str, within: str = "#output-1") -> None:
    buttons = browser.find_elements(By.CSS_SELECTOR, f"{within} button")
    next(button for button in buttons if button.text == label).click()


def test_a_webhook_is_made_tried_held_and_removed(
    installation: Installation, client: httpx.Client, browser: webdriver.Chrome, see: See, eventually: Eventually
) -> None:
    browser.get(f"{installation.url}/outputs")
    assert "Events go nowhere by themselves yet." in see("main").text
    see("#new-webhook summary").click()
    see("#new-webhook [name=name]").send_keys("soar")
    see("#new-webhook [name='target.url']").send_keys("https://soar.example.com/hook")
    see("#new-webhook option[value=bore]").click()
    press(browser, "Make it", "#new-webhook")
    eventually(lambda: see("#shown-once code").text.startswith("whsec_"))
    (made,) = client.get("/v1/outputs").json()["items"]
    assert (made["name"], made["target"]) == ("soar", {"url": "https://soar.example.com/hook"})
    assert made["wanted"] == {
        "verdicts": ["unsanctioned", "suspicious"],
        "min_severity": "informational",
        "services": ["bore"],
    }

    see("#shown-once a").click()
    wanted = "https://soar.example.com/hook takes unsanctioned or suspicious, of bore"
    eventually(lambda: wanted in text_of(browser, "#output-1"))
    press(browser, "Send a trial event")
    eventually(lambda: "The trial was not taken" in text_of(browser, "#refused"))
    press(browser, "Pause")
    eventually(lambda: "Paused" in text_of(browser, "#output-1 .headline"))
    assert [row for row in severe_log(browser) if "409" not in row] == []
    press(browser, "Remove")
    browser.switch_to.alert.accept()
    eventually(lambda: "Events go nowhere" in text_of(browser, "main"))


def test_what_fails_is_said_with_its_dead_letters(
    installation: Installation, client: httpx.Client, browser: webdriver.Chrome, see: See
) -> None:
    syslog = {"kind": "syslog", "host": "logs.example.com"}
    output_id = client.post("/v1/outputs", json={"name": "siem", "target": syslog}).json()["output_id"]
    event = installation.add()
    installation.store.outputs.note_failure(output_id, "logs.example.com answered <nothing>", NOW_NS - 7200 * 10**9)
    letters = [
        DeadLetter(letter_id=f"l{at:02}", output_id=output_id, event_id=event.event_id, at_ns=NOW_NS, error="refused")
        for at in range(21)
    ]
    installation.store.outputs.bury(output_id, 0, letters)
    browser.get(f"{installation.url}/outputs")
    text = see("#output-1").text
    for said in ("Failing since 2 hours ago: 1 commits wait", "logs.example.com answered <nothing>", "20+"):
        assert said in text
    see("#output-1 summary").click()
    assert len(browser.find_elements(By.CSS_SELECTOR, "#output-1 li")) == 20
    assert (see("#output-1 li a").get_attribute("href") or "").endswith(f"/events/{event.event_id}")


def test_a_token_is_good_to_the_end_of_the_day_that_is_chosen(
    installation: Installation, client: httpx.Client, browser: webdriver.Chrome, see: See, eventually: Eventually
) -> None:
    browser.get(f"{installation.url}/tokens")
    see("[name=name]").send_keys("fw-berlin")
    browser.execute_script("document.querySelector('[name=expires_at]').value = '2027-03-31'")
    see("[value='feeds:read']").click()
    press(browser, "Make a token", "main")
    eventually(lambda: see("#shown-once code").text.startswith("mc_"))
    (made,) = client.get("/v1/tokens").json()["items"]
    assert (made["expires_at"], made["scopes"]) == ("2027-03-31T23:59:59.000000Z", ["feeds:read"])

"""Saved searches on the page: the present filter is saved, opened, shared and removed there."""

from collections.abc import Callable

import httpx
import pytest
from chrome import needs_chrome, severe_log, text_of
from installation import NOW_NS, Eventually, Installation
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from db.workflow.values import SavedSearch, SearchedResource

See = Callable[[str], WebElement]
FILTER = "/findings?service=bore&severity=medium"


def save(installation: Installation, **fields: object) -> None:
    defaults: dict[str, object] = {
        "search_id": str(fields),
        "owner": "local",
        "name": "bore",
        "resource": SearchedResource.FINDINGS,
        "query": {"service": "bore"},
        "changed_at_ns": NOW_NS,
    }
    assert installation.store.searches.add_search(SavedSearch(**(defaults | fields)))  # type: ignore[arg-type]


@needs_chrome
def test_the_present_filter_is_saved_opened_and_removed(
    installation: Installation, client: httpx.Client, browser: webdriver.Chrome, see: See, eventually: Eventually
) -> None:
    browser.get(f"{installation.url}{FILTER}&limit=5")
    see("#save-search summary").click()
    see("#save-search [name=name]").send_keys("bore <agents>")
    see("#save-search [name=is_shared]").click()
    see("#save-search button").click()
    eventually(lambda: "bore <agents>" in text_of(browser, "#searches .tabs"))
    (made,) = client.get("/v1/searches").json()["items"]
    assert made["query"] == {"service": "bore", "severity": "medium"}
    assert made["is_shared"] is True

    browser.get(f"{installation.url}/findings")
    assert text_of(browser, "#save-search") == ""  # nothing is filtered, so there is nothing to save
    see("#searches .tabs a").click()
    eventually(lambda: browser.current_url.endswith(FILTER))
    eventually(lambda: browser.find_elements(By.CSS_SELECTOR, '#searches .tabs a[aria-current="true"]'))
    see("#saved-searches summary").click()
    assert see("#saved-searches code").text == f"{installation.url}{FILTER}"
    see("#saved-searches .danger").click()
    browser.switch_to.alert.accept()
    eventually(lambda: "bore" not in text_of(browser, "#searches"))
    assert client.get("/v1/searches").json()["items"] == []
    assert severe_log(browser) == []


@pytest.mark.parametrize(
    ("fields", "is_there", "is_removable"),
    [
        ({}, True, True),
        ({"owner": "bob"}, False, False),
        ({"owner": "bob", "is_shared": True}, True, False),
        ({"resource": SearchedResource.EVENTS}, False, False),
    ],
    ids=["own", "of another", "shared by another", "of another list"],
)
def test_a_list_has_ones_own_searches_and_those_that_are_shared(
    installation: Installation, client: httpx.Client, fields: dict[str, object], is_there: bool, is_removable: bool
) -> None:
    save(installation, **fields)
    text = client.get("/findings").text
    assert ('<a href="/findings?service=bore">' in text) == is_there
    assert ('data-call="/v1/searches/' in text) == is_removable

"""Headless Chromium, driven through chromedriver; both are Debian's."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from free_ports import free_port
from installation import wait_until
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--force-prefers-reduced-motion",
    "--window-size=1280,1000",
)

needs_chrome = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")


@contextmanager
def headless_chrome(profile: Path) -> Iterator[webdriver.Chrome]:
    """Run a browser whose profile lies in `profile`, with its console log kept."""
    options = Options()
    options.binary_location = str(CHROMIUM)
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(str(DRIVER), port=free_port()))
    driver.set_page_load_timeout(60)
    try:
        yield driver
    finally:
        driver.quit()


def follow(browser: webdriver.Chrome, selector: str) -> None:
    """Click the first link of a selector and return when its page is there: a click may return before that."""
    link = browser.find_element(By.CSS_SELECTOR, selector)
    address = link.get_attribute("href")
    link.click()
    wait_until(lambda: browser.current_url == address)


def severe_log(browser: webdriver.Chrome) -> list[str]:
    """Return what the console has complained of since it was asked last."""
    return [entry["message"] for entry in console_log(browser) if entry["level"] in ("SEVERE", "WARNING")]


def console_log(browser: webdriver.Chrome) -> list[dict[str, str]]:
    """Return what the console has said since it was asked last."""
    found: list[dict[str, str]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return found


def text_of(browser: webdriver.Chrome, selector: str) -> str:
    """Return what a person reads in the first element, "" without one; also while the page is replaced."""
    return str(browser.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

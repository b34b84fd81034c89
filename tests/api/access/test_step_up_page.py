"""Somebody who signed in a while ago is led to a fresh sign-in by the page itself, and back."""

from pathlib import Path

import pytest
from access_server import serving
from chrome import headless_chrome, needs_chrome, text_of
from installation import Installation, wait_until
from people import sign_in
from selenium.webdriver.common.by import By

from api.access.config import AccessConfig
from db.access.values import AccessRole

pytestmark = needs_chrome


@pytest.mark.parametrize(("age_s", "is_led"), [(10, False), (3600, True)], ids=["fresh", "stale"])
def test_what_is_dangerous_leads_to_a_fresh_sign_in(
    installation: Installation, tmp_path: Path, age_s: int, is_led: bool
) -> None:
    person = sign_in(installation, AccessRole.ADMIN, age_s=age_s)
    with (
        serving(installation, AccessConfig(require=True)) as server,
        headless_chrome(tmp_path / "profile") as browser,
    ):
        browser.execute_cdp_cmd("Network.enable", {})
        browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {"Cookie": person["Cookie"]}})
        browser.get(f"{server.base_url}/outputs?shown=1")
        browser.find_element(By.CSS_SELECTOR, "#callers [name=name]").send_keys("soar")
        browser.find_element(By.CSS_SELECTOR, "#callers button[type=submit]").click()
        if not is_led:
            wait_until(lambda: text_of(browser, "#shown-once code").startswith("whsec_"))
            return
        wait_until(lambda: "Sign in again" in text_of(browser, "#refused a"))
        browser.find_element(By.CSS_SELECTOR, "#refused a").click()
        wait_until(lambda: "needs a fresh proof of who you are" in text_of(browser, "main"))
        assert "next=%2Foutputs%3Fshown%3D1" in browser.current_url

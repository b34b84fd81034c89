"""A whole installation for each test: a SQLite store, the application, and uvicorn on a loopback port."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from chrome import console_log, headless_chrome
from empty_store import empty_store
from installation import NOW_NS, Installation, event_of, names_of, snapshot_of, wait_until, with_callers
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from servers import running

from api.app import create_app
from api.serving.server import ApiServer, bind, parse_listen
from rules.lists.blocklist import NameList, Snapshot
from rules.values.event import Event


@pytest.fixture
def make_event() -> Callable[..., Event]:
    return event_of


@pytest.fixture
def make_snapshot() -> Callable[..., Snapshot]:
    return snapshot_of


@pytest.fixture
def make_names() -> Callable[..., NameList]:
    return names_of


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    path = tmp_path / "events.db"
    with empty_store(path, now_ns=lambda: NOW_NS) as store:
        installation = Installation(store, path)
        server = ApiServer(with_callers(create_app(installation.context())), bind(parse_listen("127.0.0.1:0")))
        with running(server):
            installation.url = f"http://{server.address}"
            installation.stop = server.stop
            yield installation


@pytest.fixture
def client(installation: Installation) -> Iterator[httpx.Client]:
    headers = {"Accept-Encoding": "identity"}
    with httpx.Client(base_url=installation.url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], None]:
    return wait_until


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with headless_chrome(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def browser(chrome: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    console_log(chrome)
    yield chrome
    chrome.get("about:blank")


@pytest.fixture
def see(browser: webdriver.Chrome) -> Callable[[str], WebElement]:
    return lambda selector: browser.find_element(By.CSS_SELECTOR, selector)

"""The page in a real browser."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from chrome import follow, needs_chrome, severe_log, text_of
from installation import Eventually, Installation
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from rules.values.event import EventReason
from rules.values.observation import FlowState, Kind
from rules.values.verdict import Outcome, Role, Severity

See = Callable[[str], WebElement]
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>.example"
MINUTE_NS = 60 * 10**9
AXE = Path(__file__).parents[2] / "npm" / "node_modules" / "axe-core" / "axe.min.js"
SECTIONS = (
    *("/", "/findings", "/events", "/services", "/lists", "/lists/unsanctioned-domains", "/profiles"),
    *("/sensors", "/policy", "/outputs", "/tokens", "/audit", "finding", "event"),
)
pytestmark = needs_chrome


@pytest.fixture
def busy(installation: Installation) -> Installation:
    """An installation with something of everything to show."""
    now_ns = installation.now_ns
    installation.beat(packets=1_234_567, octets=9_876_543_210, flows=310)
    installation.publish_both()
    for minute in range(0, 55, 3):
        at_ns = now_ns - minute * MINUTE_NS
        installation.add(
            observed_at_ns=at_ns,
            verdict=Outcome.SANCTIONED,
            severity=Severity.INFORMATIONAL,
            src_ip=f"10.20.0.{20 + minute % 7}",
            dst_name="tunnels.example.com",
        )
    installation.add(observed_at_ns=now_ns - 4 * MINUTE_NS)
    installation.add(
        observed_at_ns=now_ns - 30 * MINUTE_NS,
        src_ip="2001:db8:85a3::8a2e:370:7334",
        service="bore",
        severity=Severity.MEDIUM,
        verdict=Outcome.SUSPICIOUS,
        state=FlowState.ATTEMPTED,
        role=Role.UNCLEAR,
        dst_name=None,
        reasons=(EventReason("protocol", "bore", "the first bytes are those of a bore client"),),
    )
    installation.add(
        observed_at_ns=now_ns - 12 * MINUTE_NS,
        src_ip="10.20.0.9",
        kind=Kind.DNS,
        severity=Severity.LOW,
        state=FlowState.BLOCKED,
        role=Role.VISITOR,
        dst_name="abc123.ngrok-free.app",
        reasons=(EventReason("dns_query", "abc123.ngrok-free.app", "asked for a name below ngrok-free.app"),),
    )
    return installation


def set_width(browser: webdriver.Chrome, width: int, height: int = 844) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def test_a_finding_appears_without_a_reload(
    installation: Installation, browser: webdriver.Chrome, see: See, eventually: Eventually
) -> None:
    installation.beat()
    browser.get(installation.url)
    assert "Nothing yet" in see("#findings").text
    browser.execute_script("window.isTheSamePage = true")
    installation.add()
    eventually(lambda: "10.20.0.7" in text_of(browser, "#findings"))
    shown = see("#findings tbody tr").text
    for part in ("ngrok", "runs a tunnel", "unsanctioned", "connect.ngrok-agent.com", "High", "Live"):
        assert part in shown
    assert "The TLS hello asks for connect.ngrok-agent.com." in shown
    assert browser.execute_script("return window.isTheSamePage") is True
    assert severe_log(browser) == []


@pytest.mark.parametrize(
    ("lost", "said"), [(0, ""), (1, "at least 1 packet while"), (120, "at least 120 packets while")]
)
def test_a_finding_says_that_its_sensor_lost_packets(
    installation: Installation, browser: webdriver.Chrome, see: See, lost: int, said: str
) -> None:
    installation.beat()
    installation.add(sensor_loss=lost)
    browser.get(installation.url)
    shown = see("#findings tbody tr").text
    assert said in shown
    assert ("counts may be low, and other tunnels may be missing" in shown) == bool(lost)
    assert severe_log(browser) == []


def test_hostile_names_are_text(installation: Installation, browser: webdriver.Chrome, see: See) -> None:
    installation.beat(hostname=HOSTILE, policy_error=HOSTILE, interfaces=(HOSTILE,))
    installation.set_policy(error=HOSTILE, warnings=(HOSTILE,), path=HOSTILE)
    installation.add(
        dst_name=HOSTILE,
        sensor_id="'\"><b>",
        reasons=(EventReason("tls_sni", HOSTILE, HOSTILE),),
        service="a</td><script>",
    )
    browser.get(installation.url)
    assert HOSTILE in see("#findings .name").text
    assert browser.title == "Molecatcher"
    assert browser.find_elements(By.CSS_SELECTOR, "main script, main img, main b") == []
    assert severe_log(browser) == []


def test_invisible_characters_are_written_out(installation: Installation, browser: webdriver.Chrome, see: See) -> None:
    installation.add(dst_name="moc.\u202ekrogn\u200b\x1b.example")
    browser.get(installation.url)
    assert see("#findings .name").text == r"moc.\u{202e}krogn\u{200b}\u{1b}.example"


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_is_wider_than_a_small_screen(busy: Installation, browser: webdriver.Chrome, width: int) -> None:
    busy.add(dst_name="a" * 63 + "." + "b" * 63 + ".example", service="very-long-service-name-without-a-break-in-it")
    set_width(browser, width)
    browser.get(busy.url)
    wide = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide[0] <= width, wide


def test_the_chart_is_drawn_and_drawn_again(
    busy: Installation, browser: webdriver.Chrome, eventually: Eventually
) -> None:
    browser.get(busy.url)
    eventually(lambda: browser.find_elements(By.CSS_SELECTOR, "#chart canvas"))
    series = "return document.querySelector('#chart-series').dataset.series"
    before = browser.execute_script(series)
    busy.add(src_ip="10.20.0.50")
    eventually(lambda: browser.execute_script(series) != before)
    assert len(browser.find_elements(By.CSS_SELECTOR, "#chart canvas")) == 1
    assert severe_log(browser) == []


def test_the_lists_show_addresses_to_copy(busy: Installation, browser: webdriver.Chrome, see: See) -> None:
    browser.get(busy.url)
    shown = see("#lists").text
    assert f"{busy.url}/feeds/unsanctioned-domains.rpz" in shown
    assert "Serial 7, 2 entries" in shown
    assert see("[data-copy]").get_attribute("data-copy") == f"{busy.url}/feeds/unsanctioned-domains.txt"
    assert "tunnels.example.com" in see("#sanctioned").text


@pytest.mark.parametrize(
    ("fields", "headline"),
    [
        ({}, "Watching"),
        ({"lost_last_minute": 120}, "Losing packets: 120 in the last minute"),
        ({"lag_ms": 12_300}, "Behind by 12 seconds"),
        ({"spool_events": 40, "delivery_lag_ms": 15_000}, "Spool filling: 40 events wait for the database"),
        ({"interfaces": ()}, "Waiting for a default route"),
        ({"heartbeat_ns": 1_795_460_400_000_000_000 - 5 * MINUTE_NS}, "Silent: last heard 5 minutes ago"),
    ],
)
def test_the_banner_says_how_the_sensor_does(
    installation: Installation, browser: webdriver.Chrome, see: See, fields: dict[str, object], headline: str
) -> None:
    installation.beat(**fields)
    browser.get(installation.url)
    assert see(".sensor .headline").text == headline


def test_the_banner_says_what_is_wrong(installation: Installation, browser: webdriver.Chrome, see: See) -> None:
    installation.beat(kernel_drops=12, shed=1, spool_overflow=3, policy_error="line 3 is not TOML")
    installation.set_policy(error="line 3 is not TOML")
    browser.get(installation.url)
    shown = see(".sensor").text
    assert "The kernel dropped 12 packets" in shown
    assert "The sensor gave up 1 packet since" in shown
    assert "3 events were lost because the spool was full" in shown
    assert "Rules not updated." in see(".notice.bad[role=alert]:not([hidden])").text


def test_without_a_sensor_the_page_says_what_to_do(
    installation: Installation, browser: webdriver.Chrome, see: See
) -> None:
    installation.set_policy(sanctioned=(), path="")
    browser.get(installation.url)
    assert "molecatcher run" in see("#sensor-none").text
    assert "No policy file is used" in see("#sanctioned").text
    assert "every tunnel is a finding" in see("#sanctioned").text
    assert "Not built yet" in see("#lists").text


def test_focus_stays_while_the_page_renews_itself(
    busy: Installation, browser: webdriver.Chrome, eventually: Eventually
) -> None:
    browser.get(busy.url)
    browser.execute_script("document.querySelector('#findings a.who').focus()")
    before = text_of(browser, "#findings tbody")
    busy.add(src_ip="10.20.0.51")
    eventually(lambda: text_of(browser, "#findings tbody") != before)
    assert browser.switch_to.active_element.get_attribute("class") == "who"


def test_the_keyboard_reaches_everything(busy: Installation, browser: webdriver.Chrome) -> None:
    browser.get(busy.url)
    reached = set()
    for _ in range(80):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        active = browser.switch_to.active_element
        reached.add(active.get_attribute("data-copy") or active.get_attribute("class") or active.tag_name)
    assert "who" in reached
    assert f"{busy.url}/feeds/unsanctioned-addresses.txt" in reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(busy: Installation, browser: webdriver.Chrome, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(busy.url)
    poor = browser.execute_script(Path(__file__).with_name("contrast.js").read_text())
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert poor == [], json.dumps(poor, indent=1)


def test_a_lost_server_is_said(busy: Installation, browser: webdriver.Chrome, see: See, eventually: Eventually) -> None:
    browser.get(busy.url)
    assert not see("#offline").is_displayed()
    browser.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    eventually(lambda: see("#offline").is_displayed())
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline | {"offline": False, "downloadThroughput": -1})
    eventually(lambda: not see("#offline").is_displayed())


def test_a_finding_is_decided_with_a_button(
    busy: Installation, browser: webdriver.Chrome, see: See, eventually: Eventually
) -> None:
    browser.get(f"{busy.url}/findings?service=bore")
    state = "return document.querySelector('#finding-state')?.textContent"  # the page may be exchanged meanwhile
    follow(browser, "a.title")
    eventually(lambda: browser.execute_script(state) == "open")
    next(button for button in browser.find_elements(By.TAG_NAME, "button") if button.text == "Resolve").send_keys("\n")
    eventually(lambda: browser.execute_script(state) == "resolved")
    browser.get(f"{busy.url}/findings?state=open")
    assert "bore" not in see("#live").text
    assert severe_log(browser) == []


def test_a_call_that_is_refused_says_why(
    busy: Installation, browser: webdriver.Chrome, see: See, eventually: Eventually
) -> None:
    browser.get(f"{busy.url}/findings?service=bore")
    follow(browser, "a.title")
    browser.execute_script("document.querySelector('[data-call]').dataset.body = '{\"state\": \"nonsense\"}'")
    see("[data-call]").click()
    eventually(lambda: see("#refused").is_displayed())
    assert "state" in see("#refused").text


@pytest.mark.parametrize(
    "path", ["/findings", "/events", "/services", "/lists", "/lists/unsanctioned-domains", "/sensors", "/policy"]
)
def test_no_section_is_wider_than_a_small_screen(busy: Installation, browser: webdriver.Chrome, path: str) -> None:
    busy.add(dst_name="a" * 63 + "." + "b" * 63 + ".example", service="very-long-service-name-without-a-break-in-it")
    set_width(browser, 360)
    browser.get(busy.url + path)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360


def test_a_filtered_list_renews_itself(
    busy: Installation, browser: webdriver.Chrome, see: See, eventually: Eventually
) -> None:
    browser.get(f"{busy.url}/findings?service=ngrok")
    see("input[name=q]").send_keys("half a word")
    busy.add(src_ip="10.20.0.77")
    eventually(lambda: "10.20.0.77" in text_of(browser, "#live"))
    assert len(browser.find_elements(By.ID, "live")) == 1
    assert see("input[name=q]").get_attribute("value") == "half a word"
    assert "bore" not in see("#live").text


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("path", SECTIONS)
def test_axe_finds_no_barrier(busy: Installation, browser: webdriver.Chrome, path: str, width: int) -> None:
    set_width(browser, width)
    browser.get(busy.url + ("/findings" if path == "finding" else "/events" if path == "event" else path))
    if path == "finding":
        follow(browser, "a.title")
    if path == "event":
        follow(browser, ".events a")
    browser.execute_script(AXE.read_text())
    browser.set_script_timeout(60)
    found = browser.execute_async_script("axe.run(document, {}).then(arguments[0], arguments[0])")
    barriers = [(row["id"], [node["html"] for node in row["nodes"]]) for row in found["violations"]]
    assert barriers == []
    assert len(found["passes"]) > 10

"""The units under a real systemd, which confines them as it would on a host."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from booted import Booted, booted, needs_systemd_to_boot
from free_ports import free_port
from installation import names_of, wait_until
from list_service import ListService, serving_lists

pytestmark = needs_systemd_to_boot
PULL = "molecatcher-fetch@blocked.txt"
QUICK = """[Timer]
OnUnitInactiveSec=
OnActiveSec=0
OnUnitInactiveSec=1
RandomizedDelaySec=0
AccuracySec=100ms
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Booted]:
    (tmp_path / "host").mkdir()
    with booted(tmp_path / "host") as host:
        yield host


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ListService]:
    with serving_lists(tmp_path, names_of("a.tunnel.example")) as service:
        yield service


def test_the_timer_pulls_a_list_and_its_hook_runs_at_each_change(host: Booted, service: ListService) -> None:
    url = service.feed("unsanctioned-domains.txt?comments=0")
    host.path("/etc/molecatcher/fetch/blocked.txt").write_text(
        f"URL={url}\nHOOK=/bin/cp /var/lib/molecatcher-fetch/blocked.txt /var/lib/molecatcher-fetch/hooked\n"
    )
    drop_in = host.path(f"/etc/systemd/system/{PULL}.timer.d")
    drop_in.mkdir()
    (drop_in / "quick.conf").write_text(QUICK)
    hooked = host.path("/var/lib/molecatcher-fetch/hooked")
    host.systemctl("daemon-reload")
    host.systemctl("start", f"{PULL}.timer")
    wait_until(lambda: hooked.exists() and "a.tunnel.example" in hooked.read_text())
    service.publish(names_of("a.tunnel.example b.tunnel.example"))
    wait_until(lambda: "b.tunnel.example" in hooked.read_text())
    assert host.shows(f"{PULL}.service", "Result") == "success"
    service.stop()
    wait_until(lambda: host.shows(f"{PULL}.service", "Result") == "exit-code")
    assert "b.tunnel.example" in hooked.read_text()
    service.start()
    wait_until(lambda: host.shows(f"{PULL}.service", "Result") == "success")


def test_the_timer_as_it_is_shipped_is_due_within_its_interval(host: Booted) -> None:
    host.path("/etc/molecatcher/fetch/blocked.txt").write_text("URL=http://127.0.0.1:9/feeds/x.txt\nHOOK=\n")
    host.systemctl("start", f"{PULL}.timer")
    assert host.shows(f"{PULL}.timer", "ActiveState") == "active"
    assert host.shows(f"{PULL}.timer", "NextElapseUSecMonotonic") not in {"", "infinity"}


def test_the_api_is_ready_takes_a_policy_anew_and_stops(host: Booted) -> None:
    port = free_port()
    policy = host.path("/etc/molecatcher/policy.toml")
    policy.touch()
    drop_in = host.path("/etc/systemd/system/molecatcher-api.service.d")
    drop_in.mkdir()
    (drop_in / "port.conf").write_text(f"[Service]\nEnvironment=MOLECATCHER_LISTEN=127.0.0.1:{port}\n")
    host.systemctl("daemon-reload")
    host.systemctl("start", "molecatcher-api.service")  # returns once it says that it is ready
    feed = f"http://127.0.0.1:{port}/feeds/unsanctioned-domains.txt"
    assert "localtunnel" in httpx.get(feed, trust_env=False, timeout=60).text
    policy.write_text('[services]\nlocaltunnel = "monitor"\n')
    host.systemctl("reload", "molecatcher-api.service")
    wait_until(lambda: "localtunnel" not in httpx.get(feed, trust_env=False, timeout=60).text)
    host.systemctl("stop", "molecatcher-api.service")
    assert host.shows("molecatcher-api.service", "Result") == "success"

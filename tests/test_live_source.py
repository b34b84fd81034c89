"""Who is behind what a running sensor sees: real processes of several users, and hosts behind a gateway."""

import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from main_job import BASE, open_folder, running, wait_for
from netns import needs_root
from stand_ins import AGENT, CLIENT, SERVER, Internet, get_json, internet, internet_behind_a_gateway, require_agent

pytestmark = needs_root

DEFAULT = "connect.ngrok-agent.com"
RECORDS = {DEFAULT: (SERVER,)}
EXCEPTION = """
[[exception]]
service = "ngrok"
owner = "o"
reason = "r"
"""
PILOT = f'{EXCEPTION}users = ["games"]\n'
CONTAINER = "3f" * 32
LEASE_SCRIPT = "#!/bin/sh\nexit 0\n"  # the address is there already
HELLO = """
import socket, ssl, sys
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
stream = context.wrap_socket(socket.create_connection((sys.argv[1], 443)), server_hostname=sys.argv[2])
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def state() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder / "state"


@contextmanager
def slow_internet(directory: Path) -> Iterator[Internet]:
    """The internet with a server that does not answer the hello: a socket is held when the kernel hands it over."""
    with internet(directory, RECORDS) as world:
        server = world.server._processes[-1]
        server.send_signal(signal.SIGSTOP)
        yield world
        server.send_signal(signal.SIGCONT)


def events(world: Internet) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = get_json(world.monitor, f"{BASE}/v1/events?limit=200")["items"]
    return found


def tls_events(world: Internet) -> list[dict[str, Any]]:
    return [row for row in events(world) if row["kind"] == "tls"]


@contextmanager
def agent_of(world: Internet, user: str, group: Path | None = None) -> Iterator[None]:
    """The real agent SDK run by an ordinary user; it never gets a session and gives up after 4 seconds."""
    found = pwd.getpwnam(user)
    identity = ["setpriv", f"--reuid={found.pw_uid}", f"--regid={found.pw_gid}", "--clear-groups", "--"]
    rights = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]  # the SDK lies where only root may read
    argv = [*identity[:-1], *rights, "--", sys.executable, "-c", AGENT, str(world.certificate)]
    process = world.client.popen(argv, stdout=subprocess.DEVNULL)
    if group is not None:
        (group / "cgroup.procs").write_text(str(process.pid))
    yield
    process.wait(60)


@pytest.mark.parametrize(("policy", "state_of_finding"), [("", "open"), (PILOT, "excepted")], ids=["open", "excepted"])
def test_an_agent_is_named_with_its_user_and_excepted_for_it(
    tmp_path: Path, state: Path, policy: str, state_of_finding: str
) -> None:
    require_agent()
    (state.parent / "policy.toml").write_text(policy)
    with slow_internet(tmp_path) as world, running(world, state, "--policy", str(state.parent / "policy.toml")):
        with agent_of(world, "games"):
            wait_for(lambda: any(row["src_user"] for row in tls_events(world)))
        wait_for(lambda: all(row["src_user"] for row in events(world)))
        rows = events(world)
        (finding,) = get_json(world.monitor, f"{BASE}/v1/findings")["items"]
        page = world.monitor.run(["curl", "-sf", f"{BASE}/"]).stdout
    assert {row["kind"] for row in rows} == {"dns", "tls"}
    for row in rows:
        assert (row["src_user"], row["src_uid"]) == ("games", pwd.getpwnam("games").pw_uid)
        assert row["src_exe"] == str(Path(sys.executable).resolve())
        assert row["src_process"].startswith("python")
        assert "2abcdefghij" not in row["src_cmdline"]
        assert bool(row["exception_id"]) == (state_of_finding == "excepted")
    assert finding["state"] == state_of_finding
    assert "user games" in page


@pytest.mark.full
def test_a_short_command_is_named(tmp_path: Path, state: Path) -> None:
    with slow_internet(tmp_path) as world, running(world, state):
        world.client.run(["curl", "-sk", "--max-time", "2", f"https://{DEFAULT}/"], check=False)
        wait_for(lambda: any(row["src_process"] for row in tls_events(world)))
        (row,) = tls_events(world)
    assert (row["src_process"], row["src_user"]) == ("curl", "root")
    assert row["src_cmdline"] == f"curl -sk --max-time 2 https://{DEFAULT}/"


@pytest.mark.full
def test_a_host_behind_a_gateway_has_the_name_of_its_lease(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = state.parent / "dnsmasq.leases"
    with internet_behind_a_gateway(tmp_path, RECORDS) as world:
        mac = world.client.run(["cat", "/sys/class/net/eth0/address"]).stdout.strip()
        leases.write_text(f"1790000000 {mac} {CLIENT} build-7 *\n")
        monkeypatch.setenv("MOLECATCHER_LEASES", f'["{leases}"]')
        with running(world, state):
            argv = ["/usr/bin/python3", "-c", HELLO, SERVER, DEFAULT]
            world.client.popen(argv, stdin=subprocess.PIPE)
            wait_for(lambda: any(row["src_host"] for row in tls_events(world)))
            (row,) = tls_events(world)
    assert (row["src_ip"], row["src_host"], row["src_mac"], row["src_process"]) == (CLIENT, "build-7", mac, None)


@contextmanager
def control_group() -> Iterator[Path]:
    """A control group named as Docker names those of its containers."""
    root = Path("/sys/fs/cgroup")
    parent = root if (root / "cgroup.procs").exists() else root / "pids"  # version 2, or a hierarchy of version 1
    folder = parent / "docker" / CONTAINER
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"control groups cannot be made here: {error.strerror}")
    try:
        yield folder
    finally:
        wait_for(lambda: not (folder / "cgroup.procs").read_text())
        folder.rmdir()
        with suppress(OSError):
            folder.parent.rmdir()


@pytest.mark.parametrize(
    ("selectors", "is_excepted"),
    [
        (f'containers = ["docker:{CONTAINER[:12]}"]', True),
        pytest.param(f'executables = ["{Path(sys.executable).resolve()}"]', True, marks=pytest.mark.full),
        pytest.param(f'users = ["games"]\ncontainers = ["docker:{"0" * 12}"]', False, marks=pytest.mark.full),
    ],
)
def test_a_local_agent_is_excepted_for_its_container_or_executable(
    tmp_path: Path, state: Path, selectors: str, is_excepted: bool
) -> None:
    require_agent()
    (state.parent / "policy.toml").write_text(f"{EXCEPTION}{selectors}\n")
    policy = ("--policy", str(state.parent / "policy.toml"))
    with control_group() as group, slow_internet(tmp_path) as world, running(world, state, *policy):
        with agent_of(world, "games", group):
            wait_for(lambda: any(row["src_container"] for row in tls_events(world)))
        (row,) = tls_events(world)
        (finding,) = get_json(world.monitor, f"{BASE}/v1/findings")["items"]
    assert row["src_container"] == f"docker:{CONTAINER[:12]}"
    assert (bool(row["exception_id"]), finding["state"] == "excepted") == (is_excepted, is_excepted)


def ask_for_a_lease(world: Internet, folder: Path, mac: str) -> None:
    """Have a DHCP server on the gateway, whose lease file nobody reads, and a client that gives itself a name."""
    script = folder / "udhcpc"
    script.write_text(LEASE_SCRIPT)
    script.chmod(0o755)
    options = ["--conf-file=/dev/null", "--port=0", f"--dhcp-leasefile={folder / 'unread'}", "--interface=lan0"]
    ranges = [f"--dhcp-range={CLIENT},{CLIENT},1h", f"--dhcp-host={mac},{CLIENT}", "--no-ping"]
    pid = f"--pid-file={folder / 'pid'}"
    server = world.monitor.popen(["dnsmasq", "--keep-in-foreground", *options, *ranges, pid], stderr=subprocess.DEVNULL)
    try:
        argv = ["udhcpc", "-i", "eth0", "-f", "-q", "-n", "-x", "hostname:build-7", "-s", str(script)]
        world.client.run(argv)
    finally:
        server.terminate()


@pytest.mark.parametrize(
    ("selector", "is_excepted"),
    [
        ('hosts = ["Build-7"]', True),
        pytest.param('macs = ["{mac}"]', True, marks=pytest.mark.full),
        pytest.param('hosts = ["build-70"]', False, marks=pytest.mark.full),
    ],
)
def test_a_forwarded_host_is_named_by_the_lease_that_was_seen_and_excepted_for_it(
    tmp_path: Path, state: Path, selector: str, is_excepted: bool
) -> None:
    if not shutil.which("udhcpc", path="/usr/sbin:/sbin:/usr/bin"):
        pytest.skip("udhcpc is not installed: apt-get install udhcpc")
    with internet_behind_a_gateway(tmp_path, RECORDS) as world:
        mac = world.client.run(["cat", "/sys/class/net/eth0/address"]).stdout.strip()
        policy = state.parent / "policy.toml"
        policy.write_text(f"{EXCEPTION}{selector.replace('{mac}', mac.upper())}\n")
        with running(world, state, "--policy", str(policy)):
            ask_for_a_lease(world, tmp_path, mac)
            argv = ["/usr/bin/python3", "-c", HELLO, SERVER, DEFAULT]
            world.client.popen(argv, stdin=subprocess.PIPE)
            wait_for(lambda: any(row["src_host"] for row in tls_events(world)))
            (row,) = tls_events(world)
            (finding,) = get_json(world.monitor, f"{BASE}/v1/findings")["items"]
    assert (row["src_ip"], row["src_host"], row["src_mac"]) == (CLIENT, "build-7", mac)
    assert (bool(row["exception_id"]), finding["state"] == "excepted") == (is_excepted, is_excepted)

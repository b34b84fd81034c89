"""`molecatcher run` beside a real tunnel agent, in network namespaces of its own."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from frames import read_packets
from main_job import BASE, open_folder, running, wait_for
from netns import needs_root
from stand_ins import CLIENT, GATEWAY, SERVER, Internet, get_json, internet, internet_behind_a_gateway, require_agent

from rules.catalogue.catalogue import load_catalogue
from sensor.packet import Packet

pytestmark = needs_root

CATALOGUE = Path(__file__).parents[1] / "rules" / "catalogue"
LISTED, SANCTIONED = "connect.ngrok-agent.com", "tunnels.example.com"
RECORDS = {LISTED: (SERVER,), SANCTIONED: (SERVER,)}
POLICY = f'[[sanctioned]]\ndomain = "{SANCTIONED}"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'


def events(world: Internet, query: str = "") -> list[dict[str, Any]]:
    return list(get_json(world.monitor, f"{BASE}/v1/events{query}")["items"])


def download(world: Internet, event_id: str, path: Path) -> list[Packet]:
    """Return the packets that are kept with an event."""
    url = f"{BASE}/v1/events/{event_id}/evidence.pcap"
    world.monitor.run(["curl", "--silent", "--fail", "--max-time", "30", "--output", str(path), url])
    return read_packets(str(path))


@pytest.fixture
def state() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder / "state"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Internet]:
    require_agent()
    with internet(tmp_path, RECORDS) as built:
        yield built


def sensors_started(world: Internet) -> list[str]:
    """When the processes of the sensors started that spoke last: those listen."""
    return [row["started_at"] for row in get_json(world.monitor, f"{BASE}/v1/sensors")["items"]]


def kinds(world: Internet) -> set[str]:
    return {row["kind"] for row in events(world)}


@pytest.mark.parametrize(
    ("server_name", "policy", "verdict"),
    [
        (None, "", "unsanctioned"),
        (None, POLICY, "unsanctioned"),
        (SANCTIONED, POLICY, "sanctioned"),
    ],
)
def test_an_agent_becomes_an_event_within_two_seconds(
    world: Internet, state: Path, server_name: str | None, policy: str, verdict: str
) -> None:
    (state.parent / "policy.toml").write_text(policy)
    with running(world, state, "--interface", "eth0", "--policy", str(state.parent / "policy.toml")):
        with world.agent(server_name) as began_s:
            wait_for(lambda: kinds(world) == {"dns", "tls"})
        rows = events(world)
        assert all(datetime.fromisoformat(row["received_at"]).timestamp() - began_s < 2 for row in rows)
        findings = get_json(world.monitor, f"{BASE}/v1/findings")["items"]
        kept = [download(world, row["event_id"], state.parent / "evidence.pcap") for row in rows]
        page = world.monitor.run(["curl", "--silent", "--fail", f"{BASE}/events/{rows[0]['event_id']}"]).stdout
    assert {(row["verdict"], row["service"], row["role"]) for row in rows} == {(verdict, "ngrok", "agent")}
    assert all(packets and {packet.interface for packet in packets} == {"eth0"} for packets in kept)
    assert "<details" in str(page)
    assert [(row["src_ip"], row["service"], row["role"]) for row in findings] == (
        [] if verdict == "sanctioned" else [(CLIENT, "ngrok", "agent")]
    )


def test_without_an_interface_the_default_route_is_watched(world: Internet, state: Path) -> None:
    with running(world, state), world.agent():
        wait_for(lambda: "tls" in kinds(world))
        (sensor,) = get_json(world.monitor, f"{BASE}/v1/sensors")["items"]
    assert sensor["interfaces"] == ["eth0"]
    assert sensor["kernel_drops"] == sensor["shed"] == sensor["malformed"] == 0


def test_a_masquerading_gateway_sees_who_is_inside(tmp_path: Path, state: Path) -> None:
    require_agent()
    with internet_behind_a_gateway(tmp_path, RECORDS) as world, running(world, state), world.agent():
        wait_for(lambda: kinds(world) == {"dns", "tls"})
        (sensor,) = get_json(world.monitor, f"{BASE}/v1/sensors")["items"]
        assert sensor["interfaces"] == ["lan0"]
        assert {row["src_ip"] for row in events(world)} == {CLIENT}


def test_a_default_route_that_appears_later_is_followed(world: Internet, state: Path) -> None:
    world.client.ip("route delete default")
    with running(world, state):
        world.client.ip(f"route add default via {GATEWAY}")
        wait_for(lambda: get_json(world.monitor, f"{BASE}/v1/sensors")["items"][0]["interfaces"] == ["eth0"])
        with world.agent():
            wait_for(lambda: "tls" in kinds(world))


def test_a_changed_policy_takes_effect_and_a_broken_one_does_not(world: Internet, state: Path) -> None:
    policy = state.parent / "policy.toml"
    policy.write_text("")
    with running(world, state, "--interface", "eth0", "--policy", str(policy)):
        policy.write_text(POLICY)
        wait_for(lambda: get_json(world.monitor, f"{BASE}/v1/policy")["sanctioned"])
        policy.write_text("[[sanctioned]]")
        wait_for(lambda: get_json(world.monitor, f"{BASE}/v1/policy")["error"])
        wait_for(lambda: get_json(world.monitor, f"{BASE}/v1/sensors")["items"][0]["policy_error"])
        with world.agent(SANCTIONED):
            wait_for(lambda: "tls" in kinds(world))
        assert {row["verdict"] for row in events(world)} == {"sanctioned"}


@pytest.mark.full
def test_kill_at_any_moment_loses_no_reported_event_and_doubles_none(world: Internet, state: Path) -> None:
    """Each of the three processes is killed in turn while agents connect; what was seen stays, once."""
    with running(world, state, "--interface", "eth0") as main:
        with world.agent():
            wait_for(lambda: kinds(world) == {"dns", "tls"})
        before = {row["event_id"]: row for row in events(world)}
        started = sensors_started(world)
        for name in ("sensor", "serve"):
            os.kill(child_of(main.pid, name), signal.SIGKILL)
            wait_for(lambda: answers(world))
        wait_for(lambda: sensors_started(world) != started)
        assert len(sensors_started(world)) == 1
        with world.agent():
            wait_for(lambda: sum(row["kind"] == "tls" for row in events(world)) == 2)
        main.kill()
        wait_for(lambda: not answers(world))
    (state.parent / "log").unlink()
    with running(world, state, "--interface", "eth0"):
        after = {row["event_id"]: row for row in events(world)}
        assert before.keys() <= after.keys()
        assert sum(row["kind"] == "tls" for row in after.values()) == 2


def test_another_network_namespace_is_watched_without_the_right_to_enter_more(world: Internet, state: Path) -> None:
    elsewhere = replace(world, monitor=world.server)
    interface = f"{world.client.namespace}/eth0"
    with running(elsewhere, state, "--interface", interface) as main, world.agent():
        wait_for(lambda: kinds(elsewhere) == {"dns", "tls"})
        rights = status_of(child_of(main.pid, "sensor"))
        assert {(row["src_ip"], row["interface"]) for row in events(elsewhere)} == {(CLIENT, interface)}
    assert rights["Uid"].split()[0] != "0"
    assert not int(rights["CapPrm"], 16) & (1 << 21 | 1 << 19)


def test_the_processes_have_just_the_rights_they_need(world: Internet, state: Path) -> None:
    with running(world, state, "--interface", "eth0") as main:
        rights = {name: status_of(child_of(main.pid, name)) for name in ("attribute", "sensor", "serve")}
        rights["run"] = status_of(main.pid)
    for status in rights.values():
        assert status["Uid"].split()[0] != "0"
        assert status["NoNewPrivs"] == "1"
    capture = (1 << 13) | (1 << 39)
    read_anywhere = 1 << 2  # only where the clone lies in a folder that the user cannot enter
    assert int(rights["sensor"]["CapEff"], 16) & ~read_anywhere == capture
    assert int(rights["serve"]["CapEff"], 16) & ~read_anywhere == 0
    assert int(rights["attribute"]["CapEff"], 16) == (1 << 19) | read_anywhere


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda state: (state.parent / "policy.toml").write_text("[[x]]"), "Known keys"),
        (lambda state: (state.parent / "policy.toml").unlink(), "--policy"),
        (lambda state: damage(state / "molecatcher.db"), "database"),
    ],
)
def test_what_cannot_be_read_ends_the_start_with_one_clear_sentence(
    world: Internet, state: Path, prepare: Callable[[Path], object], says: str
) -> None:
    policy = state.parent / "policy.toml"
    policy.write_text("")
    prepare(state)
    argv = [sys.executable, "-m", "molecatcher", "run", "--state", str(state), "--policy", str(policy)]
    ended = world.client.run([*argv, "--interface", "eth0"], check=False)
    assert ended.returncode == 1
    sentences = [line for line in ended.stderr.splitlines() if line.startswith("molecatcher: ")]
    assert sentences
    assert any(says in line for line in sentences)
    assert "Traceback" not in ended.stderr


def damage(database: Path) -> None:
    database.parent.mkdir(mode=0o700)
    database.write_bytes(b"this is no database" * 500)
    user = pwd.getpwnam("molecatcher")
    for path in (database.parent, database):
        os.chown(path, user.pw_uid, user.pw_gid)


def answers(world: Internet) -> bool:
    return world.monitor.run(["curl", "-sf", "--max-time", "2", f"{BASE}/healthz"], check=False).returncode == 0


def child_of(parent: int, name: str) -> int:
    """Return the process id of the supervised process whose command ends in `name`."""
    for _ in range(600):
        for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            with suppress(OSError):  # it has ended
                if Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").endswith(name.encode()):
                    return int(pid)
        time.sleep(0.1)
    pytest.fail(f"{name} does not run")


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.mark.full
def test_an_addition_and_an_update_take_effect_while_the_program_runs(world: Internet, state: Path) -> None:
    own = state.parent / "catalogue.d"
    own.mkdir()
    with running(world, state, "--interface", "eth0", "--catalogue-dir", str(own)):
        assert catalogue_of(world)["additions"] == []
        (own / "partner.toml").write_text(f'extends = "ngrok"\n[add]\nagent_domains = ["{SANCTIONED}"]\n')
        wait_for(lambda: catalogue_of(world)["additions"] == ["partner.toml"])
        wait_for(lambda: SANCTIONED in block_list(world))
        with world.agent(SANCTIONED):
            wait_for(lambda: {row["verdict"] for row in events(world)} == {"unsanctioned"})
        take_update(state, "2099.01.01")
        wait_for(lambda: catalogue_of(world)["version"] == "2099.01.01")
        page = world.monitor.run(["curl", "--silent", "--fail", f"{BASE}/"]).stdout
    assert "2099.01.01" in page


def catalogue_of(world: Internet) -> dict[str, Any]:
    return dict(get_json(world.monitor, f"{BASE}/v1/services")["catalogue"])


def block_list(world: Internet) -> str:
    return str(world.monitor.run(["curl", "--silent", f"{BASE}/feeds/unsanctioned-domains.txt"]).stdout)


def take_update(state: Path, version: str) -> None:
    """Sign what is shipped as another version, and take it as root while the program runs as somebody else."""
    private, public, bundle = (state.parent / name for name in ("private.pem", "public.pem", "catalogue.json"))
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    source = state.parent / "rules"
    shutil.copytree(CATALOGUE / "services", source / "services")
    shared = (CATALOGUE / "shared_infrastructure.toml").read_text()
    (source / "shared_infrastructure.toml").write_text(shared.replace(load_catalogue().version, version))
    steps: tuple[list[str | Path], ...] = (
        ["sign", source, "--key", private, "--output", bundle],
        ["update", bundle, "--key", public, "--state", state],
    )
    for argv in steps:
        subprocess.run([sys.executable, "-m", "molecatcher", "catalogue", *argv], check=True, capture_output=True)

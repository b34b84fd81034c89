"""A sensor that stood still while its ring ran over says so: in its state, in the metrics, on findings, on the page."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from cable import send_frames
from frames import udp
from main_job import BASE, open_folder, running, wait_for
from netns import needs_root
from stand_ins import SERVER, Internet, get_json, internet

pytestmark = needs_root

LISTED = "connect.ngrok-agent.com"
FLOOD = tuple(
    udp(0, (f"203.0.113.{number % 200}", 1024 + number, "203.0.113.250", 9000), bytes(1400)).data
    for number in range(12_000)  # 17 MB of flow heads for a ring of 8 MiB
)


def sensor_pid(parent: int) -> int:
    """The process that captures, among the children of the main job."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    (found,) = (pid for pid in children if b"sensor" in Path("/proc", pid, "cmdline").read_bytes())
    return int(found)


def look_up(world: Internet) -> None:
    world.client.run(["getent", "ahosts", LISTED])


def test_what_a_stopped_sensor_lost_is_said_everywhere(tmp_path: Path) -> None:
    with (
        open_folder() as folder,
        internet(tmp_path, {LISTED: (SERVER,)}) as world,
        running(world, folder / "state", "--interface", "eth0") as job,
    ):

        def sensor() -> dict[str, Any]:
            (found,) = get_json(world.monitor, f"{BASE}/v1/sensors")["items"]
            return dict(found)

        assert (sensor()["state"], sensor()["kernel_drops"]) == ("watching", 0)
        pid = sensor_pid(job.pid)
        os.kill(pid, signal.SIGSTOP)
        try:
            world.server.call(send_frames, "eth0", FLOOD)
            time.sleep(1)
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_for(lambda: sensor()["kernel_drops"])
        look_up(world)
        wait_for(lambda: get_json(world.monitor, f"{BASE}/v1/findings")["items"])
        status = sensor()
        (finding,) = get_json(world.monitor, f"{BASE}/v1/findings")["items"]
        metrics = world.monitor.run(["curl", "-s", f"{BASE}/metrics"]).stdout
        page = world.monitor.run(["curl", "-s", f"{BASE}/"]).stdout
    assert status["state"] == "losing_packets"
    assert 0 < finding["sensor_loss"] == status["kernel_drops"] < len(FLOOD)
    assert status["interface_drops"] == {"eth0": status["kernel_drops"]}
    assert 'state="losing_packets"} 1.0' in metrics
    assert "Losing packets: " in page
    assert "while this was seen: counts may be low, and other tunnels may be missing" in page

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from free_ports import free_port
from installation import wait_until

from molecatcher.processes import api
from molecatcher.processes.api import ApiProcess
from molecatcher.processes.notify import Notifier
from molecatcher.settings import Settings


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_with_status_0(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    argv = [sys.executable, "-m", "molecatcher", "serve", "--state", str(tmp_path), "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        wait_until_it_answers(port)
        process.send_signal(number)
        _, printed = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in printed
    assert not (tmp_path / "molecatcher.db-wal").exists()


def test_the_watchdog_is_fed_while_lists_are_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "POLL_S", 0.05)
    policy = tmp_path / "policy.toml"
    policy.touch()
    process = ApiProcess(Settings(state=tmp_path / "state", listen="127.0.0.1:0", policy=policy, zone_checks=False))
    spans: list[tuple[int, int]] = []
    said: list[bytes] = []
    catch_up = process.publisher._catch_up

    def catch_up_slowly() -> None:
        began = len(said)
        time.sleep(1)
        catch_up()
        spans.append((began, len(said)))

    process.publisher._catch_up = catch_up_slowly  # type: ignore[method-assign]  # as long as many large lists take
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "manager"))

        def listen() -> None:
            while True:
                said.append(manager.recv(100))
                if said[-1] == b"READY=1":
                    policy.write_text('[services]\nlocaltunnel = "monitor"\n')
                if said[-1] == b"WATCHDOG=1" and len(spans) >= 3:  # start, the publisher's thread, the new rules
                    process.server.stop()
                    return

        listener = threading.Thread(target=listen)
        listener.start()
        process.run(Notifier({"NOTIFY_SOCKET": str(tmp_path / "manager"), "WATCHDOG_USEC": "200000"}))
        listener.join(60)
    assert all(said[began:ended].count(b"WATCHDOG=1") >= 3 for began, ended in spans), spans


def wait_until_it_answers(port: int) -> None:
    wait_until(lambda: answers(port))


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False, timeout=60).is_success
    except httpx.TransportError:
        return False

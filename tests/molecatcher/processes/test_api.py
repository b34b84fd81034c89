import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from free_ports import free_port


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_with_status_0(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    argv = [sys.executable, "-m", "molecatcher", "serve", "--state", str(tmp_path), "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        wait_until_it_answers(port)
        process.send_signal(number)
        _, printed = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in printed
    assert not (tmp_path / "molecatcher.db-wal").exists()


def wait_until_it_answers(port: int) -> None:
    for _ in range(200):
        try:
            httpx.get(f"http://127.0.0.1:{port}/healthz").raise_for_status()
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the API does not answer")

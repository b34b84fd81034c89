import platform
import subprocess
import sys

import pytest
from netns import Network, needs_root

from sensor.capture.live.probe import Probe, has_capability, probe_host

UNPRIVILEGED = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
SHOW = (
    "from sensor.capture.live.probe import probe_host\nfor probe in probe_host(): print(probe.name, probe.ok, sep='=')"
)


def by_name() -> dict[str, Probe]:
    return {probe.name: probe for probe in probe_host()}


def test_whatever_is_missing_has_a_remedy() -> None:
    probes = probe_host()
    assert len({probe.name for probe in probes}) == len(probes)
    for probe in probes:
        assert probe.detail
        assert probe.ok or probe.remedy


def test_the_kernel_is_named() -> None:
    assert by_name()["kernel"].detail == f"Linux {platform.release()}"


@needs_root
def test_root_may_capture() -> None:
    found = by_name()
    assert found["packet sockets"].ok
    assert found["BPF"].ok == has_capability(39)
    assert found["engine"].detail == "flow-heads-ring: flow heads are cut in the kernel"


@needs_root
def test_a_namespace_without_routes_has_nothing_to_listen_on() -> None:
    with Network() as network:
        host = network.host("lonely")
        with host.inside():
            probe = by_name()["interfaces"]
    assert (probe.ok, probe.detail) == (False, "no default route: waiting")


@needs_root
def test_an_ordinary_user_is_told_what_is_missing() -> None:
    done = subprocess.run(
        [*UNPRIVILEGED, sys.executable, "-c", SHOW], check=False, capture_output=True, text=True, cwd="/"
    )
    if done.returncode != 0 and "Permission" in done.stderr:
        pytest.skip("the checkout cannot be read by another user")
    found = dict(line.split("=") for line in done.stdout.splitlines())
    assert found["packet sockets"] == "False"
    assert found["BPF"] == "False"
    assert found["engine"] == "False"
    assert found["kernel"] == "True"

"""One sensor in several network namespaces, also as an ordinary user, and namespaces that go and come back."""

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from cable import send_frames
from frames import SYN, tcp
from installation import wait_until
from netns import Host, Network, needs_root

from sensor.capture.filter.limits import Limits
from sensor.capture.live.engine import open_source
from sensor.capture.live.listening import Listening
from sensor.capture.live.live import LiveSource
from sensor.capture.live.namespaces import Namespaces, full_name, named_namespaces, split_name
from sensor.errors import CaptureError

SMALL = Limits(flows=64)
PORT = 1000
USER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]
ENTER_AND_LISTEN = """
import structlog, sys, time
from pathlib import Path
from sensor.capture.live.engine import open_source
from sensor.capture.live.namespaces import TO_ENTER, Namespaces, give_up, named_namespaces
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
wanted = sys.argv[1:]
namespaces = Namespaces(*sorted(named_namespaces(wanted, ())))
give_up(*TO_ENTER)
with open_source(wanted, namespaces=namespaces) as source:
    threads = [path.read_text() for path in Path("/proc/self/task").glob("*/status")]
    rights = {line.split()[1] for text in threads for line in text.splitlines() if line.startswith("CapPrm")}
    print("ready", source.engine, *sorted(rights), flush=True)
    end, seen = time.monotonic() + 60, set()
    while time.monotonic() < end and len(seen) < len(wanted):
        seen |= {packet.interface for packet in source.read(0.2)}
    print(*sorted(seen))
"""

pytestmark = needs_root
_numbers = itertools.count()


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host, Network]]:
    """Two hosts to watch; `join` lays their cables."""
    with Network() as network:
        yield network.host("one"), network.host("two"), network


def new_frame() -> bytes:
    """A SYN like no other: the same five-tuple, or sequence number, on another interface would be a copy of it."""
    number = next(_numbers)
    return tcp(0, ("192.0.2.1", PORT + number, "192.0.2.2", 443), (number, 1, SYN)).data


def join(network: Network, *hosts: Host) -> Host:
    """Lay a cable from `eth0` of each host to a new one, where its end is named like the host."""
    other = network.host("other")
    for host in hosts:
        network.cable(host, "eth0", other, host.name)
    return other


def receive(source: LiveSource, *interfaces: str) -> set[str]:
    """The interfaces that packets came from, until all of `interfaces` did or a minute was over."""
    seen: set[str] = set()
    end = time.monotonic() + 60
    while not seen >= set(interfaces) and time.monotonic() < end:
        seen |= {packet.interface for packet in source.read(0.05) or ()}
    return seen


def shows_only(source: LiveSource, name: str) -> bool:
    return source.read(0) is not None and source.interfaces == (name,)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("eth0", ("", "eth0")),
        ("blue/eth0", ("blue", "eth0")),
        ("pid:42/eth0", ("pid:42", "eth0")),
        ("/run/docker/netns/4f/eth0", ("/run/docker/netns/4f", "eth0")),
    ],
)
def test_a_name_has_two_parts(name: str, parts: tuple[str, str]) -> None:
    assert split_name(name) == parts
    assert full_name(*parts) == name


def test_the_own_namespace_is_not_among_those_to_enter() -> None:
    assert named_namespaces(["eth0", "blue/eth0", "blue/eth1"], ["red"]) == {"blue", "red"}


def test_packets_of_two_namespaces_come_from_one_source(hosts: tuple[Host, Host, Network]) -> None:
    one, two, network = hosts
    other = join(network, one, two)
    namespaces = Namespaces(one.namespace, two.namespace)
    wanted = [f"{host.namespace}/eth0" for host in (one, two)]
    with open_source(wanted, SMALL, namespaces) as source:
        assert source.interfaces == tuple(wanted)
        for host in (one, two):
            other.call(send_frames, host.name, (new_frame(),))
        assert receive(source, *wanted) >= set(wanted)
    namespaces.close()


@pytest.mark.parametrize("kind", ["process", "path"])
def test_a_process_or_a_path_names_a_namespace(hosts: tuple[Host, Host, Network], kind: str) -> None:
    one, _, network = hosts
    other = join(network, one)
    process = one.popen(["sleep", "60"])
    wait_until(lambda: Path(f"/proc/{process.pid}/ns/net").stat() != Path("/proc/self/ns/net").stat())
    name = f"pid:{process.pid}" if kind == "process" else f"/run/netns/{one.namespace}"
    namespaces = Namespaces(name)
    with open_source([f"{name}/eth0"], SMALL, namespaces) as source:
        other.call(send_frames, "one", (new_frame(),))
        assert receive(source, f"{name}/eth0")
        assert namespaces.follow() == set()
        process.kill()
        process.wait()
        assert (namespaces.follow() == {name}) == (kind == "process")
    namespaces.close()


def test_interfaces_inside_come_go_and_change_their_names(hosts: tuple[Host, Host, Network]) -> None:
    one, _, network = hosts
    namespaces = Namespaces(one.namespace)
    eth0, wan0 = (f"{one.namespace}/{name}" for name in ("eth0", "wan0"))
    with open_source([eth0, wan0], SMALL, namespaces) as source:
        other = join(network, one)
        for name, command in ((eth0, "link set eth0 name wan0"), (wan0, "link delete wan0")):
            wait_until(partial(shows_only, source, name))
            other.call(send_frames, "one", (new_frame(),))
            assert name in receive(source, name)
            one.ip(command)
        wait_until(lambda: source.read(0) is not None and source.interfaces == ())
    namespaces.close()


def test_a_namespace_that_is_made_again_is_entered_again(hosts: tuple[Host, Host, Network]) -> None:
    one, two, network = hosts
    other = join(network, one, two)
    namespaces = Namespaces(one.namespace, two.namespace)
    wanted = [f"{host.namespace}/eth0" for host in (one, two)]
    listening = Listening(namespaces, wanted)
    with open_source(wanted, SMALL, namespaces) as source:
        one.run(["ip", "netns", "delete", one.namespace])
        assert namespaces.follow() == {one.namespace}
        listening.renew({one.namespace})
        source.renew({one.namespace})
        assert source.interfaces == (wanted[1],)
        assert listening.has_changed()
        assert listening.choose().reason.endswith(f"the network namespace {one.namespace} is gone")
        # Nobody keeps it alive:
        wait_until(lambda: source.read(0) == [] and "one" not in other.run(["ip", "link"]).stdout)
        subprocess.run(["ip", "netns", "add", one.namespace], check=True)
        network.cable(one, "eth0", other, "one")
        assert namespaces.follow() == {one.namespace}
        listening.renew({one.namespace})
        source.renew({one.namespace})
        assert set(source.interfaces) == set(wanted)
        assert "gone" not in listening.choose().reason
        other.call(send_frames, "one", (new_frame(),))
        assert wanted[0] in receive(source, wanted[0])
    listening.close()
    namespaces.close()


def test_interfaces_are_chosen_in_each_namespace(hosts: tuple[Host, Host, Network]) -> None:
    one, two, network = hosts
    join(network, one, two)
    one.address("eth0", "192.0.2.1/24")
    one.ip("route add default via 192.0.2.9")
    namespaces = Namespaces(one.namespace, two.namespace)
    with two.inside():
        listening = Listening(namespaces, (), (one.namespace,))
        choice = listening.choose()
        assert choice.interfaces == (f"{one.namespace}/eth0",)
        assert choice.reason == f"own namespace: no default route: waiting; {one.namespace}: default route"
        listening.has_changed()
        one.ip("route delete default")
        wait_until(listening.has_changed)
        assert listening.choose().interfaces == ()
        listening.close()
    namespaces.close()


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("no-such-namespace", "there is no network namespace no-such-namespace"),
        ("pid:4194304", "there is no network namespace pid:4194304"),
        ("/etc/hostname", "/etc/hostname is no network namespace"),
    ],
)
def test_what_is_no_namespace_is_said(name: str, advice: str) -> None:
    with pytest.raises(CaptureError, match=advice):
        Namespaces(name)


def run_as_user(rights: tuple[str, ...], *wanted: str) -> "subprocess.Popen[str]":
    """A process of an ordinary user that enters and listens."""
    exactly = ",".join(["-all", *(f"+{name}" for name in rights)])
    limits = [f"--{kind}={exactly}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    argv = [*USER, *limits, sys.executable, "-c", ENTER_AND_LISTEN, *wanted]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/")


def test_an_ordinary_user_enters_and_gives_that_right_up(hosts: tuple[Host, Host, Network]) -> None:
    one, two, network = hosts
    other = join(network, one, two)
    wanted = sorted(f"{host.namespace}/eth0" for host in (one, two))
    with run_as_user(("net_raw", "bpf", "sys_admin", "sys_ptrace"), *wanted) as process:
        assert process.stdout is not None
        said = process.stdout.readline().split()
        if not said:
            pytest.skip("the checkout cannot be read by another user")
        assert said == ["ready", "flow-heads-ring", f"{1 << 39 | 1 << 13:016x}"]
        for host in (one, two):
            other.call(send_frames, host.name, (new_frame(),))
        assert process.stdout.readline().split() == wanted


def test_without_the_right_one_sentence_says_what_to_do(hosts: tuple[Host, Host, Network]) -> None:
    one, _, _ = hosts
    with run_as_user(("net_raw", "bpf"), f"{one.namespace}/eth0") as process:
        errors = process.communicate(timeout=30)[1]
    if "Permission denied" in errors:
        pytest.skip("the checkout cannot be read by another user")
    assert f"entering network namespace {one.namespace} needs CAP_SYS_ADMIN: start the program as root" in errors

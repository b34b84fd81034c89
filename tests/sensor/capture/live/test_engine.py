"""Which engine a process gets by its rights and by what is installed, and that it works as an ordinary user."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from cable import open_wire
from frames import SYN, tcp
from netns import needs_root
from structlog.testing import capture_logs

from sensor.capture.filter import bpf_loader
from sensor.capture.filter.classic import HEAD_SNAP_OCTETS
from sensor.capture.filter.flow_heads import FlowHeads
from sensor.capture.filter.limits import Limits
from sensor.capture.filter.packet_filter import EveryIpPacket
from sensor.capture.filter.program_heads import IS_COMPILED, ProgramHeads
from sensor.capture.live.engine import choose_engine, open_source
from sensor.capture.live.live import LiveSource
from sensor.capture.live.plain import PlainTap
from sensor.capture.live.ring import BLOCK_OCTETS, BLOCKS, RingTap, ring_sizes
from sensor.errors import BpfUnavailable, CaptureError

pytestmark = needs_root

SMALL = Limits(flows=64)
CUT_IN_THE_PROGRAM = "every IP packet is taken and flow heads are cut in the program"
needs_compiler = pytest.mark.skipif(not IS_COMPILED, reason="there was no compiler at install")
USER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]
SHOW = """
import structlog, sys
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
from sensor.capture.live.engine import open_source
source = open_source(["lo"])
print(source.engine, *source.interfaces, source.engine_reason, sep="|")
"""


def as_user(*capabilities: str) -> str:
    """The last line of output of a process of an ordinary user with exactly `capabilities`."""
    wanted = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    rights = [f"--{kind}={wanted}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    argv = [*USER, *rights, sys.executable, "-c", SHOW]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, cwd="/", timeout=60)
    if done.returncode and "Permission denied" in done.stderr:
        pytest.skip("the checkout cannot be read by another user")
    return (done.stdout.strip() or done.stderr.strip()).splitlines()[-1]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_two_capabilities_are_enough() -> None:
    assert as_user("net_raw", "bpf") == "flow-heads-ring|lo|flow heads are cut in the kernel"


@needs_compiler
def test_without_bpf_rights_heads_are_cut_in_the_program() -> None:
    engine, interfaces, reason = as_user("net_raw").split("|")
    assert (engine, interfaces) == ("ring", "lo")
    assert reason == f"{CUT_IN_THE_PROGRAM}, since this process may not load BPF programs (CAP_BPF)"


def test_without_any_right_one_sentence_says_what_to_do() -> None:
    assert "live capture needs CAP_NET_RAW" in as_user()


@needs_compiler
def test_without_libbpf_heads_are_cut_in_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf_loader, "LIBBPF", "libbpf.so.99")
    engine = choose_engine()
    assert engine.name == "ring"
    assert "libbpf.so.99 is not installed" in engine.reason
    assert isinstance(engine.packet_filter, ProgramHeads)


def test_without_libbpf_and_compiler_every_packet_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf_loader, "LIBBPF", "libbpf.so.99")
    monkeypatch.setattr("sensor.capture.live.engine.IS_COMPILED", False)
    engine = choose_engine()
    assert (engine.name, engine.packet_filter) == ("ring", EveryIpPacket(HEAD_SNAP_OCTETS))
    assert "every IP packet is read in Python (there was no C compiler at install)" in engine.reason


def test_the_ring_is_larger_where_the_kernel_cuts_nothing_off(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {}
    for library in (bpf_loader.LIBBPF, "libbpf.so.99"):
        monkeypatch.setattr(bpf_loader, "LIBBPF", library)
        with open_source(["lo"], SMALL) as source:
            (tap,) = source._sockets.taps.values()
            assert isinstance(tap, RingTap)
            sizes[source.engine] = len(tap._ring) >> 20
    assert sizes == {"flow-heads-ring": 8, "ring": 32}


def test_without_a_ring_packets_are_received(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensor.capture.live.engine.PACKET_RX_RING", 250)
    with LiveSource(("lo",), choose_engine(SMALL)) as source:
        assert (source.engine, source.way.open_tap) == ("flow-heads", PlainTap)
        assert "without a ring: Protocol not available" in source.engine_reason


@needs_compiler
def test_without_either_packets_are_received(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensor.capture.live.engine.PACKET_RX_RING", 250)
    monkeypatch.setattr(bpf_loader, "LIBBPF", "libbpf.so.99")
    with LiveSource(("lo",), choose_engine(SMALL)) as source:
        assert (source.engine, source.way.open_tap) == ("af-packet", PlainTap)
        assert CUT_IN_THE_PROGRAM in source.engine_reason
        assert source.counters().flows_places == SMALL.flows


def test_the_choice_is_logged() -> None:
    with capture_logs() as logs, open_source(["lo"], SMALL) as source:
        assert logs[0] == {
            "event": "capture_engine",
            "engine": source.engine,
            "reason": "flow heads are cut in the kernel",
            "log_level": "info",
        }


def test_an_object_that_is_not_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BpfUnavailable, match=r"libbpf cannot read nothing\.o"):
        FlowHeads(SMALL, tmp_path / "nothing.o")
    (tmp_path / "text.o").write_bytes(b"text")
    with pytest.raises(BpfUnavailable, match=r"libbpf cannot read text\.o"):
        FlowHeads(SMALL, tmp_path / "text.o")


def test_descriptors_are_given_back() -> None:
    before = open_files()
    for _ in range(3):
        with open_source(["lo"], SMALL) as source:
            assert source.engine == "flow-heads-ring"
    assert open_files() == before


def test_a_refused_source_gives_its_filter_back(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = FlowHeads(SMALL)
    engine = choose_engine(SMALL)
    before = open_files()

    def refuse() -> None:
        raise CaptureError("no")

    monkeypatch.setattr("sensor.capture.live.live.check_permission", refuse)
    with pytest.raises(CaptureError):
        LiveSource(("lo",), engine)
    assert open_files() < before
    heads.close()
    heads.close()


def test_the_table_is_read_whole_by_batch() -> None:
    heads = FlowHeads(Limits(flows=20_000))
    with open_wire() as wire:
        tap = RingTap("eth0", heads)
        ends = [(f"10.0.{number >> 8}.{number & 255}", 1000, "192.0.2.1", 443) for number in range(9000)]
        wire.send(*(tcp(0, row, (1, 1, SYN)).data for row in ends))
        rows = list(heads.flow_counts)
        tap.close()
    heads.close()
    assert len(dict(rows)) == 9000
    assert {sum(row.octets) for _, row in rows} == {54}


def test_what_the_kernel_refuses_is_an_error() -> None:
    heads = FlowHeads(SMALL)
    with pytest.raises(OSError, match="BPF map limits") as caught:
        heads._object.write("limits", bytes((9, 0, 0, 0)), SMALL.pack())
    assert caught.value.errno == errno.E2BIG
    assert heads._object.read("flows", bytes(40), 80) is None
    heads.close()


def test_several_interfaces_share_the_memory_of_one_ring() -> None:
    assert [ring_sizes(count) for count in (1, 2, 5, 100)] == [(64, 16, 4), (32, 16, 4), (12, 4), (4,)]
    with open_wire() as wire:
        wire.network.cable(wire.sensor, "eth1", wire.sender, "eth1")
        with open_source(["eth0", "eth1"], SMALL) as source:
            rings = [tap for tap in source._sockets.taps.values() if isinstance(tap, RingTap)]
            assert [len(tap._ring) for tap in rings] == [BLOCKS * BLOCK_OCTETS // 2] * 2

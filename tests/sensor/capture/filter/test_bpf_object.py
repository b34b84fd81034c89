"""The committed eBPF object is what its source says: rebuilt, it has the same instructions and judges the same."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest
from cable import drain, open_wire
from netns import needs_root
from recordings import CAPTURES

from sensor.capture.filter.flow_heads import OBJECT, FlowHeads
from sensor.capture.filter.limits import Limits
from sensor.capture.live.live import LiveSource
from sensor.capture.live.ring import RingTap
from sensor.capture.live.sockets import Engine
from sensor.capture.offline.file import open_capture
from sensor.packet import LinkType

ROOT = Path(__file__).parents[4]
TOOLS = ("clang", "llvm-objcopy", "make")
BUILT_BY = "clang version 14.0.6"  # the committed object; others may choose other instructions
RECORDED = ("ngrok-py-default", "cf2025-token-quic", "ipv6-ngrok2", "link-disorder-ngrok-py-sanctioned")

needs_clang = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason="clang or llvm-objcopy is missing: `make .venv/.dev` installs them"
)


@pytest.fixture
def rebuilt(tmp_path: Path) -> Path:
    """The object as `make bpf` builds it from the source."""
    sources = OBJECT.parent.relative_to(ROOT)
    shutil.copy(ROOT / "Makefile", tmp_path / "Makefile")
    shutil.copytree(ROOT / sources, tmp_path / sources, ignore=shutil.ignore_patterns("*.o"))
    subprocess.run(["make", "bpf"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    return tmp_path / OBJECT.relative_to(ROOT)


def frames() -> list[bytes]:
    """Recorded frames, and the same with a few octets changed at random."""
    found: list[bytes] = []
    for name in RECORDED:
        with open_capture(str(CAPTURES / f"{name}.pcap")) as capture:
            while (batch := capture.read()) is not None:
                found += [row.data for row in batch if row.link_type == LinkType.ETHERNET]
    source = random.Random(5)
    for frame in source.sample(found, 500):
        changed = bytearray(frame)
        for _ in range(3):
            changed[source.randrange(12, min(len(frame), 80))] = source.randrange(256)
        found.append(bytes(changed))
    return found


@needs_root
@needs_clang
def test_the_committed_object_behaves_as_its_source(rebuilt: Path) -> None:
    sent = frames()
    filters = [FlowHeads(Limits(flows=4096), path) for path in (OBJECT, rebuilt)]
    with open_wire() as wire:
        sources = [LiveSource(("eth0",), Engine("test", "", one, RingTap)) for one in filters]
        wire.send(*sent)
        got = [[(row.data, row.wire_octets) for row in drain(source)] for source in sources]
        flows = [{(key, row.octets, row.packets) for key, row in one.flow_counts} for one in filters]
        counted = [source.counters() for source in sources]
        for source in sources:
            source.close()
    assert got[0] == got[1]
    assert flows[0] == flows[1]
    assert counted[0] == counted[1]
    assert 0 < len(got[0]) < len(sent)


def instructions(path: Path, folder: Path) -> bytes:
    """The programs of an object, both of its section `socket`."""
    target = folder / "instructions"
    subprocess.run(["llvm-objcopy", "-O", "binary", "--only-section=socket", str(path), str(target)], check=True)
    return target.read_bytes()


@needs_clang
def test_the_committed_object_has_the_instructions_of_its_source(rebuilt: Path, tmp_path: Path) -> None:
    if BUILT_BY not in subprocess.run(["clang", "--version"], check=True, capture_output=True, text=True).stdout:
        pytest.skip(f"the committed object is that of {BUILT_BY}")
    found = instructions(OBJECT, tmp_path)
    assert len(found) > 10_000
    assert found == instructions(rebuilt, tmp_path), "`make bpf`, and commit the object with its source"


@needs_clang
def test_the_same_compiler_builds_the_same_object(rebuilt: Path, tmp_path: Path) -> None:
    first = rebuilt.read_bytes()
    subprocess.run(["make", "bpf"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    assert rebuilt.read_bytes() == first

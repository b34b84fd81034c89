"""What this host can capture and what is missing, for people (`molecatcher doctor`)."""

import ctypes
import platform
import re
import resource
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from sensor.capture.filter.bpf_loader import LIBBPF
from sensor.capture.filter.limits import Limits
from sensor.capture.live.engine import BEST_ENGINE, choose_engine
from sensor.capture.live.interfaces import choose_interfaces
from sensor.capture.live.plain import KERNEL_BUFFER_OCTETS
from sensor.capture.live.tap import check_permission
from sensor.errors import CaptureError

CAP_BPF = 39
OLDEST_KERNEL = (4, 20)  # PACKET_IGNORE_OUTGOING; without it the loopback cannot be captured
BPF_KERNEL = (5, 8)  # CAP_BPF
PROBE_FLOWS = 64
OPEN_FILES = 1024
OLDEST_TIME_S = 1_760_000_000  # 2025-10-09: a clock before that was never set
BUFFER_OCTETS = 4 * 1024 * 1024

_TIMEX_OCTETS = 512  # struct timex has 208
_TIME_ERROR = 5  # adjtimex(2): not synchronised


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing that was looked at; `remedy` is what to do if it is not `ok`."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def probe_host() -> list[Probe]:
    """Return what was found, in the order in which to put it right. Changes nothing; takes a few milliseconds."""
    return [
        _packet_sockets(),
        _interfaces(),
        _kernel(),
        _bpf(),
        _libbpf(),
        _engine(),
        _receive_buffer(),
        _clock(),
        _open_files(),
        _locked_memory(),
    ]


def _packet_sockets() -> Probe:
    remedy = "start it as root (it gives up everything else), or install systemd/molecatcher.service"
    try:
        check_permission()
    except CaptureError as error:
        return Probe("packet sockets", ok=False, detail=str(error), remedy=remedy)
    return Probe("packet sockets", ok=True, detail="AF_PACKET can be opened (CAP_NET_RAW)")


def _interfaces() -> Probe:
    remedy = "add a default route, or name the interfaces with --interface"
    try:
        choice = choose_interfaces()
    except (NetlinkError, OSError) as error:
        return Probe("interfaces", ok=False, detail=f"the kernel does not list them: {error}", remedy=remedy)
    names = ", ".join(choice.interfaces)
    detail = f"{names} ({choice.reason})" if names else choice.reason
    return Probe("interfaces", ok=bool(names), detail=detail, remedy=remedy)


def _kernel() -> Probe:
    release = platform.release()
    oldest = ".".join(map(str, OLDEST_KERNEL))
    return Probe(
        "kernel", ok=_version(release) >= OLDEST_KERNEL, detail=f"Linux {release}", remedy=f"Linux {oldest} or later"
    )


def _bpf() -> Probe:
    """Whether flow heads could be cut in the kernel."""
    disabled = _read("/proc/sys/kernel/unprivileged_bpf_disabled") or "not there"
    setting = f"unprivileged_bpf_disabled is {disabled}"
    if _version(platform.release()) < BPF_KERNEL:
        return Probe("BPF", ok=False, detail="this kernel has no CAP_BPF", remedy="Linux 5.8 or later")
    if not has_capability(CAP_BPF):
        remedy = "grant CAP_BPF (systemd/molecatcher-sensor.service does); capture works without it"
        return Probe("BPF", ok=False, detail=f"this process has no CAP_BPF; {setting}", remedy=remedy)
    return Probe("BPF", ok=True, detail=f"CAP_BPF; {setting}")


def _libbpf() -> Probe:
    try:
        ctypes.CDLL(LIBBPF)
    except OSError:
        remedy = "apt-get install libbpf1; capture works without it"
        return Probe("libbpf", ok=False, detail=f"{LIBBPF} is not installed", remedy=remedy)
    return Probe("libbpf", ok=True, detail=LIBBPF)


def _engine() -> Probe:
    """How packets would be taken by this process; tried, not guessed."""
    remedy = "what BPF and libbpf say above; until then the kernel copies every packet, and the sensor looks at each"
    try:
        engine = choose_engine(Limits(flows=PROBE_FLOWS))
    except CaptureError as error:
        return Probe("engine", ok=False, detail=str(error), remedy="put the packet sockets right")
    engine.packet_filter.close()
    return Probe("engine", ok=engine.name == BEST_ENGINE, detail=f"{engine.name}: {engine.reason}", remedy=remedy)


def _receive_buffer() -> Probe:
    """What a packet socket of ours can have; measured on an ordinary socket, which has the same limits."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER_OCTETS)
        octets = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # the kernel doubles it for its own use
    return Probe(
        "receive buffer",
        ok=octets >= BUFFER_OCTETS,
        detail=f"{octets // 1024} KiB for packets that wait to be read",
        remedy=f"sysctl net.core.rmem_max={KERNEL_BUFFER_OCTETS}",
    )


def _clock() -> Probe:
    remedy = "synchronise the clock (systemd-timesyncd, chrony): events carry its time, and policies expire by it"
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if time.time() < OLDEST_TIME_S:
        return Probe("clock", ok=False, detail=f"{stamp} is in the past", remedy=remedy)
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_OCTETS))  # all zero: only reads
    if state == _TIME_ERROR:
        return Probe("clock", ok=False, detail=f"{stamp}, not synchronised", remedy=remedy)
    return Probe("clock", ok=True, detail=f"{stamp}, synchronised" if state >= 0 else stamp)


def _open_files() -> Probe:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Probe("open files", ok=_is_enough(soft, OPEN_FILES), detail=_limit(soft), remedy=f"ulimit -n {OPEN_FILES}")


def _locked_memory() -> Probe:
    """Only kernels before 5.11 charge BPF maps to it."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    matters = _version(platform.release()) < (5, 11)
    ok = not matters or _is_enough(soft, KERNEL_BUFFER_OCTETS)
    note = "" if matters else " (this kernel does not charge BPF maps to it)"
    return Probe("locked memory", ok=ok, detail=_limit(soft) + note, remedy="ulimit -l unlimited, before BPF is used")


def has_capability(number: int) -> bool:
    """Tell whether capability `number` (capability.h) is effective in this process."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", _read("/proc/self/status"), re.MULTILINE)
    return bool(found and int(found[1], 16) >> number & 1)


def _version(release: str) -> tuple[int, int]:
    """The first two numbers of a kernel release, (0, 0) if it has none."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _is_enough(limit: int, wanted: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= wanted


def _limit(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else str(limit)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""

"""Suricata: as Debian configures it, and tuned for this work.

Tuned: alerts only, one thread, flows bypassed once their handshake is over, QUIC looked for on port 7844 too. Live with
the ring that Debian configures, and with one of TPACKET_V3 in blocks of 1 MiB and no defragmentation in the kernel.
"""

import json
import re
from pathlib import Path

from peers.live import Outcome, Receiver
from peers.program import Ends, Program, Work, ends, first_line

CONFIGURATION = Path("/etc/suricata/suricata.yaml")
SSH = 'alert ssh any any -> any !22 (msg:"SSH off its port"; flow:to_server; ssh.proto; content:"2."; sid:900000;)'
TUNED = f"""%YAML 1.1
---
include: {CONFIGURATION}
outputs:
  - eve-log:
      enabled: yes
      filetype: regular
      filename: eve.json
      types:
        - alert:
            metadata: no
"""
WORKER = """af-packet:
  - interface: {interface}
    threads: 1
    cluster-id: 99
    cluster-type: cluster_flow
"""
LARGE_RING = """    defrag: no
    use-mmap: yes
    tpacket-v3: yes
    ring-size: 65536
    block-size: 1048576
"""
TUNING = {
    "stream.bypass": "yes",
    "app-layer.protocols.tls.encryption-handling": "bypass",
    "app-layer.protocols.quic.detection-ports.dp": "443,7844",
}


def _version() -> str | None:
    return first_line(["suricata", "-V"]) if CONFIGURATION.exists() else None


def _rules(suffixes: tuple[str, ...]) -> str:
    rows = [
        f'alert {protocol} any any -> any any (msg:"{suffix}"; {buffer}; dotprefix; content:".{suffix}"; nocase; '
        f"endswith; sid:{number * 10 + at};)"
        for number, suffix in enumerate(suffixes, 100)
        for at, (protocol, buffer) in enumerate((("dns", "dns.query"), ("tls", "tls.sni"), ("quic", "quic.sni")))
    ]
    return "\n".join([*rows, SSH, ""])


def _command(work: Work) -> list[str]:
    rules = work.folder / "tunnels.rules"
    rules.write_text(_rules(work.suffixes))
    return ["suricata", "-r", str(work.capture), "-S", str(rules), "-l", str(work.folder), "-c", str(CONFIGURATION)]


def _tuned_command(work: Work) -> list[str]:
    tuned = work.folder / "tuned.yaml"
    tuned.write_text(TUNED)
    return [*_command(work)[:-1], str(tuned), "--runmode", "single", *_settings()]


def _settings() -> list[str]:
    return [word for key, value in TUNING.items() for word in ("--set", f"{key}={value}")]


def _live(work: Work, interface: str) -> list[str]:
    return ["suricata", f"--af-packet={interface}", *_command(work)[3:]]


def _tuned_live(work: Work, interface: str, ring: str = "") -> list[str]:
    command = _tuned_command(work)
    (work.folder / "tuned.yaml").write_text(TUNED + WORKER.format(interface=interface) + ring)
    return ["suricata", f"--af-packet={interface}", *command[3 : command.index("--runmode")], *_settings()]


def _large_ring_live(work: Work, interface: str) -> list[str]:
    return _tuned_live(work, interface, LARGE_RING)


def _find(work: Work) -> set[Ends]:
    lines = (work.folder / "eve.json").read_text().splitlines()
    alerts = (json.loads(line) for line in lines if '"event_type":"alert"' in line)
    return {ends(row["proto"], row["src_ip"], row["src_port"], row["dest_ip"], row["dest_port"]) for row in alerts}


def _counted(log: str) -> tuple[int, int]:
    """Return the packets that the interface offered and those that the kernel dropped."""
    found = re.search(r"packets: (\d+), drops: (\d+)", log)
    if found is None:
        raise ValueError(f"Suricata did not say what it dropped:\n{log[-2000:]}")
    return int(found[1]), int(found[2])


def _outcome(work: Work, log: str) -> Outcome:
    return Outcome(*_counted(log), _find(work))


RECEIVERS = [
    Receiver("Suricata, tuned", _version, _tuned_live, "Engine started", _outcome),
    Receiver("Suricata, tuned, large ring", _version, _large_ring_live, "Engine started", _outcome),
    Receiver("Suricata, default", _version, _live, "Engine started", _outcome),
]
PROGRAMS = [
    Program("Suricata, tuned", _version, _tuned_command, _find),
    Program("Suricata, default", _version, _command, _find),
]

"""Suricata: as Debian configures it, and tuned for this work.

Tuned: alerts only, one thread, flows bypassed once their handshake is over, QUIC looked for on port 7844 too.
"""

import json
from pathlib import Path

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
    settings = [word for key, value in TUNING.items() for word in ("--set", f"{key}={value}")]
    return [*_command(work)[:-1], str(tuned), "--runmode", "single", *settings]


def _find(work: Work) -> set[Ends]:
    lines = (work.folder / "eve.json").read_text().splitlines()
    alerts = (json.loads(line) for line in lines if '"event_type":"alert"' in line)
    return {ends(row["proto"], row["src_ip"], row["src_port"], row["dest_ip"], row["dest_port"]) for row in alerts}


PROGRAMS = [
    Program("Suricata, tuned", _version, _tuned_command, _find),
    Program("Suricata, default", _version, _command, _find),
]

"""A real resolver on loopback (unbound) that answers from what a test tells it."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dns.message
import pytest
from dns_client import asked
from free_ports import free_port
from installation import wait_until


@contextmanager
def unbound(directory: Path, records: Mapping[str, tuple[str, ...]], extra: str = "") -> Iterator[str]:
    """Run unbound and yield it as `address#port`; names without records do not exist.

    `records` holds addresses by name; a name with `servfail` as its one record gives SERVFAIL.
    """
    program = shutil.which("unbound", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("unbound is not installed: apt-get install unbound")
    port = free_port()
    config = write_config(directory / f"unbound-{port}.conf", f"127.0.0.1@{port}", records, extra)
    with subprocess.Popen([program, "-d", "-c", config], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: asked(port, dns.message.make_query("ready.example.", "A")))
            yield f"127.0.0.1#{port}"
        finally:
            process.terminate()


def write_config(path: Path, listen: str, records: Mapping[str, tuple[str, ...]], extra: str = "") -> Path:
    """Write a configuration that listens at `listen` (`address@port`) and return its path."""
    lines = [
        *("server:", f"  interface: {listen}", "  access-control: 0.0.0.0/0 allow", "  do-daemonize: no"),
        *(
            '  username: ""',
            '  chroot: ""',
            '  directory: "/"',
            '  pidfile: ""',
            "  use-syslog: no",
            "  num-threads: 1",
        ),
        *('  module-config: "respip iterator"', '  local-zone: "." static'),
    ]
    for name, values in records.items():
        if values == ("servfail",):
            lines.append(f'  local-zone: "{name}." always_refuse')
        lines += [f'  local-data: "{name}. 60 IN {_type(value)} {value}"' for value in values if value != "servfail"]
    path.write_text("\n".join([*lines, extra, ""]))
    return path


def _type(value: str) -> str:
    if value.endswith("."):
        return "CNAME"
    return "AAAA" if ":" in value else "A"

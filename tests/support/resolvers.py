"""Resolvers that take a response policy zone from our server, run on loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dns_client import resolves
from feed_programs import program, running
from free_ports import free_port

BIND = """
options {{
    directory "{folder}"; pid-file none; session-keyfile none; lock-file none;
    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion yes; forward only; forwarders {{ 127.0.0.1 port {upstream}; }};
    dnssec-validation no; empty-zones-enable no; notify no;
    response-policy {{ zone "{zone}"; }} qname-wait-recurse no min-update-interval 0;
}};
controls {{ }};
{more}
"""
KNOT_DNS = """
server:
    listen: 127.0.0.1@{port}
    rundir: {folder}
database:
    storage: {folder}
template:
  - id: default
    storage: {folder}
"""
POWERDNS = (
    *("--daemon=no", "--write-pid=no", "--local-address=127.0.0.1", "--allow-from=127.0.0.0/8", "--dnssec=off"),
    *("--dont-query=", "--security-poll-suffix=", "--threads=1", "--setuid=root", "--disable-syslog"),
    *("--packetcache-ttl=0", "--max-cache-ttl=1", "--max-negative-ttl=1"),
)
KNOT = """
net.listen('127.0.0.1', {port})
for _, name in ipairs({{'ta_update', 'ta_signal_query', 'priming', 'detect_time_skew'}}) do modules.unload(name) end
trust_anchors.remove('.')
cache.size = 10 * MB
cache.min_ttl(0); cache.max_ttl(2)
local listed = policy.rpz(policy.DENY, '{file}', true)
local upstream = policy.STUB('127.0.0.1@{upstream}')
policy.add(function (request, query)
    local action = listed(request, query)
    return action ~= policy.PASS and action or upstream
end)
"""


@contextmanager
def bind(folder: Path, upstream_port: int, more: str, port: int = 0) -> Iterator[int]:
    """Yield the port of a BIND with `more` in its configuration, whose zone is its policy."""
    port, config = port or free_port(), folder / "named.conf"
    zone = more.partition('zone "')[2].partition('"')[0]
    config.write_text(BIND.format(folder=folder, port=port, upstream=upstream_port, zone=zone, more=more))
    argv = [program("named"), "-g", "-n", "1", "-c", str(config)]
    with running(argv, folder / "named.log", lambda: resolves(port, "example.com") is not None):
        yield port


@contextmanager
def knot_dns(folder: Path, more: str, port: int) -> Iterator[None]:
    """Run a Knot DNS with `more` in its configuration; it answers from its zones alone."""
    config = folder / "knot.conf"
    config.write_text(KNOT_DNS.format(folder=folder, port=port) + more)
    argv = [program("knotd"), "-c", str(config)]
    with running(argv, folder / "knot.log", lambda: resolves(port, "example.com") is not None):
        yield


@contextmanager
def powerdns(folder: Path, upstream_port: int, lua: str, *options: str) -> Iterator[int]:
    """Yield the port of a PowerDNS Recursor with that Lua configuration and further options."""
    port, config = free_port(), folder / "recursor.lua"
    config.write_text(lua)
    (folder / "recursor.conf").touch()
    where = [f"--config-dir={folder}", f"--socket-dir={folder}", f"--lua-config-file={config}", f"--local-port={port}"]
    forward = f"--forward-zones-recurse=.=127.0.0.1:{upstream_port}"
    argv = [program("pdns_recursor"), *POWERDNS, *where, forward, *options]
    with running(argv, folder / "recursor.log", lambda: resolves(port, "example.com") is not None):
        yield port


@contextmanager
def knot_resolver(folder: Path, upstream_port: int, file: Path) -> Iterator[int]:
    """Yield the port of a Knot Resolver that watches a zone file."""
    port, config = free_port(), folder / "kresd.conf"
    config.write_text(KNOT.format(port=port, upstream=upstream_port, file=file))
    argv = [program("kresd"), "-n", "-c", str(config), str(folder)]
    with running(argv, folder / "kresd.log", lambda: resolves(port, "example.com") is not None):
        yield port

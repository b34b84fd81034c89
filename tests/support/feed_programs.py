"""Resolvers and proxies that read block lists, run on loopback, and what answers them."""

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import which

import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest
from dns_client import resolves
from free_ports import free_port
from main_job import wait_for

from molecatcher.errors import FetchError
from molecatcher.lists.fetch import Pull
from rules.catalogue.catalogue import load_catalogue
from rules.lists.blocklist import NameEntry, NameList, Scope
from rules.lists.building import build_names
from rules.policy.reader import parse_policy

NOW_NS = 1_795_460_400_000_000_000
SANCTIONED = ("tunnels.example.com", "acme.nport.link")  # the second lies below a listed name
# What every reader must do with the list of the shipped catalogue, and what one with exemptions does beyond it.
BLOCKED = ("connect.ngrok-agent.com", "tunnel.ngrok.com", "nport.link")
PASSED = (*SANCTIONED, "x.acme.nport.link", "crl.ngrok-agent.com", "example.com", "connect.ngrok-agent.com.example")
BLOCKED_WIDE = ("other.nport.link", "a.b.nport.link")
ADDED = "new.tunnel.example"
UNBOUND = """
server:
  directory: "{folder}"
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  interface: 127.0.0.1
  port: {port}
  access-control: 127.0.0.0/8 allow
  module-config: "respip iterator"
  do-not-query-localhost: no
remote-control:
  control-enable: yes
  control-interface: "{folder}/control"
  control-use-cert: no
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{upstream}
{more}
"""


def shipped_names(*, without: str = "", added: str = "") -> NameList:
    """Return the list of the shipped catalogue for a policy with `SANCTIONED`; changed as asked."""
    tables = [
        f'[[sanctioned]]\ndomain = "{name}"\nservice = "{service}"\nowner = "o"\nreason = "r"\n'
        for name, service in zip(SANCTIONED, ("ngrok", "nport"), strict=True)
    ]
    catalogue = load_catalogue()
    body = build_names(catalogue, parse_policy("\n".join(tables), "policy.toml", catalogue, NOW_NS), NOW_NS)
    extra = [NameEntry(name, Scope.SUBTREE, "ngrok") for name in added.split()]

    def change(entries: tuple[NameEntry, ...]) -> tuple[NameEntry, ...]:
        kept = [entry for entry in entries if not without or not f".{without}".endswith(f".{entry.name}")]
        return tuple(sorted([*kept, *extra]))

    return NameList(blocked=change(body.blocked), wide=change(body.wide), allowed=body.allowed)


def pulling(url: str, file: Path, hook: str = "") -> Callable[[], None]:
    """Return what has `molecatcher fetch` look once; it says in its own words that it could not."""

    def pull() -> None:
        with suppress(FetchError):
            Pull(url, file, hook=hook).run()

    return pull


@contextmanager
def upstream(aliases: Mapping[str, str] | None = None) -> Iterator[int]:
    """Yield the port of a name server that has an address for every name; for an alias its CNAME."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=_answer_all, args=(listener, aliases or {}))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.sendto(b"", listener.getsockname())
            thread.join(60)


def _answer_all(listener: socket.socket, aliases: Mapping[str, str]) -> None:
    while True:
        octets, client = listener.recvfrom(4096)
        if not octets:
            return
        query = dns.message.from_wire(octets)
        response = dns.message.make_response(query)
        question = query.question[0]
        alias = aliases.get(question.name.to_text(omit_final_dot=True))
        if alias is not None:
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", "CNAME", f"{alias}."))
        elif question.rdtype == dns.rdatatype.A:
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", "192.0.2.1"))
        listener.sendto(response.to_wire(), client)


@contextmanager
def unbound(folder: Path, upstream_port: int, more: str) -> Iterator[tuple[int, Callable[..., None]]]:
    """Yield the port of an Unbound with `more` in its configuration, and what runs unbound-control's words."""
    port, config = free_port(), folder / "unbound.conf"
    config.write_text(UNBOUND.format(folder=folder, port=port, upstream=upstream_port, more=more))

    def control(*words: str) -> None:
        argv = [program("unbound-control"), "-c", str(config), *words]
        subprocess.run(argv, check=True, capture_output=True, timeout=60)

    argv = [program("unbound"), "-d", "-c", str(config)]
    with running(argv, folder / "unbound.log", lambda: resolves(port, "example.com") is not None):
        yield port, control


@contextmanager
def dnsmasq(servers_file: Path, upstream_port: int) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Yield the port of a dnsmasq with that servers-file, and its process."""
    port = free_port()
    options = [
        "--no-resolv",
        "--no-hosts",
        "--conf-file=/dev/null",
        "--user=root",
        "--log-facility=-",
        "--cache-size=0",
    ]
    where = [f"--server=127.0.0.1#{upstream_port}", f"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces"]
    argv = [program("dnsmasq"), "-k", "--pid-file", *options, *where, f"--servers-file={servers_file}"]
    log = servers_file.with_suffix(".log")
    with running(argv, log, lambda: resolves(port, "example.com") is not None) as process:
        yield port, process


@contextmanager
def squid(folder: Path, acl: Path, names: tuple[str, ...]) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Yield the port of a Squid that refuses the names of `acl` and takes `names` for 127.0.0.1, and its process."""
    port, config = free_port(), folder / "squid.conf"
    (folder / "hosts").write_text(f"127.0.0.1 {' '.join(names)}\n")
    config.write_text(
        f"http_port 127.0.0.1:{port}\npid_filename none\ncache deny all\nshutdown_lifetime 1 second\n"
        f"visible_hostname proxy.example\ncache_log {folder}/cache.log\naccess_log none\nhosts_file {folder}/hosts\n"
        f'acl listed dstdomain "{acl}"\nhttp_access deny listed\nhttp_access allow all\n'
    )
    with running([program("squid"), "-N", "-f", str(config)], folder / "squid.err", lambda: _listens(port)) as process:
        yield port, process


def program(name: str) -> str:
    """Return where `name` is installed; the test is skipped where it is not."""
    path = which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@contextmanager
def running(argv: list[str], log: Path, is_up: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
    """Yield the process once it is up; it is ended afterwards."""
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT)
        try:
            wait_for(lambda: _is_up(process, log, is_up))
            yield process
        finally:
            process.terminate()
            process.wait(60)


def _is_up(process: subprocess.Popen[bytes], log: Path, is_up: Callable[[], bool]) -> bool:
    assert process.poll() is None, log.read_text()
    return is_up()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dns_server import unbound
from free_ports import free_port

from molecatcher.errors import SetupError
from molecatcher.names.resolve import NameResolver

ASK_TWICE = """
import pathlib, sys
from molecatcher.names.resolve import NameResolver
path, servers = pathlib.Path("/etc/resolv.conf"), sys.argv[1:]
resolver = NameResolver(timeout_s=1)
for server in servers:
    path.write_text(server)
    print(resolver.resolve(["a.example"])[0].ok, resolver._resolver.nameservers, file=sys.stderr)
"""


@pytest.mark.parametrize("server", ["foo", "192.0.2.300", ""])
def test_a_server_that_is_no_address_is_refused_with_one_sentence(server: str) -> None:
    with pytest.raises(SetupError, match="give addresses"):
        NameResolver([server])


def test_both_families_are_asked(tmp_path: Path) -> None:
    with unbound(tmp_path, {"a.example": ("192.0.2.1", "2001:db8::1")}) as server:
        answers = NameResolver([server]).resolve(["a.example", "b.example"])
    assert [(answer.name, answer.addresses, answer.ok) for answer in answers] == [
        ("a.example", ("192.0.2.1", "2001:db8::1"), True),
        ("b.example", (), True),
    ]


def test_the_answers_of_all_servers_are_united_and_a_dead_one_is_passed_over(tmp_path: Path) -> None:
    dead = f"127.0.0.1#{free_port()}"
    west = {"a.example": ("192.0.2.1",), "b.example": ("192.0.2.3",), "c.example": ("servfail",)}
    east = {"a.example": ("192.0.2.2", "2001:db8::1"), "c.example": ("servfail",)}
    with unbound(tmp_path, west) as first, unbound(tmp_path, east) as second:
        resolver = NameResolver([first, dead, second], timeout_s=2)
        answers = resolver.resolve(["a.example", "b.example", "c.example", "d.example"])
        assert resolver.shortest_ttl_s == 60
        alone = NameResolver([dead, first], timeout_s=2).resolve(["a.example"])
    assert [(answer.addresses, answer.ok) for answer in answers] == [
        (("192.0.2.1", "192.0.2.2", "2001:db8::1"), True),
        (("192.0.2.3",), True),
        ((), False),
        ((), True),
    ]
    assert [(answer.addresses, answer.ok) for answer in alone] == [(("192.0.2.1",), True)]


def test_servers_that_are_all_away_say_nothing() -> None:
    resolver = NameResolver([f"127.0.0.1#{free_port()}" for _ in range(2)], timeout_s=0.5)
    assert [(answer.addresses, answer.ok) for answer in resolver.resolve(["a.example"])] == [((), False)]
    assert resolver.shortest_ttl_s is None


@pytest.mark.skipif(os.geteuid() != 0, reason="replacing /etc/resolv.conf in a mount namespace needs root")
def test_a_host_without_a_resolver_starts_and_takes_the_one_that_comes(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("")
    script = f"mount --bind {file} /etc/resolv.conf && exec {sys.executable} -c '{ASK_TWICE}' '' 'nameserver 127.0.0.1'"
    done = subprocess.run(
        ["unshare", "-mn", "sh", "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.splitlines() == ["False []", "False ['127.0.0.1']"]
    assert done.stdout.count("no_resolver") == 1

"""Measures what pulls of a large list cost our server, beside nginx with the same file.

    python bench/list_pulls.py [--entries 1000000] [--pulls 500] [--minutes 2]

CPU is that of the server's processes (user and system, /proc/PID/stat), memory their largest resident set. Pulls come
one after the other: a firewall's pull does not wait for another's. nginx is the limit: it does nothing but this.

Then 1,000 firewalls with a token each pull the unchanged list once a minute, evenly spread and with a connection each,
plainly and over TLS 1.3 (ECDSA P-256, no resumption), from our servers and from nginx at the same time.
"""

import argparse
import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from children import tree_peak_kb

from api.access.secrets import digest_of, new_id, new_secret, written
from api.app import create_app
from api.context import ApiContext, CatalogueStatus, PolicyStatus
from api.feeds import FeedFormat
from api.serving.server import ApiServer, bind, parse_listen
from api.serving.tls import Certificate
from db.access.values import Token, TokenScope
from db.store import open_store
from rules.catalogue.catalogue import Catalogue
from rules.lists.blocklist import ListName, NameEntry, NameList, Scope, Snapshot
from rules.lists.encoding import digest
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset

PATH = "/feeds/unsanctioned-domains.txt"
FIREWALLS = 1_000
POLL_S = 60
SLOW_CLIENTS = 50
TICKS = os.sysconf("SC_CLK_TCK")
NGINX = """
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
{user}
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}{tls}; root {folder}/root; keepalive_requests 100000; }}
}}
"""
NGINX_TLS = " ssl; ssl_certificate {certificate}; ssl_certificate_key {certificate}; ssl_protocols TLSv1.3"


def serve(entries: int, folder: Path, secrets: Path, certificate: Path | None) -> None:
    """Serve a list of `entries` names to the holders of `FIREWALLS` tokens until the end."""
    rows = tuple(sorted(NameEntry(f"h{at}.example{at % 1000}.net", Scope.SUBTREE, "service") for at in range(entries)))
    name = ListName.UNSANCTIONED_DOMAINS
    in_force = [snapshot_of(rows, 1)]
    store = open_store(folder / "bench.db")
    tokens = [(new_id(), new_secret()) for _ in range(FIREWALLS)]
    for token_id, secret in tokens:
        token = Token(
            token_id=token_id,
            name=f"firewall-{token_id}",
            scopes=(TokenScope.FEEDS_READ,),
            digest=digest_of(secret),
            created_at_ns=time.time_ns(),
        )
        store.add_token(token, FIREWALLS)
    context = ApiContext(
        store=store,
        snapshot=lambda asked, profile="": in_force[0] if asked is name else None,  # noqa: ARG005 - one profile
        catalogue_services=lambda: (),
        catalogue_status=lambda: CatalogueStatus("", datetime.now(UTC).date()),
        ruleset=lambda: Ruleset(Catalogue([], (), (), datetime.now(UTC).date()), Policy()),
        policy_status=lambda: PolicyStatus("", 0),
        now_ns=time.time_ns,
        version="bench",
    )
    app = create_app(context)

    def change() -> None:
        """Publish a list that lacks an entry as the publisher does: prepared in a thread, then swapped in."""
        newer = snapshot_of(rows[1:], 2)
        app.state.publication.prepare(newer, [FeedFormat.TXT])
        in_force[0] = newer

    signal.signal(signal.SIGUSR1, lambda _signal, _frame: threading.Thread(target=change).start())
    server = ApiServer(app, bind(parse_listen("127.0.0.1:0")), Certificate(certificate, None) if certificate else None)
    secrets.write_text("\n".join(written(*token) for token in tokens))
    print(server.address, flush=True)
    server.run()


def snapshot_of(rows: tuple[NameEntry, ...], serial: int) -> Snapshot:
    """Return a list of names as a numbered state."""
    body = NameList(rows, rows)
    return Snapshot(ListName.UNSANCTIONED_DOMAINS, serial, time.time_ns(), digest(body), body)


@contextmanager
def ours(entries: int, folder: Path, certificate: Path | None = None) -> Iterator[tuple[int, int, list[str]]]:
    """Yield port and process of our server, and the tokens that are good there."""
    secrets = folder / "secrets"
    command = [sys.executable, __file__, "--serve", str(folder), "--entries", str(entries)]
    command += ["--certificate", str(certificate)] if certificate else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL) as child:
        lines = iter(child.stdout or ())
        port = int(next(line for line in lines if line.startswith("127.")).rpartition(":")[2])
        wait_for(port)
        try:
            yield port, child.pid, secrets.read_text().split()
        finally:
            child.terminate()


@contextmanager
def nginx(folder: Path, content: bytes, certificate: Path | None = None) -> Iterator[tuple[int, int]]:
    """Yield port and process of nginx with the same file."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = folder / "root" / PATH.removeprefix("/")
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = folder / "nginx.conf"
    tls = NGINX_TLS.format(certificate=certificate) if certificate else ""
    configuration.write_text(NGINX.format(folder=folder, port=port, user=user, tls=tls))
    with subprocess.Popen(["nginx", "-c", str(configuration), "-g", "daemon off;"], stderr=subprocess.DEVNULL) as child:
        wait_for(port)
        try:
            yield port, child.pid
        finally:
            child.terminate()


def wait_for(port: int) -> None:
    """Return when the port is listened at."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError("the server did not start")


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and its children so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return (int(fields[11]) + int(fields[12])) / TICKS + sum(cpu_s(int(child)) for child in children)


def expect(status: int, wanted: int) -> None:
    """End the measurement when an answer is another than was to be measured."""
    if status != wanted:
        raise SystemExit(f"the server answered {status} and not {wanted}")


def pull(connection: http.client.HTTPConnection, headers: dict[str, str]) -> tuple[int, str, bytes]:
    """Return status, entity tag and body of one pull."""
    connection.request("GET", PATH, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.headers.get("ETag", ""), answer.read()


def unchanged(port: int, headers: list[dict[str, str]], *, is_kept: bool) -> Callable[[], None]:
    """Return what pulls an unchanged list once with each of the headers, on one connection or each on its own."""

    def run() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for each in headers:
            expect(pull(connection, each)[0], http.client.NOT_MODIFIED)
            if not is_kept:
                connection.close()
        connection.close()

    return run


def cost_ms(pid: int, count: int, run: Callable[[], None]) -> float:
    """Return the milliseconds of CPU that each of `count` pulls costs the server."""
    before = cpu_s(pid)
    run()
    return (cpu_s(pid) - before) / count * 1000


def slow_pulls(port: int, pid: int, headers: dict[str, str]) -> float:
    """Return by how many MiB the server grows while many clients take a large list and read nothing of it."""
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    before, clients = tree_peak_kb(pid), []
    for _ in range(SLOW_CLIENTS):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{head}\r\n".encode())
        clients.append(client)
    for client in clients:
        client.recv(1)
    time.sleep(1)
    grown = tree_peak_kb(pid) - before
    for client in clients:
        client.close()
    return grown / 1024


def slowest_pull_over_a_change(port: int, pid: int, headers: list[dict[str, str]]) -> tuple[float, float]:
    """Return the seconds from a change until it is handed out, and those of the slowest pull meanwhile."""
    os.kill(pid, signal.SIGUSR1)
    begun_s, slowest_s, etags = time.monotonic(), 0.0, set()
    for each in headers:
        asked_s = time.monotonic()
        status, etag, _body = pull(http.client.HTTPConnection("127.0.0.1", port), each)
        slowest_s = max(slowest_s, time.monotonic() - asked_s)
        expect(status, http.client.OK)
        etags.add(etag)
        if len(etags) > 1:
            return time.monotonic() - begun_s, slowest_s
        time.sleep(0.5)
    raise SystemExit("the change did not come")


def measure(what: str, port: int, pid: int, pulls: int, tokens: list[str]) -> bytes:
    """Print the rows of one server and return the list."""
    begun_s = time.monotonic()
    first = {"X-Api-Key": tokens[0]} if tokens else {}
    status, etag, content = pull(http.client.HTTPConnection("127.0.0.1", port), first)
    expect(status, http.client.OK)
    took_s = time.monotonic() - begun_s
    print(f"{what}: {len(content) / 2**20:.0f} MiB; first pull {took_s:.2f} s; peak {tree_peak_kb(pid) / 1024:.0f} MiB")
    known = {"If-None-Match": etag}
    for number, (label, is_kept) in enumerate((("one connection", True), ("a connection each", False)), start=1):
        own = {"X-Api-Key": tokens[number]} if tokens else {}  # both at once would be more than a token may
        ms = cost_ms(pid, pulls, unchanged(port, [known | own] * pulls, is_kept=is_kept))
        print(f"{what}: unchanged, {label:18} {ms:7.3f} ms of CPU a pull")
    print(f"{what}: {SLOW_CLIENTS} clients that read nothing {slow_pulls(port, pid, first):7.1f} MiB more")
    return content


@dataclass(frozen=True, slots=True)
class Polled:
    """A server that firewalls poll: its port and process, their headers, and how its certificate is checked."""

    what: str
    port: int
    pid: int
    headers: list[dict[str, str]]
    trust: ssl.SSLContext | None

    def connection(self) -> http.client.HTTPConnection:
        """Return a new connection."""
        if self.trust is None:
            return http.client.HTTPConnection("127.0.0.1", self.port)
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.trust)

    def poll(self, minutes: int) -> None:
        """Have each firewall pull once a minute, and print what share of a core the server took."""
        _status, etag, _body = pull(self.connection(), self.headers[0])
        begun_s, before, latest_s = time.monotonic(), cpu_s(self.pid), 0.0
        for number in range(minutes * len(self.headers)):
            due_s = begun_s + number * POLL_S / len(self.headers)
            time.sleep(max(0.0, due_s - time.monotonic()))
            latest_s = max(latest_s, time.monotonic() - due_s)
            connection = self.connection()
            headers = self.headers[number % len(self.headers)] | {"If-None-Match": etag}
            expect(pull(connection, headers)[0], http.client.NOT_MODIFIED)
            connection.close()
        took_s, cpu = time.monotonic() - begun_s, cpu_s(self.pid) - before
        share = f"{cpu / took_s * 100:.2f} % of a core over {took_s:.0f} s"
        print(f"{self.what}: {FIREWALLS} firewalls polling every {POLL_S} s {share}; {latest_s:.1f} s late at most")


def measure_polls(entries: int, minutes: int, folder: Path) -> None:
    """Print what firewalls cost that poll our servers and nginx at the same time, plainly and over TLS."""
    certificate = make_certificate(folder)
    trust = ssl.create_default_context(cafile=str(certificate))
    with ExitStack() as running:
        polled: list[Polled] = []
        for kind, own, context in (("plain", None, None), ("TLS", certificate, trust)):
            place = folder / kind
            (place / "nginx").mkdir(parents=True)
            port, pid, tokens = running.enter_context(ours(entries, place, own))
            keys = [{"X-Api-Key": token} for token in tokens]
            polled.append(Polled(f"molecatcher, {kind}", port, pid, keys, context))
            if shutil.which("nginx"):
                content = pull(polled[-1].connection(), keys[0])[2]
                port, pid = running.enter_context(nginx(place / "nginx", content, own))
                polled.append(Polled(f"nginx, {kind}", port, pid, [{}] * FIREWALLS, context))
        threads = [threading.Thread(target=each.poll, args=(minutes,)) for each in polled]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def make_certificate(folder: Path) -> Path:
    """Return a file with a key and a certificate that it signed for 127.0.0.1."""
    path = folder / "certificate.pem"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(path), "-out", str(folder / "public.pem"), "-days", "2"]
    subprocess.run(["openssl", "req", "-x509", *key, *name, *files], check=True, stderr=subprocess.DEVNULL)
    with path.open("a", encoding="ascii") as file:
        file.write((folder / "public.pem").read_text(encoding="ascii"))
    return path


def main() -> None:
    """Print a row for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--pulls", type=int, default=500, help="fewer than a token may in a minute")
    parser.add_argument("--minutes", type=int, default=2, help="that firewalls poll for")
    parser.add_argument("--only-polls", action="store_true", help="measure nothing else")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--certificate", type=Path, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.serve:
        serve(wanted.entries, wanted.serve, wanted.serve / "secrets", wanted.certificate)
        return
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        measure_polls(wanted.entries, wanted.minutes, folder)
        if wanted.only_polls:
            return
        with ours(wanted.entries, folder) as (port, pid, tokens):
            content = measure("molecatcher", port, pid, wanted.pulls, tokens)
            taken_s, slowest_s = slowest_pull_over_a_change(port, pid, [{"X-Api-Key": token} for token in tokens])
            print(f"molecatcher: a change is handed out after {taken_s:.1f} s; slowest whole pull {slowest_s:.2f} s")
            print(f"molecatcher: peak {tree_peak_kb(pid) / 1024:.0f} MiB")
        if shutil.which("nginx") is None:
            print("nginx: skipped, it is not installed (bench/peers/install.sh)")
            return
        with nginx(folder, content) as (port, pid):
            measure("nginx", port, pid, wanted.pulls, [])


if __name__ == "__main__":
    main()

"""Ordinary clients: the real programs, each with a handful of work at the stand-ins of `everyday_servers.py`.

A client is a function that is given the host it runs on, a folder and the names to use; `CLIENTS` holds them by what
they are. Whoever lacks the program skips, and says so.
"""

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from everyday_servers import BASTION
from netns import Host

Client = Callable[[Host, Path, Sequence[str]], None]
QUICK_S = 180


class Missing(Exception):
    """A program that this machine does not have."""


def need(program: str) -> str:
    found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        raise Missing(f"{program} is not installed")
    return found


def need_module(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        raise Missing(f"the Python package {name} is not installed")


def run(host: Host, argv: Sequence[str], folder: Path, **more: str) -> None:
    """Run a client that must succeed, with `folder` as its home; `more` goes into its environment."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"} | more
    ended = host.run(argv, env=environment, check=False, timeout=QUICK_S)
    assert ended.returncode == 0, (argv[:4], ended.returncode, ended.stdout[-500:], ended.stderr[-1500:])


def python(host: Host, folder: Path, program: str, names: Sequence[str]) -> None:
    run(host, [sys.executable, "-W", "ignore", "-c", program, *names], folder)


def curl(host: Host, folder: Path, names: Sequence[str]) -> None:
    urls = [part for name in names for part in ("-o", "/dev/null", f"https://{name}/")]
    run(host, [need("curl"), "-ksSZ", "--parallel-max", "8", "--max-time", "60", *urls], folder)
    run(host, ["curl", "-ksS", "--http1.1", *urls[:30]], folder)
    run(host, ["curl", "-sS", *(part.replace("https:", "http:") for part in urls[:30])], folder)


def curl_without_alpn(host: Host, folder: Path, names: Sequence[str]) -> None:
    urls = [part for name in names for part in ("-o", "/dev/null", f"https://{name}/")]
    run(host, [need("curl"), "-ksS", "--no-alpn", *urls], folder)


def curl_over_doh(host: Host, folder: Path, names: Sequence[str]) -> None:
    for name in names[:8]:
        doh = [
            "--doh-url",
            "https://dns.google/dns-query",
            "--doh-insecure",
            "--resolve",
            "dns.google:443:198.51.100.40",
        ]
        run(host, [need("curl"), "-ksS", *doh, "-o", "/dev/null", f"https://{name}/"], folder)


def wget(host: Host, folder: Path, names: Sequence[str]) -> None:
    urls = [f"https://{name}/" for name in names]
    run(host, [need("wget"), "-q", "--no-check-certificate", "-O", "/dev/null", *urls], folder)
    run(host, ["wget", "-q", "-r", "-l2", "-P", str(folder / "mirror"), "http://docs.example.com/"], folder)


def chromium(host: Host, folder: Path, names: Sequence[str]) -> None:
    """Start with everything a desktop browser does at start-up, then load pages with images, sockets and WebRTC."""
    common = [need("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    common += ["--ignore-certificate-errors", f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=2500"]
    for name in names[: 1 + len(names) // 50]:
        run(host, [*common, "--dump-dom", f"https://{name}/"], folder)
    quic = ["--enable-quic", "--origin-to-force-quic-on=quic.example.com:443,video.example.com:443"]
    trust = f"--ignore-certificate-errors-spki-list={(folder / 'spki').read_text()}"
    for name in ("quic.example.com", "video.example.com"):
        run(host, [*common, *quic, trust, "--dump-dom", f"https://{name}/"], folder)


def chromium_over_doh(host: Host, folder: Path, names: Sequence[str]) -> None:
    profile = folder / "doh-profile"
    profile.mkdir()
    secure = {"mode": "secure", "templates": "https://198.51.100.41/dns-query{?dns}"}
    (profile / "Local State").write_text(json.dumps({"dns_over_https": secure}))
    common = [need("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    common += ["--ignore-certificate-errors", f"--user-data-dir={profile}", "--virtual-time-budget=2000"]
    run(host, [*common, "--dump-dom", f"https://{names[0]}/"], folder)


def apt(host: Host, folder: Path, _names: Sequence[str]) -> None:
    root = folder / "apt"
    for part in ("lists/partial", "archives/partial", "etc"):
        (root / part).mkdir(parents=True, exist_ok=True)
    (root / "status").touch()
    sources = root / "etc" / "sources.list"
    scheme = "{}://archive.example.net/debian ./"
    options = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": root / "lists",
        "Dir::State::Status": root / "status",
        "Dir::Cache": root,
        "Dir::Cache::Archives": root / "archives",
        "APT::Sandbox::User": "root",
        "Acquire::https::Verify-Peer": "false",
        "Acquire::https::Verify-Host": "false",
    }
    argv = [need("apt-get"), "-qq", *(part for key, value in options.items() for part in ("-o", f"{key}={value}"))]
    for name in ("http", "https"):
        sources.write_text(f"deb [trusted=yes] {scheme.format(name)}\n")
        run(host, [*argv, "update"], folder)
        run(host, [*argv, "--download-only", "-y", "install", "everyday"], folder)
        shutil.rmtree(root / "archives")
        (root / "archives" / "partial").mkdir(parents=True)


def pip(host: Host, folder: Path, _names: Sequence[str]) -> None:
    for index in ("packages.example.net", "packages.company.example", "files.example.net"):
        argv = [sys.executable, "-m", "pip", "download", "-q", "--no-cache-dir", "--disable-pip-version-check"]
        where = ["--index-url", f"https://{index}/simple/", "--trusted-host", index, "-d", str(folder / index)]
        run(host, [*argv, *where, "everyday"], folder, PIP_CONFIG_FILE="/dev/null")


def npm(host: Host, folder: Path, _names: Sequence[str]) -> None:
    for registry in ("modules.example.net", "modules.company.example"):
        package = folder / registry
        package.mkdir()
        (package / "package.json").write_text('{"name": "x", "version": "1.0.0"}')
        options = ["--registry", f"https://{registry}/npm/", "--strict-ssl=false", "--cache", str(folder / ".npm")]
        argv = [need("npm"), "install", "--prefix", str(package), *options, "everyday"]
        run(host, argv, folder, NPM_CONFIG_USERCONFIG="/dev/null", NPM_CONFIG_GLOBALCONFIG=str(folder / "npmrc"))


def git(host: Host, folder: Path, _names: Sequence[str]) -> None:
    options = "-F none -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    ssh = f"ssh -i {folder / 'key'} {options}"
    for number, forge in enumerate(("github.com", "gitlab.com", "git.company.example")):
        url = f"https://{forge}/everyday.git"
        target = str(folder / f"clone-{number}")
        run(host, [need("git"), "clone", "-q", url, target], folder, GIT_SSL_NO_VERIFY="1", GIT_CONFIG_NOSYSTEM="1")
        run(host, ["git", "-C", target, "fetch", "-q"], folder, GIT_SSL_NO_VERIFY="1", GIT_CONFIG_NOSYSTEM="1")
        url = f"ssh://git@{forge}{folder}/www/everyday.git"
        run(host, ["git", "clone", "-q", url, f"{target}-ssh"], folder, GIT_SSH_COMMAND=ssh)


def ssh_to_the_bastion(host: Host, folder: Path, _names: Sequence[str]) -> None:
    """On 443, by its address and by its name: the policy names both."""
    options = [
        "-F",
        "none",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "LogLevel=ERROR",
    ]
    for target in (BASTION, BASTION, "bastion.example.com", "bastion.example.com"):
        run(host, [need("ssh"), *options, "-i", str(folder / "key"), "-p", "443", f"root@{target}", "true"], folder)


NODE = """
const names = process.argv.slice(1);
const all = names.map(name => fetch(`https://${name}/`).then(answer => answer.text()));
Promise.all(all).then(() => process.exit(0), error => { console.error(error); process.exit(1); });
"""


def node(host: Host, folder: Path, names: Sequence[str]) -> None:
    run(host, [need("node"), "-e", NODE, *names], folder, NODE_TLS_REJECT_UNAUTHORIZED="0", NODE_NO_WARNINGS="1")


REQUESTS = """
import sys, requests
for name in sys.argv[1:]:
    assert requests.get(f"https://{name}/", verify=False, timeout=20).ok
"""
HTTPX = """
import sys, asyncio, httpx
async def main():
    async with httpx.AsyncClient(verify=False, http2=True, timeout=30) as client:
        for name in sys.argv[1:]:
            assert (await client.get(f"https://{name}/")).status_code == 200
asyncio.run(main())
"""
# No ALPN, and a steady beat for as long as it lives, as mail, message queues and databases have it.
BEATING = """
import socket, ssl, sys, time
context = ssl._create_unverified_context()
streams = []
for name in sys.argv[1:]:
    raw = socket.create_connection((name, (993, 8883, 6379)[len(streams) % 3]), 20)
    streams.append(context.wrap_socket(raw, server_hostname=name))
for _ in range(12):
    for stream in streams:
        stream.send(b"PING" * 3)
        stream.recv(100)
    time.sleep(0.25)
"""
RUSTLS = """
import asyncio, sys
from glide import GlideClient, GlideClientConfiguration, NodeAddress
async def one(name):
    try:
        await GlideClient.create(GlideClientConfiguration([NodeAddress(name, 6379)], use_tls=True))
    except Exception as error:
        print(type(error).__name__)  # the stand-in's certificate is not one to trust
async def main():
    for name in sys.argv[1:]:
        await one(name)
asyncio.run(main())
"""
DNS = """
import sys, dns.message, dns.query, dns.resolver, ssl
context = ssl._create_unverified_context()
for name in sys.argv[1:]:
    for rdtype in ("A", "AAAA", "TXT", "MX", "HTTPS", "NS", "SRV"):
        query = dns.message.make_query(name, rdtype)
        dns.query.udp(query, "192.0.2.1", timeout=10)
    dns.query.tcp(query, "192.0.2.1", timeout=10)
    dns.query.tls(query, "198.51.100.42", timeout=10, ssl_context=context, server_hostname="dns.quad9.net")
    where = {"bootstrap_address": "198.51.100.7", "http_version": dns.query.HTTPVersion.HTTP_3}
    dns.query.https(query, "https://dns.google/dns-query", timeout=10, verify=False, **where)
"""
HTTP3 = """
import asyncio, ssl, sys
from aioquic.asyncio import connect
from aioquic.h3.connection import H3Connection
from aioquic.quic.configuration import QuicConfiguration
async def main():
    for name in sys.argv[1:]:
        settings = QuicConfiguration(is_client=True, alpn_protocols=["h3"], server_name=name, verify_mode=ssl.CERT_NONE)
        async with connect("198.51.100.7", 443, configuration=settings) as client:
            http = H3Connection(client._quic)
            stream = client._quic.get_next_available_stream_id()
            head = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", name.encode()), (b":path", b"/")]
            http.send_headers(stream, head, end_stream=True)
            client.transmit()
            await asyncio.sleep(0.1)
asyncio.run(main())
"""


def requests(host: Host, folder: Path, names: Sequence[str]) -> None:
    need_module("requests")
    python(host, folder, REQUESTS, names)


def httpx(host: Host, folder: Path, names: Sequence[str]) -> None:
    python(host, folder, HTTPX, names)


def beating(host: Host, folder: Path, names: Sequence[str]) -> None:
    python(host, folder, BEATING, names[:60])


def rustls(host: Host, folder: Path, names: Sequence[str]) -> None:
    need_module("glide")
    python(host, folder, RUSTLS, names[:1])


def dns(host: Host, folder: Path, names: Sequence[str]) -> None:
    python(host, folder, DNS, names[:15])


def http3(host: Host, folder: Path, names: Sequence[str]) -> None:
    python(host, folder, HTTP3, names[:30])


def skopeo(host: Host, folder: Path, _names: Sequence[str]) -> None:
    """A program in Go whose hello has no ALPN, at container registries."""
    for registry in ("registry.company.example", "images.example.net", "containers.example.net"):
        argv = [need("skopeo"), "inspect", "--raw", "--tls-verify=false", f"docker://{registry}/everyday/app:1"]
        run(host, argv, folder)


def openssl(host: Host, folder: Path, names: Sequence[str]) -> None:
    for name in names[:10]:
        run(host, [need("openssl"), "s_client", "-brief", "-connect", f"{name}:443", "-servername", name], folder)


CLIENTS: dict[str, Client] = {
    "curl": curl,
    "curl --no-alpn": curl_without_alpn,
    "curl over DoH": curl_over_doh,
    "wget": wget,
    "Chromium, also QUIC": chromium,
    "Chromium over DoH": chromium_over_doh,
    "apt": apt,
    "pip": pip,
    "npm": npm,
    "git over HTTPS and SSH": git,
    "SSH on 443 to the bastion": ssh_to_the_bastion,
    "Node fetch": node,
    "Python requests": requests,
    "Python httpx": httpx,
    "Python ssl without ALPN, a steady beat": beating,
    "rustls without ALPN (valkey-glide)": rustls,
    "Go without ALPN (skopeo)": skopeo,
    "DNS over UDP, TCP, TLS, HTTPS": dns,
    "HTTP/3 (aioquic)": http3,
    "openssl s_client": openssl,
}

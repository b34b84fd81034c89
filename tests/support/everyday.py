"""An ordinary office in network namespaces: a client without a route out, everything it talks to, and a recorder."""

import base64
import hashlib
import io
import json
import socket
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import everyday_servers
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from main_job import wait_for
from netns import Host, Network
from stand_ins import CLIENT, GATEWAY, make_certificate

REDIRECT = f"""
table ip nat {{
    chain prerouting {{
        type nat hook prerouting priority dstnat;
        ip daddr {everyday_servers.BASTION} tcp dport 443 redirect to :22
    }}
}}
"""
# What a page does: pictures of other hosts, a socket, a message home, a call with WebRTC's address discovery.
PAGE = """<!doctype html><title>page</title><a href="/more.html">more</a>
{images}
<script>
new WebSocket("wss://live.example.com/socket", "graphql-transport-ws").onopen = event => event.target.send("hello");
new WebSocket("ws://chat.example.com/socket", ["mqtt", "v12.stomp"]);
navigator.sendBeacon("https://stats.example.com/collect", "x".repeat(2000));
const call = new RTCPeerConnection({{iceServers: [{{urls: "stun:stun.example.com:19302"}}]}});
call.createDataChannel("x");
call.createOffer().then(offer => call.setLocalDescription(offer));
</script>"""
LAST = b"the recording ends here"
PIXEL = base64.b64decode("R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==")


@contextmanager
def office(folder: Path) -> Iterator[Host]:
    """Yield the client's host; the servers answer every name. Nothing leads out of the two namespaces."""
    fill(folder)
    with Network() as network:
        client, servers = network.host("client"), network.host("servers")
        network.cable(client, "eth0", servers, "eth0")
        client.address("eth0", f"{CLIENT}/24")
        servers.address("eth0", f"{GATEWAY}/24")
        servers.ip(f"route add local {everyday_servers.SERVERS}.0/24 dev lo")
        servers.nft(REDIRECT)
        client.ip(f"route add default via {GATEWAY}")
        client.nameserver(GATEWAY)
        with (folder / "servers.log").open("w") as log:
            process = servers.popen([sys.executable, everyday_servers.__file__, str(folder)], stdout=log, stderr=log)
            wait_for(lambda: answers(client, process, folder))
            yield client


def answers(client: Host, process: "subprocess.Popen[str]", folder: Path) -> bool:
    assert process.poll() is None, (folder / "servers.log").read_text()
    argv = ["curl", "-ksf", "--max-time", "2", "-o", "/dev/null", "https://ready.example.com/"]
    return client.run(argv, check=False).returncode == 0


@contextmanager
def recorded(client: Host, path: Path) -> Iterator[None]:
    """Record what passes the client's interface into `path` while the block runs; whole, or it fails."""
    argv = ["tcpdump", "-i", "eth0", "-Z", "root", "--immediate-mode", "-U", "-B", "65536", "-w", str(path)]
    process = client.popen(argv, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "listening on" in process.stderr.readline()
    yield
    client.call(_send, LAST)
    wait_for(lambda: LAST in path.read_bytes())
    process.terminate()
    assert "\n0 packets dropped by kernel" in process.stderr.read()
    process.wait(60)


def _send(octets: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(octets, (GATEWAY, 9))


def fill(folder: Path) -> None:
    """Make what the servers serve: a certificate, pages, a package of each kind, a repository, keys."""
    www = folder / "www"
    (www / "img").mkdir(parents=True)
    pem = make_certificate(folder, ["*.example.com", "example.com"])
    public = x509.load_pem_x509_certificate(pem.read_bytes()).public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "spki").write_text(base64.b64encode(hashlib.sha256(der).digest()).decode())
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    (folder / "authorized_keys").write_text((folder / "key.pub").read_text())
    images = "".join(f'<img src="https://img{number}.cdn.example.com/img/{number}.gif">' for number in range(12))
    (www / "index.html").write_text(PAGE.format(images=images))
    (www / "more.html").write_text("<!doctype html><title>more</title>")
    for number in range(12):
        (www / "img" / f"{number}.gif").write_bytes(PIXEL)
    _debian_package(folder, www / "debian")
    _python_package(www / "simple" / "everyday")
    _npm_package(www / "npm")
    _container(www / "v2")
    _repository(folder, www / "everyday.git")


def _debian_package(folder: Path, archive: Path) -> None:
    control = folder / "everyday" / "DEBIAN" / "control"
    control.parent.mkdir(parents=True)
    archive.mkdir()
    fields = "Package: everyday\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.com>\nDescription: x\n"
    control.write_text(fields)
    package = archive / "everyday_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", str(control.parents[1]), str(package)], check=True, capture_output=True)
    octets = package.read_bytes()
    digest = hashlib.sha256(octets).hexdigest()
    (archive / "Packages").write_text(f"{fields}Filename: ./{package.name}\nSize: {len(octets)}\nSHA256: {digest}\n")


def _python_package(folder: Path) -> None:
    folder.mkdir(parents=True)
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as file:
        info = "everyday-1.dist-info"
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: everyday\nVersion: 1\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    name = "everyday-1-py3-none-any.whl"
    (folder / name).write_bytes(wheel.getvalue())
    (folder / "index.html").write_text(f'<!doctype html><a href="{name}">{name}</a>')


def _npm_package(folder: Path) -> None:
    folder.mkdir()
    octets = io.BytesIO()
    with tarfile.open(fileobj=octets, mode="w:gz") as archive:
        manifest = b'{"name": "everyday", "version": "1.0.0"}'
        entry = tarfile.TarInfo("package/package.json")
        entry.size = len(manifest)
        archive.addfile(entry, io.BytesIO(manifest))
    (folder / "everyday.tgz").write_bytes(octets.getvalue())
    shasum = hashlib.sha1(octets.getvalue(), usedforsecurity=False).hexdigest()
    dist = {"tarball": "https://modules.example.net/npm/everyday.tgz", "shasum": shasum}
    version = {"name": "everyday", "version": "1.0.0", "dist": dist}
    document = {"name": "everyday", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
    (folder / "everyday").write_text(json.dumps(document))


def _container(folder: Path) -> None:
    manifests = folder / "everyday" / "app" / "manifests"
    manifests.mkdir(parents=True)
    (folder / "index.html").write_text("{}")
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": f"sha256:{'0' * 64}", "size": 1}
    kind = "application/vnd.oci.image.manifest.v1+json"
    (manifests / "1").write_text(
        json.dumps({"schemaVersion": 2, "mediaType": kind, "config": layer, "layers": [layer]})
    )


def _repository(folder: Path, bare: Path) -> None:
    work = folder / "work"
    author = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    for command in (
        ["git", "init", "-q", str(work)],
        ["git", "-C", str(work), *author, "commit", "-q", "--allow-empty", "-m", "one"],
        ["git", "clone", "-q", "--bare", str(work), str(bare)],
        ["git", "-C", str(bare), "update-server-info"],
    ):
        subprocess.run(command, check=True)

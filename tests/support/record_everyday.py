"""Record a few ordinary clients into pcaps/, with their manifests: `PYTHONPATH=tests/support python ... [CLIENT]...`.

Names, servers and the SNI and ALPN of hellos are tshark's; JA4 is the sensor's own.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from everyday import office, recorded
from everyday_clients import CLIENTS
from frames import last_revisions, read_packets, replay
from main_job import open_folder
from recordings import CAPTURES

from rules.values.observation import Observation, Transport

KEPT = {
    "apt": ("benign-apt", "apt-get", ("apt-get", "--version")),
    "pip": ("benign-pip", "pip", (sys.executable, "-m", "pip", "--version")),
    "npm": ("benign-npm", "npm", ("npm", "--version")),
    "git over HTTPS and SSH": ("benign-git", "git, OpenSSH", ("git", "--version")),
    "HTTP/3 (aioquic)": (
        "benign-http3",
        "aioquic",
        (sys.executable, "-c", "import aioquic; print(aioquic.__version__)"),
    ),
    "Go without ALPN (skopeo)": ("benign-go-no-alpn", "skopeo", ("skopeo", "--version")),
    "rustls without ALPN (valkey-glide)": (
        "benign-rustls-no-alpn",
        "valkey-glide",
        (sys.executable, "-c", "import importlib.metadata as m; print(m.version('valkey-glide'))"),
    ),
}
NAMES = ("www.example.com", "intranet.company.example", "docs.ngrok.com")


def tshark(path: Path, display: str, *fields: str) -> list[list[str]]:
    argv = [
        "tshark",
        "-r",
        str(path),
        "-d",
        "tcp.port==6379,tls",
        "-Y",
        display,
        "-T",
        "fields",
        *(part for name in fields for part in ("-e", name)),
    ]
    told = subprocess.run(argv, check=True, capture_output=True, text=True)
    return [line.split("\t") for line in told.stdout.splitlines()]


def hello_row(row: Observation, count: int) -> dict[str, Any]:
    assert row.hello is not None
    transport = "quic" if row.five_tuple.transport is Transport.UDP else "tcp"
    address = ".".join(map(str, row.five_tuple.dst))
    where = {"dst": f"{address}:{row.five_tuple.dst_port}", "transport": transport}
    return where | {"sni": row.hello.sni or "", "alpn": list(row.hello.alpn), "ja4": row.hello.ja4, "hellos": count}


def manifest(path: Path, name: str, client: str, version: str) -> dict[str, Any]:
    observations = last_revisions(replay(read_packets(str(path))))
    seen = Counter(
        (row.hello.sni, row.hello.ja4, row.hello.alpn, row.five_tuple.transport) for row in observations if row.hello
    )
    first = {
        (row.hello.sni, row.hello.ja4, row.hello.alpn, row.five_tuple.transport): row
        for row in observations
        if row.hello
    }
    hellos = [hello_row(first[key], count) for key, count in seen.items()]
    told = {sni for (sni,) in tshark(path, "tls.handshake.type == 1", "tls.handshake.extensions_server_name") if sni}
    assert {row["sni"] for row in hellos} - {""} == told, (told, hellos)
    asked = [name for (name,) in tshark(path, "dns.flags.response == 0 && udp", "dns.qry.name") if name]
    answers = tshark(path, "dns.a && dns.flags.response == 1", "dns.qry.name", "dns.a")
    ports = {
        int(port) for row in tshark(path, "tcp.flags.syn == 1 && tcp.flags.ack == 0", "tcp.dstport") for port in row
    }
    ports |= {int(port) for (port,) in tshark(path, "quic && udp.dstport < 1024", "udp.dstport") if port}
    banners = [protocol for (protocol,) in tshark(path, "ssh.protocol", "ssh.protocol")]
    hosts = {host for (host,) in tshark(path, "http.host", "http.host")}
    frames = [float(seconds) for (seconds,) in tshark(path, "frame", "frame.time_relative")]
    return {
        "name": name,
        "expected": [],
        "client": client,
        "version": version,
        "how": f"tests/support/record_everyday.py against its stand-in servers: {', '.join(NAMES)} or the client's own",
        "notes": "",
        "pcap": path.name,
        "capture": {"frames": len(frames), "seconds": round(frames[-1], 1)},
        "dns_names": {name: ["A"] for name in sorted(set(asked))},
        "dns_detail": [{"transport": "udp53", "name": name} for name in dict.fromkeys(asked)],
        "dns_answers": {name: [f"{name} A {address.split(',')[0]}"] for name, address in sorted(answers)},
        "client_hellos": hellos,
        "ssh": [{"client_banner": one, "server_banner": other} for one, other in sorted(set(pairs(banners)))],
        "http_plain": [{"host": host} for host in sorted(hosts)],
        "server_ports": sorted(ports | {53}),
    }


def pairs(banners: list[str]) -> list[tuple[str, str]]:
    """Client's and server's banners: of the two that a connection has the client's is OpenSSH's."""
    ours = [banner for banner in banners if "OpenSSH" in banner]
    return list(zip(ours, [banner for banner in banners if banner not in ours], strict=True))


def main(wanted: list[str]) -> None:
    with open_folder() as folder, office(folder) as host:
        for number, client in enumerate(wanted or KEPT):
            name, program, version = KEPT[client]
            home, path = folder / f"home-{number}", CAPTURES / f"{name}.pcap"
            home.mkdir()
            for shared in ("spki", "key", "www"):
                (home / shared).symlink_to(folder / shared)
            with recorded(host, path):
                CLIENTS[client](host, home, NAMES)
            said = subprocess.run(version, check=True, capture_output=True, text=True).stdout.split("\n")[0]
            document = json.dumps(manifest(path, name, program, said.split(" from ")[0]), indent=1)
            path.with_suffix(".json").write_text(document + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

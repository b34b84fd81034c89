"""ndpiReader, nDPI's own program, with the names as a protocol of their own."""

import csv

from peers.program import Ends, Program, Work, ends, first_line

LABEL = "MolecatcherTunnel"
SSH_PORT = 22


def _command(work: Work) -> list[str]:
    protocols = work.folder / "protocols.txt"
    protocols.write_text("".join(f'host:"{suffix}"@{LABEL}\n' for suffix in work.suffixes))
    flows = str(work.folder / "flows.csv")
    return ["ndpiReader", "-q", "-i", str(work.capture), "-p", str(protocols), "-C", flows]


def _find(work: Work) -> set[Ends]:
    with (work.folder / "flows.csv").open(newline="") as stream:
        return {_ends(row) for row in csv.DictReader(stream) if _is_flagged(row)}


def _is_flagged(row: dict[str, str]) -> bool:
    is_ssh = row["ndpi_proto"].split(".")[0] == "SSH" and SSH_PORT not in (int(row["src_port"]), int(row["dst_port"]))
    return LABEL in row["ndpi_proto"] or is_ssh


def _ends(row: dict[str, str]) -> Ends:
    transport = "tcp" if row["protocol"] == "6" else "udp"
    return ends(transport, row["src_ip"], row["src_port"], row["dst_ip"], row["dst_port"])


PROGRAMS = [Program("ndpiReader", lambda: first_line(["ndpiReader", "--help"]), _command, _find)]

"""tshark, printing names and SSH banners; the names are compared afterwards, outside the measurement."""

from peers.program import Ends, Program, Work, ends, first_line, is_below

SSH_PORT = 22
NAMES = ("tls.handshake.extensions_server_name", "dns.qry.name", "ssh.protocol")
ENDS = ("ip.src", "ipv6.src", "ip.dst", "ipv6.dst", "tcp.srcport", "udp.srcport", "tcp.dstport", "udp.dstport")


def _command(work: Work) -> list[str]:
    fields = [word for field in (*ENDS, *NAMES) for word in ("-e", field)]
    shown = " or ".join(NAMES)
    return ["tshark", "-n", "-r", str(work.capture), "-Y", shown, "-T", "fields", *fields]


def _find(work: Work) -> set[Ends]:
    lines = work.output.read_text().splitlines()
    return {found for line in lines for found in _flagged(line.split("\t"), work.suffixes)}


def _flagged(row: list[str], suffixes: tuple[str, ...]) -> list[Ends]:
    src, dst = row[0] or row[1], row[2] or row[3]
    transport, src_port, dst_port = ("tcp", row[4], row[6]) if row[4] else ("udp", row[5], row[7])
    names = [name for field in row[8:10] for name in field.split(",")]
    is_ssh = bool(row[10]) and SSH_PORT not in (int(src_port), int(dst_port))
    if is_ssh or any(is_below(name, suffixes) for name in names):
        return [ends(transport, src, src_port, dst, dst_port)]
    return []


PROGRAMS = [Program("tshark", lambda: first_line(["tshark", "--version"]), _command, _find, is_slow=True)]

"""nfstream in a virtual environment of its own; a script prints each flow with its names."""

from pathlib import Path

from peers.program import Ends, Program, Work, ends, first_line, is_below

PYTHON = str(Path(__file__).parents[1] / ".nfstream" / "bin" / "python")
SSH_PORT = 22
SCRIPT = """
import sys
from nfstream import NFStreamer
if __name__ == "__main__":
    for flow in NFStreamer(source=sys.argv[1]):
        print(flow.protocol, flow.src_ip, flow.src_port, flow.dst_ip, flow.dst_port,
              flow.application_name or "-", flow.requested_server_name or "-", sep="\\t")
"""


def _version() -> str | None:
    return first_line([PYTHON, "-c", "import nfstream; print('nfstream', nfstream.__version__)"])


def _command(work: Work) -> list[str]:
    script = work.folder / "flows.py"
    script.write_text(SCRIPT)
    return [PYTHON, str(script), str(work.capture)]


def _find(work: Work) -> set[Ends]:
    rows = (line.split("\t") for line in work.output.read_text().splitlines())
    return {
        ends("tcp" if row[0] == "6" else "udp", *row[1:5])
        for row in rows
        if is_below(row[6], work.suffixes) or (row[5] == "SSH" and str(SSH_PORT) not in (row[2], row[4]))
    }


PROGRAMS = [Program("nfstream", _version, _command, _find)]

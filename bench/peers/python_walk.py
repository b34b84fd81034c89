"""Python that steps from record to record and does nothing else: the floor of the picker without its compiled part."""

import platform
import sys

from peers.program import Program, Work

WALK = """
import struct, sys
read_header = struct.Struct("<8xI").unpack_from
rest = b""
with open(sys.argv[1], "rb") as stream:
    stream.seek(24)
    while chunk := stream.read(1 << 17):
        buffer, at = rest + chunk, 0
        last = len(buffer) - 16
        while at <= last:
            stop = at + 16 + read_header(buffer, at)[0]
            if stop > last + 16:
                break
            at = stop
        rest = buffer[at:]
"""


def _command(work: Work) -> list[str]:
    return [sys.executable, "-c", WALK, str(work.capture)]


PROGRAMS = [Program("a bare walk in Python", platform.python_version, _command)]

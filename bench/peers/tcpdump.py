"""tcpdump, reading and throwing away: the floor."""

from peers.program import Program, Work, first_line


def _command(work: Work) -> list[str]:
    return ["tcpdump", "-r", str(work.capture), "-w", "/dev/null"]


PROGRAMS = [Program("tcpdump -w /dev/null", lambda: first_line(["tcpdump", "--version"]), _command)]

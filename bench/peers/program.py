"""What every program of the comparison offers: is it here, how is it run, what did it find."""

import ipaddress
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Ends = tuple[str, str, int, str, int]


@dataclass(frozen=True, slots=True)
class Work:
    """One run: the capture, the names to look for, and an empty folder for whatever the program writes."""

    capture: Path
    suffixes: tuple[str, ...]
    folder: Path

    @property
    def output(self) -> Path:
        """Return where standard output goes."""
        return self.folder / "stdout"


@dataclass(frozen=True, slots=True)
class Program:
    """A program: `find` returns the five-tuples that it flagged (None: it does not look), `version` None if absent."""

    name: str
    version: Callable[[], str | None]
    command: Callable[[Work], list[str]]
    find: Callable[[Work], set[Ends]] | None = None
    is_slow: bool = False  # runs in the first round only
    suffix: str = ".pcap"  # of the kind of file that it is given


def ends(transport: str, src: Any, src_port: Any, dst: Any, dst_port: Any) -> Ends:
    """Return a five-tuple in the spelling that is compared."""
    src, dst = (str(ipaddress.ip_address(address)) for address in (src, dst))
    return transport.lower(), src, int(src_port), dst, int(dst_port)


def back(five_tuple: Ends) -> Ends:
    """Return the other direction."""
    transport, src, src_port, dst, dst_port = five_tuple
    return transport, dst, dst_port, src, src_port


def is_below(name: str, suffixes: tuple[str, ...]) -> bool:
    """Tell whether `name` is one of the suffixes or below it."""
    return f".{name.lower().rstrip('.')}".endswith(tuple(f".{suffix}" for suffix in suffixes))


def first_line(command: list[str]) -> str | None:
    """Return the first line that the command prints, None if it is not installed."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0].strip() if lines else "unknown"

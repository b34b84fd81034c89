"""The names that hosts gave for their DHCP leases, from the lease files of common servers on this host."""

import csv
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

MAX_FILE_OCTETS: Final = 16 << 20
MAX_LEASES: Final = 65_536
DEFAULT_FILES: Final = (
    Path("/var/lib/misc/dnsmasq.leases"),
    Path("/var/lib/dhcp/dhcpd.leases"),
    Path("/var/lib/kea/kea-leases4.csv"),
)
_DNSMASQ_COLUMNS = 4
_ISC_LEASE = re.compile(r"^lease (\S+) \{(.*?)^\}", re.MULTILINE | re.DOTALL)
_ISC_MAC = re.compile(r"^\s*hardware ethernet ([0-9a-f:]+);", re.MULTILINE)
_ISC_NAME = re.compile(r'^\s*client-hostname "([^"]+)";', re.MULTILINE)


class Lease(NamedTuple):
    """What a lease says of an address; None is not said."""

    host: str | None
    mac: str | None


class LeaseFiles:
    """The leases in `files` (dnsmasq, ISC dhcpd, Kea's memfile), read again when one changed; at most 65,536."""

    def __init__(self, files: Sequence[Path] = DEFAULT_FILES) -> None:
        self._files = files
        self._stamps: list[tuple[int, int] | None] = []
        self._leases: dict[str, Lease] = {}

    def find(self, address: str) -> Lease | None:
        """Return the lease of an address, if a file tells of one."""
        stamps = [_stamp(path) for path in self._files]
        if stamps != self._stamps:
            self._stamps = stamps
            self._leases = dict(self._read())
        return self._leases.get(address)

    def _read(self) -> Iterator[tuple[str, Lease]]:
        count = 0
        for path in self._files:
            for row in read_leases(_content(path)):
                count += 1
                if count > MAX_LEASES:
                    return
                yield row


def read_leases(text: str) -> Iterator[tuple[str, Lease]]:
    """Yield addresses with their leases, the newest of an address last; lines that are none are passed over."""
    if text.startswith("address,"):
        yield from _kea(text.splitlines())
    elif _ISC_LEASE.search(text):
        for address, body in _ISC_LEASE.findall(text):
            name, mac = _ISC_NAME.search(body), _ISC_MAC.search(body)
            yield address, Lease(name[1] if name else None, mac[1] if mac else None)
    else:
        for words in map(str.split, text.splitlines()):
            if len(words) >= _DNSMASQ_COLUMNS and words[0].isdecimal():  # expiry, MAC, address, name, client id
                yield words[2], Lease(words[3] if words[3] != "*" else None, words[1].lower())


def _kea(lines: Iterable[str]) -> Iterator[tuple[str, Lease]]:
    for row in csv.DictReader(lines):
        if row.get("address"):
            yield row["address"], Lease((row.get("hostname") or "").rstrip(".") or None, row.get("hwaddr") or None)


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_OCTETS).decode("utf-8", "replace")
    except OSError:
        return ""


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - called for every host that is asked about
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size

"""The SSH identification line (RFC 4253 section 4.2)."""

import re
from typing import Final

from sensor.errors import MalformedInput, NeedMoreData
from sensor.extract.text import escape_line

MAX_BANNER_OCTETS: Final = 255
MAX_OCTETS_BEFORE: Final = 1024

_MARK: Final = b"SSH-"
_BANNER: Final = re.compile(rb"SSH-[0-9]\.[0-9]{1,2}-[^\x00\r\n]+\r?\n")
_BEGINNING: Final = re.compile(rb"SSH-(?:[0-9](?:\.(?:[0-9]{1,2}(?:-[^\x00\r\n]*\r?)?)?)?)?")
_NO_TEXT: Final = re.compile(rb"[^\t\r\n\x20-\x7e\x80-\xff]")


def read_banner(stream: bytes) -> str:
    """Return the identification line without its line end, such as `SSH-2.0-OpenSSH_9.2p1 Debian-2`.

    A server may send other lines of text first; they are skipped. Of a line that is too long, which OpenSSH takes, the
    first 255 octets are returned.

    Raises:
        NeedMoreData: valid so far, but the line is not complete.
        MalformedInput: not SSH.
    """
    at = 0
    while (end := stream.find(b"\n", at)) >= 0 and not stream.startswith(_MARK, at):
        at = end + 1
    if not stream.startswith(_MARK, at):
        _check_text(stream)
        raise NeedMoreData
    _check_text(stream[:at])
    line = stream[at : at + MAX_BANNER_OCTETS]
    complete = _BANNER.match(line)
    if complete:
        return escape_line(complete[0].rstrip(b"\r\n"))
    if _BEGINNING.fullmatch(line):
        if len(line) == MAX_BANNER_OCTETS:
            return escape_line(line)
        raise NeedMoreData
    raise MalformedInput(at, "not an SSH identification line")


def _check_text(before: bytes) -> None:
    """Check what stands before the identification line.

    Raises:
        MalformedInput: it is no text, or too much.
    """
    if len(before) > MAX_OCTETS_BEFORE or _NO_TEXT.search(before):
        raise MalformedInput(0, "no lines of text that may come before an SSH identification line")

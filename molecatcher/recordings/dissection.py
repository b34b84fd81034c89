"""The packets of an event for people to read: what each is, and every field of it, by scapy.

Scapy takes a third of a second to import and 1 ms or so a packet, so it is imported here alone, when asked.
"""

import io
import logging
import struct
import warnings
from itertools import islice
from typing import Any

from rules.values.dissected import DissectedPacket
from rules.values.event import rfc3339

MAX_PACKETS = 64
MAX_LINES = 120
MAX_LINE = 160
CUT = " ..."


def dissect(evidence: bytes) -> list[DissectedPacket]:
    """Return the packets of a pcapng file, the first 64; what scapy cannot read is shown in hexadecimal digits.

    Of what is no pcapng file, or a damaged one, what comes before the damage.
    """
    from scapy.error import Scapy_Exception, log_runtime  # noqa: PLC0415 - see above
    from scapy.utils import RawPcapNgReader  # noqa: PLC0415

    found: list[DissectedPacket] = []
    if not evidence:
        return found
    log_runtime.setLevel(logging.ERROR)  # it wonders about octets of which it sees no beginning
    stream: Any = io.BytesIO(evidence)
    try:
        reader: Any = RawPcapNgReader(stream)
        for data, about in islice(reader, MAX_PACKETS):
            found.append(_dissected(data, about))
    except (Scapy_Exception, EOFError, struct.error):
        pass
    return found


def _dissected(data: bytes, about: Any) -> DissectedPacket:
    summary, fields = _read(data, about.linktype)
    at_ns = ((about.tshigh << 32) + about.tslow) * 1_000_000_000 // about.tsresol
    return DissectedPacket(
        time=rfc3339(at_ns),
        interface=_text(about.ifname),
        octets=len(data),
        wire_octets=about.wirelen,
        why="; ".join(map(_text, about.comments or ())),
        summary=_cut(summary),
        fields=tuple(map(_cut, fields[:MAX_LINES])),
    )


def _read(data: bytes, link_type: int) -> tuple[str, list[str]]:
    import scapy.layers.dns  # noqa: PLC0415 - see above; imports make layers known
    import scapy.layers.inet6  # noqa: PLC0415
    import scapy.layers.tls.all  # noqa: F401, PLC0415
    from scapy.config import conf  # noqa: PLC0415
    from scapy.error import Scapy_Exception  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            packet: Any = conf.l2types[link_type](data)
            return packet.summary(), packet.show(dump=True).splitlines()
    except (Scapy_Exception, ValueError, TypeError, LookupError, AttributeError, struct.error, RecursionError) as error:
        return f"cannot be dissected ({type(error).__name__})", [data[:MAX_LINES].hex(" ")]


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def _cut(line: str) -> str:
    printable = "".join(character if character.isprintable() else "." for character in line.rstrip())
    return printable if len(printable) <= MAX_LINE else printable[: MAX_LINE - len(CUT)] + CUT

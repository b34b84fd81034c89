"""A packet in words, for people who look at an event."""

import msgspec


class DissectedPacket(msgspec.Struct, frozen=True):
    """A packet of an event: `summary` is one line, `fields` many; `octets` of `wire_octets` were kept."""

    time: str
    interface: str
    octets: int
    wire_octets: int
    why: str
    summary: str
    fields: tuple[str, ...]

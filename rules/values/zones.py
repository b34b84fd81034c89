"""Who serves the zone that a name lies in: asked for in the background, never where packets are read."""

from typing import Protocol

from rules.values.value import Value


class ZoneAnswer(Value, frozen=True):
    """The closest zone at or above `name` and its name servers, as a resolver said; true until `until_ns`.

    Without `zone` nothing is known of it for as long: no zone was found, or nobody answered.
    """

    name: str
    zone: str = ""
    servers: tuple[str, ...] = ()
    until_ns: int = 0


class Zones(Protocol):
    """Answers as they come."""

    def find(self, name: str, now_ns: int) -> ZoneAnswer | None:
        """Return what is known of `name` at `now_ns`; where nothing is, it will be asked for."""

    def news(self) -> list[str]:
        """Return the names that were answered since the last call."""

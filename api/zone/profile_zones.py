"""The zone of every profile, by its name: the default one's is the origin, another's has the profile before it."""

from collections.abc import Callable, Collection, Iterator, Mapping

import dns.name

from api.zone.policy_zone import PolicyZone
from rules.policy.profiles import DEFAULT_PROFILE

MAX_ORIGIN_OCTETS = 60  # `api.feeds.rpz` leaves so much of a name's 253 to the zone's own


def zone_name(origin: dns.name.Name, profile: str) -> dns.name.Name:
    """Return what the zone of a profile is called."""
    return origin if profile == DEFAULT_PROFILE else dns.name.from_text(profile, origin)


class ProfileZones(Mapping[dns.name.Name, PolicyZone]):
    """Zones of the profiles that there are now. Bounded by them; one whose name would be too long is left out.

    Args:
        origin: the zone of the default profile.
        profiles: the names of the profiles.
        make: returns the zone of a profile; it is kept.
    """

    def __init__(
        self, origin: dns.name.Name, profiles: Callable[[], Collection[str]], make: Callable[[str], PolicyZone]
    ) -> None:
        self._origin = origin
        self._profiles = profiles
        self._make = make
        self._made: dict[str, PolicyZone] = {}

    def __getitem__(self, name: dns.name.Name) -> PolicyZone:
        """Return the zone of that name."""
        named = self._named()
        profile = named.get(name)
        if profile is None:
            raise KeyError(name)
        for gone in set(self._made).difference(named.values()):
            self._made.pop(gone, None)
        made = self._made.get(profile)
        return made if made is not None else self._made.setdefault(profile, self._make(profile))

    def __iter__(self) -> Iterator[dns.name.Name]:
        """Yield the names."""
        return iter(self._named())

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._named())

    def _named(self) -> dict[dns.name.Name, str]:
        named = {zone_name(self._origin, profile): profile for profile in self._profiles()}
        return {name: profile for name, profile in named.items() if len(name.to_text(True)) <= MAX_ORIGIN_OCTETS}

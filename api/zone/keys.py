"""Keys of zone transfers (TSIG, RFC 8945) and where each is good from."""

import re
from base64 import b64decode
from collections.abc import Iterable

import dns.name
import dns.tsig
import msgspec

from api.access.addresses import Address, Network, is_within, parse_networks

ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512")
FEWEST_OCTETS = 16  # of a secret, RFC 8945 section 8 asks for as many as the hash has; other programs make shorter ones
KEY_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


class ZoneKey(msgspec.Struct, frozen=True):
    """A key as it is kept: secret in base64, prefixes that it is good from, addresses to tell of new serials.

    One with a profile opens the zone of that profile alone, as a token does.
    """

    name: str
    secret: str
    algorithm: str = ALGORITHMS[0]
    allowed: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()
    profile: str | None = None

    def __repr__(self) -> str:
        return f"ZoneKey({self.name!r})"


class Keyring:
    """The keys of a moment."""

    def __init__(self, keys: Iterable[ZoneKey] = ()) -> None:
        """Take the keys.

        Raises:
            ValueError: one has no usable name, secret, algorithm or prefix.
        """
        self.keys = tuple(keys)
        self.tsig: dict[dns.name.Name, dns.tsig.Key] = {}
        self._policies: dict[dns.name.Name, tuple[tuple[Network, ...], tuple[Network, ...]]] = {}
        self._profiles: dict[dns.name.Name, str | None] = {}
        for key in self.keys:
            made = tsig_key(key)
            self._profiles[made.name] = key.profile
            self.tsig[made.name] = made
            self._policies[made.name] = parse_networks(key.allowed), parse_networks(key.denied)

    def opens(self, name: dns.name.Name, profile: str) -> bool:
        """Tell whether this key is for the zone of a profile."""
        return self._profiles[name] in (None, profile)

    def permits(self, name: dns.name.Name, client: Address) -> bool:
        """Tell whether this key may be used from there; `denied` goes before `allowed`, none allowed is everywhere."""
        allowed, denied = self._policies[name]
        return not is_within(client, denied) and (not allowed or is_within(client, allowed))


def tsig_key(key: ZoneKey) -> dns.tsig.Key:
    """Return the key for signing.

    Raises:
        ValueError: it cannot be one.
    """
    if not KEY_NAME.fullmatch(key.name) or key.algorithm not in ALGORITHMS:
        raise ValueError(f"{key.name[:64]!r} with {key.algorithm[:32]!r} is no key: its name is one label")
    secret = b64decode(key.secret, validate=True)
    if len(secret) < FEWEST_OCTETS:
        raise ValueError(f"the secret of {key.name} is shorter than {FEWEST_OCTETS} octets")
    return dns.tsig.Key(dns.name.from_text(key.name), secret, f"{key.algorithm}.")

"""The access configuration (`access.toml`): who signs in how, from where, how often. Unknown keys are refused."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from api.access import break_glass
from api.access.addresses import Network, is_within, parse_address, parse_networks
from api.access.rates import Rates
from api.access.table import ROLES, Area
from api.errors import UnusableAccessConfig
from db.access.values import AccessRole, Session


class AddressConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """From where an area may be asked: `deny` goes before `allow`; without `allow` from everywhere."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    @cached_property
    def allowed(self) -> tuple[Network, ...]:
        """Return `allow` as networks."""
        return parse_networks(self.allow)

    @cached_property
    def denied(self) -> tuple[Network, ...]:
        """Return `deny` as networks."""
        return parse_networks(self.deny)


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """How long people stay signed in."""

    idle_s: int = 30 * 60
    absolute_s: int = 12 * 3600


class StepUpConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """What dangerous actions ask of a person: a sign-in no older than this, in one of these ways if any are named."""

    max_age_s: int = 5 * 60
    acr: tuple[str, ...] = ()


class ProxyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Which proxies say who asks, and through how many of them every request comes."""

    trusted: tuple[str, ...]
    hops: Annotated[int, msgspec.Meta(ge=1, le=8)] = 1

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """Return `trusted` as networks."""
        return parse_networks(self.trusted)


class LimitConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """How often: of one person or token, and from one address without any that is good."""

    known: str = "1200/minute"
    unknown: str = "120/minute"


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Certificates of machines: who issues them, and the areas that nobody enters without one."""

    client_ca: str
    areas: tuple[Area, ...] = (Area.SENSORS,)


class MfaConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """What says that a second factor was used: one of these methods (RFC 8176), or one of these contexts."""

    amr: tuple[str, ...] = ("mfa",)
    acr: tuple[str, ...] = ()


class OidcConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """The organisation's OpenID provider, and which of its groups have which role."""

    issuer: str
    client_id: str
    roles: Mapping[str, AccessRole]
    client_secret_file: str | None = None
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    groups_claim: str = "groups"
    max_age_s: int = 12 * 3600
    mfa: MfaConfig = MfaConfig()
    ca_file: str | None = None

    def is_strong(self, amr: Sequence[str], acr: str) -> bool:
        """Tell whether a provider that says this says that a second factor was used."""
        return not set(amr).isdisjoint(self.mfa.amr) or acr in self.mfa.acr

    def role_of(self, groups: Iterable[str]) -> AccessRole | None:
        """Return the highest role of these groups, None when none of them has one."""
        return max((self.roles[group] for group in groups if group in self.roles), key=ROLES.index, default=None)


class AccessConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Everything that access.toml says; without one, loopback is trusted and nobody signs in."""

    require: bool = False
    hosts: tuple[str, ...] = ()
    public_url: str | None = None
    oidc: OidcConfig | None = None
    pseudonyms: tuple[AccessRole, ...] = ()
    proxy: ProxyConfig | None = None
    tls: TlsConfig | None = None
    limits: LimitConfig = LimitConfig()
    addresses: Mapping[Area, AddressConfig] = msgspec.field(default_factory=dict)
    sessions: SessionConfig = SessionConfig()
    step_up: StepUpConfig = StepUpConfig()

    @property
    def trusts_loopback(self) -> bool:
        """Tell whether somebody on this host needs no credential. Behind a proxy everybody looks so."""
        return not self.require and self.proxy is None and self.oidc is None

    def role_of(self, session: Session) -> AccessRole | None:
        """Return the role of a session by what the provider said at its sign-in, None when it has none (any more)."""
        if session.issuer == break_glass.ISSUER:
            return session.role
        oidc = self.oidc
        if oidc is None or session.issuer != oidc.issuer or not oidc.is_strong(session.amr, session.acr):
            return None
        return oidc.role_of(session.provider_groups)

    @property
    def all_hosts(self) -> tuple[str, ...]:
        """Return the names that the server answers for beyond loopback's."""
        public = urlsplit(self.public_url or "").hostname
        return (*self.hosts, *([public] if public else []))

    @cached_property
    def host_names(self) -> frozenset[str]:
        """Return `all_hosts` in small letters, as they are compared."""
        return frozenset(map(str.lower, self.all_hosts))

    def needs_certificate(self, area: Area) -> bool:
        """Tell whether an area is closed to machines without a certificate."""
        return self.tls is not None and area in self.tls.areas

    def takes(self, area: Area, text: str) -> bool:
        """Tell whether requests of this area may come from an address."""
        policy = self.addresses.get(area)
        if policy is None:
            return True
        address = parse_address(text)
        if address is None or is_within(address, policy.denied):
            return False
        return not policy.allowed or is_within(address, policy.allowed)


def parse_access(text: str, path: str) -> AccessConfig:
    """Return the configuration in `text`.

    Raises:
        UnusableAccessConfig: it is not TOML, has unknown keys or values that cannot be; the message names the place.
    """
    try:
        config = msgspec.toml.decode(text, type=AccessConfig)
        for policy in config.addresses.values():
            _ = policy.allowed, policy.denied
        _ = config.proxy and config.proxy.networks
        Rates(config.limits.known, config.limits.unknown)
    except (msgspec.MsgspecError, ValueError) as error:
        raise UnusableAccessConfig(
            f"{path} cannot be used: {error}; docs/security.md says what may stand there"
        ) from None
    if config.oidc is not None and not config.public_url:
        raise UnusableAccessConfig(f"{path} cannot be used: [oidc] needs public_url, where browsers come back to")
    if config.oidc is not None and not _is_private(config.oidc.issuer):
        raise UnusableAccessConfig(
            f"{path} cannot be used: the issuer must be an https address; its keys come from there"
        )
    return config


def _is_private(url: str) -> bool:
    """Tell whether what comes from an address cannot be changed on the way."""
    parts = urlsplit(url)
    address = parse_address(parts.hostname or "")
    is_here = parts.hostname == "localhost" or (address is not None and address.is_loopback)
    return bool(parts.hostname) and (parts.scheme == "https" or is_here)

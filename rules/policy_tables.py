"""The tables of the policy file as they are written; `rules.policy` checks what they say."""

from datetime import date

import msgspec

from rules.profiles import ProfileTable


class SanctionTable(msgspec.Struct, forbid_unknown_fields=True):
    """A `[[sanctioned]]`."""

    domain: str
    service: str
    owner: str
    reason: str
    expires: date | None = None
    addresses: list[str] = []


class ExceptionTable(msgspec.Struct, forbid_unknown_fields=True):
    """An `[[exception]]`."""

    service: str
    owner: str
    reason: str
    sources: list[str] = []
    users: list[str] = []
    hosts: list[str] = []
    macs: list[str] = []
    executables: list[str] = []
    containers: list[str] = []
    expires: date | None = None


class BlockedTable(msgspec.Struct, forbid_unknown_fields=True):
    """A `[[blocked]]`."""

    entry: str
    owner: str
    reason: str
    expires: date | None = None


class PolicyFile(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    sanctioned: list[SanctionTable] = []
    exception: list[ExceptionTable] = []
    blocked: list[BlockedTable] = []
    profile: list[ProfileTable] = []
    services: dict[str, str] = {}

"""The tables of the policy file as they are written down, before anything is checked but their keys and types."""

from datetime import date

import msgspec


class SanctionTable(msgspec.Struct, forbid_unknown_fields=True):
    """A sanctioned ingress as it is written down."""

    domain: str
    service: str
    owner: str
    reason: str
    expires: date | None = None
    addresses: list[str] = []


class ExceptionTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An exception as it is written down, in the file or in the database."""

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


class BlockedTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An entry of our own lists as it is written down, in the file or in the database."""

    entry: str
    owner: str
    reason: str
    expires: date | None = None


class PolicyFile(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    sanctioned: list[SanctionTable] = []
    exception: list[ExceptionTable] = []
    blocked: list[BlockedTable] = []
    services: dict[str, str] = {}

"""The tables of the policy file as they are written; `rules.policy.policy` checks what they say."""

import difflib
from collections.abc import Iterable
from datetime import date

import msgspec

from rules.policy.profiles import ProfileTable


class SanctionTable(msgspec.Struct, forbid_unknown_fields=True):
    """A `[[sanctioned]]`, or one of the database."""

    domain: str
    service: str
    owner: str
    reason: str
    expires: date | None = None
    addresses: list[str] = []


class ExceptionTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An `[[exception]]`, or one of the database."""

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
    """A `[[blocked]]` or a `[[never_blocked]]`, or an entry of the database."""

    entry: str
    owner: str
    reason: str
    expires: date | None = None


class PolicyFile(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    sanctioned: list[SanctionTable] = []
    exception: list[ExceptionTable] = []
    blocked: list[BlockedTable] = []
    never_blocked: list[BlockedTable] = []
    profile: list[ProfileTable] = []
    services: dict[str, str] = {}


def explain(message: str) -> str:
    """Return what a failed conversion says, with the key in front and the tables that there are."""
    path = message.rpartition(" - at ")[2].strip("`$.") if " - at " in message else "the file"
    what = message.partition(" - at ")[0]
    known = "[[sanctioned]], [[exception]], [[blocked]], [[never_blocked]], [[profile]] and [services]"
    return f"{path}: {what}. Known keys: {known}; see docs/policy.md"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return which known words may be meant, as the end of a sentence."""
    close = difflib.get_close_matches(word, list(known), n=3)
    return f"; did you mean {' or '.join(close)}?" if close else "; `molecatcher check --services` lists them"

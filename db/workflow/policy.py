"""What people decided over the API: the overlay of the policy file. Every change counts `OVERLAY_REVISION` up."""

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Table, delete, func, insert, select, update

from db.access.audit import changing
from db.schema.models import OVERLAY_REVISION
from db.schema.numbers import add_to_number, glance_at_number, number
from db.schema.workflow_models import BlockedRow, DecisionRow, ExceptionRow, ProfileRow, SanctionRow
from db.sql.engine import reading, upsert
from db.workflow.values import (
    ExceptionStatus,
    StoredBlocked,
    StoredDecision,
    StoredException,
    StoredProfile,
    StoredSanction,
)
from rules.policy.overlay import Overlay
from rules.policy.profiles import MAX_PROFILES

MAX_SANCTIONS = 1000
MAX_EXCEPTIONS = 1000  # requested and active; ended ones leave with their retention
MAX_BLOCKED = 1000  # and as many that are kept off every list

_PROFILES = ProfileRow.metadata.tables[ProfileRow.__tablename__]
_SANCTIONS = SanctionRow.metadata.tables[SanctionRow.__tablename__]
_EXCEPTIONS = ExceptionRow.metadata.tables[ExceptionRow.__tablename__]
_DECISIONS = DecisionRow.metadata.tables[DecisionRow.__tablename__]
_BLOCKED = BlockedRow.metadata.tables[BlockedRow.__tablename__]
_OPEN = (ExceptionStatus.REQUESTED.value, ExceptionStatus.ACTIVE.value)


class PolicyStore:
    """Sanctioned ingresses, exceptions, decisions about services and entries of our own, one transaction a method."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def revision(self) -> int:
        """Return a number that differs after every change. Costs one row, outside of any transaction."""
        return glance_at_number(self._engine, OVERLAY_REVISION)

    def overlay(self) -> Overlay:
        """Return everything that has an effect, in one state of the database."""
        with reading(self._engine) as connection:
            sanctions = [row for row in _sanctions(connection) if row.status is ExceptionStatus.ACTIVE]
            active = select(_EXCEPTIONS).where(_EXCEPTIONS.c.status == ExceptionStatus.ACTIVE.value)
            exceptions = [_exception(row) for row in _rows(connection, active.order_by(_EXCEPTIONS.c.exception_id))]
            entries = [_blocked(row) for row in _rows(connection, select(_BLOCKED).order_by(_BLOCKED.c.entry_id))]
            decisions = connection.execute(select(_DECISIONS.c.service, _DECISIONS.c.decision))
            return Overlay(
                revision=number(connection, OVERLAY_REVISION),
                sanctions=tuple((row.sanction_id, row.to_table()) for row in sanctions),
                exceptions=tuple((row.exception_id, row.to_table()) for row in exceptions),
                blocked=tuple((row.entry_id, row.to_table()) for row in entries if not row.is_never),
                never_blocked=tuple((row.entry_id, row.to_table()) for row in entries if row.is_never),
                decisions=tuple((row.service, row.decision) for row in decisions),
                profiles=tuple(row.chosen for row in _profiles(connection)),
            )

    def profiles(self) -> list[StoredProfile]:
        """Return the profiles of the lists, by name."""
        with reading(self._engine) as connection:
            return _profiles(connection)

    def set_profile(self, wanted: StoredProfile) -> bool:
        """Keep a profile in the place of one of its name; tell whether there was room for it among `MAX_PROFILES`."""
        row = msgspec.to_builtins(wanted) | {"name": wanted.chosen.name}
        with changing(self._engine, _PROFILES, wanted.chosen.name) as connection:
            others = {profile.chosen.name for profile in _profiles(connection)} - {wanted.chosen.name}
            if len(others) >= MAX_PROFILES:
                return False
            connection.execute(upsert(connection, _PROFILES), [row])
            _count_change(connection)
            return True

    def remove_profile(self, name: str) -> bool:
        """Remove a profile; tell whether there was one."""
        return self._change(_PROFILES, name, delete(_PROFILES).where(_PROFILES.c.name == name))

    def sanctions(self) -> list[StoredSanction]:
        """Return the sanctioned ingresses, requested ones too, by their domain."""
        with reading(self._engine) as connection:
            return _sanctions(connection)

    def add_sanction(self, wanted: StoredSanction) -> bool:
        """Keep a new ingress; tell whether there was room for it, and none of this domain."""
        with changing(self._engine, _SANCTIONS, wanted.sanction_id) as connection:
            known = _sanctions(connection)
            if len(known) >= MAX_SANCTIONS or any(row.domain == wanted.domain for row in known):
                return False
            connection.execute(insert(_SANCTIONS).values(msgspec.to_builtins(wanted)))
            _count_change(connection)
            return True

    def approve_sanction(self, sanction_id: str, actor: str, at_ns: int) -> bool:
        """Put a requested ingress into force; tell whether one waits that somebody else than `actor` asked for."""
        waits = (_SANCTIONS.c.sanction_id == sanction_id, _SANCTIONS.c.status == ExceptionStatus.REQUESTED.value)
        values = {"status": ExceptionStatus.ACTIVE.value, "decided_by": actor, "decided_at_ns": at_ns}
        changed = update(_SANCTIONS).where(*waits, _SANCTIONS.c.requested_by != actor).values(values)
        return self._change(_SANCTIONS, sanction_id, changed)

    def remove_sanction(self, sanction_id: str) -> bool:
        """Remove an ingress; tell whether there was one."""
        return self._change(_SANCTIONS, sanction_id, delete(_SANCTIONS).where(_SANCTIONS.c.sanction_id == sanction_id))

    def exceptions(
        self, status: ExceptionStatus | None, service: str | None, after: str | None, limit: int
    ) -> list[StoredException]:
        """Return up to `limit` exceptions, the newest first; the next page is `after` the id of the last one."""
        query = select(_EXCEPTIONS).order_by(_EXCEPTIONS.c.exception_id.desc()).limit(limit)
        if status is not None:
            query = query.where(_EXCEPTIONS.c.status == status.value)
        if service is not None:
            query = query.where(_EXCEPTIONS.c.service == service)
        if after is not None:
            query = query.where(_EXCEPTIONS.c.exception_id < after)
        with reading(self._engine) as connection:
            return [_exception(row) for row in _rows(connection, query)]

    def exception(self, exception_id: str) -> StoredException | None:
        """Return one exception, None when there is none."""
        query = select(_EXCEPTIONS).where(_EXCEPTIONS.c.exception_id == exception_id)
        with reading(self._engine) as connection:
            return next((_exception(row) for row in _rows(connection, query)), None)

    def add_exception(self, wanted: StoredException) -> bool:
        """Keep a new exception; tell whether there was room for it among `MAX_EXCEPTIONS`."""
        with changing(self._engine, _EXCEPTIONS, wanted.exception_id) as connection:
            is_open = _EXCEPTIONS.c.status.in_(_OPEN)
            if connection.execute(select(func.count()).where(is_open)).scalar_one() >= MAX_EXCEPTIONS:
                return False
            connection.execute(insert(_EXCEPTIONS).values(msgspec.to_builtins(wanted)))
            _count_change(connection)
            return True

    def decide_exception(self, exception_id: str, actor: str, at_ns: int, *, is_approved: bool) -> bool:
        """Approve or reject a requested exception; tell whether there is one that waits for it.

        Who asked for an exception cannot approve it: to them there is none that waits.
        """
        status = ExceptionStatus.ACTIVE if is_approved else ExceptionStatus.REJECTED
        waits = (_EXCEPTIONS.c.exception_id == exception_id, _EXCEPTIONS.c.status == ExceptionStatus.REQUESTED.value)
        changed = update(_EXCEPTIONS).where(*waits).values(status=status.value, decided_by=actor, decided_at_ns=at_ns)
        changed = changed.where(_EXCEPTIONS.c.requested_by != actor) if is_approved else changed
        return self._change(_EXCEPTIONS, exception_id, changed)

    def end_exception(self, exception_id: str, actor: str, at_ns: int) -> bool:
        """Revoke an exception that is active or requested; tell whether there is one."""
        is_open = (_EXCEPTIONS.c.exception_id == exception_id, _EXCEPTIONS.c.status.in_(_OPEN))
        values = {"status": ExceptionStatus.REVOKED.value, "ended_by": actor, "ended_at_ns": at_ns}
        return self._change(_EXCEPTIONS, exception_id, update(_EXCEPTIONS).where(*is_open).values(values))

    def decisions(self) -> list[StoredDecision]:
        """Return what was decided of services and categories, by their ids."""
        with reading(self._engine) as connection:
            rows = _rows(connection, select(_DECISIONS).order_by(_DECISIONS.c.service))
            return [msgspec.convert(row, StoredDecision) for row in rows]

    def decide_service(self, decision: StoredDecision) -> None:
        """Keep what was decided of a service or category, in place of what was decided before."""
        with changing(self._engine, _DECISIONS, decision.service) as connection:
            connection.execute(upsert(connection, _DECISIONS), [msgspec.to_builtins(decision)])
            _count_change(connection)

    def forget_decision(self, service: str) -> bool:
        """Take a decision back; tell whether there was one."""
        return self._change(_DECISIONS, service, delete(_DECISIONS).where(_DECISIONS.c.service == service))

    def blocked(self, *, is_never: bool = False) -> list[StoredBlocked]:
        """Return the entries of our own lists, or (`is_never`) those kept off every list, the newest first."""
        query = select(_BLOCKED).where(_BLOCKED.c.is_never == is_never).order_by(_BLOCKED.c.entry_id.desc())
        with reading(self._engine) as connection:
            return [_blocked(row) for row in _rows(connection, query)]

    def add_blocked(self, wanted: StoredBlocked) -> bool:
        """Keep a new entry; tell whether there was room for it among `MAX_BLOCKED` of its kind."""
        same = select(func.count()).select_from(_BLOCKED).where(_BLOCKED.c.is_never == wanted.is_never)
        with changing(self._engine, _BLOCKED, wanted.entry_id) as connection:
            if connection.execute(same).scalar_one() >= MAX_BLOCKED:
                return False
            connection.execute(insert(_BLOCKED).values(msgspec.to_builtins(wanted)))
            _count_change(connection)
            return True

    def remove_blocked(self, entry_id: str, *, is_never: bool = False) -> bool:
        """Remove an entry of this kind; tell whether there was one."""
        is_meant = (_BLOCKED.c.entry_id == entry_id, _BLOCKED.c.is_never == is_never)
        return self._change(_BLOCKED, entry_id, delete(_BLOCKED).where(*is_meant))

    def _change(self, table: Table, key: str, statement: Any) -> bool:
        with changing(self._engine, table, key) as connection:
            is_changed = connection.execute(statement).rowcount > 0
            if is_changed:
                _count_change(connection)
            return bool(is_changed)


def _rows(connection: Connection, query: Any) -> list[Mapping[str, Any]]:
    return [dict(row) for row in connection.execute(query).mappings()]


def _profiles(connection: Connection) -> list[StoredProfile]:
    rows = connection.execute(select(_PROFILES).order_by(_PROFILES.c.name)).mappings()
    return [msgspec.convert(dict(row), StoredProfile) for row in rows]


def _sanctions(connection: Connection) -> list[StoredSanction]:
    rows = _rows(connection, select(_SANCTIONS).order_by(_SANCTIONS.c.domain))
    return [msgspec.convert(row, StoredSanction) for row in rows]


def _exception(row: Mapping[str, Any]) -> StoredException:
    return msgspec.convert(row, StoredException)


def _blocked(row: Mapping[str, Any]) -> StoredBlocked:
    return msgspec.convert(row, StoredBlocked)


def _count_change(connection: Connection) -> None:
    add_to_number(connection, OVERLAY_REVISION, 1)

"""Answers to requests with an `Idempotency-Key`, so that one that is sent again does nothing again."""

import msgspec
from sqlalchemy import ColumnElement, Connection, Engine, delete, func, select, true, update

from db.schema.workflow_models import AnsweredRow
from db.sql.engine import upsert, writing
from db.workflow.values import Answered

KEPT_NS = 24 * 3600 * 1_000_000_000
GIVEN_UP_NS = 60 * 1_000_000_000  # whoever worked on it ended without an answer
MAX_KEPT = 10_000
MAX_OF_CALLER = 2_000  # so that nobody's requests push out what all others were answered

_ANSWERED = AnsweredRow.metadata.tables[AnsweredRow.__tablename__]


class AnsweredStore:
    """The answers of the last 24 hours, `MAX_KEPT` at most, `MAX_OF_CALLER` of each caller; the oldest leave."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, caller: str, key: str, fingerprint: bytes, now_ns: int) -> Answered | None:
        """Return what became of the request with this key; None: it is new, and now noted as being worked on."""
        with writing(self._engine) as connection:
            connection.execute(delete(_ANSWERED).where(_ANSWERED.c.at_ns < now_ns - KEPT_NS))
            found = _find(connection, caller, key)
            if found is not None and (found.status or now_ns - found.at_ns < GIVEN_UP_NS):
                return found
            new = {"caller": caller, "key": key, "fingerprint": fingerprint, "at_ns": now_ns}
            connection.execute(upsert(connection, _ANSWERED), [new | {"status": 0, "headers": {}, "body": b""}])
            _make_room(connection, _ANSWERED.c.caller == caller, MAX_OF_CALLER)
            _make_room(connection, true(), MAX_KEPT)
            return None

    def finish(self, caller: str, key: str, answer: Answered) -> None:
        """Keep the answer to a request that was begun."""
        is_it = (_ANSWERED.c.caller == caller, _ANSWERED.c.key == key)
        values = {"status": answer.status, "headers": answer.headers, "body": answer.body}
        with writing(self._engine) as connection:
            connection.execute(update(_ANSWERED).where(*is_it).values(values))

    def forget(self, caller: str, key: str) -> None:
        """Let a request that failed here be tried again."""
        with writing(self._engine) as connection:
            connection.execute(delete(_ANSWERED).where(_ANSWERED.c.caller == caller, _ANSWERED.c.key == key))


def _find(connection: Connection, caller: str, key: str) -> Answered | None:
    columns = [_ANSWERED.c[name] for name in Answered.__struct_fields__]
    query = select(*columns).where(_ANSWERED.c.caller == caller, _ANSWERED.c.key == key)
    row = connection.execute(query).mappings().first()
    return msgspec.convert(dict(row), Answered) if row else None


def _make_room(connection: Connection, among: ColumnElement[bool], limit: int) -> None:
    excess = connection.execute(select(func.count()).select_from(_ANSWERED).where(among)).scalar_one() - limit
    if excess > 0:
        by_age = select(_ANSWERED.c.at_ns).where(among).order_by(_ANSWERED.c.at_ns)
        oldest = by_age.offset(excess - 1).limit(1).scalar_subquery()
        connection.execute(delete(_ANSWERED).where(among, _ANSWERED.c.at_ns <= oldest))

"""The schema's version: brought up to date when a store is opened.

The upgrade runs in one transaction that holds the write lock from before the version is read. Two processes that start
together therefore upgrade once, and a process that dies half-way leaves the old schema.
"""

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from db.errors import StoreUnusable
from db.sql.engine import reading, writing

MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = "head"


def upgrade(engine: Engine, migrations: Path = MIGRATIONS, revision: str = HEAD) -> None:
    """Bring the schema to `revision`.

    Raises:
        StoreUnusable: the file is another program's, or a newer version of this one wrote it.
        StoreUnavailable: it is locked, or the disk is full.
    """
    revisions = _revisions(migrations)
    wanted = revisions[-1] if revision == HEAD else revision
    with reading(engine) as connection:
        if _current_revision(connection, revisions) == wanted:
            return
    with writing(engine) as connection:
        _current_revision(connection, revisions)
        _migrate(connection, migrations, wanted)


def _revisions(migrations: Path) -> list[str]:
    """Return the revisions that are known, the oldest first; `0001_first_schema.py` makes `mc0001`."""
    return [f"mc{path.name.partition('_')[0]}" for path in sorted(migrations.glob("versions/*.py"))]


def _current_revision(connection: Connection, revisions: list[str]) -> str | None:
    """Return the revision of the schema, None for an empty file."""
    tables = inspect(connection).get_table_names()
    found = "SELECT version_num FROM alembic_version"
    current: str | None = connection.scalar(text(found)) if "alembic_version" in tables else None
    path = connection.engine.url.database
    if current is None and tables:
        raise StoreUnusable(f"{path} is another program's database: name another file.")
    if current is not None and current not in revisions:
        raise StoreUnusable(
            f"The database {path} has schema {current}, which this version does not know: "
            "install the version of Molecatcher that wrote it, or a later one."
        )
    return current


def _migrate(connection: Connection, migrations: Path, revision: str) -> None:
    from alembic import command  # noqa: PLC0415 - 10 MiB, and nearly all starts find the schema up to date
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)

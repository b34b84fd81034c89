"""The schema's version: brought up to date when a store is opened.

The upgrade runs in one transaction that holds the write lock from before the version is read. Two processes that start
together therefore upgrade once, and a process that dies half-way leaves the old schema.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect

from db.errors import StoreUnusable
from db.sql.engine import reading, writing

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(engine: Engine, migrations: Path = MIGRATIONS, revision: str = "head") -> None:
    """Bring the schema to `revision`.

    Raises:
        StoreUnusable: the file is another program's, or a newer version of this one wrote it.
        StoreUnavailable: it is locked, or the disk is full.
    """
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    with reading(engine) as connection:
        found = _current_revision(connection, script)
    if found == script.get_current_head():
        return
    with writing(engine) as connection:
        _current_revision(connection, script)
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def _current_revision(connection: Connection, script: ScriptDirectory) -> str | None:
    """Return the revision of the schema, None for an empty file."""
    current = MigrationContext.configure(connection).get_current_revision()
    path = connection.engine.url.database
    if current is None and inspect(connection).get_table_names():
        raise StoreUnusable(f"{path} is another program's database: name another file.")
    known = {entry.revision for entry in script.walk_revisions()}
    if current is not None and current not in known:
        raise StoreUnusable(
            f"The database {path} has schema {current}, which this version does not know: "
            "install the version of Molecatcher that wrote it, or a later one."
        )
    return current

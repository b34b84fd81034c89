import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable
from stored_events import make_event, received

from db.errors import StoreUnusable
from db.schema import version
from db.schema.models import Base
from db.sql.engine import connect_engine, parse_location
from db.store import open_store
from db.values import EventFilter, FindingFilter

NEXT_REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "mc9999"
down_revision = "mc0024"

def upgrade() -> None:
    with op.batch_alter_table("events") as events:
        events.add_column(sa.Column("tenant", sa.Text(), nullable=False, server_default=""))
    {failure}
"""


def later_version(tmp_path: Path, failure: str = "") -> Path:
    """Return the migrations of a program with one revision more than this one has."""
    migrations = tmp_path / "migrations"
    shutil.copytree(version.MIGRATIONS, migrations)
    (migrations / "versions" / "9999_later.py").write_text(NEXT_REVISION.format(failure=failure))
    return migrations


def test_files_are_named_after_their_revisions() -> None:
    script = ScriptDirectory(str(version.MIGRATIONS))
    assert version._revisions(version.MIGRATIONS) == [entry.revision for entry in script.walk_revisions()][::-1]


def test_a_start_that_finds_the_schema_up_to_date_does_without_alembic(path: Path) -> None:
    program = (
        "import sys; from db.store import open_store; open_store(sys.argv[1]).close(); print('alembic' in sys.modules)"
    )
    root = Path(version.__file__).parents[2]
    for is_needed in ("True\n", "False\n"):
        assert subprocess.check_output([sys.executable, "-c", program, str(path)], cwd=root, text=True) == is_needed


def test_models_and_migrations_agree(path: Path) -> None:
    open_store(path).close()
    engine = connect_engine(parse_location(path))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        checks = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'events'").scalar_one()
    engine.dispose()
    for constraint in Base.metadata.tables["events"].constraints:
        assert f"CONSTRAINT {constraint.name} " in checks


def test_the_tables_are_portable_to_postgresql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for table in Base.metadata.sorted_tables:
        assert CreateTable(table).compile(dialect=dialect)
        assert all(CreateIndex(index).compile(dialect=dialect) for index in table.indexes)


def test_opening_again_finds_what_was_written(path: Path) -> None:
    with open_store(f"sqlite:///{path}", now_ns=received) as store:
        store.append([make_event(1)])
    with open_store(str(path), now_ns=received) as store:
        assert store.events(EventFilter(), 10) == [make_event(1)]


def test_an_upgrade_keeps_every_row(path: Path, tmp_path: Path) -> None:
    engine = connect_engine(parse_location(path))
    version.upgrade(engine, revision="mc0001")
    engine.dispose()
    with open_store(path, now_ns=received) as store:
        store.append([make_event(number) for number in range(100)])
        before = store.events(EventFilter(), 200), store.findings(FindingFilter(), 10)
        version.upgrade(store._engine, later_version(tmp_path))
        assert (store.events(EventFilter(), 200), store.findings(FindingFilter(), 10)) == before
        with store._engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM events WHERE tenant = ''").scalar_one() == 100


def test_what_was_stored_before_octets_and_losses_were_counted_stays(path: Path) -> None:
    with open_store(path, now_ns=received) as store:
        store.append([make_event(1)])
        with store._engine.connect() as connection:
            config = Config()
            config.set_main_option("script_location", str(version.MIGRATIONS))
            config.attributes["connection"] = connection
            command.downgrade(config, "mc0001")
            connection.commit()
        version.upgrade(store._engine)
        assert store.events(EventFilter(), 10) == [make_event(1, received_at_ns=None)]
        store.append([make_event(1, revision=2, bytes_out=5, bytes_in=7, packets=3, duration_ms=9, sensor_loss=4)])
        (found,) = store.findings(FindingFilter(), 10)
        assert (found.bytes_out, found.bytes_in, found.sensor_loss) == (5, 7, 4)


def test_an_upgrade_that_fails_leaves_the_old_schema(path: Path, tmp_path: Path) -> None:
    with open_store(path, now_ns=received) as store:
        store.append([make_event(1)])
        with pytest.raises(ZeroDivisionError):
            version.upgrade(store._engine, later_version(tmp_path, failure="1 / 0"))
        version.upgrade(store._engine)
        store.append([make_event(2)])
        assert len(store.events(EventFilter(), 10)) == 2


def test_a_newer_schema_is_refused(path: Path, tmp_path: Path) -> None:
    with open_store(path, now_ns=received) as store:
        version.upgrade(store._engine, later_version(tmp_path))
    with pytest.raises(StoreUnusable, match=r"schema mc9999.*install the version of Molecatcher"):
        open_store(path)


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    with pytest.raises(StoreUnusable, match="another program's database"):
        open_store(path)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("bookmarks",)]
    connection.close()


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"<html>" * 2000)
    with pytest.raises(StoreUnusable, match="is not a database"):
        open_store(path)
    assert path.read_bytes() == b"<html>" * 2000


def test_a_damaged_file_is_refused(path: Path) -> None:
    with open_store(path, now_ns=received) as store:
        store.append([make_event(number) for number in range(500)])
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    with pytest.raises(StoreUnusable, match="corrupt"), open_store(path) as store:
        store.events(EventFilter(), 10)


def test_a_truncated_file_is_refused(path: Path) -> None:
    with open_store(path, now_ns=received) as store:
        store.append([make_event(number) for number in range(500)])
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(StoreUnusable), open_store(path) as store:
        store.events(EventFilter(), 10)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("postgresql://localhost/molecatcher", "engine postgresql is not supported"),
        ("sqlite://", "must be a file"),
        (":memory:", "must be a file"),
        ("://", "not a database address"),
        ("/nowhere/at/all/molecatcher.db", "directory /nowhere/at/all does not exist"),
        ("/tmp", "is a directory"),  # noqa: S108 - any directory will do
    ],
)
def test_other_locations_are_refused_with_what_to_do(location: str, said: str) -> None:
    with pytest.raises(StoreUnusable, match=said):
        open_store(location)


def test_processes_that_start_together_upgrade_once(path: Path) -> None:
    program = (
        "import sys; from db.store import open_store; print('ready', flush=True); sys.stdin.readline();"
        "open_store(sys.argv[1]).close(); print('opened')"
    )
    command = [sys.executable, "-c", program, str(path)]
    root = Path(version.__file__).parents[2]
    pipe = subprocess.PIPE
    started = [subprocess.Popen(command, cwd=root, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(4)]
    for process in started:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate() for process in started]
    assert ended == [("opened\n", "")] * 4
    with open_store(path, now_ns=received) as store:
        assert store.is_writable()
